"""The arrays of a container as values: what they are, and the elements of one box after another.

Native arrays are read here, opaque ones by zarr-python. Boxes are of whole chunks, as many as fit the limit, or parts
of a chunk where one alone is larger.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.api.array import Array
from arrayfs.api.container import Container
from arrayfs.api.group import Group
from arrayfs.container.grid import Coord, Grid
from arrayfs.copying.ahead import ahead
from arrayfs.copying.walking import Chosen
from arrayfs.errors import ArrayNotFoundError, TargetError
from arrayfs.format.dtypes import leaf
from arrayfs.view.npy import NpyFile
from arrayfs.view.regions import TEXT_SIZE, Region, regions

# Bytes of elements had at a time.
BOX = 32 << 20

Values = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Box:
    """Elements start to stop (excluded) of each axis. whole: no chunk in it is missing, nor cut by it."""

    start: Coord
    stop: Coord
    whole: bool

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


class NativeValues:
    """See `ValueArray`."""

    def __init__(self, array: Array) -> None:
        self.path = array.path
        self.shape, self.chunks, self.dtype, self.fill = array.shape, array.chunks, array.dtype, array.fill_value
        self.kind = {"String": "text", "Binary": "bytes", "List": "bytes"}.get(array.element_type.name, self.dtype.kind)
        self.dimension_names = array.dimension_names
        self.attributes = dict(array.attrs)
        self._array = array
        self.part = self.chunks
        self._parts: NpyFile | None = None
        if self.dtype.kind != "O":
            inner = leaf(array.element_type)[1]
            self._rank = len(self.shape) - len(inner)
            self.part = (1,) * self._rank + inner
            if math.prod(self.chunks) * self.dtype.itemsize > BOX:
                self._parts = array.as_npy_file()

    def places(self) -> Iterator[Coord]:
        return self._array.iter_chunks()

    def read(self, box: Box) -> Values:
        if self._parts is None:
            return np.asarray(self._array.retrieve_array_subset((*box.slices, ...)), self.dtype)
        rank = self._rank
        shape = [b - a for a, b in zip(box.start, box.stop, strict=True)]
        return self._parts.box(box.start[:rank], box.stop[:rank]).view(self.dtype).reshape(shape)


class OpaqueValues:
    """See `ValueArray`. Read by zarr-python, of which any thread may ask."""

    def __init__(self, array: Array, store: Any) -> None:
        """store: the container as one of zarr-python's. Raises TargetError where that cannot read the array."""
        import zarr

        try:
            self._zarr: Any = zarr.open_array(store, path=array.path, mode="r")
        except Exception as error:
            raise TargetError(f"{array.path}: zarr-python cannot read it: {type(error).__name__}: {error}") from error
        self.path = array.path
        self.shape = tuple(self._zarr.shape)
        self.chunks = tuple(getattr(self._zarr, "shards", None) or self._zarr.chunks)
        self.part = (1,) * len(self.shape)
        self.dtype = np.dtype(self._zarr.dtype)
        if self.dtype.kind in "OT":
            self.part = self.chunks
        self.kind: str = "text" if self.dtype.kind == "T" else "bytes" if self.dtype.kind == "O" else self.dtype.kind
        self.fill = self._zarr.fill_value
        names = getattr(self._zarr.metadata, "dimension_names", None)
        self.dimension_names = tuple(names or array.dimension_names)
        self.attributes = dict(array.attrs)
        self._array = array

    def places(self) -> Iterator[Coord]:
        return self._array.iter_chunks()

    def read(self, box: Box) -> Values:
        found = self._zarr[(*box.slices, ...)]
        return np.asarray(found).astype(object) if self.kind == "text" else np.asarray(found)


def boxes(array: ValueArray, *, everything: bool) -> Iterator[Box]:
    """What there is of an array, in C order. everything: also where there are no chunks."""
    if not all(array.shape):
        return
    grid = Grid(array.shape, array.chunks)
    element = array.dtype.itemsize if array.dtype.kind not in "OT" else TEXT_SIZE
    places = (tuple(place) for place in np.ndindex(grid.counts)) if everything else array.places()
    for region in regions(grid, array.part, places, element, BOX):
        chunks = [-(-(b - a) // c) for a, b, c in zip(region.start, region.stop, array.chunks, strict=True)]
        whole = _is_of_chunks(region, array) and math.prod(chunks) == len(region.coords)
        yield Box(region.start, region.stop, whole)


def contents(array: ValueArray, jobs: int, *, everything: bool) -> Iterator[tuple[Box, Values]]:
    """The elements of what there is of an array: boxes without missing chunks. everything: of those too."""
    there = None if everything else _Present(array)
    for box, values in read_ahead(array, boxes(array, everything=everything), jobs):
        if box.whole or there is None or not _is_of_chunks(box, array):
            yield box, values
            continue
        for place, part in _single(box, array.chunks):
            if there.has(place):
                inside = zip(part.start, part.stop, box.start, strict=True)
                yield part, values[tuple([slice(a - first, b - first) for a, b, first in inside])]


def _is_of_chunks(box: Box | Region, array: ValueArray) -> bool:
    """Whether a box ends where chunks do; else it is a part of one that is there."""
    sides = zip(box.start, box.stop, array.chunks, array.shape, strict=True)
    return all(not a % c and (not b % c or b == n) for a, b, c, n in sides)


def _single(box: Box, chunks: Sequence[int]) -> Iterator[tuple[Coord, Box]]:
    """The chunks that a box is made of, one by one: their places and elements."""
    first = [a // c for a, c in zip(box.start, chunks, strict=True)]
    counts = [-(-b // c) - n for b, c, n in zip(box.stop, chunks, first, strict=True)]
    for step in np.ndindex(*counts):
        place = tuple(a + b for a, b in zip(first, step, strict=True))
        start = tuple(n * c for n, c in zip(place, chunks, strict=True))
        stop = tuple(min(a + c, b) for a, c, b in zip(start, chunks, box.stop, strict=True))
        yield place, Box(start, stop, whole=True)


class _Present:
    """Which chunks of an array are there, 8 bytes each."""

    def __init__(self, array: ValueArray) -> None:
        self._grid = Grid(array.shape, array.chunks)
        self._keys = np.sort(np.fromiter(map(self._grid.key, array.places()), np.int64))

    def has(self, place: Coord) -> bool:
        key = self._grid.key(place)
        found = int(np.searchsorted(self._keys, key))
        return found < len(self._keys) and int(self._keys[found]) == key


class Selected:
    """The groups and arrays that are exported as values, of a container that is open for reading."""

    def __init__(self, container: Container, url: str, names: Sequence[str]) -> None:
        """url: where the container is. Raises ArrayNotFoundError for a name that nothing has."""
        self._container, self._url = container, url
        self._chosen = Chosen(names)
        self._store: Any = None
        for name in self._chosen.names:
            if name and name not in container:
                raise ArrayNotFoundError(f"{url}: no array or group {name!r}")

    def close(self) -> None:
        """Let go of what was opened besides the container."""
        if self._store is not None:
            self._store.close()

    def groups(self) -> Iterator[Group]:
        """The groups, the root first, each before what is in it."""
        yield self._container
        for node in self._container.walk():
            if isinstance(node, Group) and (self._chosen.has(node.path) or self._chosen.leads_to(node.path)):
                yield node

    def arrays(self) -> Iterator[ValueArray]:
        """The arrays. Raises TargetError for one whose values cannot be had."""
        if "" in self._container and self._chosen.everything:
            yield self._values(self._container.array(""))
        for array in self._container.arrays():
            if self._chosen.has(array.path):
                yield self._values(array)

    def _values(self, array: Array) -> ValueArray:
        if not array.is_opaque:
            return NativeValues(array)
        if self._store is None:
            self._store = _zarr_store(self._url, self._container.version, array.path)
        return OpaqueValues(array, self._store)


def _zarr_store(url: str, version: int, path: str) -> Any:
    try:
        from arrayfs.api.zarr_store import ZarrStore
    except ImportError as error:
        why = f"its chunks are encoded by its client; needs zarr-python (pip install 'zarr>=3.0.8'): {error}"
        raise TargetError(f"{path}: {why}") from None
    return ZarrStore(url, version=version)


def _read(array: ValueArray, box: Box) -> tuple[Box, Values]:
    return box, array.read(box).reshape([b - a for a, b in zip(box.start, box.stop, strict=True)])


def read_ahead(array: ValueArray, wanted: Iterable[Box], jobs: int) -> Iterator[tuple[Box, Values]]:
    """The elements of boxes in their order, so many being read while one is written."""
    return ahead(partial(_read, array), wanted, jobs, jobs)
