"""One array as it now is: what the layers say of it, and the changes that the pool holds.

Knows stored chunks only: clipped, in the container's bytes. What a chunk looks like as a file is `view/chunks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.grid import Coord, Grid, grid_of
from arrayfs.container.index import FEW, ChunkIndex, ChunkRef, build_index
from arrayfs.container.large import OWN_BLOCK_SIZE, ReadRange, Spilled
from arrayfs.container.layer import Layer
from arrayfs.container.part import LayerPart
from arrayfs.container.stack import Span, attributes_of
from arrayfs.errors import FormatError, LimitError
from arrayfs.format.chunkdata import check_size, recut, stored_size
from arrayfs.format.model import AttributeValue, DType, FillValue


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """What defines an array: element type, shape and chunk shape (elements), dimension names, fill value."""

    dtype: DType
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dimension_names: tuple[str, ...] = ()
    fill_value: FillValue | None = None

    def continues(self, older: ArraySpec) -> bool:
        """Whether chunks stored under `older` still mean something under this."""
        return (self.dtype, len(self.shape), self.chunk_shape) == (older.dtype, len(older.shape), older.chunk_shape)


class PackedRef(NamedTuple):
    """A changed chunk that lies in a block of the part already."""

    part: LayerPart
    row: int
    offset: int
    size: int


class Change(NamedTuple):
    """What the pool says of one chunk. content: stored bytes, where they were packed, or None: removed."""

    content: bytes | memoryview | Spilled | PackedRef | None
    mtime_ns: int


# A chunk's stored bytes, where they lie, or None: there is no such chunk.
Found = bytes | memoryview | Spilled | PackedRef | ChunkRef | None


class Array:
    """One array: spec, attributes, and its chunks as index (committed) plus changes (not yet).

    origin: the name in the stack whose span the index was built from, None for an array that no layer has. edits: how
    often its elements may have changed, in this process; packing and committing do not count.
    Invariants: a coordinate in `changes` hides the index; all coordinates are inside the grid; `cut` holds coordinates
    that a layer has and a shrink took away since the last commit.
    """

    __slots__ = (
        "__weakref__", "_attributes", "_edited_ns", "_index", "_whole_size", "changes", "cut", "edits", "grid",
        "meta_changed", "name", "origin", "span", "spec",
    )  # fmt: skip

    def __init__(
        self, name: str, spec: ArraySpec, span: Span = (), attributes: dict[str, AttributeValue] | None = None
    ) -> None:
        self.name = name
        self.spec = spec
        self.grid = grid_of(spec.shape, spec.chunk_shape)
        self.span = span
        self.origin = name if span else None
        self.changes: dict[Coord, Change] = {}
        self.cut: set[Coord] = set()
        self.meta_changed = not span
        self.edits = 0
        self._edited_ns: int | None = None
        self._attributes = attributes
        self._index: ChunkIndex | None = None
        self._whole_size = stored_size(spec.dtype, spec.chunk_shape)

    @staticmethod
    def committed(name: str, span: Span) -> Array:
        """An array as the layers have it. Raises FormatError if its shapes make no grid."""
        meta = span[-1].meta
        spec = ArraySpec(meta.dtype, meta.shape, meta.chunk_shape, meta.dimension_names, meta.fill_value)
        try:
            return Array(name, spec, span)
        except (FormatError, LimitError) as error:
            raise FormatError(f"{span[-1].layer.name}: array {name!r}: {error}") from None

    @property
    def index(self) -> ChunkIndex:
        """Its committed chunks; built when first asked for."""
        if self._index is None:
            if self.span:
                self._index = build_index(self.span).without(self.cut).regrid(self.grid)
            else:
                none = np.zeros(0, np.uint32)
                self._index = ChunkIndex(self.grid, (), np.zeros(0, np.uint64), none, none)
        return self._index

    @property
    def attributes(self) -> dict[str, AttributeValue]:
        """All its attributes, in order. Change them through `set_attributes`."""
        if self._attributes is None:
            self._attributes = attributes_of(self.span) if self.span else {}
        return self._attributes

    @property
    def dirty(self) -> bool:
        """Whether a commit would have to write something of it."""
        return bool(self.changes or self.cut or self.meta_changed or self.name != self.origin)

    @property
    def edited_ns(self) -> int:
        """When its elements, or what the newest layer says of it, changed last, in ns; 0 if that is not known."""
        if self._edited_ns is None:
            layer, position = self.span[-1] if self.span else (None, 0)
            times = None if layer is None else layer.chunk_mtimes(position)
            newest = 0 if layer is None else layer.time_ns
            self._edited_ns = newest if times is None or not len(times) else int(times.max())
        return self._edited_ns

    def edited(self, time_ns: int | None) -> None:
        """Its elements change. time_ns: when; None: when its newest layer says."""
        self._edited_ns = None if time_ns is None else max(time_ns, self.edited_ns)
        self.edits += 1

    def set_attributes(self, attributes: dict[str, AttributeValue]) -> None:
        """Replace all attributes."""
        # their order is no change: the format sorts them (its chapter 4)
        self.meta_changed |= attributes != self.attributes
        self._attributes = attributes

    # --- chunks -----------------------------------------------------------------------------------------------------

    def find(self, coord: Coord) -> Found:
        """The chunk's stored bytes or where they lie; None if there is no such chunk."""
        change = self.changes.get(coord)
        if change is not None:
            return change.content
        return self.index.find(coord)

    def has(self, coord: Coord) -> bool:
        """Whether there is such a chunk, be it a damaged one."""
        change = self.changes.get(coord)
        return self.index.place(coord) is not None if change is None else change.content is not None

    def stored_size(self, coord: Coord) -> int | None:
        """Bytes of the stored chunk, None if there is none."""
        change = self.changes.get(coord)
        if change is None:
            place = self.index.place(coord)
            return None if place is None else self.index.size(place)
        if change.content is None:
            return None
        return change.content.size if isinstance(change.content, PackedRef) else len(change.content)

    def describe(self, coord: Coord) -> tuple[int, int, int]:
        """Of a chunk: its stored bytes, what it takes in the container, when it was written; zeros if there is none."""
        change = self.changes.get(coord)
        if change is None:
            place = self.index.place(coord)
            return (0, 0, 0) if place is None else self.index.describe(place)
        content = change.content
        if isinstance(content, PackedRef):
            return content.size, share(content), change.mtime_ns
        size = 0 if content is None else len(content)
        return size, size, change.mtime_ns

    def stored_bytes(self) -> int:
        """Bytes that all chunks take in the container, each its share of its compressed block."""
        index = self.index
        if len(index) <= FEW:
            total = sum(index.describe(place)[1] for place in range(len(index)))
        else:
            total = int(index.stored_shares(0, len(index)).sum())
        for coord, change in self.changes.items():
            place = index.place(coord)
            if place is not None:
                total -= int(index.stored_shares(place, place + 1)[0])
            content = change.content
            total += 0 if content is None else share(content) if isinstance(content, PackedRef) else len(content)
        return total

    def read(self, coord: Coord, cache: BlockCache) -> bytes | memoryview | None:
        """The stored bytes of a chunk, None if there is none.

        Raises FormatError, naming file, array and chunk, if they cannot be had or do not fit the chunk's extent.
        """
        return self.fetch(self.find(coord), coord, self.grid, cache)

    def fetch(
        self, found: Found, coord: Coord, grid: Grid, cache: BlockCache, *, keep: bool = True
    ) -> bytes | memoryview | None:
        """`read` of what was found for a chunk under `grid`, which the array need not have any more.

        keep: in the cache, what has to be read from a layer.
        """
        if not isinstance(found, tuple):
            return found.whole() if isinstance(found, Spilled) else found
        try:
            data = read_ref(found, cache, keep=keep)
            extent = grid.extent(coord)
            if len(data) != self._whole_size or extent != self.spec.chunk_shape:
                check_size(self.spec.dtype, extent, len(data))
        except FormatError as error:
            file = found[0].name
            raise type(error)(f"{file}: array {self.name!r}: chunk {coord}: {error}") from None
        return data

    def ranges(self, found: Found, coord: Coord, cache: BlockCache) -> ReadRange | None:
        """Reads ranges of what was found for a chunk, if it is large and lies where that can be done; else None."""
        if isinstance(found, Spilled):
            return found.read
        if not isinstance(found, tuple) or not found[0].is_large(found.row):
            return None
        return partial(self._read_range, found, coord, cache)

    def _read_range(
        self, ref: PackedRef | ChunkRef, coord: Coord, cache: BlockCache, offset: int, size: int
    ) -> bytes | memoryview:
        source: LayerPart | Layer = ref[0]
        try:
            check_place(ref)
            return source.read_range(ref.row, ref.offset + offset, max(0, min(size, ref.size - offset)), cache)
        except FormatError as error:
            raise type(error)(f"{source.name}: array {self.name!r}: chunk {coord}: {error}") from None

    def mtime_ns(self, coord: Coord) -> int:
        """When the chunk was last written, ns; 0 if there is none."""
        change = self.changes.get(coord)
        if change is not None:
            return change.mtime_ns
        found = self.index.place(coord)
        return 0 if found is None else self.index.mtime_ns(found)

    def coords(self, prefix: Coord = ()) -> NDArray[np.uint32]:
        """Coordinates of all chunks that begin with `prefix`, (n, rank), in C order."""
        low, high = self.index.slice(prefix)
        keys = self.index.keys[low:high]
        if self.changes:
            mine = [(self.grid.key(c), c) for c in self.changes if c[: len(prefix)] == prefix]
            touched = np.array([key for key, _ in mine], np.uint64)
            there = np.array([key for key, c in mine if self.changes[c].content is not None], np.uint64)
            keys = np.union1d(np.setdiff1d(keys, touched, assume_unique=True), there)
        return self.grid.coords(keys)

    # --- changes: the pool calls these and keeps count of the bytes ---------------------------------------------------

    def put(self, coord: Coord, change: Change) -> Change | None:
        """Set what the pool says of a chunk; returns what it said before."""
        old = self.changes.pop(coord, None)
        if change.content is not None or self.index.place(coord) is not None:
            self.changes[coord] = change
        return old

    def set_mtime(self, coord: Coord, mtime_ns: int) -> None:
        """Set when a changed chunk was written; that of a committed one is not kept."""
        change = self.changes.get(coord)
        if change is not None:
            self.changes[coord] = change._replace(mtime_ns=mtime_ns)

    def reshape(self, spec: ArraySpec, mtime_ns: int, cache: BlockCache) -> Iterator[tuple[Coord, Change]]:
        """Take a spec that continues this one; yields the changes that chunks at the old and new edges need.

        What lies outside the new shape is gone, also after growing again.
        """
        old, new = self.grid, Grid(spec.shape, spec.chunk_shape)
        refilled = spec.fill_value != self.spec.fill_value
        if old != new or refilled:
            self.edited(mtime_ns)
            edges = self._edge_chunks(new)
            shadows = self._shadows(new, refilled=refilled)
            recuts = [
                (c, recut(spec.dtype, spec.fill_value, self._must_read(c, cache), old.extent(c), new.extent(c)))
                for c in edges
            ]
            self._cut_to(new)
            self.cut.update(shadows)
            yield from ((c, Change(data, mtime_ns)) for c, data in recuts)
        if spec != self.spec:
            self.spec = spec
            self.meta_changed = True

    def _must_read(self, coord: Coord, cache: BlockCache) -> bytes | memoryview:
        data = self.read(coord, cache)
        return b"" if data is None else data

    def _edge_chunks(self, new: Grid) -> list[Coord]:
        """Chunks inside both grids whose extent is another in the new one: those on a face that moved."""
        return [tuple(c) for c in _moved(self.coords(), self.grid, new).tolist()]

    def _shadows(self, new: Grid, *, refilled: bool) -> set[Coord]:
        """Coordinates that the layers have an entry for and that are no chunks (holes, cut off before), where the new
        grid has them with another extent, or (`refilled`) at all: the crate needs new holes there.
        """
        shadows: set[Coord] = set()
        for entry in self.span:
            coords = entry.meta.chunks.coords
            needed = _inside(coords, new) if refilled else _moved(coords, self.grid, new)
            shadows.update(tuple(c) for c in needed.tolist())
        return {coord for coord in shadows if not self.has(coord)}

    def _cut_to(self, new: Grid) -> None:
        index = self.index
        smaller = index.regrid(new)
        if len(smaller) != len(index):
            gone = np.setdiff1d(np.arange(len(index)), _places_kept(index, new), assume_unique=True)
            self.cut.update(tuple(c) for c in index.grid.coords(index.keys[gone]).tolist())
        self.cut.update(c for c in self.changes if c not in new and index.place(c) is not None)
        self.changes = {c: change for c, change in self.changes.items() if c in new}
        self.grid, self._index = new, smaller

    # --- after a commit -----------------------------------------------------------------------------------------------

    def follow(self, span: Span) -> None:
        """Be what another span says, with no changes of its own."""
        if self.dirty:
            self._index = None  # what a shrink took out of it has to come back
        meta = span[-1].meta
        self.settle(self.name, span)
        self.edited(None)
        self.spec = ArraySpec(meta.dtype, meta.shape, meta.chunk_shape, meta.dimension_names, meta.fill_value)
        self.grid = Grid(meta.shape, meta.chunk_shape)
        self._whole_size = stored_size(meta.dtype, meta.chunk_shape)
        self._attributes = None

    def rebase(self, span: Span) -> None:
        """Look at a span that says the same in other files; what was changed stays changed."""
        self.span, self._index = span, None

    def settle(self, name: str, span: Span) -> None:
        """The pool's word has become the layers': forget the changes, look at the span from now on."""
        old, grew_by_one = self._index, len(span) == len(self.span) + 1 and span[-2:-1] == self.span[-1:]
        self.name, self.origin, self.span = name, name, span
        self.changes, self.cut, self.meta_changed = {}, set(), False
        # one merge instead of a sort over all chunks: a commit costs what changed
        self._index = old.push(span) if old is not None and grew_by_one and len(span) > 1 else None


def _inside(coords: NDArray[np.uint32], grid: Grid) -> NDArray[np.uint32]:
    return coords[(coords < np.array(grid.counts, np.int64)).all(axis=1)]


def _moved(coords: NDArray[np.uint32], old: Grid, new: Grid) -> NDArray[np.uint32]:
    """Those coordinates that the new grid has, and whose extent was another in the old one, or nothing."""
    moved = np.zeros(len(coords), np.bool_)
    inside = np.ones(len(coords), np.bool_)
    for axis, (before, after, chunk) in enumerate(zip(old.shape, new.shape, old.chunk_shape, strict=True)):
        if before != after:
            first = coords[:, axis].astype(np.int64) * chunk
            moved |= np.minimum(chunk, before - first) != np.minimum(chunk, after - first)
            inside &= first < after
    return coords[moved & inside]


def _places_kept(index: ChunkIndex, new: Grid) -> NDArray[np.intp]:
    coords = index.grid.coords(index.keys)
    inside = np.ones(len(coords), np.bool_)
    for axis, count in enumerate(new.counts):
        inside &= coords[:, axis] < count
    return np.flatnonzero(inside)


def read_ref(ref: PackedRef | ChunkRef, cache: BlockCache, *, keep: bool = True) -> memoryview:
    """The stored bytes of a chunk out of its block. Raises FormatError if the block ends before the chunk."""
    source: LayerPart | Layer
    source, row, offset, size = ref
    block = source.read_block(row, cache, keep=keep)
    if offset + size > len(block):
        check_place(ref)
    return block[offset : offset + size]


def is_plain(ref: ChunkRef) -> bool:
    """Whether a chunk is a block by itself, not compressed and not small: whoever wants all of it has it read again as
    fast as new memory could be had to keep it in (scripts/bench --store).
    """
    layer, row, _, size = ref
    return size >= OWN_BLOCK_SIZE and layer.block_size(row) == size and layer.codec(row) is None


def check_place(ref: PackedRef | ChunkRef) -> None:
    """Raise FormatError if a chunk's block ends before the chunk."""
    source: LayerPart | Layer = ref[0]
    size = source.block_size(ref.row)
    if ref.offset + ref.size > size:
        raise FormatError(f"bytes {ref.offset} to {ref.offset + ref.size} of a block of {size}")


def share(ref: PackedRef | ChunkRef) -> int:
    """The part of its compressed block that a chunk takes, in bytes."""
    source: LayerPart | Layer = ref[0]
    whole = source.block_size(ref.row)
    return source.stored_size(ref.row) * ref.size // whole if whole else 0


def source_name(ref: PackedRef | ChunkRef) -> str:
    """The file that a reference points into."""
    source: LayerPart | Layer = ref[0]
    return source.name
