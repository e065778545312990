"""A numpy column whose numbers are asked for one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

_FEW = 16


def numbers(column: NDArray[Any]) -> Sequence[int]:
    """The column as Python's numbers, made when they are asked for: a third of the price of numpy's.

    A short one as a tuple: of ten thousand layers there are as many columns, and the garbage collector looks at
    memoryviews again and again, at tuples of numbers never.
    """
    return tuple(column.tolist()) if len(column) <= _FEW else column.data
