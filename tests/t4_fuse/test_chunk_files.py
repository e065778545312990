"""Chunk files on a real mount: what is a chunk, what is a plain file, and what a reader with open handles sees."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.mounts import Mounted
from tests.t0_format.golden import VECTORS
from tests.t4_fuse.documents import array2, array3, ints, put, write
from tests.t4_fuse.posix import opened, refused, run, same_trees
from tests.t4_fuse.promises import keeps


def files_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


def warnings_of(mounted: Mounted) -> list[str]:
    found: Any = mounted.status()["warnings"]
    return list(found)


@keeps("A chunk that nobody wrote, or that was removed, is no file: ENOENT, in this mount and in later ones.")
def test_chunks_come_and_go(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    for name in ("a/c/0", "a/c", "a/c/1", "a/c/2", "a/c/00", "a/c/0/0"):
        with refused(errno.ENOENT):
            os.stat(mounted / name)
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 5, 6, 7, 8)
    mounted.remount()
    assert files_below(mounted / "a") == ["c/0", "c/1", "zarr.json"]
    (mounted / "a/c/0").unlink()
    assert os.listdir(mounted / "a/c") == ["1"]
    mounted.remount()
    assert files_below(mounted / "a") == ["c/1", "zarr.json"]
    with refused(errno.ENOENT):
        os.open(mounted / "a/c/0", os.O_RDONLY)
    with refused(errno.ENOTDIR):
        os.stat(mounted / "a/c/1/0")
    put(mounted / "a/c/0", 9, 9, 9, 9)
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == ints(9, 9, 9, 9)
    assert (mounted / "a/c/1").read_bytes() == ints(5, 6, 7, 8)


@keeps(
    "What is written to the part of a chunk file that lies outside the array's shape is dropped; it reads "
    "as the fill value."
)
def test_the_edge_is_padded(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([3, 3], [2, 2], fill_value=-1))
    put(mounted / "a/c/1/1", 1, 77, 77, 77)
    assert (mounted / "a/c/1/1").read_bytes() == ints(1, -1, -1, -1)
    assert (mounted / "a/c/1/1").stat().st_size == 16
    mounted.remount()
    assert (mounted / "a/c/1/1").read_bytes() == ints(1, -1, -1, -1)


@keeps(
    "What is written to the part of a chunk file that lies outside the array's shape is dropped; it reads "
    "as the fill value."
)
def test_the_edge_is_padded_also_for_who_has_read_it_before(mounted: Mounted) -> None:
    put(mounted / "a/c/0", 1, 77, 77, 77)
    assert (mounted / "a/c/0").read_bytes() == ints(1, 77, 77, 77)
    write(mounted / "a/zarr.json", array3([1], [4]))
    becomes(mounted / "a/c/0", ints(1, 0, 0, 0))
    with open(mounted / "a/c/0", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[:] = ints(2, 88, 88, 88)
        assert mapping[:] == ints(2, 88, 88, 88)
    becomes(mounted / "a/c/0", ints(2, 0, 0, 0))


def becomes(path: Path, content: bytes) -> None:
    """The kernel is told a moment later that what it keeps of the file is not what the file is."""
    deadline = time.monotonic() + 10
    while path.read_bytes() != content:
        assert time.monotonic() < deadline, path.read_bytes()
        os.sched_yield()


@keeps(
    "A file with the name of a chunk and another length is kept as a plain file, reported in "
    ".arrayfs/status.json, and becomes a chunk when it is written with the right length."
)
def test_a_chunk_of_a_wrong_length(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    mounted.remount()
    (mounted / "a/c/0").write_bytes(b"short")
    assert (mounted / "a/c/0").read_bytes() == b"short"
    assert any("a/c/0" in warning for warning in warnings_of(mounted))
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == b"short"
    assert os.listdir(mounted / "a/c") == ["0"]
    put(mounted / "a/c/0", 4, 3, 2, 1)
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == ints(4, 3, 2, 1)
    assert not warnings_of(mounted)


@keeps(
    "A chunk that is being written is judged when it is closed, not before: until then its old content is "
    "what a commit takes."
)
def test_a_half_written_chunk(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([4], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    mounted.remount()
    with opened(mounted / "a/c/0", os.O_WRONLY | os.O_TRUNC) as fd:
        os.write(fd, ints(9, 9))
        os.close(os.dup(fd))  # what a child of fork does: FLUSH comes, half way through
        (mounted / ".arrayfs/commit").write_text("in between")
        copy = shutil.copytree(mounted.container.parent, mounted.container.parent.parent / "copy")
        os.write(fd, ints(9, 9))
    assert (mounted / "a/c/0").read_bytes() == ints(9, 9, 9, 9)
    mounted.umount()
    mounted.container = copy / "t.af"
    mounted.mount("r")
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)


@keeps("Writes of parts of one chunk through several handles merge; none loses another's bytes.")
def test_partial_writes_merge(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([4], [4]))
    put(mounted / "a/c/0", 0, 0, 0, 0)
    mounted.remount()
    with opened(mounted / "a/c/0", os.O_WRONLY) as one, opened(mounted / "a/c/0", os.O_WRONLY) as two:
        os.pwrite(one, ints(1), 0)
        os.pwrite(two, ints(4), 12)
        os.pwrite(one, ints(2), 4)
    with open(mounted / "a/c/0", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[8:12] = ints(3)
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)


@keeps(
    "A file renamed over a chunk is the chunk from then on; handles that are open on the old one keep its "
    "content, and the new one has another inode number."
)
def test_renaming_over_a_chunk(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([4], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    mounted.remount()
    before = (mounted / "a/c/0").stat().st_ino
    with opened(mounted / "a/c/0", os.O_RDONLY) as fd:
        put(mounted / "a/c/0.tmp", 5, 6, 7, 8)
        os.rename(mounted / "a/c/0.tmp", mounted / "a/c/0")
        assert os.pread(fd, 100, 0) == ints(1, 2, 3, 4)
        assert os.fstat(fd).st_ino == before
    assert (mounted / "a/c/0").read_bytes() == ints(5, 6, 7, 8)
    assert (mounted / "a/c/0").stat().st_ino != before
    assert os.listdir(mounted / "a/c") == ["0"]
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == ints(5, 6, 7, 8)


@keeps("A file renamed over a chunk is the chunk from then on")
def test_renaming_chunks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([12], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 5, 6, 7, 8)
    mounted.remount()
    os.rename(mounted / "a/c/0", mounted / "a/c/1")
    os.rename(mounted / "a/c/1", mounted / "a/c/2")
    os.rename(mounted / "a/c/2", mounted / "outside")
    assert os.listdir(mounted / "a/c") == []
    assert (mounted / "outside").read_bytes() == ints(1, 2, 3, 4)
    os.rename(mounted / "outside", mounted / "a/c/0")
    mounted.remount()
    assert files_below(mounted / "a") == ["c/0", "zarr.json"]
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)


@keeps(
    "Chunks may come before their document, in the same mount or in an earlier one; they are plain files until then."
)
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("version", [3, 2])
def test_chunks_before_their_document(mounted: Mounted, between: bool, version: int) -> None:
    first, wrong = ("a/c/0/0", "a/c/0/1") if version == 3 else ("a/0.0", "a/0.1")
    put(mounted / first, 1, 2, 3, 4)
    put(mounted / wrong, 1, 2, 3)
    if between:
        mounted.remount()
    if version == 3:
        write(mounted / "a/zarr.json", array3([2, 4], [2, 2]))
    else:
        write(mounted / "a/.zarray", array2([2, 4], [2, 2]))
    assert (mounted / first).read_bytes() == ints(1, 2, 3, 4)
    assert (mounted / wrong).read_bytes() == ints(1, 2, 3)
    assert any(wrong in warning for warning in warnings_of(mounted))
    mounted.remount()
    assert (mounted / first).read_bytes() == ints(1, 2, 3, 4)
    assert (mounted / wrong).read_bytes() == ints(1, 2, 3)
    assert mounted.status()["arrays"] == 3  # the array, its document, and the file of a wrong length


@keeps("Names that no chunk of the array can have are plain files.")
def test_other_names_beside_chunks(mounted: Mounted) -> None:
    write(mounted / "a/.zarray", array2([8], [4]))
    names = ["a/0", "a/4913", "a/1.2", "a/00", "a/c", "a/0.__lock", "a/-1", "a/x"]
    for name in names:
        put(mounted / name, 1, 2, 3, 4)
    mounted.remount()
    assert sorted(f"a/{name}" for name in os.listdir(mounted / "a")) == sorted([*names, "a/.zarray"])
    assert all((mounted / name).read_bytes() == ints(1, 2, 3, 4) for name in names)


@keeps("A scalar's only chunk is the file c (v2: 0).")
@pytest.mark.parametrize(("version", "name"), [(3, "a/c"), (2, "a/0")])
def test_scalars(mounted: Mounted, version: int, name: str) -> None:
    write(
        mounted / ("a/zarr.json" if version == 3 else "a/.zarray"), array3([], []) if version == 3 else array2([], [])
    )
    put(mounted / name, 42)
    mounted.remount()
    assert (mounted / name).read_bytes() == ints(42)
    (mounted / name).unlink()
    mounted.remount()
    assert not (mounted / name).exists()


@keeps(
    "The time at which a chunk was written is kept, as utimensat set it for one that was written since the last commit."
)
def test_times_of_chunks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 1, 2, 3, 4)
    os.utime(mounted / "a/c/1", ns=(0, 1_000_000_007))
    shown = [(mounted / f"a/c/{n}").stat().st_mtime_ns for n in (0, 1)]
    assert shown[1] == 1_000_000_007
    mounted.remount()
    assert [(mounted / f"a/c/{n}").stat().st_mtime_ns for n in (0, 1)] == shown


@keeps("A commit changes no time and no inode number that a mount shows.")
def test_a_commit_changes_nothing_of_chunks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 1, 2, 3, 4)
    names = ["a", "a/c", "a/c/0", "a/c/1", "a/zarr.json"]

    def shown() -> list[tuple[int, int, int]]:
        found = [os.lstat(mounted / name) for name in names]
        return [(one.st_ino, one.st_mtime_ns, one.st_size) for one in found]

    with opened(mounted / "a/c/0", os.O_RDONLY) as fd:
        before = shown()
        (mounted / ".arrayfs/commit").write_text("now")
        assert shown() == before
        assert os.fstat(fd).st_ino == before[2][0]
        listed = {entry.name: entry.inode() for entry in os.scandir(mounted / "a/c")}
        assert listed == {"0": before[2][0], "1": before[3][0]}


@keeps("du shows what a chunk takes in the container.")
def test_blocks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([1 << 18], [1 << 18]))
    (mounted / "a/c").mkdir()
    (mounted / "a/c/0").write_bytes(bytes(1 << 20))
    mounted.remount()
    found = (mounted / "a/c/0").stat()
    assert found.st_size == 1 << 20
    assert 0 < found.st_blocks * 512 < 100_000


@keeps("cp, mv, tar and rm -r of whole trees work and keep every byte.")
def test_whole_arrays(mounted: Mounted, tmp_path: Path) -> None:
    write(mounted / "g/a/zarr.json", array3([40, 6], [4, 4], dimension_names=["y", "x"]))
    for row in range(10):
        for column in range(2):
            numbers = range(100 * row + column, 100 * row + column + 16)
            put(mounted / f"g/a/c/{row}/{column}", *(n if column == 0 or n % 4 < 2 else 0 for n in numbers))
    write(mounted / "g/zarr.json", {"zarr_format": 3, "node_type": "group"})
    mounted.remount()
    shutil.copytree(mounted / "g", tmp_path / "before")
    run("cp", "-a", mounted / "g", mounted / "copy")
    run("mv", mounted / "g", mounted / "moved")
    same_trees(tmp_path / "before", mounted / "moved")
    mounted.remount()
    same_trees(tmp_path / "before", mounted / "moved")
    same_trees(tmp_path / "before", mounted / "copy")
    run("mv", mounted / "moved/a", mounted / "b")
    run("rm", "-r", mounted / "copy", mounted / "moved")
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == ["b"]
    same_trees(tmp_path / "before/a", mounted / "b")
    run("mv", mounted / "b/c/3", mounted / "b/c/three")
    assert (mounted / "b/c/three/0").read_bytes() == (tmp_path / "before/a/c/3/0").read_bytes()
    run("mv", mounted / "b/c", mounted / "b/other")
    assert sorted(os.listdir(mounted / "b")) == ["other", "zarr.json"]
    mounted.remount()
    assert (mounted / "b/other/7/1").read_bytes() == (tmp_path / "before/a/c/7/1").read_bytes()
    run("mv", mounted / "b/other", mounted / "b/c")
    run("mv", mounted / "b/c/three", mounted / "b/c/3")
    same_trees(tmp_path / "before/a", mounted / "b")
    mounted.remount()
    same_trees(tmp_path / "before/a", mounted / "b")
    run("rm", "-r", mounted / "b")
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == []
    assert mounted.status()["arrays"] == 0


@keeps("Two names of one file may both be chunks, or one a chunk and one a plain file.")
def test_links_of_chunks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([12], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    mounted.remount()
    os.link(mounted / "a/c/0", mounted / "a/c/1")
    os.link(mounted / "a/c/0", mounted / "plain")
    with opened(mounted / "plain", os.O_WRONLY) as fd:
        os.pwrite(fd, ints(9), 0)
    for name in ("a/c/0", "a/c/1", "plain"):
        assert (mounted / name).read_bytes() == ints(9, 2, 3, 4)
    (mounted / "a/c/0").unlink()
    mounted.remount()
    assert files_below(mounted / "a") == ["c/1", "zarr.json"]
    for name in ("a/c/1", "plain"):
        assert (mounted / name).read_bytes() == ints(9, 2, 3, 4)


@pytest.mark.parametrize("look", [3, 2])
@pytest.mark.parametrize("case", ["v5/layers_all", "v4/ranks", "v5/dtypes", "v5/names", "v5/lists"])
def test_moving_arrays_of_the_crate(place: Callable[..., Mounted], tmp_path: Path, look: int, case: str) -> None:
    shutil.copytree(VECTORS / case, tmp_path / "copy")
    mounted = place(tmp_path / "copy" / "t.af")
    mounted.mount(look=look)
    shutil.copytree(mounted.mountpoint, tmp_path / "before")
    (mounted / "new group").mkdir()
    for name in os.listdir(mounted.mountpoint):
        if os.path.isdir(mounted / name) and name != "new group":
            os.rename(mounted / name, mounted / "new group" / name)
    for again in (False, True):
        if again:
            mounted.remount(look=look)
        for name in os.listdir(tmp_path / "before"):
            if (tmp_path / "before" / name).is_dir():
                same_trees(tmp_path / "before" / name, mounted / "new group" / name)
    names = os.listdir(mounted / "new group")
    for name in names:
        if name not in ("zarr.json", ".zgroup", ".zattrs"):
            os.rename(mounted / "new group" / name, mounted / name)
    mounted.remount(look=look)
    for name in os.listdir(tmp_path / "before"):
        if (tmp_path / "before" / name).is_dir():
            same_trees(tmp_path / "before" / name, mounted / name)
