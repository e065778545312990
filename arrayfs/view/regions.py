"""Which elements of an array are decoded at a time, so that memory is bounded and small chunks come many at once.

Where a chunk file holds less than the limit, as many neighbours as fit are a region; where it holds more, each of its
parts is one. Regions are boxes of whole chunks, grown from the last axis on, so they follow the order of the chunks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from arrayfs.container.grid import Coord, Grid

# Guessed bytes of an element of varying size.
TEXT_SIZE = 64


@dataclass(frozen=True, slots=True)
class Region:
    """Elements start to stop (excluded) of each axis, inside the array's shape, and the chunk files that hold them.

    last: no later region needs these files.
    """

    coords: tuple[Coord, ...]
    start: Coord
    stop: Coord
    last: bool


def regions(grid: Grid, part: Sequence[int], coords: Iterable[Coord], element: int, limit: int) -> Iterator[Region]:
    """The regions of an array of which there are these chunk files, in C order.

    part: the shape of what can be decoded by itself in a chunk of the grid. element, limit: bytes.
    """
    if math.prod(grid.chunk_shape) * element <= limit:
        box = _grown(grid.chunk_shape, grid.counts, element, limit)
        block = [n // c for n, c in zip(box, grid.chunk_shape, strict=True)]
        for place, group in itertools.groupby(coords, lambda coord: tuple(map(int.__floordiv__, coord, block))):
            start = tuple(map(int.__mul__, place, box))
            yield Region(tuple(group), start, _stop(start, box, grid.shape), last=True)
        return
    parts = [n // p for n, p in zip(grid.chunk_shape, part, strict=True)]
    box = _grown(part, parts, element, limit)
    for coord in coords:
        first = tuple(map(int.__mul__, coord, grid.chunk_shape))
        end = _stop(first, grid.chunk_shape, grid.shape)
        starts = list(itertools.product(*map(range, first, end, box)))
        for start in starts:
            yield Region((coord,), start, _stop(start, box, end), last=start == starts[-1])


def chunks_of(region: Region, chunk_shape: Sequence[int]) -> Iterator[Coord]:
    """The chunks of another grid that begin in a region."""
    ranges = (range(a // c, -(-b // c)) for a, b, c in zip(region.start, region.stop, chunk_shape, strict=True))
    return itertools.product(*ranges)


def _stop(start: Sequence[int], box: Sequence[int], end: Sequence[int]) -> Coord:
    return tuple(min(a + n, b) for a, n, b in zip(start, box, end, strict=True))


def _grown(unit: Sequence[int], counts: Sequence[int], element: int, limit: int) -> list[int]:
    """The shape of as many units as the limit allows, at least one, at most `counts` of them along each axis."""
    box, size = list(unit), math.prod(unit) * element
    for axis in reversed(range(len(box))):
        fit = max(1, min(counts[axis], limit // max(size, 1)))
        box[axis] *= fit
        size *= fit
        if fit < counts[axis]:
            break
    return box
