"""The life of a mount: it begins when it answers, and ends when its commit is durable."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.mount import check_mountpoint
from arrayfs.fuse.state import runtime_folder, state_path
from arrayfs.fuse.unmount import find_mount, umount
from tests.t4_fuse.conftest import Volume


@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_the_result_of_the_commit_comes_back_from_umount(unmounted: Volume, runtime: str) -> None:
    unmounted.mount(runtime=runtime)
    (unmounted / "note").write_text("kept")
    result = unmounted.umount()
    assert (unmounted.container.parent / result.sidecar).stat().st_size == result.size > 0
    assert not os.path.exists(unmounted / "note")
    assert find_mount(str(unmounted.mountpoint)) is None
    unmounted.mount(runtime=runtime)
    assert (unmounted / "note").read_text() == "kept"
    assert unmounted.umount().sidecar == ""


def test_what_is_mounted_can_be_asked_for(volume: Volume) -> None:
    state = find_mount(str(volume.mountpoint))
    assert state is not None
    assert state.alive
    assert state.info.container == str(volume.container)
    entry = mountinfo.mount_at(str(volume.mountpoint))
    assert entry is not None
    assert (entry.kind, entry.source) == ("fuse.arrayfs", str(volume.container))


def test_a_mount_ended_by_fusermount_commits_too(volume: Volume) -> None:
    (volume / "note").write_text("kept")
    subprocess.run(["fusermount3", "-u", str(volume.mountpoint)], check=True)
    assert volume.umount().sidecar


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_a_signal_unmounts_and_commits(unmounted: Volume, number: signal.Signals, runtime: str) -> None:
    unmounted.mount(runtime=runtime)
    (unmounted / "note").write_text("kept")
    state = find_mount(str(unmounted.mountpoint))
    assert state is not None
    os.kill(state.info.pid, number)
    assert unmounted.umount().sidecar
    assert mountinfo.mount_at(str(unmounted.mountpoint)) is None


@pytest.mark.parametrize(("how", "why"), [("fail", "No space left"), ("crash", "ZeroDivisionError: a bug")])
def test_a_failed_commit_is_an_error_of_umount(volume: Volume, how: str, why: str) -> None:
    (volume / f"make the commit {how}").touch()
    with pytest.raises(MountError, match=why):
        volume.umount()
    assert mountinfo.mount_at(str(volume.mountpoint)) is None


def test_a_mount_in_use_is_not_taken_away_and_its_users_are_named(volume: Volume) -> None:
    with (volume / "note").open("w") as file:
        with pytest.raises(MountError, match=rf"in use by .*\(pid {os.getpid()}\)"):
            volume.umount()
        file.write("still there")
    assert (volume / "note").read_text() == "still there"


def test_a_lazy_umount_waits_for_the_last_file(volume: Volume) -> None:
    script = "import sys; sys.stdin.readline(); sys.stdout.write('late'); sys.stdout.flush()"
    with (volume / "note").open("w") as file:
        writer = subprocess.Popen(["python3", "-c", script], stdin=subprocess.PIPE, stdout=file, text=True)
    subprocess.run(["fusermount3", "-uz", str(volume.mountpoint)], check=True)
    assert os.listdir(volume.mountpoint) == []
    state = find_mount(str(volume.mountpoint))
    assert state is not None
    assert state.alive
    writer.communicate("go\n")
    assert volume.umount().sidecar
    volume.mount()
    assert (volume / "note").read_text() == "late"


def test_a_second_mount_at_the_same_place_is_refused(volume: Volume) -> None:
    done = volume.try_to_mount()
    assert done.returncode == 3
    assert "mounted already" in done.stdout
    assert str(volume.container) in done.stdout


def test_why_a_container_cannot_be_opened_reaches_the_caller(unmounted: Volume) -> None:
    unmounted.container.write_bytes(b"not a container at all")
    done = unmounted.try_to_mount()
    assert done.returncode == 3
    assert done.stdout.startswith("FormatError: ")
    assert find_mount(str(unmounted.mountpoint)) is None
    assert list(runtime_folder().iterdir()) == []


def test_a_log_that_cannot_be_written_is_named_and_nothing_mounted(unmounted: Volume) -> None:
    done = unmounted.try_to_mount(log="/nowhere/at/all/log")
    assert done.returncode == 3
    assert "/nowhere/at/all/log" in done.stdout
    assert mountinfo.mount_at(str(unmounted.mountpoint)) is None


def test_a_mount_point_must_be_a_directory_outside_the_containers_folder(unmounted: Volume, tmp_path: Path) -> None:
    container = str(unmounted.container)
    inside = unmounted.container.parent / "deep" / "mnt"
    inside.mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(inside)
    for path, word in [
        (tmp_path / "absent", "no such directory"),
        (tmp_path / "file", "not a directory"),
        (inside, "lies inside"),
        (unmounted.container.parent, "lies inside"),
        (tmp_path / "link", "lies inside"),
    ]:
        with pytest.raises(MountError, match=word):
            check_mountpoint(str(path), container)
    assert check_mountpoint(str(tmp_path / "mnt"), container) == str(tmp_path / "mnt")
    assert check_mountpoint(str(inside), "s3://bucket/v.af") == str(inside)


def test_umount_of_what_is_no_mount_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="nothing is mounted"):
        umount(str(tmp_path))
    with pytest.raises(MountError, match="not of arrayfs but"):
        umount("/proc")


def test_the_log_goes_where_it_was_asked_to(unmounted: Volume, tmp_path: Path) -> None:
    log = tmp_path / "log"
    unmounted.mount(log=str(log))
    with pytest.raises(OSError, match="Input/output error"):
        (unmounted / "bug").mkdir()
    unmounted.umount()
    assert "a bug in the tree" in log.read_text()
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_folder_for_state_files_must_be_the_users_alone(own_runtime_folder: Path, tmp_path: Path) -> None:
    folder = runtime_folder()
    assert folder == own_runtime_folder / "arrayfs"
    assert state_path("/a").parent == folder
    folder.chmod(0o755)
    with pytest.raises(MountError, match="mode 0700"):
        runtime_folder()
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(MountError, match="mode 0700"):
        runtime_folder()
