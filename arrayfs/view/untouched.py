"""Chunks that nobody has touched, the short way: what most look-ups and opens of a mount are about.

What a name or a number stands for is decided in `finding.py`, for all nodes. Of a committed chunk that is no object the
same answer is a few sums, and these are all that is here. None always means "ask there". The caller holds the
container's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.view.arrays import STAT_BLOCK
from arrayfs.view.attr import Attr
from arrayfs.view.metadata import chunk_number
from arrayfs.view.nodes import FILE_MODE, Directory
from arrayfs.view.readers import ChunkReader

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


def attr_of(directory: Directory, name: str) -> Attr | None:
    """What stat says of the chunk that a name in a chunk directory spells."""
    zarr = directory.owner
    if zarr is None or not directory.loaded or name in directory.children:
        return None
    line, number = zarr.line(directory.components), chunk_number(name)
    if line is None or number is None or number >= line.length or zarr.inner:
        return None
    array, coord, key = zarr.array, (*line.leading, number), line.first + number
    index = array.index
    place = index.at(key)
    if place is None or coord in zarr.files or coord in array.changes:
        return None
    stored, taken, mtime_ns = index.describe(place)
    size = zarr.chunks.size
    if size is None:
        size = zarr.chunks.file_size(stored, index.grid.extent(coord))
    return Attr(zarr.inodes.chunks + key, FILE_MODE, size, -(-taken // STAT_BLOCK), mtime_ns)


def reader_of(tree: Tree, ino: int) -> ChunkReader | None:
    """A handle that reads the chunk of this number."""
    numbers = tree.numbers.find_range(ino)
    if numbers is None or ino < numbers.chunks or ino in tree.nodes:
        return None
    zarr = numbers.zarr
    coord = numbers.prefix(ino)
    reader = zarr.readers.get(coord)
    if reader is not None:
        if reader.ino != ino:
            return None
        reader.opens += 1
        return reader
    array = zarr.array
    if coord in zarr.files or (array.changes and zarr.stored(coord) in array.changes) or zarr.inodes is not numbers:
        return None
    place = array.index.at(ino - numbers.chunks)
    return None if place is None else ChunkReader(tree, ino, zarr, coord, place)
