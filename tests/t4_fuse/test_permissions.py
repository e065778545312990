"""Who can do what in a mount: its user everything, others nothing unless they were let in, and then what modes say."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from tests.mounts import Mounted
from tests.t2_container.making import open_container, spec
from tests.t4_fuse.conftest import Volume
from tests.t4_fuse.promises import defends, keeps

NOBODY = 65534
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")


@contextlib.contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def as_nobody(*command: str | Path) -> str:
    """What the command says on standard error ("": it worked), run by a user who owns nothing here."""
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True,
        user=NOBODY, group=NOBODY, extra_groups=[],
        env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    return done.stderr if done.returncode else ""


def open_to_all(path: Path) -> None:
    """Let everybody through the folders above `path`."""
    for folder in path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)


@keeps("New files and directories follow the umask.")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002, 0o000])
def test_new_files_and_directories_follow_the_umask(mounted: Mounted, mask: int) -> None:
    with umask(mask):
        (mounted / "f").write_bytes(b"x")
        os.close(os.open(mounted / "tool", os.O_CREAT | os.O_WRONLY, 0o777))
        os.mknod(mounted / "made", stat.S_IFREG | 0o666)
        (mounted / "d").mkdir()
    assert mode_of(mounted / "f") == mode_of(mounted / "made") == 0o666 & ~mask
    assert mode_of(mounted / "tool") == mode_of(mounted / "d") == 0o777 & ~mask
    mounted.remount()
    assert mode_of(mounted / "f") == mode_of(mounted / "made") == 0o666 & ~mask
    assert mode_of(mounted / "tool") == mode_of(mounted / "d") == 0o777 & ~mask


@needs_root
@defends("A mount is private: no other user, root excepted, can even list it.")
def test_a_mount_is_private(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"x")
    os.chmod(mounted / "f", 0o666)
    open_to_all(mounted.mountpoint)
    assert "Permission denied" in as_nobody("ls", mounted.mountpoint)
    assert "Permission denied" in as_nobody("cat", mounted / "f")


@needs_root
@defends(
    "With -o allow_other the kernel lets others in as far as modes say, which it checks itself (default_permissions).",
    "The control files are for their owner alone",
)
def test_others_who_are_let_in_are_held_to_the_modes(unmounted: Volume) -> None:
    unmounted.mount("allow_other")
    open_to_all(unmounted.mountpoint)
    with umask(0o022):
        (unmounted / "open").write_bytes(b"x")
    with umask(0o077):
        (unmounted / "closed").write_bytes(b"x")
        (unmounted / "folder").mkdir()
        (unmounted / "folder/f").write_bytes(b"x")
    assert as_nobody("cat", unmounted / "open") == ""
    refused = [
        ("cat", unmounted / "closed"),
        ("ls", unmounted / "folder"),
        ("cat", unmounted / "folder/f"),
        ("touch", unmounted / "new"),
        ("rm", "-f", unmounted / "open"),
        ("chmod", "666", unmounted / "closed"),
        ("cat", unmounted / ".arrayfs/status.json"),
        ("sh", "-c", f"echo message > {unmounted / '.arrayfs/commit'}"),
        ("mkdir", unmounted / ".arrayfs/x"),
    ]
    for command in refused:
        said = as_nobody(*command)
        assert "ermission denied" in said or "not permitted" in said, (command, said)
    assert not list(unmounted.container.parent.glob("v.1.af"))


@defends("nobody can write to .arrayfs/status.json, make names in .arrayfs, or change its mode")
def test_the_control_directory_is_not_for_changing(mounted: Mounted) -> None:
    control = mounted / ".arrayfs"
    assert mode_of(control / "status.json") == 0o400
    assert mode_of(control / "commit") == 0o200
    for call in (
        lambda: os.open(control / "status.json", os.O_WRONLY),
        lambda: os.truncate(control / "status.json", 0),
        lambda: os.mkdir(control / "x"),
        lambda: os.unlink(control / "commit"),
        lambda: os.rename(control, mounted / "c"),
        lambda: os.chmod(control / "commit", 0o666),
        lambda: os.chmod(control / "status.json", 0o666),
    ):
        with pytest.raises(PermissionError) as caught:
            call()
        assert caught.value.errno in (errno.EPERM, errno.EACCES)
    assert mode_of(control / "status.json") == 0o400


@defends("A sidecar has owner, group and mode of the base")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o660, 0o664])
def test_a_sidecar_is_as_private_as_the_base(mounted: Mounted, mode: int) -> None:
    mounted.container.chmod(mode)
    with umask(0o022):
        (mounted / "f").write_bytes(b"x")
        (mounted / ".arrayfs/commit").write_text("one")
    folder = mounted.container.parent
    assert mode_of(folder / "t.1.af") == mode
    (mounted / "g").write_bytes(bytes(1 << 20))
    mounted.container.chmod(0o600)
    mounted.umount()
    assert mode_of(folder / "t.2.af") == 0o600


@defends("The lock has the mode that the base had when the lock was made")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_the_lock_is_as_private_as_the_base(tmp_path: Path, mode: int) -> None:
    Container.create(str(tmp_path / "t.af"))
    (tmp_path / "t.af").chmod(mode)
    with umask(0o022):
        Container.open(str(tmp_path / "t.af"), "a").close()
    assert mode_of(tmp_path / "t.lock") == mode


@needs_root
@defends("Where the writer may not give it to that group, the group gets no more than everybody has.")
def test_a_group_that_the_writer_is_not_in_is_not_mistaken(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    container = tmp_path / "data/t.af"
    Container.create(str(container))
    os.chown(container, 1234, 2345)
    container.chmod(0o640)
    program = (
        "import os, sys; os.setgroups([]); os.setgid(65534); "
        "from arrayfs.store.permissions import take_after; "
        "fd = os.open(sys.argv[2], os.O_CREAT | os.O_RDWR, 0o600); "
        "os.chown(sys.argv[2], 65534, 65534); os.setuid(65534); take_after(fd, os.stat(sys.argv[1]))"
    )
    open_to_all(container)
    made = tmp_path / "data/made"
    subprocess.run([sys.executable, "-c", program, container, made], check=True)
    found = made.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (65534, 65534, 0o600)
    container.chmod(0o664)
    made.unlink()
    subprocess.run([sys.executable, "-c", program, container, made], check=True)
    assert mode_of(made) == 0o644


@needs_root
def test_what_root_commits_belongs_to_the_owner_of_the_base(mounted: Mounted) -> None:
    os.chown(mounted.container, 1234, 2345)
    mounted.container.chmod(0o600)
    (mounted / "f").write_bytes(b"x")
    (mounted / ".arrayfs/commit").write_text("one")
    found = mounted.container.with_name("t.1.af").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o600)


@defends("What is in the making (.part-…, .log-…) is 0600 until it is published")
def test_parts_are_private(tmp_path: Path) -> None:
    path = tmp_path / "t.af"
    Container.create(str(path))
    path.chmod(0o666)
    with umask(0):
        container = open_container(str(path), dirty_limit=1 << 20)
        made = container.define("a", spec((1 << 20,), (1 << 16,)))
        for number in range(16):
            container.put(made, (number,), os.urandom(4 << 16), 0)
        (part,) = [found for found in tmp_path.iterdir() if ".part-" in found.name]
        assert part.stat().st_size
        assert mode_of(part) == 0o600
        container.commit()
        container.close()
    assert mode_of(tmp_path / "t.1.af") == 0o666
