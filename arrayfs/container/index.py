"""Where each committed chunk of one array lies: big sorted columns that never change.

Finding a chunk costs a bisection, whatever the number of chunks or layers; an index never changes, so a reader may keep
one while others are made from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.columns import numbers
from arrayfs.container.grid import Coord, Grid, grid_of
from arrayfs.container.layer import Layer
from arrayfs.errors import FormatError
from arrayfs.format.model import ArrayMeta, ChunkTable

Keys = NDArray[np.uint64]
Places = NDArray[np.uint32]
Chosen = NDArray[np.intp] | slice
ALL = slice(None)
# So many chunks are looked at one by one in less time than numpy takes to begin.
FEW = 8
# A table may say any size of a block; what is shown of it has to fit a signed number of 64 bits.
_MOST_TAKEN = 1 << 62


class SpanEntry(NamedTuple):
    """One layer's word on an array: `meta` is an entry of `layer`'s array list, at place `position`."""

    layer: Layer
    position: int

    @property
    def meta(self) -> ArrayMeta:
        """The entry itself."""
        return self.layer.footer.arrays[self.position]


class ChunkRef(NamedTuple):
    """Where a stored chunk lies: bytes [offset, offset + size) of block `row` of `layer`, unpacked."""

    layer: Layer
    row: int
    offset: int
    size: int


class _Columns(NamedTuple):
    """The chunk table of one span entry, for one row at a time. times: None if all chunks have the layer's."""

    layer: Layer
    block_ids: Sequence[int]
    offsets: Sequence[int]
    sizes: Sequence[int]
    times: Sequence[int] | None

    @staticmethod
    def of(entry: SpanEntry) -> _Columns:
        chunks, times = entry.meta.chunks, entry.layer.chunk_mtimes(entry.position)
        columns = numbers(chunks.block_ids), numbers(chunks.offsets), numbers(chunks.sizes)
        return _Columns(entry.layer, *columns, None if times is None else numbers(times))


class ChunkIndex:
    """The chunks of one array that the layers have, by key.

    Invariants
    - `keys` is strictly increasing; `entries[i]` and `rows[i]` say which span entry and which row of its chunk table
      key i stands in.
    - Holes are not in the index, nor is what lay outside the shape in any layer at or above the one that wrote it.
    - `_start` is the first key if the keys have no gaps, else None: then a chunk is found by subtraction.
    - `_last` is a coordinate and its place: one file's requests ask for one chunk again and again.
    - `_columns[number]` are those of `span[number]`, made when first asked for: there may be ten thousand.
    """

    __slots__ = (
        "_columns", "_entry_view", "_key_view", "_last", "_row_view", "_start", "entries", "grid", "keys", "rows",
        "span",
    )  # fmt: skip

    def __init__(self, grid: Grid, span: Sequence[SpanEntry], keys: Keys, entries: Places, rows: Places) -> None:
        self.grid = grid
        self.span = span
        self.keys, self.entries, self.rows = keys, entries, rows
        # memoryviews give Python numbers at a third of the price of numpy's
        self._key_view, self._entry_view, self._row_view = keys.data, entries.data, rows.data
        self._start = int(keys[0]) if len(keys) and int(keys[-1] - keys[0]) == len(keys) - 1 else None
        self._columns: dict[int, _Columns] = {}
        self._last: tuple[Coord | None, int | None] = (None, None)

    def __len__(self) -> int:
        return len(self.keys)

    def find(self, coord: Coord) -> ChunkRef | None:
        """Where a chunk is, or None if no layer has it. Raises FormatError if its entry names no block."""
        place = self.place(coord)
        return None if place is None else self.ref(place)

    def place(self, coord: Coord) -> int | None:
        """The place of a chunk in the sorted columns, or None if no layer has it."""
        last, place = self._last
        if coord != last:
            place = self._search(coord)
            self._last = coord, place
        return place

    def _search(self, coord: Coord) -> int | None:
        key = self.grid.key_inside(coord)
        return None if key is None else self.at(key)

    def at(self, key: int) -> int | None:
        """The place of the chunk with this key, or None if no layer has it."""
        start = self._start
        if start is not None:
            place = key - start
            return place if 0 <= place < len(self._key_view) else None
        place = bisect_left(self._key_view, key)
        if place == len(self._key_view) or self._key_view[place] != key:
            return None
        return place

    def _table(self, place: int) -> _Columns:
        """The chunk table that the chunk at `place` stands in."""
        number = self._entry_view[place]
        found = self._columns.get(number)
        if found is None:
            found = self._columns[number] = _Columns.of(self.span[number])
        return found

    def ref(self, place: int) -> ChunkRef:
        """Where the chunk at `place` of the sorted columns lies."""
        layer, block_ids, offsets, sizes, _ = self._table(place)
        row = self._row_view[place]
        block_id = block_ids[row]
        block_row = layer.block_row(block_id)
        if block_row < 0:
            entry = self.span[self._entry_view[place]]
            coord = self.grid.coord(self._key_view[place])
            raise FormatError(
                f"{entry.layer.name}: array {entry.meta.name!r}: chunk {coord}: in block {block_id}, which is not there"
            )
        return ChunkRef(layer, block_row, offsets[row], sizes[row])

    def refs(self, keys: Keys) -> list[ChunkRef | None]:
        """`find` for a column of keys. Raises FormatError as `ref` does."""
        places = np.searchsorted(self.keys, keys)
        there = np.flatnonzero(places < len(self.keys))
        there = there[self.keys[places[there]] == keys[there]]
        out: list[ChunkRef | None] = [None] * len(keys)
        found = places[there]
        for entry, chosen in self.by_entry(found) if len(found) else ():
            layer, chunks, rows = entry.layer, entry.meta.chunks, self.rows[found][chosen]
            block_rows = layer.block_rows(chunks.block_ids[rows])
            if (block_rows < 0).any():
                self.ref(int(found[chosen][np.argmin(block_rows)]))
            columns = (there[chosen], block_rows, chunks.offsets[rows], chunks.sizes[rows])
            for place, row, offset, size in zip(*[column.tolist() for column in columns], strict=True):
                out[place] = ChunkRef(layer, row, offset, size)
        return out

    def size(self, place: int) -> int:
        """Bytes of the stored chunk at `place`, as its entry says; known even where its block is not there."""
        return self._table(place).sizes[self._row_view[place]]

    def mtime_ns(self, place: int) -> int:
        """When the chunk at `place` was written: what its layer says of it, else the layer's time."""
        columns = self._table(place)
        return columns.layer.time_ns if columns.times is None else columns.times[self._row_view[place]]

    def describe(self, place: int) -> tuple[int, int, int]:
        """Of the chunk at `place`: its stored bytes, its share of its compressed block (0 where that is not there), and
        when it was written.
        """
        layer, block_ids, _, sizes, times = self._table(place)
        row = self._row_view[place]
        size, block_row = sizes[row], layer.block_row(block_ids[row])
        taken = min(layer.share(block_row, size), _MOST_TAKEN) if block_row >= 0 else 0
        return size, taken, layer.time_ns if times is None else times[row]

    def mtimes(self, low: int, high: int) -> NDArray[np.int64]:
        """`mtime_ns` for places low to high."""
        out = np.empty(high - low, np.int64)
        rows = self.rows[low:high]
        for entry, mask in self.by_entry(slice(low, high)):
            times = entry.layer.chunk_mtimes(entry.position)
            out[mask] = entry.layer.time_ns if times is None else times[rows[mask]]
        return out

    def slice(self, prefix: Coord) -> tuple[int, int]:
        """The places whose coordinates begin with `prefix`, as a range of the sorted columns."""
        if not prefix:
            return 0, len(self.keys)
        if any(c >= n for c, n in zip(prefix, self.grid.counts, strict=False)):
            return 0, 0
        low = self.grid.key(prefix)
        high = low + self.grid.strides[len(prefix) - 1]
        return bisect_left(self._key_view, low), bisect_left(self._key_view, high)

    def stored_sizes(self, low: int, high: int) -> Places:
        """Sizes in bytes of the stored chunks at places low to high."""
        out = np.empty(high - low, np.uint32)
        rows = self.rows[low:high]
        for entry, mask in self.by_entry(slice(low, high)):
            out[mask] = entry.meta.chunks.sizes[rows[mask]]
        return out

    def by_entry(self, places: Chosen) -> Iterator[tuple[SpanEntry, Chosen]]:
        """The span entries that these places lie in, oldest first, and which of the places lie in each."""
        if len(self.span) == 1:
            yield self.span[0], ALL
            return
        entries = self.entries[places]
        order = np.argsort(entries, kind="stable")
        numbers, starts = np.unique(entries[order], return_index=True)
        for number, chosen in zip(numbers.tolist(), np.split(order, starts)[1:], strict=True):
            yield self.span[number], chosen

    def stored_shares(self, low: int, high: int) -> NDArray[np.int64]:
        """The part of its compressed block that each chunk at places low to high takes, in bytes."""
        out = np.zeros(high - low, np.int64)
        rows = self.rows[low:high]
        for entry, mask in self.by_entry(slice(low, high)):
            layer, chunks = entry.layer, entry.meta.chunks
            blocks = layer.footer.blocks
            block_rows = layer.block_rows(chunks.block_ids[rows[mask]])
            known = np.maximum(block_rows, 0)
            if len(blocks):
                share = chunks.sizes[rows[mask]] * (
                    blocks.compressed_sizes[known] / np.maximum(blocks.uncompressed_sizes[known], 1)
                )
                out[mask] = np.where(block_rows >= 0, np.minimum(share, float(_MOST_TAKEN)), 0).astype(np.int64)
        return out

    def regrid(self, grid: Grid) -> ChunkIndex:
        """The same chunks under another shape of the same rank and chunk shape; what lies outside it is left out."""
        if grid == self.grid:
            return self
        coords = self.grid.coords(self.keys)
        inside = _inside(coords, grid.counts)
        keys = grid.keys(coords[inside])
        return ChunkIndex(grid, self.span, keys, self.entries[inside], self.rows[inside])

    def without(self, coords: Collection[Coord]) -> ChunkIndex:
        """The index less these chunks; some may not be in it, or outside its shape."""
        if not coords:
            return self
        keys = np.array([self.grid.key(coord) for coord in coords if coord in self.grid], np.uint64)
        kept = np.isin(self.keys, keys, invert=True)
        return ChunkIndex(self.grid, self.span, self.keys[kept], self.entries[kept], self.rows[kept])

    def push(self, span: Sequence[SpanEntry]) -> ChunkIndex:
        """The index with one more entry on top of its span, of the same rank and chunk shape.

        Cost: what is new, and a copy of each column.
        """
        newest = build_index(span[-1:])
        number = len(span) - 1
        chunks = span[-1].meta.chunks
        grid = newest.grid
        below = self.regrid(grid)
        named = np.unique(grid.keys(chunks.coords[_inside(chunks.coords, grid.counts)]))
        hidden = _places_of(named, below.keys)
        keys, entries, rows = below.keys, below.entries, below.rows
        if len(hidden):
            keys, entries, rows = np.delete(keys, hidden), np.delete(entries, hidden), np.delete(rows, hidden)
        at = np.searchsorted(keys, newest.keys)
        return ChunkIndex(
            grid,
            span,
            np.insert(keys, at, newest.keys),
            np.insert(entries, at, np.uint32(number)),
            np.insert(rows, at, newest.rows),
        )


def build_index(span: Sequence[SpanEntry]) -> ChunkIndex:
    """The index of an array from its span, oldest entry first. Cost: one sort over its chunks."""
    grid = grid_of(span[-1].meta.shape, span[-1].meta.chunk_shape)
    if len(span) == 1 and len(span[0].meta.chunks) == 1:
        return _index_of_one(grid, span)
    found = [_found(span, numbers, limits, grid) for numbers, limits in _runs(span, grid)]
    if not found:
        none = np.zeros(0, np.uint32)
        return ChunkIndex(grid, span, np.zeros(0, np.uint64), none, none)
    return _sorted_index(
        grid,
        span,
        np.concatenate([one.keys for one in found]),
        np.concatenate([one.entries for one in found]),
        np.concatenate([one.rows for one in found]),
        np.concatenate([one.holes for one in found]),
    )


def _index_of_one(grid: Grid, span: Sequence[SpanEntry]) -> ChunkIndex:
    """`build_index` of one entry with one chunk, as most small files are."""
    layer, chunks = span[0].layer, span[0].meta.chunks
    (coord,) = chunks.coords.tolist()
    key = grid.key_inside(coord)
    keys = [] if key is None or is_hole(layer, chunks)[0] else [key]
    zeros = np.zeros(len(keys), np.uint32)
    return ChunkIndex(grid, span, np.array(keys, np.uint64), zeros, zeros)


class _Found(NamedTuple):
    """Entries of chunk tables as columns: their keys, which span entry's table they stand in and in which row."""

    keys: Keys
    entries: Places
    rows: Places
    holes: NDArray[np.bool_]


def _runs(span: Sequence[SpanEntry], grid: Grid) -> Iterator[tuple[list[int], Coord]]:
    """The numbers of the span entries that have chunks, newest first, those together that are cut at the same limits:
    the fewest chunks along each axis that the array had then or later.
    """
    limits, shape = grid.counts, grid.shape
    run: list[int] = []
    for number in range(len(span) - 1, -1, -1):
        meta = span[number].meta
        if meta.shape != shape:
            shape = meta.shape
            narrower = tuple(map(min, limits, Grid(shape, meta.chunk_shape).counts))
            if run and narrower != limits:
                yield run, limits
                run = []
            limits = narrower
        if len(meta.chunks):
            run.append(number)
    if run:
        yield run, limits


def _found(span: Sequence[SpanEntry], numbers: list[int], limits: Coord, grid: Grid) -> _Found:
    """What lies within `limits` of the tables of a run; the tables are taken together, most have few chunks."""
    tables = [span[number].meta.chunks for number in numbers]
    coords = np.concatenate([table.coords for table in tables])
    lengths = np.array([len(table) for table in tables], np.int64)
    starts = np.cumsum(lengths) - lengths
    rows = np.arange(len(coords), dtype=np.int64) - np.repeat(starts, lengths)
    holes = [is_hole(span[number].layer, table) for number, table in zip(numbers, tables, strict=True)]
    inside = np.flatnonzero(_inside(coords, limits))
    return _Found(
        grid.keys(coords[inside]),
        np.repeat(np.array(numbers, np.uint32), lengths)[inside],
        rows[inside].astype(np.uint32),
        np.concatenate(holes)[inside],
    )


def _places_of(keys: Keys, among: Keys) -> NDArray[np.intp]:
    """Where those of `keys` stand that `among`, sorted, has."""
    places = np.searchsorted(among, keys)
    there = places < len(among)
    there[there] = among[places[there]] == keys[there]
    return places[there]


def _sorted_index(
    grid: Grid, span: Sequence[SpanEntry], keys: Keys, entries: Places, rows: Places, holes: NDArray[np.bool_]
) -> ChunkIndex:
    if not holes.any() and bool((keys[1:] > keys[:-1]).all()):
        return ChunkIndex(grid, span, keys, entries, rows)
    # newest entries stand first, so the first of equal keys counts; so does the first of two in one table
    keys, first = np.unique(keys, return_index=True)
    there = ~holes[first]
    return ChunkIndex(grid, span, keys[there], entries[first][there], rows[first][there])


def is_hole(layer: Layer, chunks: ChunkTable) -> NDArray[np.bool_]:
    """Which entries of a table point at a hole of their layer, (n,) bool."""
    ext = layer.extension
    if ext is None or not len(ext.holes):
        return np.zeros(len(chunks), np.bool_)
    holes = ext.holes[np.lexsort((ext.holes[:, 1], ext.holes[:, 0]))]
    known, asked = _address(holes[:, 0], holes[:, 1]), _address(chunks.block_ids, chunks.offsets)
    nearest = np.minimum(np.searchsorted(known, asked), len(known) - 1)
    mask: NDArray[np.bool_] = (known[nearest] == asked) & (holes[nearest, 2] == chunks.sizes)
    return mask


def _address(block_ids: Places, offsets: Places) -> Keys:
    return block_ids.astype(np.uint64) << np.uint64(32) | offsets.astype(np.uint64)


def _inside(coords: NDArray[np.uint32], counts: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.ones(len(coords), np.bool_)
    for axis, count in enumerate(counts):
        inside &= coords[:, axis] < count
    return inside
