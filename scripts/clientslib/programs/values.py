"""Values that every client can make: the int32 array of the exchanges between libraries, and comparisons.

Exchanged arrays: shape (7, 50), chunks (3, 20), first all of it written as row * 150 + column * 3 - 7, then rows 2 to 4
of columns 10 to 29 as -1, which touches chunks in part; attribute `units`: "mm".
"""

from __future__ import annotations

from typing import Any

import numpy as np

SHAPE = (7, 50)
CHUNKS = (3, 20)
PART = (slice(2, 5), slice(10, 30))


def first() -> np.ndarray[Any, Any]:
    """What is written first."""
    return (np.arange(350, dtype="i4") * 3 - 7).reshape(SHAPE)


def final() -> np.ndarray[Any, Any]:
    """What is there in the end."""
    values = first()
    values[PART] = -1
    return values


def fill(array: Any) -> None:
    """Write both through anything that takes slices, which are written when the assignment returns."""
    array[...] = first()
    array[PART] = -1


def equal(found: Any, expected: Any, what: str = "") -> None:
    """Raise AssertionError unless both have the same shape and values, NaN included."""
    one, other = np.asarray(found), np.asarray(expected)
    if one.shape != other.shape:
        raise AssertionError(f"{what}: shape {one.shape}, not {other.shape}")
    with_nan = one.dtype.kind in "fc" and other.dtype.kind in "fc"
    if not np.array_equal(one, other, equal_nan=with_nan):
        raise AssertionError(f"{what}: {int(np.sum(one != other))} of {one.size} values differ")
