"""Inode numbers: counted for nodes that exist as objects, computed for chunks that do not.

An array's chunks and chunk directories get one range of numbers: the number of one is the range's start plus its place
in the grid, so a million listed chunks cost no memory. Numbers are never used twice in the life of a tree.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrayfs.errors import LimitError

if TYPE_CHECKING:
    from arrayfs.view.arrays import ZarrArray

Prefix = tuple[int, ...]
ROOT = 1
# Counted numbers lie below, ranges above; both have room for longer than a mount lives.
FIRST_RANGE = 1 << 40
LAST_NUMBER = FIRST_LENT = 1 << 62
# From there on are the numbers of older versions' trees, as far as they fit a signed number of 64 bits.
LAST_LENT = 1 << 63
# Counted numbers that such a tree gets at a time.
LENT_BLOCK = 1 << 16
# How far the first axis may grow before its array needs a new range (appending along time keeps the numbers).
SPARE_FIRST_AXIS = 1 << 16
# Ranges larger than this get no spare room: 63 bits have to last for all arrays.
LARGE_RANGE = 1 << 44


@dataclass(frozen=True, slots=True)
class NumberRange:
    """The numbers of one array. counts: chunks per axis that there is room for; offsets[k]: where the level of
    directories with k leading coordinates begins (the last level: the chunks). chunks: the number of the chunk of
    coordinates 0; that of any other is its key in the array's grid more. end: one more than the last.
    """

    start: int
    counts: tuple[int, ...]
    offsets: tuple[int, ...]
    zarr: ZarrArray
    chunks: int
    end: int

    def number(self, prefix: Prefix) -> int:
        """The number of the chunk, or chunk directory, with these leading coordinates."""
        place = 0
        for coordinate, count in zip(prefix, self.counts):  # noqa: B905  strict takes as long as all of this
            place = place * count + coordinate
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
    """Gives numbers out and finds the range of one. root: that of the root directory."""

    def __init__(self, root: int = ROOT) -> None:
        self.root = root
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
        size = offsets[-1] + math.prod(counts)
        start = self._room(size)
        if start is None:
            raise LimitError(f"no inode numbers are left for an array of {counts} chunks")
        numbers = NumberRange(start, counts, tuple(offsets), zarr, start + offsets[-1], start + size)
        self._starts.append(start)
        self._ranges.append(numbers)
        return numbers

    def _room(self, size: int) -> int | None:
        """The first of so many numbers in a row; None if there are not so many."""
        start = self._next_range
        if start + size >= LAST_NUMBER:
            return None
        self._next_range += size
        return start

    def find_range(self, number: int) -> NumberRange | None:
        """The range that a number lies in; None for counted ones."""
        place = bisect_right(self._starts, number) - 1
        if place < 0 or number >= self._ranges[place].end:
            return None
        return self._ranges[place]


class LentNumbers(InodeNumbers):
    """Numbers for a tree beside the first one, which come from a space that several trees share.

    lend: gives the first of so many numbers in a row, which are then this tree's.
    """

    def __init__(self, root: int, lend: Callable[[int], int]) -> None:
        super().__init__(root)
        self._lend = lend
        self._next = self._end = 0

    def take(self) -> int:
        if self._next == self._end:
            self._next = self._lend(LENT_BLOCK)
            self._end = self._next + LENT_BLOCK
        return super().take()

    def _room(self, size: int) -> int | None:
        # one array must not take what all others need: the space is for the life of a mount
        return self._lend(size) if size <= LAST_LENT - FIRST_LENT >> 10 else None
