"""What goes into one file of values, and how: the arrays, the groups, and all that a writer of such a file is told."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.grid import Coord

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Box:
    """Elements start to stop (excluded) of each axis. has_gaps: it is made of chunks, of which some are missing."""

    start: Coord
    stop: Coord
    has_gaps: bool = False

    @property
    def slices(self) -> tuple[slice, ...]:
        """The same for numpy."""
        return tuple(map(slice, self.start, self.stop))


class ValueArray(Protocol):
    """One array. kind: of a numpy type's, or "text", "bytes" (elements of varying size, as Python objects).

    part: of a chunk, elements that can be had by themselves. fill: what a missing element reads as.
    """

    path: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    part: tuple[int, ...]
    dtype: np.dtype[Any]
    kind: str
    fill: Any
    dimension_names: tuple[str | None, ...]
    attributes: dict[str, Any]

    def read(self, box: Box) -> Values:
        """The elements of a box. Raises FormatError, naming file, array and chunk, for damage."""

    def places(self) -> Iterator[Coord]:
        """The chunks that are there."""


def size_of(array: ValueArray) -> int:
    """Bytes of all elements."""
    return math.prod(array.shape) * array.dtype.itemsize


@dataclass(frozen=True, slots=True)
class GroupValues:
    """A group: its path and attributes."""

    path: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ValueExport:
    """groups: the root first, each before what is in it. codec: one of the file's own. jobs: threads that unpack.

    told: called with the bytes of elements that are done, piece by piece. as_json: attributes that the file has no form
    for become JSON text. notes: what people are told of it, by path; writers add to them.
    """

    groups: Sequence[GroupValues]
    arrays: Sequence[ValueArray]
    codec: str
    jobs: int
    told: Callable[[int], None]
    as_json: bool
    notes: dict[str, str] = field(default_factory=dict)
