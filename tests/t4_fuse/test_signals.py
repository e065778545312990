"""Signals and deaths at every stage of a mount's life: nothing half-made stays, and no commit is cut short."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.state import runtime_folder
from arrayfs.fuse.unmount import find_mount
from tests.t4_fuse.conftest import HERE, ROOT, Volume
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_dead_mounts import daemon_of, kill

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Slow(Volume):
    """A mount that stops at one stage of its life."""

    caller: subprocess.Popen[str]

    def begin(self, stage: str) -> None:
        self.pipes = self.mountpoint.parent / "pipes"
        self.pipes.mkdir()
        for name in ("reached", "go"):
            os.mkfifo(self.pipes / name)
        command = [sys.executable, str(HERE / "mount_slow.py"), str(self.container), str(self.mountpoint)]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.caller = subprocess.Popen(
            [*command, str(self.pipes), stage], env=environment, stdout=subprocess.PIPE, text=True
        )

    def wait_for_stage(self) -> int:
        """Return the daemon's process number."""
        return int((self.pipes / "reached").read_text())

    def go_on(self) -> None:
        (self.pipes / "go").write_text("")

    def answer(self) -> tuple[int, str]:
        said, _ = self.caller.communicate(timeout=60)
        return self.caller.returncode, said

    def is_gone(self) -> bool:
        """Nothing is mounted, nothing is left, and the container is free."""
        with Container.open(str(self.container), "a"):
            return mountinfo.mount_at(str(self.mountpoint)) is None and list(runtime_folder().iterdir()) == []


@pytest.fixture
def slow(tmp_path: Path, own_runtime_folder: Path) -> Iterator[Slow]:
    volume = Slow(tmp_path)
    yield volume
    volume.caller.communicate(timeout=60)
    if mountinfo.mount_at(str(volume.mountpoint)) is not None:
        volume.umount()


@pytest.mark.parametrize("stage", ["opening", "answering"])
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_before_the_mount_answers_ends_it_with_an_error(
    slow: Slow, stage: str, number: signal.Signals
) -> None:
    slow.begin(stage)
    daemon = slow.wait_for_stage()
    os.kill(daemon, number)
    os.kill(daemon, signal.SIGTERM)
    slow.go_on()
    code, said = slow.answer()
    if stage == "answering":  # it answered all the same, and then it ended as after any signal
        assert (code, said) == (0, "")
        assert slow.umount().sidecar == ""
    else:
        assert code == 3
        assert said == f"MountError: {slow.mountpoint}: {number.name} came before the mount answered; it is not there\n"
    assert slow.is_gone()


@pytest.mark.parametrize("stage", ["opening", "answering"])
def test_a_daemon_that_dies_before_it_answers_is_an_error_and_leaves_nothing(slow: Slow, stage: str) -> None:
    slow.begin(stage)
    kill(slow.wait_for_stage())
    assert slow.answer() == (3, f"DaemonDiedError: {slow.mountpoint}: the daemon died before the mount answered\n")
    assert slow.is_gone()
    Volume.mount(slow)


@keeps(
    "A mount that does not come about leaves nothing mounted: not when a signal comes, when the daemon dies, or when "
    "arrayfs mount is interrupted before it returns."
)
@pytest.mark.parametrize("stage", ["opening", "answering"])
def test_a_caller_that_goes_before_the_answer_leaves_no_mount(slow: Slow, stage: str) -> None:
    slow.begin(stage)
    daemon = os.pidfd_open(slow.wait_for_stage())
    kill(slow.caller.pid)
    slow.go_on()
    wait(daemon)
    assert slow.is_gone()


def wait(process: int) -> None:
    poll = select.poll()
    poll.register(process, select.POLLIN)
    assert poll.poll(60_000)
    os.close(process)


@keeps("SIGTERM, SIGINT and SIGHUP commit and unmount. Further signals do not cut the commit short.")
@pytest.mark.parametrize("number", SIGNALS)
def test_signals_during_the_last_commit_change_nothing(slow: Slow, number: signal.Signals) -> None:
    slow.begin("closing")
    assert slow.answer() == (0, "")
    (slow / "note").write_text("kept")
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(slow.umount)
        daemon = slow.wait_for_stage()
        for each in (number, number, signal.SIGTERM):
            os.kill(daemon, each)
        slow.go_on()
        assert ended.result(60).sidecar == "v.1.af"


def commit(path: Path) -> int:
    file = os.open(path, os.O_WRONLY)
    try:
        return os.write(file, b"asked for")
    finally:
        with contextlib.suppress(OSError):  # the mount may have ended by then
            os.close(file)


@keeps("Files are read and written while a commit packs and syncs what there is")
def test_others_go_on_while_a_commit_syncs(slow: Slow) -> None:
    slow.begin("syncing")
    assert slow.answer() == (0, "")
    (slow / "note").write_text("kept")
    with ThreadPoolExecutor(1) as pool:
        written = pool.submit(commit, slow / ".arrayfs/commit")
        slow.wait_for_stage()
        assert (slow / "note").read_text() == "kept"
        (slow / "other").write_text("kept too")
        os.rename(slow / "other", slow / "another")
        slow.go_on()
        assert written.result(60) == len("asked for")
    assert (slow / "another").read_text() == "kept too"


def test_signals_during_a_commit_by_request_wait_for_it(slow: Slow) -> None:
    slow.begin("committing")
    assert slow.answer() == (0, "")
    (slow / "note").write_text("kept")
    with ThreadPoolExecutor(1) as pool:
        committed = pool.submit(commit, slow / ".arrayfs/commit")
        daemon = slow.wait_for_stage()
        for each in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
            os.kill(daemon, each)
        slow.go_on()
        assert committed.result(60)
        assert slow.wait_for_stage() == daemon  # the commit of the unmount, which finds nothing to do
        slow.go_on()
    assert slow.umount().sidecar == ""
    with Container.open(str(slow.container)) as container:
        assert container.version == 1


@keeps("A mount whose container was removed goes on as far as it can; its umount says what could not be kept")
def test_a_mount_whose_container_is_gone_says_so_and_ends(volume: Volume) -> None:
    (volume / "note").write_text("cannot be kept")
    daemon = os.pidfd_open(daemon_of(volume))
    shutil.rmtree(volume.container.parent)
    assert os.listdir(volume.mountpoint) == ["note"]
    assert b"v.af" in (volume / ".arrayfs/status.json").read_bytes()
    with pytest.raises(MountError, match="unmounted, but"):
        volume.umount()
    wait(daemon)
    assert mountinfo.mount_at(str(volume.mountpoint)) is None
    assert find_mount(str(volume.mountpoint)) is None
