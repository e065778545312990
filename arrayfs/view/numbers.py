"""Inode numbers: counted for nodes that exist as objects, computed for chunks that do not.

An array's chunks and chunk directories get one range of numbers: the number of one is the range's start plus its place
in the grid, so a million listed chunks cost no memory. Numbers are never used twice in the life of a tree.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrayfs.errors import LimitError

if TYPE_CHECKING:
    from arrayfs.view.arrays import ZarrArray

Prefix = tuple[int, ...]
ROOT = 1
# Counted numbers lie below, ranges above; both have room for longer than a mount lives.
FIRST_RANGE = 1 << 40
LAST_NUMBER = 1 << 63
# How far the first axis may grow before its array needs a new range (appending along time keeps the numbers).
SPARE_FIRST_AXIS = 1 << 16
# Ranges larger than this get no spare room: 63 bits have to last for all arrays.
LARGE_RANGE = 1 << 44


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers of one array. counts: chunks per axis that there is room for; offsets[k]: where the level of
    directories with k leading coordinates begins (the last level: the chunks).
    """

    start: int
    counts: tuple[int, ...]
    offsets: tuple[int, ...]
    zarr: ZarrArray

    def number(self, prefix: Prefix) -> int:
        """The number of the chunk, or chunk directory, with these leading coordinates."""
        place, counts = 0, self.counts
        for axis, coordinate in enumerate(prefix):
            place = place * counts[axis] + coordinate
        return self.start + self.offsets[len(prefix)] + place

    def prefix(self, number: int) -> Prefix:
        """The inverse of `number`."""
        place = number - self.start
        level = bisect_right(self.offsets, place) - 1
        place -= self.offsets[level]
        if level == 1:
            return (place,)
        out = []
        for count in reversed(self.counts[:level]):
            place, coordinate = divmod(place, count)
            out.append(coordinate)
        return tuple(reversed(out))

    def fits(self, counts: tuple[int, ...]) -> bool:
        """Whether a grid of these counts has all its chunks here."""
        return self.counts[1:] == counts[1:] and all(a >= b for a, b in zip(self.counts, counts, strict=True))


class InodeNumbers:
    """Gives numbers out and finds the range of one."""

    def __init__(self) -> None:
        self._next = ROOT + 1
        self._next_range = FIRST_RANGE
        self._starts: list[int] = []
        self._ranges: list[NumberRange] = []

    def take(self) -> int:
        """A number for a node that exists as an object."""
        self._next += 1
        return self._next - 1

    def take_range(self, zarr: ZarrArray, counts: tuple[int, ...]) -> NumberRange:
        """A range for the chunks of an array with `counts` chunks per axis. Raises LimitError if none is left."""
        counts = tuple(max(count, 1) for count in counts)
        if counts and math.prod(counts[1:]) * (counts[0] + SPARE_FIRST_AXIS) < LARGE_RANGE:
            counts = (counts[0] + SPARE_FIRST_AXIS, *counts[1:])
        offsets = [0]
        for level in range(len(counts)):
            offsets.append(offsets[-1] + math.prod(counts[:level]))
        numbers = NumberRange(self._next_range, counts, tuple(offsets), zarr)
        end = self._next_range + offsets[-1] + math.prod(counts)
        if end >= LAST_NUMBER:
            raise LimitError(f"no inode numbers are left for an array of {counts} chunks")
        self._next_range = end
        self._starts.append(numbers.start)
        self._ranges.append(numbers)
        return numbers

    def find_range(self, number: int) -> NumberRange | None:
        """The range that a number lies in; None for counted ones."""
        if number < FIRST_RANGE or number >= self._next_range:
            return None
        return self._ranges[bisect_right(self._starts, number) - 1]
