"""What goes into one file of values, and how: all that a writer of HDF5, NetCDF4 or NumPy files is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from arrayfs.copying.values import ValueArray


@dataclass(frozen=True, slots=True)
class GroupValues:
    """A group: its path and attributes."""

    path: str
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ValueExport:
    """groups: the root first, each before what is in it. codec: one of the file's own. jobs: threads that unpack.

    told: called with the bytes of elements that are done, piece by piece. as_json: attributes that the file has no form
    for become JSON text.
    """

    groups: Sequence[GroupValues]
    arrays: Sequence[ValueArray]
    codec: str
    jobs: int
    told: Callable[[int], None]
    as_json: bool
