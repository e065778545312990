"""The arrays and groups of a container that are exported as values. Opaque arrays are read by zarr-python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np

from arrayfs.api.array import Array
from arrayfs.api.container import Container
from arrayfs.api.group import Group
from arrayfs.container.grid import Coord
from arrayfs.copying import boxes
from arrayfs.copying.value_export import Box, GroupValues, ValueArray, Values
from arrayfs.copying.walking import Chosen
from arrayfs.errors import ArrayNotFoundError, TargetError
from arrayfs.format.dtypes import leaf
from arrayfs.view.npy import NpyFile


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
            if math.prod(self.chunks) * self.dtype.itemsize > boxes.BOX:
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

    def groups(self) -> Iterator[GroupValues]:
        """The groups, the root first, each before what is in it."""
        for node in chain((self._container,), self._container.walk()):
            if isinstance(node, Group) and (self._chosen.has(node.path) or self._chosen.leads_to(node.path)):
                yield GroupValues(node.path, dict(node.attrs))

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
