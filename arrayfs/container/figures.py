"""Figures of chunks from where they are made, when blocks are packed, to where they are asked for.

They belong to stored bytes: to a place in a block of a part, later to an entry of a layer's chunk table. Under another
element type or fill value than they were made for they are left out, so they are never wrong, at most missing.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.grid import Grid
from arrayfs.container.index import Chosen, ChunkIndex
from arrayfs.container.layer import Layer, extension_row
from arrayfs.container.measure import Meaning, Measured, Run, is_measured, measure
from arrayfs.errors import FormatError
from arrayfs.format.figures import Figures
from arrayfs.format.model import ChunkTable

if TYPE_CHECKING:
    from arrayfs.container.array import Array, ArraySpec
    from arrayfs.container.part import LayerPart

# Arrays whose names begin so hold files and encoded chunks, of which nobody asks for the smallest byte.
_OURS = ".arrayfs/"
# Larger blocks of a part are not read again for what is in them.
_MEASURED_LIMIT = 64 << 20


def meaning_of(spec: ArraySpec) -> Meaning:
    """What figures of an array depend on."""
    return Meaning(spec.dtype, spec.fill_value)


# --- in a part --------------------------------------------------------------------------------------------------------


def runs_of(chunks: Sequence[tuple[Array, int]]) -> tuple[Run, ...]:
    """Those chunks of a block that are measured. chunks: array and size of each, side by side from its start."""
    runs, start = [], 0
    for (array_of, size), group in groupby(chunks):
        count = sum(1 for _ in group)
        if is_measured(array_of.spec.dtype) and not array_of.name.startswith(_OURS):
            runs.append(Run(meaning_of(array_of.spec), start, size, count))
        start += size * count
    return tuple(runs)


def measure_runs(block: bytes | memoryview, runs: Sequence[Run]) -> list[Measured | None]:
    """The figures of each run."""
    return [measure(block, run) for run in runs]


def as_figures(meaning: Meaning, found: Measured | None, count: int) -> Figures:
    """What was measured of `count` chunks, as it is kept."""
    if found is None:
        return Figures.unknown(count)
    lows, highs = (np.array(column, meaning.wide).view("<u8") for column in (found.lows, found.highs))
    return Figures(lows, highs, np.array(found.nulls, np.uint32))


def runs_at(meaning: Meaning, offsets: NDArray[np.integer], sizes: NDArray[np.integer]) -> Iterator[tuple[slice, Run]]:
    """The runs of chunks at these places of a block, sorted by offset; and which of the chunks are in each."""
    ends = offsets.astype(np.int64) + sizes
    apart = (offsets[1:] != ends[:-1]) | (sizes[1:] != sizes[:-1])
    bounds = [0, *(np.flatnonzero(apart) + 1).tolist(), len(offsets)]
    for low, high in pairwise(bounds):
        if low < high:
            yield slice(low, high), Run(meaning, int(offsets[low]), int(sizes[low]), high - low)


class FigureLog:
    """What was measured of a part's blocks, by block and offset.

    Invariant: the columns have one row for each chunk that was measured, in the order of blocks and offsets.
    """

    def __init__(self) -> None:
        self._keys = array("Q")
        self._meanings: dict[Meaning, int] = {}
        self._of = array("L")
        self._lows = array("Q")
        self._highs = array("Q")
        self._nulls = array("L")

    def add(self, row: int, runs: Sequence[Run], found: Sequence[Measured | None]) -> None:
        """Note what was found in the newest block."""
        for run, one in zip(runs, found, strict=True):
            if one is None:
                continue
            first, code = row << 32 | run.start, {"f": "d", "i": "q", "u": "Q"}[run.meaning.wide[1]]
            self._keys.extend(range(first, first + run.size * run.chunks, run.size))
            number = self._meanings.setdefault(run.meaning, len(self._meanings))
            self._of.extend([number] * run.chunks)
            self._lows.frombytes(array(code, one.lows).tobytes())
            self._highs.frombytes(array(code, one.highs).tobytes())
            self._nulls.extend(one.nulls)

    def cut(self, row: int) -> None:
        """Forget the blocks from this one on."""
        end = bisect_left(self._keys, row << 32)
        for column in (self._keys, self._of, self._lows, self._highs, self._nulls):
            del column[end:]

    def found(self) -> Found:
        """All of it, to be asked."""
        keys, lows, highs = (np.array(column, np.uint64) for column in (self._keys, self._lows, self._highs))
        figures = Figures(lows, highs, np.array(self._nulls, np.uint32))
        return Found(keys, np.array(self._of, np.uint32), dict(self._meanings), figures)


class Found:
    """The figures of a part's chunks at one moment."""

    def __init__(
        self, keys: NDArray[np.uint64], of: NDArray[np.uint32], meanings: dict[Meaning, int], figures: Figures
    ) -> None:
        self._keys, self._of, self._meanings, self._figures = keys, of, meanings, figures

    def at(self, rows: NDArray[np.uint32], offsets: NDArray[np.uint32], meaning: Meaning) -> Figures | None:
        """Of the chunks at these places in blocks; None if nothing is known of any of them."""
        number = self._meanings.get(meaning)
        if number is None:
            return None
        keys = rows.astype(np.uint64) << np.uint64(32) | offsets
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        there = (self._keys[places] == keys) & (self._of[places] == number)
        return self._figures.take(places).where(there) if there.any() else None


# --- in layers --------------------------------------------------------------------------------------------------------


def figures_at(index: ChunkIndex, places: Chosen, spec: ArraySpec) -> Figures | None:
    """Of committed chunks of an array of this spec; None if nothing is known of any of them.

    A chunk whose number of elements is another now is none of those: its entry's shape was another.
    """
    rows = index.rows[places]
    out, any_known = Figures.unknown(len(rows)), False
    for entry, chosen in index.by_entry(places) if len(rows) else ():
        mine = _of_entry(entry.layer, entry.position, spec)
        if mine is None:
            continue
        some = mine.take(rows[chosen])
        if entry.meta.shape != spec.shape:
            coords = index.grid.coords(index.keys[places][chosen])
            then = Grid(entry.meta.shape, entry.meta.chunk_shape)
            some = some.where(then.elements(coords) == index.grid.elements(coords))
        out.put(chosen, some)
        any_known |= bool(some.known.any())
    return out if any_known else None


def _of_entry(layer: Layer, position: int, spec: ArraySpec) -> Figures | None:
    meta = layer.footer.arrays[position]
    if (meta.dtype, meta.fill_value) != meaning_of(spec) or not is_measured(meta.dtype):
        return None
    try:
        return layer.figures.get(position)
    except FormatError:  # they may be missing; `verify` says why
        return None


def completed(part: LayerPart, table: ChunkTable, figures: Figures | None, spec: ArraySpec) -> Figures | None:
    """Figures of chunks in a part, those that are not known made from the chunks; None if there can be none."""
    if not is_measured(spec.dtype) or not len(table):
        return figures
    out = Figures.unknown(len(table)) if figures is None else figures.take(np.arange(len(table)))
    missing = np.flatnonzero(~out.known)
    order = missing[np.lexsort((table.offsets[missing], table.block_ids[missing]))]
    rows, starts = np.unique(table.block_ids[order], return_index=True)
    meaning, cache = meaning_of(spec), BlockCache(0)
    for row, mine in zip(rows.tolist(), np.split(order, starts)[1:], strict=True):
        if part.block_size(row) > _MEASURED_LIMIT:
            continue
        block = part.read_block(row, cache)
        for some, run in runs_at(meaning, table.offsets[mine], table.sizes[mine]):
            out.put(mine[some], as_figures(meaning, measure(block, run), run.chunks))
    return out


def are_kept(layers: Sequence[Layer]) -> bool:
    """Whether the next layer is to have figures: what the newest layer says that arrayfs wrote."""
    newest = next((layer.extension for layer in reversed(layers) if layer.extension is not None), None)
    return newest is not None and newest.chunk_figures is not None


def own_rows(layer: Layer) -> set[int]:
    """The rows of the block table in which no chunk lies by design: the extension block, and figures of their own."""
    own = extension_row(layer.footer)
    said = None if layer.extension is None else layer.extension.chunk_figures
    return {row for row in (own, layer.block_row(said) if isinstance(said, int) else None) if row not in (None, -1)}
