"""Chunks of elements of varying size inside an unpacked block: whether their offsets rise from 0 to the end of theirs.

Most such chunks are small (a file's piece, a client's chunk file: one element each) and there may be a million of them,
so they are judged column by column; only what that finds odd, and chunks of many elements, are taken one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import split_elements
from arrayfs.format.dtypes import element_size, leaf
from arrayfs.format.model import DType

Column = NDArray[np.int64]
# Chunks of more elements than this are judged one by one: numpy's work then outweighs Python's.
_FEW = 64
# Offsets looked at together; bounds what the gather below takes.
_TOGETHER = 1 << 18


def is_settled(dtype: DType) -> bool:
    """Whether the layout of a type of varying size is known: no code settles that of lists in lists."""
    base, inner = leaf(dtype)
    listed = base.name == "List" and (base.child is None or element_size(base.child) is None)
    return not inner and not listed


def broken_elements(
    dtype: DType, block: bytes | memoryview, offsets: Column, sizes: Column, counts: Column
) -> Iterator[tuple[int, str]]:
    """Which chunks of a block are no `counts[i]` elements, as (i, what is wrong).

    Chunk i is bytes [offsets[i], offsets[i] + sizes[i]) of the block, all of them inside.
    """
    odd = np.full(len(offsets), is_settled(dtype))
    if dtype.name in ("String", "Binary"):
        odd = ~_plainly_right(np.frombuffer(block, np.uint8), offsets, sizes, counts)
    view = memoryview(block)
    for number in np.flatnonzero(odd).tolist():
        start = int(offsets[number])
        try:
            split_elements(dtype, view[start : start + int(sizes[number])], int(counts[number]))
        except FormatError as error:
            yield number, str(error)


def _plainly_right(data: NDArray[np.uint8], offsets: Column, sizes: Column, counts: Column) -> NDArray[np.bool_]:
    """Chunks of few elements that are found to be whole; False says nothing."""
    right = np.zeros(len(offsets), np.bool_)
    possible = (counts <= _FEW) & (sizes >= 4 * (counts + 1))
    for count in np.unique(counts[possible]).tolist():
        alike = np.flatnonzero(possible & (counts == count))
        step = max(1, _TOGETHER // (count + 1))
        for first in range(0, len(alike), step):
            some = alike[first : first + step]
            ends = _u32s(data, offsets[some], count + 1)
            whole = (ends[:, 0] == 0) & (ends[:, -1] == sizes[some] - 4 * (count + 1))
            right[some] = whole & (np.diff(ends, axis=1) >= 0).all(axis=1)
    return right


def _u32s(data: NDArray[np.uint8], starts: Column, count: int) -> Column:
    """`count` little-endian u32 from each start, which need not be aligned: (n, count)."""
    places = starts[:, None] + np.arange(4 * count)
    ends: Column = data[places].view("<u4").astype(np.int64)
    return ends
