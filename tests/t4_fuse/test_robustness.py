"""A bug below one request is that request's EIO and a traceback in the log; the mount goes on."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrayfs.fuse.unmount import find_mount
from tests.t4_fuse.conftest import HERE, ROOT, Volume
from tests.t4_fuse.posix import opened, refused
from tests.t4_fuse.promises import keeps


class Breakable(Volume):
    """A mount that fails where it is told to."""

    def begin(self, runtime: str) -> None:
        self.log = self.mountpoint.parent / "log"
        command = [sys.executable, str(HERE / "mount_failing.py"), str(self.container), str(self.mountpoint)]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        subprocess.run([*command, runtime, str(self.log)], env=environment, check=True, timeout=60)
        (self / "dir").mkdir()
        (self / "dir" / "file").write_bytes(b"content" * 20_000)

    def break_(self, method: str, kind: str = "bug") -> None:
        assert not os.path.exists(self / f"break:{method}:{kind}")

    def mend(self) -> None:
        assert not os.path.exists(self / "mend:")

    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture(params=["direct", "inline", "trio"])
def breakable(tmp_path: Path, own_runtime_folder: Path, request: pytest.FixtureRequest) -> Iterator[Breakable]:
    volume = Breakable(tmp_path)
    volume.begin(request.param)
    yield volume
    volume.mend()
    state = find_mount(str(volume.mountpoint))
    assert state is not None
    assert state.alive
    volume.umount()
    assert (volume.container.parent / "v.1.af").exists()


def fstat_of_the_status(volume: Breakable) -> None:
    with opened(volume / ".arrayfs/status.json", os.O_RDONLY) as file:
        os.fstat(file)


def write(volume: Breakable) -> None:
    with opened(volume / "dir" / "file", os.O_WRONLY) as file:
        os.write(file, b"x")


def read(volume: Breakable) -> None:
    with opened(volume / "dir" / "file", os.O_RDONLY | os.O_DIRECT) as file:
        os.read(file, 4096)


def sync(volume: Breakable) -> None:
    with opened(volume / "dir" / "file", os.O_WRONLY) as file:
        os.fsync(file)


def sync_directory(volume: Breakable) -> None:
    with opened(volume / "dir", os.O_RDONLY) as file:
        os.fsync(file)


def truncate(volume: Breakable) -> None:
    with opened(volume / "dir" / "file", os.O_WRONLY) as file:
        os.ftruncate(file, 100_000)


def mkdir(volume: Breakable) -> None:
    (volume / "made").mkdir()
    (volume / "made").rmdir()


def create(volume: Breakable) -> None:
    (volume / "new").touch()
    (volume / "new").unlink()


def make_node(volume: Breakable) -> None:
    os.mknod(volume / "node", stat.S_IFREG | 0o644)
    (volume / "node").unlink()


def rename(volume: Breakable) -> None:
    (volume / "dir" / "file").rename(volume / "other")
    (volume / "other").rename(volume / "dir" / "file")


def link(volume: Breakable) -> None:
    os.link(volume / "dir" / "file", volume / "second")
    (volume / "second").unlink()


def unlink(volume: Breakable) -> None:
    (volume / "goes").touch(exist_ok=True)
    (volume / "goes").unlink()


def rmdir(volume: Breakable) -> None:
    (volume / "made").mkdir(exist_ok=True)
    (volume / "made").rmdir()


# (method of the tree, request whose handler calls it, what a program does)
FAILING: list[tuple[str, str, Callable[[Breakable], object]]] = [
    ("lookup", "lookup", lambda volume: (volume / "dir" / "absent").exists()),
    ("getattr", "getattr", fstat_of_the_status),
    ("setattr", "setattr", lambda volume: (volume / "dir" / "file").chmod(0o600)),
    ("file.truncate", "setattr", truncate),
    ("statfs", "statfs", lambda volume: os.statvfs(volume.mountpoint)),
    ("mkdir", "mkdir", mkdir),
    ("rmdir", "rmdir", rmdir),
    ("create", "create", create),
    ("create", "mknod", make_node),
    ("unlink", "unlink", unlink),
    ("rename", "rename", rename),
    ("link", "link", link),
    ("open", "open", read),
    ("file.read", "read", read),
    ("file.write", "write", write),
    ("file.flush", "flush", write),
    ("file.sync", "fsync", sync),
    ("opendir", "opendir", lambda volume: os.listdir(volume / "dir")),
    ("directory.entries", "readdir", lambda volume: os.listdir(volume / "dir")),
    ("directory.sync", "fsyncdir", sync_directory),
]


@keeps(
    "What fails inside the daemon, a bug included, is an error of that one request (EIO; ENOMEM for want of memory), "
    "with its traceback in the log; the mount goes on."
)
def test_a_bug_below_any_request_is_its_eio_and_the_mount_goes_on(breakable: Breakable) -> None:
    for method, operation, act in FAILING:
        breakable.break_(method)
        with refused(errno.EIO):
            act(breakable)
        breakable.mend()
        act(breakable)
        assert f"{operation}: nobody expected this\nTraceback" in breakable.said(), method
    assert breakable.said().count("ZeroDivisionError: a bug in the tree\n") == len({each[1] for each in FAILING})
    assert (breakable / "dir" / "file").stat().st_size == 100_000


def test_whatever_is_raised_is_an_errno_also_in_parked_work(breakable: Breakable) -> None:
    kinds = {"memory": "MemoryError", "recursion": "RecursionError", "panic": "Panic", "exit": "SystemExit: 3"}
    for kind, name in (kinds | {"mute": "MuteError"}).items():
        before = breakable.said()
        for method, act in [("mkdir", mkdir), ("file.write", write), ("file.sync", sync), ("file.read", read)]:
            breakable.break_(method, kind)
            with refused(errno.ENOMEM if kind == "memory" else errno.EIO):
                act(breakable)
            breakable.mend()
            act(breakable)
        said = breakable.said().removeprefix(before)
        assert len(re.findall(rf"^\S*{name}", said, re.MULTILINE)) == 4
        assert len(said.splitlines()) < 400  # recursion is a thousand calls deep


def test_requests_without_an_answer_fail_into_the_log_only(breakable: Breakable) -> None:
    for method, operation, act in [
        ("forget", "forget", unlink),
        ("file.release", "release", write),
        ("directory.release", "releasedir", lambda volume: os.listdir(volume / "dir")),
        ("file.prefetch", "", read),
    ]:
        breakable.break_(method)
        act(breakable)
        # the kernel sends them some time later; nobody waits for them, but other requests push them on
        deadline = time.monotonic() + 30
        while operation and f"{operation}: nobody expected this\nTraceback" not in breakable.said():
            assert time.monotonic() < deadline, operation
            act(breakable)
        breakable.mend()


@keeps("The same thing is logged once and then counted, not each time.")
def test_the_same_traceback_comes_once(breakable: Breakable) -> None:
    breakable.break_("mkdir")
    for _ in range(500):
        with refused(errno.EIO):
            (breakable / "made").mkdir()
    assert breakable.said().count("Traceback") == 1


def test_what_was_broken_is_in_the_status(breakable: Breakable) -> None:
    breakable.break_("mkdir")
    with refused(errno.EIO):
        (breakable / "made").mkdir()
    assert "mkdir: nobody expected this" in (breakable / ".arrayfs/status.json").read_text()
