"""Several mounts of one container: each commit lands, readers follow, and what cannot both be is refused by name."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.journal import find_journals
from arrayfs.errors import MountError
from arrayfs.view.autocommit import open_writable_tree
from tests.mounts import Mounted
from tests.t4_fuse.posix import opened, refused
from tests.t4_fuse.promises import keeps

DEADLINE = 60.0


@pytest.fixture
def two(place: Callable[..., Mounted]) -> tuple[Mounted, Mounted]:
    """Two mounts for writing of one container that has an array `a` and a file."""
    first = place()
    first.mount()
    array = zarr.create_array(str(first / "a"), shape=(4, 4), chunks=(2, 2), dtype="i4", compressors=None)
    array[:] = np.arange(16, dtype="i4").reshape(4, 4)
    array.attrs["units"] = "m"
    (first / "note").write_text("as it was")
    first.remount()
    second = place(first.container)
    second.mount()
    return first, second


def commit(mounted: Mounted, message: str = "") -> None:
    with opened(mounted / ".arrayfs/commit", os.O_WRONLY) as file:
        os.write(file, (message or "a commit").encode())


def until(holds: Callable[[], object]) -> None:
    """Wait for what follows by itself; nothing tells a test when a mount has looked."""
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def array_in(mounted: Mounted) -> zarr.Array[zarr.core.metadata.ArrayV3Metadata]:
    return zarr.open_array(str(mounted / "a"), mode="r+")


@keeps(
    "Any number of mounts and processes may have a container open for writing. A commit puts its changes on top of "
    "what others committed meanwhile"
)
def test_two_mounts_write_and_both_commits_are_there(
    two: tuple[Mounted, Mounted], place: Callable[..., Mounted]
) -> None:
    first, second = two
    array_in(first)[0:2, 0:2] = -1
    (first / "mine").write_text("of the first")
    array_in(second)[2:4, 2:4] = -2
    (second / "dir").mkdir()
    (second / "dir" / "yours").write_text("of the second")
    commit(first)
    commit(second)
    expected = np.arange(16, dtype="i4").reshape(4, 4)
    expected[0:2, 0:2], expected[2:4, 2:4] = -1, -2
    assert np.array_equal(array_in(second)[:], expected)  # its own commit showed it the other's
    assert (second / "mine").read_text() == "of the first"
    until((first / "dir" / "yours").exists)
    assert np.array_equal(array_in(first)[:], expected)
    third = place(first.container)
    third.mount("r")
    assert np.array_equal(zarr.open_array(str(third / "a"), mode="r")[:], expected)
    assert third.status()["version"] == 3
    assert [mounted.umount().sidecar for mounted in two] == ["", ""]


@keeps("Metadata documents are merged by their members", "an axis that both made longer gets the longer length")
def test_growing_and_attributes_are_merged_by_key(two: tuple[Mounted, Mounted]) -> None:
    first, second = two
    for mounted, length, value in ((first, 6, 60), (second, 8, 80)):
        array = array_in(mounted)
        array.resize((length, 4))
        array[length - 2 : length] = value
        array.attrs[f"of {length}"] = value
    group = zarr.open_group(str(first.mountpoint), mode="a")
    group.attrs["title"] = "both"
    commit(first)
    commit(second)
    until(lambda: array_in(first).shape == (8, 4))
    for mounted in two:
        array = array_in(mounted)
        assert dict(array.attrs) == {"units": "m", "of 6": 60, "of 8": 80}
        assert array[:, 0].tolist() == [0, 4, 8, 12, 60, 60, 80, 80]
        assert zarr.open_group(str(mounted.mountpoint), mode="r").attrs["title"] == "both"


@keeps(
    "what both changed to different ends is an overlap: the commit fails with EBUSY and names it",
    "the mount goes on showing its own version, and its work stays in its journal",
)
def test_an_overlap_is_refused_and_the_work_is_kept(two: tuple[Mounted, Mounted]) -> None:
    first, second = two
    (first / "note").write_text("of the first")
    array_in(first)[0:2, 0:2] = -1
    (second / "note").write_text("of the second")
    array_in(second)[0:2, 0:2] = -2
    (second / "other").write_text("kept, too")
    commit(first)
    for _ in range(2):
        with refused(errno.EBUSY):
            commit(second)
    assert (second / "note").read_text() == "of the second"
    (second / "later").write_text("goes on")
    warnings = second.status()["warnings"]
    assert isinstance(warnings, list)
    assert "'a' chunk (0, 0)" in warnings[-1]
    assert "'.arrayfs/files/note': changed here and there" in warnings[-1]
    with pytest.raises(MountError, match=r"ConflictError: .*stays in its journal; .*`arrayfs journal` settles it"):
        second.umount()
    # the next open for writing cannot settle it either, and says so
    tree = open_writable_tree(str(first.container))
    assert any("both changed" in warning and "it is kept" in warning for warning in tree.warnings)
    tree.close()
    with Container.open(str(first.container)) as container:
        (journal,) = find_journals(container.store, container.names)
    # whoever decides that it wins loses nothing of it
    tree = open_writable_tree(str(first.container), options=ContainerOptions(on_conflict="ours"))
    assert any(f"{journal.name}:" in warning and "committed as t.3.af" in warning for warning in tree.warnings)
    tree.close()
    until((first / "later").exists)
    assert (first / "note").read_text() == "of the second"
    assert (first / "other").read_text() == "kept, too"
    assert array_in(first)[0, 0] == -2


@keeps("A file that somebody is writing counts as changed")
def test_a_file_that_is_being_written_is_not_replaced_under_its_writer(two: tuple[Mounted, Mounted]) -> None:
    first, second = two
    with opened(second / "note", os.O_WRONLY) as file:
        os.pwrite(file, b"half", 0)
        (second / "else").write_text("x")
        (first / "note").write_text("of the first")
        commit(first)
        with refused(errno.EBUSY):
            commit(second)
        os.pwrite(file, b"whole", 0)
    assert (second / "note").read_text() == "whole was"
    with pytest.raises(MountError, match=r"'\.arrayfs/files/note'"):
        second.umount()


@keeps(
    "A mount that has nothing uncommitted looks every second (--refresh) for what others committed",
    "A file that is open keeps the content that it had",
)
def test_a_reader_follows_and_its_open_files_stay_what_they_were(
    two: tuple[Mounted, Mounted], place: Callable[..., Mounted]
) -> None:
    writer, _ = two
    reader = place(writer.container)
    reader.mount("r")
    chunk, note = reader / "a/c/0/0", reader / "note"
    old_chunk, known = chunk.read_bytes(), (reader / "a/c/1/1").stat()
    assert sorted(path.name for path in reader.mountpoint.iterdir()) == ["a", "note"]
    with opened(chunk, os.O_RDONLY) as one, opened(note, os.O_RDONLY) as other:
        assert os.pread(one, 4, 0) == old_chunk[:4]
        array_in(writer)[0:2, 0:2] = -1
        (writer / "note").write_text("something longer than it was")
        (writer / "new").mkdir()
        (writer / "a/c/1/0").unlink()
        commit(writer)
        until((reader / "new").exists)
        assert os.pread(one, 100, 0) == old_chunk
        assert os.pread(other, 100, 0) == b"as it was"
        assert (os.fstat(one).st_size, os.fstat(other).st_size) == (16, 9)
        until(lambda: chunk.read_bytes() == b"\xff" * 16)  # the kernel is told just after the tree
        until(lambda: note.read_text() == "something longer than it was")
        assert chunk.stat().st_ino != os.fstat(one).st_ino
    until(lambda: not (reader / "a/c/1/0").exists())
    assert sorted(os.listdir(reader / "a/c/1")) == ["1"]
    assert (reader / "a/c/1/1").stat() == known
    (writer / "note").unlink()
    (writer / "a/zarr.json").unlink()
    for path in sorted((writer / "a").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (writer / "a").rmdir()
    commit(writer)
    until(lambda: sorted(os.listdir(reader.mountpoint)) == ["new"])
    until(lambda: not note.exists())
    until(lambda: not chunk.exists())


def test_processes_without_a_mount_and_mounts_write_one_dataset(two: tuple[Mounted, Mounted]) -> None:
    """xarray appends in one mount while another adds variables."""
    first, second = two
    part = xarray.Dataset({"t": (("time", "x"), np.ones((2, 3)))}, {"time": [0, 1]})
    part.to_zarr(first / "set", mode="w", consolidated=False)
    commit(first)
    until((second / "set").exists)
    part.assign_coords(time=[2, 3]).to_zarr(first / "set", append_dim="time", consolidated=False)
    xarray.Dataset({"u": (("x",), np.arange(3.0))}).to_zarr(second / "set", mode="a", consolidated=False)
    commit(second)
    commit(first)
    both = xarray.open_zarr(first / "set", consolidated=False).load()
    assert both.time.values.tolist() == [0, 1, 2, 3]
    assert both.u.values.tolist() == [0, 1, 2]


def test_a_dead_writers_journal_is_carried_over(two: tuple[Mounted, Mounted], tmp_path: Path) -> None:
    """What it did is done again on the version that it was done on, and lands on the newest."""
    first, second = two
    array_in(second)[2:4, 2:4] = -2
    (second / "kept").write_text("by the journal")
    image = tmp_path / "image"
    image.mkdir()
    (first / "more").write_text("x")
    array_in(first)[0:2, 0:2] = -1
    commit(first)
    for path in first.container.parent.iterdir():
        if not path.name.endswith(".lock"):
            (image / path.name).write_bytes(path.read_bytes())
    tree = open_writable_tree(str(image / "t.af"))
    assert any("committed as t.3.af" in warning for warning in tree.warnings), tree.warnings
    tree.close()
    with Container.open(str(image / "t.af")) as container:
        chunks = container.get("a")
        assert bytes(container.read(chunks, (0, 0)) or b"") == b"\xff" * 16
        assert bytes(container.read(chunks, (1, 1)) or b"") == b"\xfe\xff\xff\xff" * 4
        assert ".arrayfs/files/kept" in container
        assert ".arrayfs/files/more" in container
