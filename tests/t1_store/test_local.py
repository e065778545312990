"""The store of files: the suite, and what only files have: modes, links, descriptors, full devices, other processes."""

from __future__ import annotations

import errno
import gc
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from arrayfs.errors import LockedError, MissingObjectError, ObjectExistsError, StaleError
from arrayfs.store import LocalStore
from arrayfs.testing import StoreTests
from arrayfs.testing.store_case import OpenStore, content, publish
from tests.t1_store.failing import failing


class TestLocalStore(StoreTests):
    @pytest.fixture
    def open_store(self, tmp_path: Path) -> OpenStore:
        return partial(LocalStore, str(tmp_path))


class TestLocalStoreWithoutLinks(StoreTests):
    """The same on a file system that has no hard links: every publishing goes through renameat2."""

    @pytest.fixture
    def open_store(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
        return partial(LocalStore, str(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(str(tmp_path))


# Names and modes


def test_list_leaves_out_folders_and_what_a_put_left_behind(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / ".a.put").write_bytes(b"half")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").write_bytes(b"")
    assert store.list() == ["a", "b"]


def test_put_does_not_write_to_what_a_crashed_put_left_behind(store: LocalStore, tmp_path: Path) -> None:
    publish(store, "a", b"published")
    os.link(tmp_path / "a", tmp_path / ".a.put")  # stopped between link and unlink
    store.put("a", b"new", replace=True)
    os.link(tmp_path / "a", tmp_path / ".b.put")
    store.put("b", b"other", replace=False)
    assert (content(store, "a"), content(store, "b")) == (b"new", b"other")
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_folders_and_pipes_are_no_objects(store: LocalStore, tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "odd")
    with pytest.raises(MissingObjectError, match="not a regular file"):
        store.open("odd")


def test_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(MissingObjectError, match="nowhere: no such folder"):
        LocalStore(str(tmp_path / "nowhere"))


def test_store_follows_its_folder_when_that_is_renamed(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    store = LocalStore(str(tmp_path / "old"))
    (tmp_path / "old").rename(tmp_path / "new")
    store.put("a", b"one", replace=False)
    assert (tmp_path / "new" / "a").read_bytes() == b"one"
    assert store.list() == ["a"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_part_is_private_and_its_object_has_the_mode_of_the_umask(
    store: LocalStore, tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        part = store.create_part("a.part")
        assert stat.S_IMODE((tmp_path / "a.part").stat().st_mode) == 0o600
        part.publish("a")
        store.put("b", b"", replace=True)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "ab"] == [mode, mode]


def test_part_that_could_not_be_published_is_private_again(store: LocalStore, tmp_path: Path) -> None:
    store.put("a", b"", replace=False)
    part = store.create_part("a.part")
    with pytest.raises(ObjectExistsError):
        part.publish("a")
    assert stat.S_IMODE((tmp_path / "a.part").stat().st_mode) == 0o600


def test_everything_made_takes_after_a_model(store: LocalStore, tmp_path: Path) -> None:
    store.put("base", b"", replace=False)
    (tmp_path / "base").chmod(0o640)
    store.take_after("base")
    store.put("statistics", b"", replace=True)
    store.put("statistics", b"", replace=True)
    store.create_part("a.part").publish("a")
    store.lock("lock").try_lock()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("base", "statistics", "a", "lock"), 0o640)
    (tmp_path / "base").chmod(0o755)
    store.put("b", b"", replace=False)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o644
    (tmp_path / "base").unlink()
    store.put("c", b"", replace=False)
    assert (tmp_path / "c").exists()


# Descriptors


def test_a_blob_that_lent_its_descriptor_opens_its_file_again(store: LocalStore, tmp_path: Path) -> None:
    store.put("a", b"one", replace=False)
    blob = store.open("a")
    blob.lend()
    assert blob.read(1, 2) == b"ne"
    (tmp_path / "a").rename(tmp_path / "moved")
    assert blob.read(0, 3) == b"one"
    blob.lend()
    with pytest.raises(StaleError, match="a: removed since it was opened"):
        blob.read(0, 3)
    store.put("a", b"two", replace=False)
    with pytest.raises(StaleError, match="a: replaced since it was opened"):
        blob.read(0, 3)
    (tmp_path / "moved").rename(tmp_path / "a")
    assert blob.read(0, 3) == b"one"
    blob.close()
    with pytest.raises(ValueError, match="read after close"):
        blob.read(0, 3)


def open_descriptors() -> list[str]:
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd))


def _is_open(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def test_another_file_with_the_inode_number_of_one_that_was_open_is_not_taken_for_it(
    store: LocalStore, tmp_path: Path
) -> None:
    store.put("a", b"old", replace=False)
    blob = store.open("a")
    blob.lend()  # now the file can go, and its number come again
    with (tmp_path / "a").open("r+b") as same:
        same.write(b"other")
    assert not blob.is_current()
    assert store.open("a").is_current()


def test_a_link_stands_for_the_file_that_it_leads_to(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    store.put("b", b"", replace=False)
    blob = store.open("a")
    assert blob.is_current()
    store.put("b", b"", replace=True)
    assert not blob.is_current()


def test_no_descriptor_outlives_its_object(tmp_path: Path) -> None:
    def opened() -> list[str]:
        gc.collect()
        return [path for path in open_descriptors() if path.startswith(str(tmp_path))]

    store = LocalStore(str(tmp_path))
    store.put("a", b"one", replace=False)
    store.list()
    blob, part, lock = store.open("a"), store.create_part("p"), store.lock("x.lock")
    lock.try_lock()
    assert len(opened()) == 4
    blob.close()
    part.discard()
    lock.release()
    assert opened() == [str(tmp_path)]
    store.open("a")
    store.create_part("q")
    del store, blob, part, lock
    assert opened() == []


def test_read_that_has_begun_survives_close(store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("a", b"right", replace=False)
    (tmp_path / "b").write_bytes(b"wrong")
    blob = store.open("a")
    pread = os.pread
    others: list[int] = []

    def close_first(fd: int, size: int, offset: int) -> bytes:
        blob.close()
        others.append(os.open(tmp_path / "b", os.O_RDONLY))  # would be given the number that close made free
        return pread(fd, size, offset)

    monkeypatch.setattr(os, "pread", close_first)
    assert blob.read(0, 5) == b"right"
    os.close(others[0])


# Other processes


def in_other_process(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that owns the part `p`, with content, and the lock `x.lock`."""
    process = in_other_process(
        "import sys; from arrayfs.store import LocalStore; store = LocalStore(sys.argv[1]);"
        "part = store.create_part('p'); part.append(b'kept'); lock = store.lock('x.lock'); lock.acquire();"
        "print('ready', flush=True); sys.stdin.read()",
        str(tmp_path),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_killed_owner_leaves_an_abandoned_part_and_no_lock(store: LocalStore, holder: subprocess.Popen[str]) -> None:
    assert not store.is_part_abandoned("p")
    with pytest.raises(LockedError):
        store.remove_abandoned("p")
    with pytest.raises(LockedError):
        store.lock("x.lock").try_lock()
    holder.kill()
    holder.wait()
    assert store.is_part_abandoned("p")
    store.lock("x.lock").try_lock()
    part = store.adopt_part("p")
    assert part.read(0, part.size) == b"kept"


# In a process of its own: forking one that has threads is an error from Python 3.12 on.
_FORK = """
import os, sys
from arrayfs.store import LocalStore
store = LocalStore(sys.argv[1])
lock, part = store.lock("x.lock"), store.create_part("p")
lock.acquire()
"""


def test_forked_child_does_not_give_up_the_locks_of_its_parent(store: LocalStore, tmp_path: Path) -> None:
    code = _FORK + (
        "child = os.fork()\n"
        "if child == 0: lock.release(); part.close(); os._exit(0)\n"
        "os.waitpid(child, 0); print('ready', flush=True); sys.stdin.read()"
    )
    with in_other_process(code, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert not store.is_part_abandoned("p")
        with pytest.raises(LockedError):
            store.lock("x.lock").try_lock()


def test_locks_are_free_at_release_though_a_forked_child_lives(store: LocalStore, tmp_path: Path) -> None:
    code = _FORK + (
        "if os.fork() == 0: sys.stdin.read(); os._exit(0)\n"
        "lock.release(); part.close(); print('ready', flush=True); os.wait()"
    )
    with in_other_process(code, str(tmp_path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert store.is_part_abandoned("p")
        store.lock("x.lock").try_lock()


# Full and read-only devices


@pytest.fixture
def small_device(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs of 1 MiB needs root")
    folder = tmp_path / "device"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    yield folder
    gc.collect()
    subprocess.run(["umount", folder], check=True)


def test_full_device_is_told_by_its_errno_and_costs_nothing_that_was_there(small_device: Path) -> None:
    store = LocalStore(str(small_device))
    store.put("old", b"old", replace=False)
    part = store.create_part("p")
    part.append(bytes(900_000))
    with pytest.raises(OSError, match="No space left") as failure:
        part.append(bytes(400_000))
    assert failure.value.errno == errno.ENOSPC
    assert part.size == (small_device / "p").stat().st_size == 900_000
    with pytest.raises(OSError, match="No space left"):
        store.put("old", bytes(400_000), replace=True)
    assert content(store, "old") == b"old"
    part.append(bytes(100))
    part.publish("new")
    assert store.open("new").size == 900_100
    assert sorted(os.listdir(small_device)) == ["new", "old"]
    part.close()


def test_space_is_that_of_the_device(small_device: Path) -> None:
    space = LocalStore(str(small_device)).statvfs()
    assert space.f_blocks * space.f_frsize == 1 << 20


def test_read_only_device_is_told_by_its_errno(small_device: Path) -> None:
    LocalStore(str(small_device)).put("old", b"old", replace=False)
    subprocess.run(["mount", "-o", "remount,ro", small_device], check=True)
    store = LocalStore(str(small_device))
    for change in (
        lambda: store.put("new", b"", replace=False),
        lambda: store.create_part("p"),
        lambda: store.delete("old"),
        lambda: store.lock("x.lock").acquire(),
    ):
        with pytest.raises(OSError, match="Read-only") as failure:
            change()
        assert failure.value.errno == errno.EROFS
    assert content(store, "old") == b"old"


def test_rename_is_not_misled_by_what_a_crashed_one_left_behind(store: LocalStore, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "old").write_bytes(b"two")
    os.link(tmp_path / "old", tmp_path / ".b.put")
    store.rename("a", "b")
    assert content(store, "b") == b"one"
    assert (tmp_path / "old").read_bytes() == b"two"
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "old"]
