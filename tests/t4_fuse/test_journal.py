"""The daemon is killed: what its clients had been told is done is there in the next mount."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import zarr

from arrayfs.container.container import Container
from arrayfs.fuse.state import wait_for_end
from arrayfs.fuse.unmount import find_mount
from tests.mounts import Mounted
from tests.t4_fuse.posix import opened, refused
from tests.t4_fuse.promises import keeps


def kill(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL for the daemon; its dead mount is taken away."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(mounted.log.parent))
    state = find_mount(str(mounted.mountpoint))
    assert state is not None
    os.kill(state.info.pid, signal.SIGKILL)
    wait_for_end(str(mounted.mountpoint))
    subprocess.run(["fusermount3", "-u", "-z", str(mounted.mountpoint)], check=True)


def left_over(mounted: Mounted) -> list[str]:
    return sorted(path.name for path in mounted.container.parent.iterdir() if ".log-" in path.name)


@keeps(
    "When close of a written file has returned, or a rename, unlink, link, symlink, mknod, mkdir, rmdir, truncate, "
    "chmod or utimensat, a daemon that is killed loses nothing of it",
    "what A had closed is there, as a version of its own; of a chunk that A was still writing, the old content.",
    "a plain file has what had reached the disk's cache by then, a chunk or document its last closed content.",
    "A native chunk of which all had reached it, written from its start to its exact length, is whole.",
)
def test_a_killed_daemon_loses_nothing_that_was_closed(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(12, dtype="i4").reshape(4, 3)
    array = zarr.create_array(str(mounted / "a"), shape=(4, 3), chunks=(2, 2), dtype="i4", compressors=None)
    array[:] = values
    (mounted / "d").mkdir()
    (mounted / "d" / "old").write_bytes(b"content" * 1000)
    assert mounted.remount().sidecar == "t.1.af"
    (mounted / "d" / "old").rename(mounted / "new")
    (mounted / "d").rmdir()
    (mounted / "empty").touch()
    (mounted / "big").write_bytes(bytes(range(256)) * 20_000)
    os.truncate(mounted / "big", 5_000_000)
    os.chmod(mounted / "new", 0o600)
    os.utime(mounted / "new", ns=(1, 123_456_789))
    os.link(mounted / "new", mounted / "linked")
    os.symlink("new", mounted / "symbolic")
    os.mknod(mounted / "made")
    lock = os.open(mounted / "lock", os.O_CREAT | os.O_RDONLY)
    os.chmod(mounted / "a", 0o2750)
    array[2:, :] = -1
    (mounted / "a" / "c" / "0" / "1").unlink()
    chunk, plain = os.open(mounted / "a/c/0/0", os.O_WRONLY), os.open(mounted / "plain", os.O_CREAT | os.O_RDWR)
    whole = os.open(mounted / "a/c/1/0", os.O_WRONLY)
    os.pwrite(chunk, b"half", 0)
    os.pwrite(whole, np.full((2, 2), 7, "<i4").tobytes(), 0)
    os.pwrite(plain, b"closed", 0)
    os.close(os.dup(plain))
    kill(mounted, monkeypatch)
    for fd in (chunk, whole, plain, lock):
        with suppress(OSError):  # the kernel has nobody to tell it to
            os.close(fd)
    assert len(left_over(mounted)) == 1
    mounted.mount()
    assert left_over(mounted) == []
    warnings = mounted.status()["warnings"]
    assert isinstance(warnings, list)
    assert any("operations of a writer that ended were committed as t.2.af" in warning for warning in warnings)
    values[2:, :] = -1
    values[2:, :2] = 7
    values[:2, 2:] = 0
    assert np.array_equal(zarr.open_array(str(mounted / "a"), mode="r")[:], values)
    assert not (mounted / "a" / "c" / "0" / "1").exists()
    assert (mounted / "new").read_bytes() == (mounted / "linked").read_bytes() == b"content" * 1000
    assert (mounted / "new").stat().st_mode & 0o777 == 0o600
    assert (mounted / "new").stat().st_mtime_ns == 123_456_789
    assert (mounted / "big").read_bytes() == (bytes(range(256)) * 20_000)[:5_000_000]
    assert (mounted / "plain").read_bytes() == b"closed"
    assert (mounted / "symbolic").read_bytes() == b"content" * 1000
    assert (mounted / "a").stat().st_mode & 0o7777 == 0o2750
    left = ["a", "big", "empty", "linked", "lock", "made", "new", "plain", "symbolic"]
    assert sorted(os.listdir(mounted.mountpoint)) == left
    assert mounted.remount().sidecar == ""


@keeps(
    "A mount for reading shows committed versions only and leaves journals alone.",
    "It names each one with uncommitted changes in its warnings",
)
def test_a_reader_leaves_journals_alone(mounted: Mounted, monkeypatch: pytest.MonkeyPatch) -> None:
    (mounted / "f").write_bytes(b"kept")
    kill(mounted, monkeypatch)
    (journal,) = left_over(mounted)
    before = (mounted.container.parent / journal).read_bytes()
    mounted.mount("r")
    assert os.listdir(mounted.mountpoint) == []
    told = f"{journal}: a journal with {len(before)} bytes of changes that are not committed; they are not shown"
    assert mounted.status()["warnings"] == [told]
    mounted.umount()
    assert (mounted.container.parent / journal).read_bytes() == before
    mounted.mount()
    assert (mounted / "f").read_bytes() == b"kept"


@keeps("a loss of power takes nothing that was closed or changed before, whoever did it.")
def test_fsync_syncs_the_journal(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"closed")
    with opened(mounted.mountpoint, os.O_RDONLY | os.O_DIRECTORY) as folder:
        os.fsync(folder)
    first = journal_of(mounted)
    assert first["synced_bytes"] == first["bytes"] > 0
    with opened(mounted / "g", os.O_CREAT | os.O_WRONLY) as file:
        os.write(file, b"open")
        os.fsync(file)
        second = journal_of(mounted)
    assert second["synced_bytes"] == second["bytes"]
    assert int(str(second["records"])) > int(str(first["records"]))
    mounted.umount()


def journal_of(mounted: Mounted) -> dict[str, object]:
    found = mounted.status()["journal"]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB with a container on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        container = folder / "t.af"
        Container.create(str(container))
        yield container
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@keeps(
    "arrayfs umount of a mount in the background returns when its daemon has let go of everything: the file system "
    "that the container lies on can be unmounted then."
)
def test_the_disk_below_is_free_after_umount(small_disk: Path, place: Callable[..., Mounted]) -> None:
    mounted = place(small_disk)
    disk = str(small_disk.parent)
    for number in range(10):
        mounted.mount()
        (mounted / "f").write_bytes(b"%d" % number)
        mounted.umount()
        subprocess.run(["umount", disk], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk], check=True)
        Container.create(str(small_disk))


@keeps("the call that needed it fails with the errno, and so does every change until there is room; reading goes on.")
def test_a_full_disk(small_disk: Path, tmp_path: Path, place: Callable[..., Mounted]) -> None:
    mounted = place(small_disk)
    mounted.mount()
    (mounted / "before").write_bytes(b"kept" * 1000)
    assert mounted.remount().sidecar == "t.1.af"
    block = np.random.default_rng(1).bytes(1 << 20)
    with refused(errno.ENOSPC):
        for number in range(20):
            (mounted / f"f{number}").write_bytes(block)
    with refused(errno.ENOSPC):
        (mounted / "d").mkdir()
    assert (mounted / "before").read_bytes() == b"kept" * 1000
    assert (mounted / "f0").read_bytes() == block
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk.parent)], check=True)
    (mounted / "d").mkdir()
    (mounted / "after").write_bytes(block)
    assert mounted.remount().sidecar == "t.2.af"
    assert (mounted / "before").read_bytes() == b"kept" * 1000
    assert (mounted / "f0").read_bytes() == (mounted / "after").read_bytes() == block
    assert (mounted / "d").is_dir()
    mounted.umount()


def test_journal_files_of_a_mount_are_private(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"x")
    (name,) = left_over(mounted)
    assert (mounted.container.parent / name).stat().st_mode & 0o777 == 0o600
    assert journal_of(mounted)["file"] == name
