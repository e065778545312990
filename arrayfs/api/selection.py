"""What numpy's basic indexing selects of an array, and which part of it lies in which chunk.

Pure arithmetic on shapes; all numbers are elements. (numpy, "Basic indexing")
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from itertools import compress, islice, product
from types import EllipsisType
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

Index = SupportsIndex | slice | EllipsisType | None
Key = Index | tuple[Index, ...]
Slices = tuple[slice, ...]
WHOLE = slice(None)


class Axis(NamedTuple):
    """So many elements of one axis: `start`, and every `step` after it (always forwards)."""

    start: int
    step: int
    length: int


class Selection(NamedTuple):
    """What a key selects of an array.

    axes: for each axis of the array. view: takes an array of `shape` (one element where the key has an integer) to what
    the key gives: integers drop their axis, None adds one, negative steps turn theirs round.
    """

    axes: tuple[Axis, ...]
    view: tuple[int | slice | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each axis of the array."""
        return tuple([axis.length for axis in self.axes])

    def spread(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Values for what the key gives as values of `shape`, broadcast as an assignment does. Raises ValueError."""
        shown = [one for one in self.view if one is not None]
        lengths = [axis.length for axis, one in zip(self.axes, shown, strict=True) if not isinstance(one, int)]
        rest = iter(lengths)
        shape = tuple([1 if one is None else next(rest) for one in self.view if not isinstance(one, int)])
        while values.ndim > len(shape) and values.shape[0] == 1:
            values = values[0]
        turned: list[Any] = [one for one in shown if not isinstance(one, int)]
        whole_axes: list[Any] = [None if isinstance(one, int) else slice(None) for one in shown]
        # the ellipses keep an array of no axes an array
        return np.broadcast_to(values, shape).reshape(lengths)[(*turned, ...)][(*whole_axes, ...)]


def select(key: Key, shape: tuple[int, ...]) -> Selection:
    """What a key selects of an array of this shape.

    Raises IndexError for an integer outside its axis, too many indices, or what is no basic index.
    """
    items: list[Index] = list(key) if isinstance(key, tuple) else [key]
    given = 0
    dots = -1
    for place, one in enumerate(items):
        if one is Ellipsis:
            if dots >= 0:
                raise IndexError("an index can only have a single ellipsis ('...')")
            dots = place
        elif one is not None:
            given += 1
    if given > len(shape):
        raise IndexError(f"{given} indices for an array of {len(shape)} axes")
    missing: list[Index] = [WHOLE] * (len(shape) - given)
    if dots < 0:
        items += missing
    else:
        items[dots : dots + 1] = missing
    axes: list[Axis] = []
    view: list[int | slice | None] = []
    for item in items:
        if item is None:
            view.append(None)
            continue
        axis, shown = _axis(item, shape[len(axes)], len(axes))
        axes.append(axis)
        view.append(shown)
    return Selection(tuple(axes), tuple(view))


def _axis(item: Index, length: int, axis: int) -> tuple[Axis, int | slice]:
    if item is WHOLE:
        return Axis(0, 1, length), WHOLE
    if type(item) is int and 0 <= item < length:
        return Axis(item, 1, 1), 0
    if isinstance(item, slice):
        start, stop, step = item.indices(length)
        count = len(range(start, stop, step))
        if step > 0:
            return Axis(start, step, count), WHOLE
        return Axis(start + (count - 1) * step if count else 0, -step, count), slice(None, None, -1)
    if isinstance(item, bool | np.bool_) or (isinstance(item, np.ndarray) and item.ndim):
        raise IndexError("only integers, slices, `...` and None select: no masks, no lists of numbers")
    try:
        place = operator.index(item)  # type: ignore[arg-type]
    except TypeError:
        raise IndexError(f"{item!r} selects nothing: only integers, slices, `...` and None do") from None
    if not -length <= place < length:
        raise IndexError(f"index {place} is out of bounds for axis {axis} with {length} elements")
    return Axis(place + length if place < 0 else place, 1, 1), 0


class Cut(NamedTuple):
    """What of one axis of a selection lies in one chunk: the chunk's number and its length inside the array.

    inner: which of the chunk's elements; outer: where they are in an array of `Selection.shape`.
    """

    number: int
    length: int
    inner: slice
    outer: slice


class Piece(NamedTuple):
    """What of a selection lies in one chunk, of `extent` elements.

    inner: which of them; outer: where they are in an array of `Selection.shape`. whole: it is all of the chunk.
    """

    coord: tuple[int, ...]
    extent: tuple[int, ...]
    inner: Slices
    outer: Slices

    @property
    def whole(self) -> bool:
        """Whether it is all of the chunk, in order."""
        for cut, length in zip(self.inner, self.extent, strict=True):
            if cut.start or cut.step != 1 or cut.stop != length:
                return False
        return True


class Pieces:
    """A selection cut at the borders of chunks, in C order of the chunks."""

    def __init__(self, selection: Selection, shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> None:
        """shape: the array's."""
        sides = zip(selection.axes, shape, chunk_shape, strict=True)
        self._columns = [_columns(axis, length, chunk) for axis, length, chunk in sides]
        self._counts = tuple([len(columns[0]) for columns in self._columns])
        self._numbers = [np.array(columns[0], np.int64) for columns in self._columns]

    def __len__(self) -> int:
        return math.prod(self._counts)

    def __iter__(self) -> Iterator[Piece]:
        # four products side by side: each step of them costs a fraction of putting one piece together
        sides = [product(*[columns[side] for columns in self._columns]) for side in range(4)]
        return map(Piece._make, zip(*sides, strict=True))

    def batches(
        self, most: int, left: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[list[Piece], NDArray[np.int64]]]:
        """The pieces, and their coordinates as a column, (n, rank), so many at a time. left: which of them, (n,)."""
        wanted = np.arange(len(self)) if left is None else np.flatnonzero(left)
        everything = iter(self) if left is None else compress(self, left)
        for low in range(0, len(wanted), most):
            batch = list(islice(everything, most))
            places = np.unravel_index(wanted[low : low + most], self._counts) if self._counts else ()
            coords = [numbers[place] for numbers, place in zip(self._numbers, places, strict=True)]
            yield batch, np.stack(coords, axis=1) if coords else np.zeros((len(batch), 0), np.int64)


def one_piece(selection: Selection, shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> Piece | None:
    """The only piece of a selection that lies in one chunk, else None."""
    coord, extent, inner = [], [], []
    for (start, step, count), length, chunk in zip(selection.axes, shape, chunk_shape, strict=True):
        number, first = divmod(start, chunk)
        last = first + (count - 1) * step
        if not 0 <= last < chunk or not count:
            return None
        coord.append(number)
        extent.append(min(chunk, length - number * chunk))
        inner.append(slice(first, last + 1, step if count > 1 else 1))
    return Piece(tuple(coord), tuple(extent), tuple(inner), (WHOLE,) * len(coord))


def _columns(axis: Axis, length: int, chunk: int) -> list[list[Any]]:
    """The cuts of an axis, by column."""
    start, step, count = axis
    if step != 1 or not count:
        return [list(column) for column in zip(*_cuts(axis, length, chunk), strict=True)] or [[]] * 4
    stop = start + count
    first, last = start // chunk, (stop - 1) // chunk
    numbers = list(range(first, last + 1))
    lengths, inner = [chunk] * len(numbers), [slice(0, chunk, 1)] * len(numbers)
    lengths[-1] = min(chunk, length - last * chunk)
    inner[-1] = slice(0, stop - last * chunk, 1)
    inner[0] = slice(start - first * chunk, inner[0].stop, 1)
    borders = [0, *range((first + 1) * chunk - start, count, chunk), count]
    return [numbers, lengths, inner, list(map(slice, borders, borders[1:]))]


def _cuts(axis: Axis, length: int, chunk: int) -> Iterator[Cut]:
    start, step, count = axis
    low = 0
    while low < count:
        number, first = divmod(start + low * step, chunk)
        high = min(count, low + (chunk - 1 - first) // step + 1)
        inner = slice(first, first + (high - low - 1) * step + 1, step if high - low > 1 else 1)
        yield Cut(number, min(chunk, length - number * chunk), inner, slice(low, high))
        low = high
