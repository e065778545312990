"""Minimum, maximum and counts of an array's elements, exactly, as the crate's statistics file has them.

Where layers say them of chunks (`figures.py`) these are not read.
Elements that equal the fill value count as null, as do those of chunks that are not there. Floats are in total order:
NaN is the largest, -NaN the smallest. (docs/FORMAT.md, "Statistics file")
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.cache import BlockCache
from arrayfs.container.container import Container
from arrayfs.container.figures import figures_at, meaning_of
from arrayfs.container.grid import Coord
from arrayfs.container.index import ALL
from arrayfs.container.measure import comparable, greatest, least, total_order
from arrayfs.errors import ConflictError, MissingObjectError
from arrayfs.format.chunkdata import Buffer, split_elements
from arrayfs.format.dtypes import ELEMENTS, fill_element
from arrayfs.format.figures import Figures
from arrayfs.format.stats import STATS_VERSION, ArrayStats, StatsFile, StatValue, decode_stats, encode_stats

_KINDS = {"bool": "UInt", "int": "Int", "uint": "UInt", "float": "Float", "time": "TimestampNs"}
_WIDE = {"Int": "<i8", "UInt": "<u8", "Float": "<f8", "TimestampNs": "<i8"}


def of_array(array: Array, cache: BlockCache) -> ArrayStats:
    """The statistics of all its chunks. Raises FormatError, naming file, array and chunk, for damage."""
    known, coords = _known(array)
    merged = merge(known, (of_chunk(array, coord, array.read(coord, cache)) for coord in map(tuple, coords.tolist())))
    rows = math.prod(array.spec.shape)
    return replace(merged, null_count=rows - (merged.row_count - merged.null_count), row_count=rows)


def known_of(array: Array) -> ArrayStats | None:
    """The statistics of all its chunks, if they are known without reading any."""
    known, coords = _known(array)
    rows = math.prod(array.spec.shape)
    stored = known.row_count - known.null_count
    return None if len(coords) else replace(known, null_count=rows - stored, row_count=rows)


def at(array: Array, coord: Coord, cache: BlockCache) -> ArrayStats:
    """The statistics of one chunk. Raises FormatError as `of_array` does."""
    place = None if coord in array.changes else array.index.place(coord)
    figures = None if place is None else figures_at(array.index, slice(place, place + 1), array.spec)
    rows = math.prod(array.grid.extent(coord))
    if figures is not None and figures.nulls[0] <= rows:
        return _of_figures(array, figures, np.array([rows]))
    return of_chunk(array, coord, array.read(coord, cache))


def _known(array: Array) -> tuple[ArrayStats, NDArray[np.uint32]]:
    """What the layers say of chunks; and the coordinates, (n, rank), of chunks of which they say nothing."""
    figures = figures_at(array.index, ALL, array.spec)
    if figures is None:
        return ArrayStats(array.name, None, None, 0, 0), array.coords()
    keys = array.index.keys
    elements = array.grid.elements(array.grid.coords(keys)).astype(np.int64)
    counts = figures.nulls <= elements
    if array.changes:
        changed = np.array([array.grid.key(coord) for coord in array.changes], np.uint64)
        counts &= ~np.isin(keys, changed)
    rest = array.coords()
    rest = rest[~np.isin(array.grid.keys(rest), keys[counts])]
    return _of_figures(array, figures.take(counts), elements[counts]), rest


def _of_figures(array: Array, figures: Figures, elements: NDArray[np.int64]) -> ArrayStats:
    """The statistics that figures of chunks come to. elements: (n,), how many each chunk has."""
    nulls, rows = int(figures.nulls.sum(dtype=np.int64)), int(elements.sum())
    kept = figures.take(figures.nulls < elements)
    if not len(kept):
        return ArrayStats(array.name, None, None, nulls, rows)
    meaning = meaning_of(array.spec)
    low, high = kept.lows[least(meaning, kept.lows)], kept.highs[greatest(meaning, kept.highs)]
    kind = _KINDS[ELEMENTS[array.spec.dtype.name].kind]
    return ArrayStats(array.name, StatValue(kind, low.tobytes()), StatValue(kind, high.tobytes()), nulls, rows)


def of_chunk(array: Array, coord: Coord, stored: Buffer | None) -> ArrayStats:
    """The statistics of one chunk, inside the array's shape. stored: its bytes, None if it is not there."""
    rows = math.prod(array.grid.extent(coord))
    row = ELEMENTS.get(array.spec.dtype.name)
    if stored is None or row is None:  # of lists the crate says no more
        return ArrayStats(array.name, None, None, rows, rows)
    if not row.size:
        elements = _elements(array, stored, rows)
        if not elements:
            return ArrayStats(array.name, None, None, rows, rows)
        low, high = (StatValue("Bytes", find(elements)) for find in (min, max))
        return ArrayStats(array.name, low, high, rows - len(elements), rows)
    values = np.frombuffer(stored, comparable(array.spec.dtype))
    if array.spec.fill_value is not None:
        values = _without(values, fill_element(array.spec.dtype, array.spec.fill_value))
    if not len(values):
        return ArrayStats(array.name, None, None, rows, rows)
    order = total_order(values) if row.kind == "float" else values
    kind = _KINDS[row.kind]
    low, high = (
        StatValue(kind, values[place : place + 1].astype(_WIDE[kind]).tobytes())
        for place in (int(order.argmin()), int(order.argmax()))
    )
    return ArrayStats(array.name, low, high, rows - len(values), rows)


def _elements(array: Array, stored: Buffer, rows: int) -> list[bytes]:
    offsets, payload = split_elements(array.spec.dtype, stored, rows)
    whole, ends = bytes(payload), offsets.tolist()
    elements = [whole[ends[place] : ends[place + 1]] for place in range(rows)]
    fill = array.spec.fill_value
    return elements if fill is None else [one for one in elements if fill.kind != "String" or one != fill.payload]


def _without(values: NDArray[np.generic], element: bytes) -> NDArray[np.generic]:
    fill = np.frombuffer(element, values.dtype)
    # of a NaN as fill value the crate counts every NaN
    kept: NDArray[np.bool_] = values == values if (fill != fill).all() else values != fill
    return values[kept]


def merge(first: ArrayStats, others: Iterable[ArrayStats]) -> ArrayStats:
    """The statistics of several parts of one array together."""
    for other in others:
        low, high = _extreme(first.minimum, other.minimum, -1), _extreme(first.maximum, other.maximum, 1)
        null_count, row_count = first.null_count + other.null_count, first.row_count + other.row_count
        first = ArrayStats(first.name, low, high, null_count, row_count)
    return first


def _extreme(one: StatValue | None, other: StatValue | None, sign: int) -> StatValue | None:
    if one is None or other is None:
        return one or other
    return one if sign * _compare(one, other) >= 0 else other


def _compare(one: StatValue, other: StatValue) -> int:
    keys = [value.payload if value.kind == "Bytes" else _key(value) for value in (one, other)]
    return (keys[0] > keys[1]) - (keys[0] < keys[1])  # type: ignore[operator]


def _key(value: StatValue) -> int:
    number = np.frombuffer(value.payload, _WIDE[value.kind])
    return int((total_order(number) if value.kind == "Float" else number)[0])


def stored_stats(container: Container) -> dict[str, ArrayStats]:
    """What the statistics file says, by array; empty if there is none, or a newer version than is looked at here."""
    if container.names.sidecar(container.stack.newest.number + 1) in container.store.list():
        return {}
    try:
        blob = container.store.open(container.names.stats)
    except MissingObjectError:
        return {}
    try:
        return {one.name: one for one in decode_stats(blob.read(0, blob.size)).arrays}
    finally:
        blob.close()


def write_stats(container: Container, names: Iterable[str]) -> None:
    """Write the statistics file, of these arrays as they are committed.

    Raises ConflictError if there are uncommitted changes, or another commits meanwhile.
    """
    if container.dirty:
        raise ConflictError(f"{container.names.base}: statistics are of what is committed, and there are changes")
    found = StatsFile(STATS_VERSION, tuple(_written(container, names)))
    with container.store.lock(container.names.lock):
        newest = container.stack.newest
        if not newest.blob.is_current() or container.names.sidecar(newest.number + 1) in container.store.list():
            raise ConflictError(f"{container.names.base}: another writer committed while statistics were made")
        container.store.put(container.names.stats, encode_stats(found), replace=True)


def _written(container: Container, names: Iterable[str]) -> Iterator[ArrayStats]:
    for name in names:
        array = container.get(name)
        if len(array.index):
            yield of_array(array, container.cache)
