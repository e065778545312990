"""Arrays of numbers as Zarr's keys: the documents that describe them, and chunk files of raw little-endian elements.

What reads HDF5, `.npy` and raw files says what arrays there are and how a box of one is read; the rest is here.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.grid import Coord, Grid, grid_of
from arrayfs.copying.key_paths import above
from arrayfs.copying.source import TOGETHER, Entry, Load, Remarks, Value, load_of
from arrayfs.copying.zarr_types import ZarrType
from arrayfs.errors import LimitError, SourceError
from arrayfs.view.metadata import KeyStyle, complete_names, dump_json
from arrayfs.view.regions import TEXT_SIZE
from arrayfs.view.zarr2 import DIMENSIONS_ATTRIBUTE, render_group

# Bytes of a chunk where a file has none of its own.
CHUNK = 1 << 20
Box = tuple[slice, ...]
Read = Callable[[Box], NDArray[Any]]
_KEYS = {3: KeyStyle("c", "/"), 2: KeyStyle("", ".")}
_U32 = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Numbers:
    """One array of a file. path: of its directory; chunks: shape of a chunk, from 1.

    fill: an element for what nobody wrote; fill2: what v2 says of it, None for null, which xarray takes for no mask.
    names: of the axes, None for none. read: the elements of a box, of any byte order. there: the chunks that the file
    has; None: all. fortran: the first axis varies fastest in the file.
    """

    path: str
    type: ZarrType
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    fill: Any
    read: Read
    fill2: object = None
    attributes: dict[str, object] = field(default_factory=dict)
    names: tuple[str | None, ...] | None = None
    there: Container[Coord] | None = None
    fortran: bool = False

    def __post_init__(self) -> None:
        try:
            grid_of(self.shape, self.chunks)
        except LimitError as error:
            raise SourceError(str(error)) from None

    @property
    def grid(self) -> Grid:
        """Its chunks."""
        return grid_of(self.shape, self.chunks)


@dataclass(frozen=True, slots=True)
class GroupOf:
    """One group of a file, with its attributes."""

    path: str
    attributes: dict[str, object]


class NumberSource:
    """A `Source` of groups and arrays, each group before what is in it."""

    def __init__(self, name: str, nodes: Sequence[GroupOf | Numbers], look: int, *, threads: int = 2) -> None:
        """look: the Zarr format of documents. threads: 1 where boxes can only be read in the order of `loads`."""
        self.name, self.threads, self.look = name, threads, look
        self.groups: tuple[str, ...] = ("",)
        self.remarks = Remarks()
        self._keys = _KEYS[look]
        self._hold(nodes)

    def _hold(self, nodes: Sequence[GroupOf | Numbers]) -> None:
        self._nodes = nodes
        self._arrays = {node.path: node for node in nodes if isinstance(node, Numbers)}

    def loads(self) -> Iterator[Load]:
        for node in self._nodes:
            yield load_of(*self._documents(node))
            if isinstance(node, Numbers):
                yield from self._chunks(node)

    def keys(self) -> Iterator[str]:
        for node in self._nodes:
            yield from (key for key, _ in self._documents(node))

    def has(self, key: str) -> bool:
        for path in above(key):
            array = self._arrays.get(path)
            if array is not None:
                rest = key[len(path) + 1 :] if path else key
                coord = self._keys.parse(rest.split("/"), len(array.shape))
                return coord is not None and coord in (array.grid if array.there is None else array.there)
        return False

    def total(self) -> int:
        return sum(
            array.grid.total * math.prod(array.chunks) * (array.type.size or 1) for array in self._arrays.values()
        )

    def close(self) -> None:
        """Nothing is open."""

    # --- documents ----------------------------------------------------------------------------------------------------

    def _documents(self, node: GroupOf | Numbers) -> Iterator[tuple[str, bytes]]:
        place = f"{node.path}/" if node.path else ""
        if self.look == 3:
            yield f"{place}zarr.json", dump_json(_group3(node) if isinstance(node, GroupOf) else _array3(node))
            return
        attributes = dict(node.attributes)
        if isinstance(node, GroupOf):
            yield f"{place}.zgroup", render_group()
        else:
            yield f"{place}.zarray", dump_json(_array2(node))
            if node.names is not None:
                attributes[DIMENSIONS_ATTRIBUTE] = list(complete_names(node.names, len(node.shape)))
        if attributes:
            yield f"{place}.zattrs", dump_json(attributes)

    # --- chunks -------------------------------------------------------------------------------------------------------

    def _chunks(self, array: Numbers) -> Iterator[Load]:
        """Loads of neighbouring chunks."""
        size = math.prod(array.chunks) * (array.type.size or TEXT_SIZE)
        grid, there = array.grid, array.there
        coords = _coords(grid, fortran=array.fortran)
        if there is not None:
            coords = (coord for coord in coords if coord in there)
        while together := list(itertools.islice(coords, max(1, TOGETHER // max(size, 1)))):
            yield Load(size * len(together), partial(self._read, array, grid, together))

    def _read(self, array: Numbers, grid: Grid, coords: Iterable[Coord]) -> Iterator[Entry]:
        place = f"{array.path}/" if array.path else ""
        for coord in coords:
            extent = grid.extent(coord)
            starts = map(int.__mul__, coord, array.chunks)
            values = array.read(tuple(slice(a, a + n) for a, n in zip(starts, extent, strict=True)))
            if values.shape != extent:
                raise SourceError(
                    f"{self.name}: {array.path}: chunk {coord} has the shape {values.shape}, not {extent}"
                )
            yield place + "/".join(self._keys.components(coord)), _file(array, values)


def _coords(grid: Grid, *, fortran: bool) -> Iterator[Coord]:
    """All chunks in the order in which they lie in the file."""
    if not fortran:
        return itertools.product(*map(range, grid.counts))
    return (coord[::-1] for coord in itertools.product(*map(range, reversed(grid.counts))))


def _group3(group: GroupOf) -> dict[str, object]:
    return {"zarr_format": 3, "node_type": "group", "attributes": group.attributes}


def _array3(array: Numbers) -> dict[str, object]:
    document: dict[str, object] = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.type.data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(array.chunks)}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": array.type.fill(array.fill),
        "codecs": array.type.codecs,
        "attributes": array.attributes,
    }
    if array.names is not None:
        document["dimension_names"] = list(array.names)
    return document


def _array2(array: Numbers) -> dict[str, object]:
    return {
        "zarr_format": 2,
        "shape": list(array.shape),
        "chunks": list(array.chunks),
        "dtype": array.type.dtype,
        "compressor": None,
        "fill_value": array.fill2,
        "order": "C",
        "filters": array.type.filters,
        "dimension_separator": ".",
    }


def _file(array: Numbers, values: NDArray[Any]) -> Value:
    """A chunk file: all elements of a full chunk, little-endian, in C order."""
    if values.shape != array.chunks:
        full = np.full(array.chunks, array.fill, values.dtype)
        full[tuple(map(slice, values.shape))] = values
        values = full
    if not array.type.size:
        return _texts(values.ravel().tolist())
    little = np.ascontiguousarray(values.astype(np.dtype(array.type.dtype), copy=False)).reshape(-1)
    return little.view(np.uint8).data if little.size else b""


def _texts(elements: Sequence[str]) -> bytes:
    """Zarr's vlen-utf8: their number, then the length of each before its bytes."""
    parts = [_U32.pack(len(elements))]
    for element in elements:
        encoded = element.encode()
        parts += (_U32.pack(len(encoded)), encoded)
    return b"".join(parts)


def chunk_shape(shape: Sequence[int], element: int, *, fortran: bool = False) -> tuple[int, ...]:
    """Chunks of about `CHUNK` bytes along the first axes, so that each is one stretch of a file.

    element: bytes of one. fortran: of a file whose first axis varies fastest, so along the last axes.
    """
    if fortran:
        return tuple(reversed(chunk_shape(tuple(reversed(shape)), element)))
    chunks = [max(1, length) for length in shape]
    for axis in range(len(chunks)):
        rest = element * math.prod(chunks[axis + 1 :])
        chunks[axis] = min(chunks[axis], max(1, CHUNK // max(rest, 1)))
        if rest <= CHUNK:
            break
    return tuple(chunks)
