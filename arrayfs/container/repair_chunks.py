"""The chunks of one array in a damaged container: the newest copy where it is intact, and what else there is.

A copy is intact if its block has its checksum and unpacks, and the chunk fits its extent. Nothing here writes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.cache import BlockCache
from arrayfs.container.findings import without
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.index import ChunkIndex, ChunkRef, build_index
from arrayfs.container.layer import Layer
from arrayfs.container.repair_layers import FoundLayer
from arrayfs.container.stack import Span
from arrayfs.container.verify_elements import is_settled
from arrayfs.errors import ArrayFSError, FormatError
from arrayfs.format.chunkdata import check_size, split_elements
from arrayfs.format.dtypes import element_size


@dataclass(frozen=True, slots=True)
class Copy:
    """An intact copy of a chunk: its stored bytes, when it was written, and the layer that it lies in."""

    content: bytes
    mtime_ns: int
    layer: Layer


@dataclass(frozen=True, slots=True)
class Damage:
    """The newest copy of a chunk is lost: in which file, and why. older: the newest intact copy below it, if any."""

    file: str
    why: str
    older: Copy | None = None


class ChunkReader:
    """Reads chunks out of damaged layers; remembers which blocks are damaged, for many chunks lie in one block."""

    def __init__(self, cache_size: int = 64 << 20) -> None:
        self._cache = BlockCache(cache_size)
        self._bad: dict[tuple[int, int], str] = {}
        self._last: tuple[tuple[int, int], memoryview] | None = None

    def chunks(self, array: Array, doubtful: list[FoundLayer]) -> Iterator[tuple[Coord, Copy | Damage]]:
        """Every chunk that the layers of the array's span show, and every one that a doubtful layer says is newer.

        doubtful: layers that are not in the span and have a say on it.
        """
        index = array.index
        doubted = _doubted(array, doubtful)
        below = _Below(array)
        for place in _in_block_order(index):
            key = int(index.keys[place])
            coord = index.grid.coord(key)
            file = doubted.pop(key, None)
            found = self._copy(array, index, place)
            if file is not None:
                older = found if isinstance(found, Copy) else self._older(array, below, place, coord)
                yield coord, Damage(file, "the index of this layer is doubtful", older)
            elif isinstance(found, Copy):
                yield coord, found
            else:
                yield coord, Damage(_file(index, place), found, self._older(array, below, place, coord))
        for key, file in doubted.items():
            yield index.grid.coord(key), Damage(file, "the index of this layer is doubtful")

    def _older(self, array: Array, below: _Below, place: int, coord: Coord) -> Copy | None:
        """The newest intact copy below the one at `place`; a layer in which the chunk was gone ends the search."""
        entry = int(array.index.entries[place])
        while entry:
            index = below.index(entry)
            found = None if index is None else index.place(coord)
            if index is None or found is None:
                return None
            copy = self._copy(array, index, found)
            if isinstance(copy, Copy):
                return copy
            entry = int(index.entries[found])
        return None

    def _copy(self, array: Array, index: ChunkIndex, place: int) -> Copy | str:
        """An intact copy, or why it is none."""
        try:
            ref = index.ref(place)
        except FormatError as error:
            return without(_file(index, place), error)
        block = self._block(ref)
        if isinstance(block, str):
            return block
        if ref.offset + ref.size > len(block):
            return f"bytes {ref.offset} to {ref.offset + ref.size} of a block of {len(block)}"
        content = bytes(block[ref.offset : ref.offset + ref.size])
        try:
            check_content(array, array.grid.extent(index.grid.coord(int(index.keys[place]))), content)
        except FormatError as error:
            return str(error)
        return Copy(content, index.mtime_ns(place), ref.layer)

    def _block(self, ref: ChunkRef) -> memoryview | str:
        """A block unpacked, or why it cannot be. The last one is at hand even if the cache finds it too large."""
        key = ref.layer.serial, ref.row
        known = self._bad.get(key)
        if known is not None:
            return known
        if self._last is None or self._last[0] != key:
            try:
                self._last = key, ref.layer.read_block(ref.row, self._cache)
            except (ArrayFSError, OSError) as error:
                return self._bad.setdefault(key, without(ref.layer.name, error))
        return self._last[1]


def check_content(array: Array, extent: tuple[int, ...], content: bytes) -> None:
    """Raise FormatError unless a stored chunk of these bytes can be read as this extent."""
    dtype = array.spec.dtype
    check_size(dtype, extent, len(content))
    if element_size(dtype) is None and is_settled(dtype):
        split_elements(dtype, content, math.prod(extent))


class _Below:
    """What the layers of a span show without its newest ones."""

    def __init__(self, array: Array) -> None:
        self._span = array.span
        self._grid = array.grid
        self._indices: dict[int, ChunkIndex | None] = {}

    def index(self, count: int) -> ChunkIndex | None:
        """The index of the `count` oldest entries, None if these have none."""
        if count not in self._indices:
            try:
                self._indices[count] = build_index(self._span[:count])
            except ArrayFSError:
                self._indices[count] = None
        return self._indices[count]


def _in_block_order(index: ChunkIndex) -> list[int]:
    """All places, in the order in which their chunks lie in the files, so that each block is unpacked once."""
    blocks, offsets = np.empty((2, len(index)), np.uint32)
    for number, entry in enumerate(index.span):
        mine = index.entries == number
        chunks, rows = entry.meta.chunks, index.rows[mine]
        blocks[mine], offsets[mine] = chunks.block_ids[rows], chunks.offsets[rows]
    order: list[int] = np.lexsort((offsets, blocks, index.entries)).tolist()
    return order


def _doubted(array: Array, doubtful: list[FoundLayer]) -> dict[int, str]:
    """The keys of chunks whose newest copy is, by its own word, in a doubtful layer, and that layer's file."""
    index, doubted = array.index, {}
    newest = np.array([entry.layer.number for entry in array.span], np.int64)[index.entries]
    for one in doubtful:
        for meta in one.layer.footer.arrays if one.layer is not None else ():
            if meta.name != array.name or meta.deleted or (meta.dtype, meta.chunk_shape) != _kind(array.span):
                continue
            keys = index.grid.keys(_inside(meta.chunks.coords, index.grid))
            places = np.searchsorted(index.keys, keys)
            there = places < len(index)
            there[there] = index.keys[places[there]] == keys[there]
            newer = ~there
            newer[there] = newest[places[there]] < one.number
            doubted.update(dict.fromkeys(keys[newer].tolist(), one.file))
    return doubted


def _kind(span: Span) -> tuple[object, tuple[int, ...]]:
    return span[-1].meta.dtype, span[-1].meta.chunk_shape


def _inside(coords: NDArray[np.uint32], grid: Grid) -> NDArray[np.uint32]:
    return coords[(coords < np.array(grid.counts, np.int64)).all(axis=1)]


def _file(index: ChunkIndex, place: int) -> str:
    return index.span[int(index.entries[place])].layer.name
