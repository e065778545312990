"""Statistics of arrays and chunks as Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayfs.api.session import Session
from arrayfs.container import statistics
from arrayfs.container.array import Array
from arrayfs.container.grid import Coord
from arrayfs.format.model import DType
from arrayfs.format.stats import ArrayStats, StatValue
from arrayfs.view import plain
from arrayfs.view.documents import FILE_ARRAY


@dataclass(frozen=True, slots=True)
class Statistics:
    """minimum, maximum: of the elements that are not null, None if there are none; NaN counts as the largest.

    null_count: elements that equal the fill value of the array, those that nobody wrote among them; row_count: all.
    """

    minimum: Any
    maximum: Any
    null_count: int
    row_count: int


def native_names(session: Session) -> list[str]:
    """The container's arrays of numbers and texts, by their names there."""
    reserved = (plain.RESERVED, FILE_ARRAY)
    return [name for name in session.container.names_of_arrays() if not name.startswith(reserved)]


def of_container(session: Session) -> dict[str, Statistics]:
    """By array. From the statistics file, where there is one, else from what is known of chunks, and their values."""
    container = session.container
    stored = {} if not container.read_only and container.dirty else statistics.stored_stats(container)
    found = {}
    for name in native_names(session):
        array = container.get(name)
        known = stored.get(name) or statistics.of_array(array, container.cache)
        found[name] = shown(array.spec.dtype, known)
    return found


def of_array(session: Session, array: Array) -> Statistics:
    """Of one array, from the values of those chunks of which nothing is known."""
    return shown(array.spec.dtype, statistics.of_array(array, session.container.cache))


def of_chunk(session: Session, array: Array, coord: Coord) -> Statistics:
    """Of one chunk, from its values where the container does not say. coord: the container's."""
    return shown(array.spec.dtype, statistics.at(array, coord, session.container.cache))


def shown(dtype: DType, found: ArrayStats) -> Statistics:
    """As Python values."""
    low, high = (None if one is None else _value(dtype, one) for one in (found.minimum, found.maximum))
    return Statistics(low, high, found.null_count, found.row_count)


def _value(dtype: DType, value: StatValue) -> Any:
    if value.kind == "Bytes":
        return value.payload.decode("utf-8", "surrogateescape") if dtype.name == "String" else value.payload
    if value.kind == "Float":
        return float(np.frombuffer(value.payload, "<f8")[0])
    number = int.from_bytes(value.payload, "little", signed=value.kind != "UInt")
    if value.kind == "TimestampNs":
        return np.datetime64(number, "ns")
    return bool(number) if dtype.name == "Bool" else number
