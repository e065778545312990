"""Blocks that can be unpacked right into the result of a large read: no chunk of theirs is looked at by itself.

Chunks that are as wide as the array lie one after another in the result, as they do in their blocks, if they were
written in order. Then a block is a stretch of the result.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.api.selection import Selection
from arrayfs.container.array import Array
from arrayfs.container.index import SpanEntry
from arrayfs.container.layer import Layer


class Stretch(NamedTuple):
    """A block that has the bytes of neighbouring chunks, and nothing else.

    start, size: its bytes in the result; first, chunks: the number of its first one along the first axis, and how many.
    """

    layer: Layer
    row: int
    start: int
    size: int
    first: int
    chunks: int


class Rows(NamedTuple):
    """Neighbouring rows (elements of the first axis) of an array whose chunks are as wide as it is.

    start, stop: those that are selected; length: how many there are; chunk: how many a chunk has; size: bytes of one.
    """

    start: int
    stop: int
    length: int
    chunk: int
    size: int

    @property
    def whole_chunks(self) -> tuple[int, int]:
        """The chunks of which all rows are selected, as a range of their numbers."""
        low = -(-self.start // self.chunk)
        return low, max(low, (self.stop if self.stop < self.length else self.stop + self.chunk - 1) // self.chunk)


def rows_of(selection: Selection, shape: tuple[int, ...], chunk_shape: tuple[int, ...], item_size: int) -> Rows | None:
    """What a selection selects, if that is neighbouring rows of such an array; else None."""
    if not shape or selection.axes[0].step != 1:
        return None
    for axis, length, chunk in zip(selection.axes[1:], shape[1:], chunk_shape[1:], strict=True):
        if axis.length != length or axis.step != 1 or chunk < length:
            return None
    start, _, count = selection.axes[0]
    return Rows(start, start + count, shape[0], chunk_shape[0], math.prod(shape[1:]) * item_size)


def stretches(array: Array, rows: Rows) -> Iterator[Stretch]:
    """The stretches of committed chunks; what is damaged is left to whoever reads it chunk by chunk."""
    index = array.index
    places = slice(*np.searchsorted(index.keys, np.array(rows.whole_chunks, np.uint64)).tolist())
    numbers = index.keys[places].astype(np.int64)  # such an array has one chunk along each other axis
    table_rows = index.rows[places]
    for entry, chosen in index.by_entry(places) if len(numbers) else ():
        yield from _of_entry(entry, numbers[chosen], table_rows[chosen], rows)


def _of_entry(
    entry: SpanEntry, numbers: NDArray[np.int64], table_rows: NDArray[np.uint32], rows: Rows
) -> Iterator[Stretch]:
    layer, chunks = entry.layer, entry.meta.chunks
    blocks = layer.block_rows(chunks.block_ids[table_rows])
    offsets, sizes = (column[table_rows].astype(np.int64) for column in (chunks.offsets, chunks.sizes))
    first = numbers * rows.chunk
    starts = (first - rows.start) * rows.size
    fits = (blocks >= 0) & (sizes == (np.minimum(first + rows.chunk, rows.length) - first) * rows.size)
    ends = offsets + sizes
    apart = (blocks[1:] != blocks[:-1]) | (numbers[1:] != numbers[:-1] + 1) | (offsets[1:] != ends[:-1])
    low = np.concatenate(([0], np.flatnonzero(apart) + 1))
    high = np.append(low[1:], len(numbers))
    whole = np.logical_and.reduceat(fits, low) & (offsets[low] == 0)
    low, high = low[whole], high[whole]
    low, high = (side[ends[high - 1] == layer.footer.blocks.uncompressed_sizes[blocks[low]]] for side in (low, high))
    columns = (blocks[low], starts[low], ends[high - 1], numbers[low], high - low)
    for row, start, size, number, count in zip(*[column.tolist() for column in columns], strict=True):
        yield Stretch(layer, row, start, size, number, count)
