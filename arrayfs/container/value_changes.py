"""How many elements of an array changed, and by how much at most. Reads the chunks that changed, one at a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.changes import ArrayChange, ChunkChanges
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import Extent, recut, split_elements
from arrayfs.format.dtypes import element_size, fill_array, numpy_dtype

Number = int | float


@dataclass(frozen=True, slots=True)
class ValueChanges:
    """elements: how many are different, inside both shapes; a chunk that is missing counts as fill values.

    largest: the largest difference between numbers (of times: in ns), None where there is none or they are no numbers.
    unreadable: chunks that could not be read in one of the versions, and are not in `elements`.
    """

    elements: int
    largest: Number | None
    unreadable: int = 0


def value_changes(change: ArrayChange, container: Container) -> ValueChanges | None:
    """The elements that changed; None where there is nothing to compare: no common grid, or texts whose layout is not
    settled.
    """
    before, after, chunks = change.before, change.after, change.chunks
    if before is None or after is None or chunks is None:
        return None
    elements, unreadable, largest = 0, 0, None
    for coord in _coords(before, after, chunks):
        try:
            count, most = _compare(before, after, coord, container)
        except FormatError:
            unreadable += 1
            continue
        elements += count
        if most is not None and (largest is None or most > largest):
            largest = most
    return ValueChanges(elements, largest, unreadable)


def _coords(before: Array, after: Array, chunks: ChunkChanges) -> list[Coord]:
    """Chunks to look at: those that changed, and lie in both grids."""
    listed = [tuple(coord) for part in (chunks.changed, chunks.added, chunks.removed) for coord in part.tolist()]
    return [coord for coord in listed if coord in before.grid and coord in after.grid]


def _compare(before: Array, after: Array, coord: Coord, container: Container) -> tuple[int, Number | None]:
    common: Extent = tuple(map(min, before.grid.extent(coord), after.grid.extent(coord)))
    old, new = (_elements(array, coord, common, container) for array in (before, after))
    if isinstance(old, list) or isinstance(new, list):
        return sum(a != b for a, b in zip(old, new, strict=True)), None
    different = old != new
    if old.dtype.kind == "f":
        different &= ~(np.isnan(old) & np.isnan(new))
    count = int(different.sum())
    return count, _largest(old[different], new[different]) if count else None


def _elements(array: Array, coord: Coord, common: Extent, container: Container) -> NDArray[np.generic] | list[bytes]:
    """The elements of a chunk inside `common`: numbers, or byte strings where their size varies."""
    dtype, fill = array.spec.dtype, array.spec.fill_value
    stored = array.read(coord, container.cache)
    if element_size(dtype) is None:
        count = int(np.prod(common, dtype=np.int64))
        if stored is None:
            return [fill.payload if fill is not None and fill.kind == "String" else b""] * count
        cut = recut(dtype, fill, stored, array.grid.extent(coord), common)
        offsets, payload = split_elements(dtype, cut, count)
        ends = offsets.tolist()
        return [bytes(payload[start:end]) for start, end in pairwise(ends)]
    if stored is None:
        raw: NDArray[np.uint8] = fill_array(dtype, fill, int(np.prod(common, dtype=np.int64)))
        return raw.view(numpy_dtype(dtype))
    return np.frombuffer(recut(dtype, fill, stored, array.grid.extent(coord), common), numpy_dtype(dtype))


def _largest(old: NDArray[np.generic], new: NDArray[np.generic]) -> Number | None:
    """The largest distance of two numbers that differ, exact for integers. Infinities count, NaN does not."""
    if old.dtype.kind == "b":
        return 1
    if old.dtype.kind == "f":
        with np.errstate(all="ignore"):
            distances = np.abs(new.astype(np.float64) - old.astype(np.float64))
        distances = distances[~np.isnan(distances)]
        return float(distances.max()) if len(distances) else None
    if old.dtype.kind == "M":
        old, new = old.view("<i8"), new.view("<i8")
    low, high = np.minimum(old, new), np.maximum(old, new)
    # in unsigned numbers of the same width the distance of two signed ones never overflows
    width = f"<u{old.dtype.itemsize}"
    return int((high.view(width) - low.view(width)).max())
