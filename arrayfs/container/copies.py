"""Blocks that the next layer takes over as they stand in older ones: those of renamed arrays.

An entry can point only into its own file, so a renamed array costs a copy of its blocks. A commit makes it, or
`prepare.py` before it; what was copied is copied once.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.index import ALL, Chosen
from arrayfs.container.large import LARGE
from arrayfs.container.layer import Layer
from arrayfs.container.part import LayerPart
from arrayfs.errors import FormatError

# A block id that no part reaches: a chunk that lies there reads as an error, here and in the crate.
NO_BLOCK = (1 << 32) - 1
_NOT_COPIED = -1


class BlockCopies:
    """Where in one part the copies of blocks are.

    `_numbers`: by the serial of a layer, for each row of its block table the row in the part, or `_NOT_COPIED`.
    """

    def __init__(self) -> None:
        self._numbers: dict[int, NDArray[np.int64]] = {}

    def numbers(self, part: LayerPart, layer: Layer, rows: NDArray[np.int64]) -> NDArray[np.uint32]:
        """The rows in the part of the copies of blocks, made where there is none; NO_BLOCK for what cannot be read."""
        self.add(part, layer, rows)
        numbers = np.full(len(rows), NO_BLOCK, np.uint32)
        readable = rows >= 0
        numbers[readable] = self._of(layer)[rows[readable]]
        return numbers

    def add(self, part: LayerPart, layer: Layer, rows: NDArray[np.int64]) -> None:
        """Copy those of a layer's blocks that are not copied yet."""
        for row in self.missing(layer, rows).tolist():
            self._copy(part, layer, row)

    def missing(self, layer: Layer, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of a layer's blocks that are not copied yet, each once."""
        there: NDArray[np.int64] = np.unique(rows[rows >= 0])
        return np.compress(self._of(layer)[there] == _NOT_COPIED, there)

    def _copy(self, part: LayerPart, layer: Layer, row: int) -> None:
        """Damage stays damage: what cannot be read is not there under the new name either."""
        codec, size = layer.codec(row), layer.block_size(row)
        try:
            if layer.stored_size(row) > LARGE:
                number = part.add_large(codec, layer.stored_steps(row), size)
            else:
                number = part.copy_block(codec, layer.read_stored(row), size)
        except FormatError:
            number = NO_BLOCK
        self._of(layer)[row] = number

    def cut_back(self, count: int) -> None:
        """The part has only its first `count` blocks any more."""
        for numbers in self._numbers.values():
            numbers[numbers >= count] = _NOT_COPIED

    def _of(self, layer: Layer) -> NDArray[np.int64]:
        numbers = self._numbers.get(layer.serial)
        if numbers is None:
            numbers = np.full(len(layer.footer.blocks), _NOT_COPIED, np.int64)
            self._numbers[layer.serial] = numbers
        return numbers


def unchanged_places(array: Array) -> Chosen:
    """The places of an array's index whose chunks have not been changed since the last commit."""
    if not array.changes:
        return ALL
    index = array.index
    coords = index.grid.coords(index.keys).tolist()
    return np.flatnonzero([tuple(coord) not in array.changes for coord in coords])


def blocks_of(array: Array) -> Iterator[tuple[Layer, NDArray[np.int64]]]:
    """The blocks that an array's committed chunks lie in, by layer; one may come more than once."""
    kept = unchanged_places(array)
    rows = array.index.rows[kept]
    for entry, chosen in array.index.by_entry(kept):
        yield entry.layer, entry.layer.block_rows(entry.meta.chunks.block_ids[rows[chosen]])
