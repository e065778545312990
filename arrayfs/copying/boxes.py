"""The elements of an array, one box after another, read by threads ahead of who takes them.

Boxes are of whole chunks, as many as fit the limit, or parts of a chunk where one alone is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from arrayfs.container.grid import Coord, Grid
from arrayfs.copying.ahead import ahead
from arrayfs.copying.value_export import Box, ValueArray, Values
from arrayfs.view.regions import TEXT_SIZE, regions

# Bytes of elements had at a time.
BOX = 32 << 20


def boxes(array: ValueArray, *, everything: bool) -> Iterator[Box]:
    """What there is of an array, in C order. everything: also where there are no chunks."""
    if not all(array.shape):
        return
    grid = Grid(array.shape, array.chunks)
    element = array.dtype.itemsize if array.dtype.kind not in "OT" else TEXT_SIZE
    places = (tuple(place) for place in np.ndindex(grid.counts)) if everything else array.places()
    for region in regions(grid, array.part, places, element, BOX):
        count = math.prod(-(-(b - a) // c) for a, b, c in zip(region.start, region.stop, array.chunks, strict=True))
        yield Box(region.start, region.stop, count > len(region.coords))


def contents(array: ValueArray, jobs: int, *, everything: bool) -> Iterator[tuple[Box, Values]]:
    """The elements of what there is of an array: boxes without missing chunks. everything: of those too."""
    there: _Present | None = None
    for box, values in read_ahead(array, boxes(array, everything=everything), jobs):
        if not box.has_gaps:
            yield box, values
            continue
        there = there or _Present(array)
        for place, part in _single(box, array.chunks):
            if there.has(place):
                inside = zip(part.start, part.stop, box.start, strict=True)
                yield part, values[tuple([slice(a - first, b - first) for a, b, first in inside])]


def _single(box: Box, chunks: Sequence[int]) -> Iterator[tuple[Coord, Box]]:
    """The chunks that a box is made of, one by one: their places and elements."""
    first = [a // c for a, c in zip(box.start, chunks, strict=True)]
    counts = [-(-b // c) - n for b, c, n in zip(box.stop, chunks, first, strict=True)]
    for step in np.ndindex(*counts):
        place = tuple(a + b for a, b in zip(first, step, strict=True))
        start = tuple(n * c for n, c in zip(place, chunks, strict=True))
        stop = tuple(min(a + c, b) for a, c, b in zip(start, chunks, box.stop, strict=True))
        yield place, Box(start, stop)


class _Present:
    """Which chunks of an array are there, 8 bytes each."""

    def __init__(self, array: ValueArray) -> None:
        self._grid = Grid(array.shape, array.chunks)
        self._keys = np.sort(np.fromiter(map(self._grid.key, array.places()), np.int64))

    def has(self, place: Coord) -> bool:
        key = self._grid.key(place)
        found = int(np.searchsorted(self._keys, key))
        return found < len(self._keys) and int(self._keys[found]) == key


def _read(array: ValueArray, box: Box) -> tuple[Box, Values]:
    return box, array.read(box).reshape([b - a for a, b in zip(box.start, box.stop, strict=True)])


def read_ahead(array: ValueArray, wanted: Iterable[Box], jobs: int) -> Iterator[tuple[Box, Values]]:
    """The elements of boxes in their order, so many being read while one is written."""
    return ahead(partial(_read, array), wanted, jobs, jobs)
