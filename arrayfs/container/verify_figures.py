"""The figures that a layer says of its chunks, held against the chunks, block by block as these are unpacked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.figures import as_figures, runs_at
from arrayfs.container.findings import Finding, without
from arrayfs.container.layer import Layer
from arrayfs.container.measure import Meaning, Measured, Run, is_measured, measure, measure_parts
from arrayfs.errors import ArrayFSError
from arrayfs.format.dtypes import element_size
from arrayfs.format.figures import Figures
from arrayfs.format.model import ArrayMeta

Wrong = Iterator[tuple[str, str]]
_PLACE = "figures of chunks"


def check_figures(layer: Layer) -> Iterator[Finding]:
    """Whether they can be read, and are of numbers."""
    try:
        figures = layer.figures
    except ArrayFSError as error:
        text = without(layer.name, error).removeprefix(f"{_PLACE}: ")
        yield Finding("warning", layer.name, _PLACE, f"they are not used: {text}")
        return
    for position in figures:
        meta = layer.footer.arrays[position]
        if not is_measured(meta.dtype):
            text = f"they are not used: elements of {meta.dtype.name} have none"
            yield Finding("warning", layer.name, f"array {meta.name!r}: {_PLACE}", text)


class StatedFigures:
    """The chunks of one layer of which it says figures: columns in the order of blocks, arrays and offsets.

    blocks: rows of the block table; arrays: places in the layer's list; numbers: rows of their chunk tables.
    """

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        parts = [np.zeros((5, 0), np.int64)]
        for position, figures in _usable(layer).items():
            table = layer.footer.arrays[position].chunks
            rows = layer.block_rows(table.block_ids)
            sizes = np.append(layer.footer.blocks.uncompressed_sizes, np.uint64(0))[rows]
            ends = table.offsets.astype(np.uint64) + table.sizes
            mine = np.flatnonzero(figures.known & (rows >= 0) & (ends <= sizes))
            columns = (rows[mine], np.full(len(mine), position), mine, table.offsets[mine], table.sizes[mine])
            parts.append(np.array(columns, np.int64))
        joined = np.concatenate(parts, axis=1)
        self._columns = joined[:, np.lexsort((joined[3], joined[1], joined[0]))]

    def wrong(self, row: int, block: bytes | memoryview) -> Wrong:
        """(array and chunk, what is wrong) of the chunks in one block."""
        for position, numbers, offsets, sizes in self._in(row):
            meaning = _meaning(self._layer.footer.arrays[position])
            for some, run in runs_at(meaning, offsets, sizes):
                yield from self._differing(position, numbers[some], run, measure(block, run))

    def wrong_in_parts(self, row: int) -> Wrong | None:
        """The same of a large block that is not compressed, a few MiB at a time; None if it has to be had as a whole.

        Raises as `Layer.stored_steps`.
        """
        parts, chunks = self._layer.stored_steps(row), list(self._in(row))
        if not chunks:
            for _ in parts:
                pass  # the checksum of all of it is compared at its end
            return iter(())
        position, numbers, _, sizes = chunks[0]
        if len(chunks) > 1 or len(numbers) > 1 or sizes[0] != self._layer.block_size(row):
            return None
        meaning, found = _meaning(self._layer.footer.arrays[position]), list[Measured]()
        for _ in measure_parts(parts, meaning, found):
            pass
        return self._differing(position, numbers, Run(meaning, 0, int(sizes[0]), 1), found[0] if found else None)

    def _in(self, row: int) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        low, high = np.searchsorted(self._columns[0], (row, row + 1)).tolist()
        if low == high:
            return
        _, arrays, numbers, offsets, sizes = self._columns[:, low:high]
        for position in np.unique(arrays).tolist():
            mine = arrays == position
            yield position, numbers[mine], offsets[mine], sizes[mine]

    def _differing(self, position: int, numbers: NDArray[np.int64], run: Run, measured: Measured | None) -> Wrong:
        meta, said = self._layer.footer.arrays[position], self._layer.figures[position].take(numbers)
        found = as_figures(run.meaning, measured, run.chunks)
        # of nulls alone there is no smallest
        alone = found.nulls >= run.size // (element_size(meta.dtype) or 1)
        same = (said.nulls == found.nulls) & (alone | ((said.lows == found.lows) & (said.highs == found.highs)))
        for number in np.flatnonzero(~same).tolist():
            place = f"array {meta.name!r}: chunk {tuple(meta.chunks.coords[numbers[number]].tolist())}"
            stated, real = (_shown(each, number, run.meaning) for each in (said, found))
            yield place, f"{_PLACE} say {stated}, it has {real}"


def _usable(layer: Layer) -> dict[int, Figures]:
    try:
        figures = layer.figures
    except ArrayFSError:
        return {}
    return {place: one for place, one in figures.items() if is_measured(layer.footer.arrays[place].dtype)}


def _meaning(meta: ArrayMeta) -> Meaning:
    return Meaning(meta.dtype, meta.fill_value)


def _shown(figures: Figures, number: int, meaning: Meaning) -> str:
    low, high = (column[number : number + 1].view(meaning.wide)[0] for column in (figures.lows, figures.highs))
    return f"{low} to {high} and {figures.nulls[number]} null"
