"""Figures of chunks made from their stored bytes: exactly those of `statistics.py`, fast enough to be made of all.

numpy's minimum and maximum take a few us for 16 KiB, so little else may be done for each chunk: one is gone through
again only where its fill value, a zero or a NaN may be in the way.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.format.dtypes import ELEMENTS, fill_element
from arrayfs.format.model import DType, FillValue

# By the kind of an element type: how a low or high of it stands in its 8 bytes.
WIDE: Final = {"bool": "<u8", "uint": "<u8", "int": "<i8", "time": "<i8", "float": "<f8"}
# Chunks of fewer elements have their nulls counted together.
_SHORT = 512

Numbers = NDArray[Any]


class Meaning(NamedTuple):
    """What figures depend on beside the bytes: under another element type or fill value they are of no use."""

    dtype: DType
    fill: FillValue | None

    @property
    def wide(self) -> str:
        """The numpy type of the 8 bytes of its figures."""
        return WIDE[ELEMENTS[self.dtype.name].kind]


class Run(NamedTuple):
    """`chunks` chunks of `size` bytes each that lie side by side in a block, from `start` on."""

    meaning: Meaning
    start: int
    size: int
    chunks: int


class Measured(NamedTuple):
    """The figures of some chunks as Python's numbers. lows, highs: of the elements that are not null, of no meaning
    where all are; nulls: how many are.
    """

    lows: list[Any]
    highs: list[Any]
    nulls: list[int]


class _Measure(Protocol):
    """How the elements of one meaning are measured. dtype: what they are compared as."""

    dtype: np.dtype[Any]

    def rows(self, values: Numbers) -> Measured:
        """The figures of each row of `values`."""


def is_measured(dtype: DType) -> bool:
    """Whether there are figures of such elements: of numbers.

    Those of texts would take five times as long as compressing them, and of lists there are none.
    """
    row = ELEMENTS.get(dtype.name)
    return row is not None and row.size > 0


def measure(block: bytes | memoryview, run: Run) -> Measured | None:
    """The figures of a run of chunks in an unpacked block; None if they have no elements, or not only whole ones."""
    one = _measure_of(run.meaning)
    count, rest = divmod(run.size, one.dtype.itemsize)
    if rest or not count:
        return None
    return one.rows(np.frombuffer(block, one.dtype, count * run.chunks, run.start).reshape(run.chunks, count))


def measure_parts(
    parts: Iterable[bytes | memoryview], meaning: Meaning, found: list[Measured]
) -> Iterator[bytes | memoryview]:
    """The same parts of one chunk, each of whole elements; when all went by, `found` has the figures of the chunk."""
    size, counts, mine = _measure_of(meaning).dtype.itemsize, [], []
    for part in parts:
        one = measure(part, Run(meaning, 0, len(part), 1))
        if one is not None:
            counts.append(len(part) // size)
            mine.append(one)
        yield part
    kept = [one for one, count in zip(mine, counts, strict=True) if one.nulls[0] < count] or mine[:1]
    if kept:
        lows, highs = [one.lows[0] for one in kept], [one.highs[0] for one in kept]
        low, high = least(meaning, np.array(lows, meaning.wide)), greatest(meaning, np.array(highs, meaning.wide))
        found.append(Measured([lows[low]], [highs[high]], [sum(one.nulls[0] for one in mine)]))


def least(meaning: Meaning, lows: Numbers) -> int:
    """Where the smallest of some lows is, given by their 8 bytes."""
    return int(_keys_of(meaning, lows).argmin())


def greatest(meaning: Meaning, highs: Numbers) -> int:
    """Where the largest of some highs is."""
    return int(_keys_of(meaning, highs).argmax())


def _keys_of(meaning: Meaning, column: Numbers) -> Numbers:
    values = column.view(meaning.wide)
    return total_order(values) if values.dtype.kind == "f" else values


def comparable(dtype: DType) -> np.dtype[Any]:
    """The numpy type that elements are compared as."""
    return np.dtype(ELEMENTS[dtype.name].numpy.replace("M8[ns]", "i8").replace("b1", "u1"))


def total_order(values: Numbers) -> Numbers:
    """Integers that are in the order of IEEE 754's totalOrder, of floats; of those integers, the bits of the floats."""
    bits = values.view(f"<i{values.dtype.itemsize}")
    keys: Numbers = bits >> (8 * values.dtype.itemsize - 1)
    keys &= np.iinfo(bits.dtype).max
    keys ^= bits
    return keys


@functools.lru_cache(1024)
def _measure_of(meaning: Meaning) -> _Measure:
    return _Floats(meaning) if ELEMENTS[meaning.dtype.name].kind == "float" else _Integers(meaning)


def _fill_of(meaning: Meaning, dtype: np.dtype[Any]) -> Any:
    return None if meaning.fill is None else np.frombuffer(fill_element(*meaning), dtype)[0]


def _counts(values: Numbers, fill: Any, rows: Sequence[int]) -> dict[int, int]:
    """How many elements of each of these rows are null."""
    if values.shape[1] < _SHORT:
        some = values[rows]
        nulls = some != some if fill != fill else some == fill
        return dict(zip(rows, np.add.reduce(nulls, axis=1, dtype=np.uint32).tolist(), strict=True))
    if fill != fill:
        return {row: int(np.count_nonzero(values[row] != values[row])) for row in rows}
    return {row: int(np.count_nonzero(values[row] == fill)) for row in rows}


class _Integers:
    """Integers, booleans and times."""

    def __init__(self, meaning: Meaning) -> None:
        self.dtype = comparable(meaning.dtype)
        self._fill = _fill_of(meaning, self.dtype)

    def rows(self, values: Numbers) -> Measured:
        """The figures of each row."""
        lows: list[int] = np.minimum.reduce(values, axis=1).tolist()
        highs: list[int] = np.maximum.reduce(values, axis=1).tolist()
        nulls = [0] * len(lows)
        if self._fill is None:
            return Measured(lows, highs, nulls)
        fill = int(self._fill)
        touched = [row for row, low in enumerate(lows) if low <= fill <= highs[row]]
        for row, count in _counts(values, self._fill, touched).items() if touched else ():
            nulls[row] = count
            if 0 < count < values.shape[1]:
                if lows[row] == fill:
                    lows[row] = _least_from(values[row], fill + 1)
                if highs[row] == fill:
                    highs[row] = _greatest_to(values[row], fill - 1)
        return Measured(lows, highs, nulls)


def _least_from(keys: Numbers, start: int) -> int:
    """The least of some integers that is `start` or more; one of them is."""
    first = np.array(start, keys.dtype)
    # counted from there, those before it wrap and are larger than all others
    return int((keys - first).view(f"<u{keys.dtype.itemsize}").min()) + start


def _greatest_to(keys: Numbers, end: int) -> int:
    """The greatest of some integers that is `end` or less; one of them is."""
    last = np.array(end, keys.dtype)
    return end - int((last - keys).view(f"<u{keys.dtype.itemsize}").min())


class _Floats:
    """Floats, which numpy's minimum compares without regard to the sign of a zero or of a NaN."""

    def __init__(self, meaning: Meaning) -> None:
        self.dtype = comparable(meaning.dtype)
        self._bits = np.dtype(f"<i{self.dtype.itemsize}")
        self._fill = _fill_of(meaning, self.dtype)
        self._first, self._last = (0, 0) if self._fill is None else _null_keys(self._fill, self.dtype)

    def rows(self, values: Numbers) -> Measured:
        """The figures of each row."""
        # whether a NaN that signals does so, is nobody's concern here
        with np.errstate(invalid="ignore"):
            return self._rows(values)

    def _rows(self, values: Numbers) -> Measured:
        lows: list[float] = np.minimum.reduce(values, axis=1).tolist()
        highs: list[float] = np.maximum.reduce(values, axis=1).tolist()
        nulls = [0] * len(lows)
        if self._fill is not None:
            fill = float(self._fill)
            touched = [row for row, low in enumerate(lows) if low <= fill <= highs[row] or low != low]
            for row, count in _counts(values, self._fill, touched).items() if touched else ():
                nulls[row] = count
        for row, low in enumerate(lows):
            if not low or not highs[row] or low != low or nulls[row]:
                lows[row], highs[row] = self._carefully(values[row], low, highs[row], nulls[row])
        return Measured(lows, highs, nulls)

    def _carefully(self, values: Numbers, low: float, high: float, nulls: int) -> tuple[float, float]:
        """Low and high of elements of which `nulls` are null, from those of all."""
        if nulls == len(values):
            return 0.0, 0.0
        if nulls and self._fill != self._fill:
            low, high = float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
            if low and high:
                return low, high
        elif nulls and low < self._fill < high and low and high:
            return low, high
        elif nulls and low == 0 == self._fill < high:
            # as integers, positive floats are in their order, and a zero with a sign is less than all
            return self._float(_least_from(values.view(self._bits), 1)), high
        return self._exactly(values, nulls)

    def _exactly(self, values: Numbers, nulls: int) -> tuple[float, float]:
        keys = total_order(values)
        low, high = int(keys.min()), int(keys.max())
        if nulls and self._is_null(low):
            low = _least_from(keys, self._last + 1)
        if nulls and self._is_null(high):
            high = _greatest_to(keys, self._first - 1)
        low, high = total_order(np.array([low, high], self._bits)).tolist()
        return self._float(low), self._float(high)

    def _float(self, bits: int) -> float:
        return float(np.array(bits, self._bits).view(self.dtype))

    def _is_null(self, key: int) -> bool:
        if self._first <= self._last:
            return self._first <= key <= self._last
        return key >= self._first or key <= self._last


def _null_keys(fill: Any, dtype: np.dtype[Any]) -> tuple[int, int]:
    """The first and the last key of null elements; those of NaN go over the end of the order, so first > last."""
    if fill != fill:
        largest, smallest = total_order(np.array([math.inf, -math.inf], dtype)).tolist()
        return largest + 1, smallest - 1
    both = [-abs(fill), abs(fill)] if fill == 0 else [fill, fill]
    first, last = total_order(np.array(both, dtype)).tolist()
    return first, last
