"""Figures of stored chunks <-> bytes: the smallest and the largest element of each, and how many are null.

They may be missing, for one chunk or for all; nothing of them is content. (docs/FORMAT.md, "Figures of chunks")
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError

# In the place of the number of nulls: nothing is known of the chunk.
UNKNOWN = (1 << 32) - 1

_HEAD = struct.Struct("<II")  # number of arrays, 0; an array, its chunk entries
_ROW_SIZE = 8 + 8 + 4


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Of n chunks of one array.

    nulls: (n,) uint32, how many elements equal the fill value; UNKNOWN where nothing is known of a chunk. lows, highs:
    (n,) uint64, the 8 bytes of a `StatValue`, of those that do not; they mean nothing where all do.
    """

    lows: NDArray[np.uint64]
    highs: NDArray[np.uint64]
    nulls: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.nulls)

    @staticmethod
    def unknown(count: int) -> Figures:
        """Of so many chunks nothing."""
        return Figures(np.zeros(count, np.uint64), np.zeros(count, np.uint64), np.full(count, UNKNOWN, np.uint32))

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) bool: of which chunks there are any."""
        known: NDArray[np.bool_] = self.nulls != UNKNOWN
        return known

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Figures:
        """Those of some of the chunks."""
        return Figures(self.lows[rows], self.highs[rows], self.nulls[rows])

    def put(self, rows: NDArray[np.integer] | slice, others: Figures) -> None:
        """Have others stand for some of the chunks."""
        self.lows[rows], self.highs[rows], self.nulls[rows] = others.lows, others.highs, others.nulls

    def where(self, mask: NDArray[np.bool_]) -> Figures:
        """The same, with nothing known where the mask is not set."""
        return self if mask.all() else replace(self, nulls=np.where(mask, self.nulls, np.uint32(UNKNOWN)))


def join_figures(parts: Sequence[Figures]) -> Figures:
    """Those of several parts of one array, one after another."""
    if len(parts) == 1:
        return parts[0]
    nothing = Figures.unknown(0)
    columns = zip(*[(part.lows, part.highs, part.nulls) for part in (nothing, *parts)], strict=True)
    return Figures(*map(np.concatenate, columns))


def encode_figures(by_array: Mapping[int, Figures]) -> bytes:
    """Return the bytes. by_array: by an array's place in the footer's list; of each chunk entry one row, in order."""
    places = sorted(by_array)
    rows = [by_array[place] for place in places]
    heads = [_HEAD.pack(len(rows), 0), *[_HEAD.pack(place, len(by_array[place])) for place in places]]
    wide = [column.astype("<u8", casting="safe") for one in ("lows", "highs") for column in _columns(rows, one)]
    nulls = [column.astype("<u4", casting="safe") for column in _columns(rows, "nulls")]
    return b"".join([*heads, *[column.tobytes() for column in (*wide, *nulls)]])


def _columns(rows: list[Figures], name: str) -> list[NDArray[np.unsignedinteger]]:
    return [getattr(one, name) for one in rows]


def decode_figures(data: bytes | memoryview) -> dict[int, Figures]:
    """Return the figures by array, as views of `data`. Raises FormatError if the sizes do not add up."""
    view = memoryview(data)
    if len(view) < _HEAD.size:
        raise FormatError(f"figures of chunks: {len(view)} bytes")
    count, _ = _HEAD.unpack_from(view)
    start = _HEAD.size * (1 + count)
    if start > len(view):
        raise FormatError(f"figures of chunks: {len(view)} bytes for {count} arrays")
    heads = list(_HEAD.iter_unpack(view[_HEAD.size : start]))
    ends = list(accumulate([entries for _, entries in heads], initial=0))
    total = ends[-1]
    if start + _ROW_SIZE * total != len(view):
        raise FormatError(f"figures of chunks: {len(view)} bytes for {count} arrays with {total} chunks")
    lows, highs = (np.frombuffer(view, "<u8", total, start + 8 * total * number) for number in (0, 1))
    nulls = np.frombuffer(view, "<u4", total, start + 16 * total)
    found = {
        place: Figures(lows[low:high], highs[low:high], nulls[low:high])
        for (place, _), (low, high) in zip(heads, pairwise(ends), strict=True)
    }
    if len(found) != count:
        raise FormatError("figures of chunks: the same array is named twice")
    return found
