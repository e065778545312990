"""The short way to an untouched chunk says what the long way says, and gives way wherever that says something else."""

from __future__ import annotations

import itertools
import uuid

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.model import DType
from arrayfs.view.metadata import chunk_number
from arrayfs.view.nodes import Directory
from arrayfs.view.numbers import ROOT
from arrayfs.view.readers import ChunkReader
from arrayfs.view.tree import Tree, open_tree
from arrayfs.view.untouched import attr_of, reader_of

WRITTEN_AT = 1_600_000_000_123_456_789
SPECS = {
    "whole": ArraySpec(DType("Int16"), (6,), (2,)),
    "clipped": ArraySpec(DType("Int16"), (5, 3), (2, 2)),
    "three axes": ArraySpec(DType("Int16"), (2, 3, 5), (1, 2, 2)),
    "of other sizes": ArraySpec(DType("String"), (3, 3), (2, 1)),
}


def stored(spec: ArraySpec, extent: tuple[int, ...]) -> bytes:
    count = 1
    for length in extent:
        count *= length
    if spec.dtype.name == "String":
        return b"".join((4 * place).to_bytes(4, "little") for place in range(count + 1)) + b"text" * count
    return bytes(range(2 * count))


@pytest.fixture(params=SPECS.values(), ids=SPECS)
def tree(request: pytest.FixtureRequest) -> Tree:
    """An array `A` of all chunks but one, committed."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    with Container.open(url, "a") as container:
        array = container.define("A", request.param)
        coords = list(itertools.product(*map(range, array.grid.counts)))
        for coord in coords[:-1]:
            container.put(array, coord, stored(request.param, array.grid.extent(coord)), WRITTEN_AT)
    return open_tree(url, mode="a")


def chunk_directories(tree: Tree) -> list[Directory]:
    """Those that chunks lie right in."""
    found = tree.lookup(ROOT, "A")
    assert found is not None
    above = [tree.directory(found.ino)]
    zarr = tree.documents.zarr(above[0])
    assert zarr is not None
    for level in range(zarr.rank):
        names = ["c"] if level == 0 else map(str, range(zarr.counts[level - 1]))
        inner = [tree.find(directory, name) for directory in above for name in names]
        above = [directory for directory in inner if isinstance(directory, Directory)]
    return above


def test_both_ways_say_the_same_of_every_name_and_number(tree: Tree) -> None:
    found = 0
    for directory in chunk_directories(tree):
        for name in ("0", "1", "2", "3", "00", "x"):
            there = tree.find(directory, name)
            short = attr_of(directory, name)
            assert short == (None if there is None else tree.attr(there))
            if short is None:
                continue
            found += 1
            assert tree.getattr(short.ino) == short
            reader = reader_of(tree, short.ino)
            assert reader is not None
            assert reader_of(tree, short.ino) is reader
            assert (reader.ino, reader.size, reader.mtime_ns) == (short.ino, short.size, WRITTEN_AT)
            zarr, coord = there if isinstance(there, tuple) else (None, ())
            assert zarr is not None
            assert bytes(reader.read(0, reader.size)) == bytes(zarr.read(coord))
            reader.release()
            reader.release()
            assert not zarr.readers
    assert found > 1


def test_a_chunk_that_was_touched_is_left_to_the_long_way(tree: Tree) -> None:
    directory = chunk_directories(tree)[0]
    before = attr_of(directory, "0")
    assert before is not None
    handle = tree.open(before.ino, write=True, truncate=False)
    assert attr_of(directory, "0") is None
    assert reader_of(tree, before.ino) is None
    content = bytes(handle.read(0, before.size))
    handle.write(0, content)
    handle.release()
    assert attr_of(directory, "0") is None
    assert tree.lookup(directory.ino, "0") == before._replace(mtime_ns=tree.getattr(before.ino).mtime_ns)
    again = tree.open(before.ino, write=False, truncate=False)
    assert not isinstance(again, ChunkReader)
    assert bytes(again.read(0, before.size)) == content
    again.release()
    tree.unlink(directory.ino, "0")
    assert attr_of(directory, "0") is None
    assert reader_of(tree, before.ino) is None
    assert tree.lookup(directory.ino, "0") is None


@pytest.mark.parametrize(
    ("name", "number"),
    [("0", 0), ("7", 7), ("10", 10), ("4294967295", (1 << 32) - 1), ("4294967296", None), ("00000000001", None)]
    + [(name, None) for name in ("", "00", "07", "-1", "+1", " 1", "1_0", "1.0", "٣", "²", "c", "99999999999")],
)
def test_a_number_is_spelled_in_one_way(name: str, number: int | None) -> None:
    assert chunk_number(name) == number
