"""A mount whose daemon was killed: the next mount or umount of the place takes it away, and nothing else does."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.mount import check_mountpoint
from arrayfs.fuse.state import process_start, runtime_folder
from arrayfs.fuse.unmount import find_mount, umount
from tests.t4_fuse.conftest import Server, Volume, take_away
from tests.t4_fuse.promises import keeps


def daemon_of(volume: Volume) -> int:
    state = find_mount(str(volume.mountpoint))
    assert state is not None
    return state.info.pid


def kill(pid: int) -> None:
    """End a process without a chance, and wait until the kernel has closed its files."""
    handle = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(30_000)
    os.close(handle)


@pytest.fixture
def dead(volume: Volume) -> Volume:
    (volume / "note").write_text("closed")
    kill(daemon_of(volume))
    with pytest.raises(OSError, match="Transport endpoint is not connected"):
        os.listdir(volume.mountpoint)
    return volume


def test_the_next_mount_takes_it_away(dead: Volume) -> None:
    assert check_mountpoint(str(dead.mountpoint), "/elsewhere/v.af") == str(dead.mountpoint)
    dead.mount()
    (dead / "after").write_text("works")
    dead.umount()
    assert mountinfo.mount_at(str(dead.mountpoint)) is None


def test_umount_takes_it_away_and_names_the_daemon(dead: Volume) -> None:
    with pytest.raises(MountError, match=r"pid \d+.*without a commit"):
        dead.umount()
    assert os.listdir(dead.mountpoint) == []
    assert list(runtime_folder().iterdir()) == []
    with pytest.raises(MountError, match="nothing is mounted here"):
        dead.umount()


@keeps("The next arrayfs mount or arrayfs umount of its mount point takes it away, also while files are open in it.")
@pytest.mark.parametrize("way", ["mount", "umount"])
def test_files_that_are_open_in_it_are_no_obstacle(volume: Volume, way: str) -> None:
    file = os.open(volume / "note", os.O_CREAT | os.O_RDONLY)
    try:
        kill(daemon_of(volume))
        if way == "mount":
            volume.mount()
        else:
            with pytest.raises(MountError, match="without a commit"):
                volume.umount()
            assert mountinfo.mount_at(str(volume.mountpoint)) is None
    finally:
        with contextlib.suppress(OSError):  # its FLUSH has nobody to go to
            os.close(file)


def test_it_is_known_without_its_state_file_too(dead: Volume) -> None:
    for file in runtime_folder().iterdir():
        file.unlink()
    dead.mount()
    assert os.listdir(dead.mountpoint) == []


@pytest.fixture
def stopped(volume: Volume) -> Iterator[Volume]:
    pid = daemon_of(volume)
    os.kill(pid, signal.SIGSTOP)
    yield volume
    os.kill(pid, signal.SIGCONT)


@keeps("A daemon that lives and does not answer is left alone.")
def test_a_daemon_that_does_not_answer_is_not_a_dead_one(stopped: Volume) -> None:
    done = stopped.try_to_mount()
    assert done.returncode == 3
    assert "mounted already" in done.stdout
    assert mountinfo.mount_at(str(stopped.mountpoint)) is not None


def test_a_dead_mount_of_another_file_system_is_left_alone(
    start: Callable[..., Server], mountpoint: Path, unmounted: Volume
) -> None:
    server = start("serve_runtime.py", "direct")
    kill(server.process.pid)
    done = unmounted.try_to_mount()
    assert done.returncode == 3
    assert "Transport endpoint is not connected" in done.stdout
    with pytest.raises(MountError, match=r"not of arrayfs but fuse\.few"):
        umount(str(mountpoint))
    entry = mountinfo.mount_at(str(mountpoint))
    assert entry is not None
    assert not mountinfo.is_dead(entry)
    take_away(mountpoint, "-z")


def test_a_process_that_ended_and_was_not_waited_for_has_ended() -> None:
    child = subprocess.Popen(["true"])
    poll = select.poll()
    handle = os.pidfd_open(child.pid)
    poll.register(handle, select.POLLIN)
    assert poll.poll(30_000)
    os.close(handle)
    assert process_start(child.pid) == 0
    child.wait()
    assert process_start(os.getpid()) > 0
