"""The array entries of the next layer, made from what changed since the last one.

A commit costs what changed: an array that nobody touched is not looked at. What the crate's readers would get wrong is
written so that they come out right too: holes where a chunk is gone, complete attribute sets, tombstones before
redefinitions (format chapter 7).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array, PackedRef
from arrayfs.container.copies import BlockCopies, unchanged_places
from arrayfs.container.dictionary import AttributeDictionary, values_in_use
from arrayfs.container.figures import Found, figures_at, meaning_of
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.part import LayerPart
from arrayfs.container.stack import LayerStack, Span
from arrayfs.format.chunkdata import join_elements, stored_size
from arrayfs.format.dtypes import fill_array
from arrayfs.format.figures import Figures, encode_figures, join_figures
from arrayfs.format.model import ArrayMeta, ChunkTable

# Up to so many bytes of figures stand in the extension block, which everybody reads who opens the layer.
FIGURES_WITHIN = 4 * 1024


class Entries(NamedTuple):
    """A chunk table; when its chunks were written, (n,) int64, ns; their figures, None if nothing is known of any."""

    table: ChunkTable
    times: NDArray[np.int64]
    figures: Figures | None = None


class LayerBuilder:
    """The array entries, holes and times of the next layer, from the changed arrays of a pool.

    Everything it adds to the part beside the pool's chunks (holes, blocks of renamed arrays) it adds here.
    """

    def __init__(
        self,
        stack: LayerStack,
        part: LayerPart,
        codec: str | None,
        dictionary: AttributeDictionary | None = None,
        copies: BlockCopies | None = None,
        *,
        with_figures: bool = False,
    ) -> None:
        """stack: what the layer comes on top of. dictionary: by default one that goes on from its newest layer's.

        copies: blocks of renamed arrays that the part has already. with_figures: whether the layer has those that are
        known of its chunks.
        """
        self._stack, self._part = stack, part
        self._copies = BlockCopies() if copies is None else copies
        self._codec = codec
        self.dictionary = dictionary or AttributeDictionary(stack.newest.footer, lambda: values_in_use(stack))
        self.metas: list[ArrayMeta] = []
        self.holes: list[tuple[int, int, int]] = []
        self.mtimes: dict[int, NDArray[np.int64]] = {}
        self.renamed: dict[int, str] = {}
        self._with_figures = with_figures
        self._figures: dict[int, Figures] = {}
        self._hole_blocks: dict[tuple[int, tuple[int, ...]], tuple[int, int]] = {}

    def add_tombstone(self, name: str) -> None:
        """Say that the array of this name is gone."""
        meta = self._stack.spans[name][-1].meta
        empty = np.zeros((0, 2), np.uint16)
        self.metas.append(replace(meta, chunks=ChunkTable.empty(len(meta.shape)), deleted=True, attribute_pairs=empty))

    def add_array(self, array: Array) -> None:
        """Say what changed in an array, or all of it where the layers do not have it under this name."""
        continued = array.origin == array.name
        tables = [self._changed(array)] if continued else [*self._copied(array), self._changed(array)]
        self.add_entry(array, tables, self._gone(array) if continued else None, array.origin)

    def add_entry(
        self, array: Array, tables: list[Entries], gone: list[Coord] | None, origin: str | None = None
    ) -> None:
        """Say of an array what its chunks in this layer are, by tables, each with the times of its chunks.

        gone: chunks of it that are no more; None if the array is made anew, whatever there was before.
        origin: what it was called below, if that was not its name.
        """
        if gone is None:
            if array.name in self._stack.spans:
                # the tombstone stands before the new entry: the crate's releases take the later one
                self.add_tombstone(array.name)
            gone = self._below(array)
        if gone:
            tables = [*tables, Entries(self._hole_table(array, gone), np.zeros(len(gone), np.int64))]
        chunks = _concatenate([one.table for one in tables], len(array.spec.shape))
        if len(chunks):
            self.mtimes[len(self.metas)] = np.concatenate([one.times for one in tables])
        if self._with_figures and any(one.figures is not None for one in tables):
            found = [Figures.unknown(len(one.table)) if one.figures is None else one.figures for one in tables]
            self._figures[len(self.metas)] = join_figures(found)
        if origin not in (None, array.name):
            self.renamed[len(self.metas)] = str(origin)
        spec = array.spec
        self.metas.append(
            ArrayMeta(
                array.name, spec.dtype, spec.shape, spec.chunk_shape, spec.dimension_names, chunks, spec.fill_value,
                attribute_pairs=self.dictionary.pairs(array.attributes),
            )
        )  # fmt: skip

    def said_figures(self) -> bytes | int | None:
        """What the extension block says of the chunks' figures. Where they are many, they get a block of their own."""
        if not self._with_figures:
            return None
        said = encode_figures(self._figures)
        return said if len(said) <= FIGURES_WITHIN else self._part.add_block(self._codec, [said])

    @cached_property
    def _found(self) -> Found:
        """What was measured of the part's chunks."""
        return self._part.figures.found()

    def _changed(self, array: Array) -> Entries:
        # lists of what is there already, and no row for each chunk: there may be a million
        changes = array.changes
        packed = sorted(coord for coord, change in changes.items() if isinstance(change.content, PackedRef))
        refs = [ref for coord in packed if isinstance(ref := changes[coord].content, PackedRef)]
        count = len(packed)
        coords = np.array(packed, np.uint32).reshape(count, len(array.spec.shape))
        table = ChunkTable(
            coords,
            np.fromiter((ref.row for ref in refs), np.uint32, count),
            np.fromiter((ref.offset for ref in refs), np.uint32, count),
            np.fromiter((ref.size for ref in refs), np.uint32, count),
        )
        times = np.fromiter((changes[coord].mtime_ns for coord in packed), np.int64, count)
        figures = None
        if self._with_figures and count:
            figures = self._found.at(table.block_ids, table.offsets, meaning_of(array.spec))
        return Entries(table, times, figures)

    def _gone(self, array: Array) -> list[Coord]:
        """Chunks that a layer has and that are no more: unlinked, or cut off."""
        gone = {coord for coord, change in array.changes.items() if change.content is None}
        gone.update(coord for coord in array.cut if array.changes.get(coord) is None)
        committed = Grid(array.span[-1].meta.shape, array.spec.chunk_shape)
        if array.grid != committed and array.name in self._stack.buried:
            # what lies below a redefinition was covered inside the grid of then; growing uncovers more of it
            showing = self._showing(array, self._stack.buried[array.name])
            gone.update(coord for coord in showing if coord not in committed)
        return sorted(gone)

    def _below(self, array: Array) -> list[Coord]:
        """Coordinates that would show through from below in the crate, under an array that is defined anew."""
        below = (*self._stack.buried.get(array.name, ()), *self._stack.spans.get(array.name, ()))
        return sorted(self._showing(array, below)) if below else []

    def _showing(self, array: Array, below: Span) -> set[Coord]:
        """Coordinates of these entries where the array has no chunk."""
        showing = set[Coord]()
        for entry in below:
            if len(entry.meta.shape) == len(array.grid.shape):
                showing.update(coord for coord in map(tuple, entry.meta.chunks.coords.tolist()) if coord in array.grid)
        return {coord for coord in showing if not array.has(coord)}

    def _hole_table(self, array: Array, coords: list[Coord]) -> ChunkTable:
        places = [self._hole(array, coord) for coord in coords]
        columns = [np.array([place[i] for place in places], np.uint32) for i in (0, 1, 2)]
        return ChunkTable(np.array(coords, np.uint32).reshape(len(coords), -1), *columns)

    def _hole(self, array: Array, coord: Coord) -> tuple[int, int, int]:
        """The stored chunk of fill values for this coordinate's extent: one for each extent of an array."""
        # outside the shape nobody reads it: one element, for a chunk may be said to be larger than any memory
        extent = array.grid.extent(coord) if coord in array.grid else (1,) * len(coord)
        key = (id(array), extent)
        if key not in self._hole_blocks:
            content = _fill_chunk(array, extent)
            row = self._part.add_block(self._codec, [content])
            self._hole_blocks[key] = (row, len(content))
            self.holes.append((row, 0, len(content)))
        row, size = self._hole_blocks[key]
        return row, 0, size

    def _copied(self, array: Array) -> Iterator[Entries]:
        """Chunks that the array has under another name below, in copies of their blocks."""
        if not array.span:
            return  # a new array, as most are
        index = array.index
        kept = unchanged_places(array)
        coords, rows, times = index.grid.coords(index.keys)[kept], index.rows[kept], index.mtimes(0, len(index))[kept]
        figures = figures_at(index, kept, array.spec) if self._with_figures else None
        for entry, chosen in index.by_entry(kept):
            chunks, of_entry = entry.meta.chunks, rows[chosen]
            blocks = entry.layer.block_rows(chunks.block_ids[of_entry])
            copies = self._copies.numbers(self._part, entry.layer, blocks)
            table = ChunkTable(coords[chosen], copies, chunks.offsets[of_entry], chunks.sizes[of_entry])
            yield Entries(table, times[chosen], None if figures is None else figures.take(chosen))


def _fill_chunk(array: Array, extent: tuple[int, ...]) -> bytes:
    count = int(np.prod(extent, dtype=np.int64))
    if stored_size(array.spec.dtype, extent) is None:
        return join_elements(array.spec.dtype, np.zeros(count + 1, np.int64), b"")
    return fill_array(array.spec.dtype, array.spec.fill_value, count).tobytes()


def _concatenate(tables: list[ChunkTable], rank: int) -> ChunkTable:
    tables = [table for table in tables if len(table)]
    if len(tables) == 1:
        return tables[0]
    if not tables:
        return ChunkTable.empty(rank)
    columns = ([getattr(table, name) for table in tables] for name in ("coords", "block_ids", "offsets", "sizes"))
    return ChunkTable(*(np.concatenate(column) for column in columns))
