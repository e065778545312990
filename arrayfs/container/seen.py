"""Which contents were there before, by checksum and size: a table of 12 bytes for each of millions.

A dict would take more than a hundred bytes for each. Looking one up is a few steps of Python, not of numpy, whose
calls cost more than they do.
"""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray


class Seen:
    """Numbers 0 to n - 1 stand for contents of these sizes, (n,) uint32.

    Invariant: `_table`, a power of two long and at most half full, has number + 1 of each content that was seen first,
    at the place that its checksum gives, or the next free one after it; 0 is free.
    """

    def __init__(self, sizes: NDArray[np.uint32]) -> None:
        length = 1 << (2 * len(sizes)).bit_length()
        self._mask = length - 1
        self._table = array("I", bytes(4 * length))
        self._checksums = array("I", bytes(4 * len(sizes)))
        self._sizes = sizes.data

    def first(self, checksum: int, number: int) -> int:
        """The first number that came with this checksum and the size of `number`: itself, if there was none."""
        table, checksums, sizes, mask = self._table, self._checksums, self._sizes, self._mask
        size, place = sizes[number], checksum & mask
        while there := table[place]:
            if checksums[there - 1] == checksum and sizes[there - 1] == size:
                return there - 1
            place = (place + 1) & mask
        table[place], checksums[number] = number + 1, checksum
        return number
