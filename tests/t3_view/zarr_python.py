"""The real Zarr library over documents and chunk files in memory, for the tests of the metadata conversions."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import MemoryStore

from arrayfs.container.array import ArraySpec
from arrayfs.container.grid import Grid
from arrayfs.format.chunkdata import join_elements
from arrayfs.format.dtypes import element_size, leaf, numpy_dtype
from arrayfs.format.model import DType
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.metadata import KeyStyle

LEAF_NAMES = (
    *("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"),
    *("String", "Binary", "TimestampNs"),
)
# The same as zarr-python names them.
CLIENT_TYPES = {
    "Bool": "bool",
    "Int8": "int8",
    "Int16": "int16",
    "Int32": "int32",
    "Int64": "int64",
    "UInt8": "uint8",
    "UInt16": "uint16",
    "UInt32": "uint32",
    "UInt64": "uint64",
    "Float32": "float32",
    "Float64": "float64",
    "String": str,
    "Binary": zarr.dtype.VariableLengthBytes(),
    "TimestampNs": "M8[ns]",
}
VEC3 = DType("FixedSizeList", DType("Float32"), 3)


@contextmanager
def unstable_types() -> Iterator[None]:
    """Without zarr-python's warnings about types that have no v3 specification (yet)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification")
        warnings.filterwarnings("ignore", message=".*is currently not part in the Zarr format 3 specification")
        warnings.filterwarnings("ignore", category=zarr.errors.UnstableSpecificationWarning)
        yield


def memory_store(files: Mapping[str, bytes | memoryview]) -> MemoryStore:
    """A Zarr store of these files."""
    buffer = default_buffer_prototype().buffer
    return MemoryStore({name: buffer.from_bytes(bytes(content)) for name, content in files.items()})


def open_tree(files: Mapping[str, bytes | memoryview]) -> zarr.Array:
    """The array that zarr-python sees in these files."""
    with unstable_types():
        return zarr.open_array(memory_store(files), mode="r")


def client_documents(zarr_format: int, **options: object) -> dict[str, bytes]:
    """The documents that zarr-python writes for an array, by name."""
    store: dict[str, object] = {}
    with unstable_types():
        zarr.create_array(MemoryStore(store), zarr_format=zarr_format, **options)
    return {name: content.to_bytes() for name, content in store.items()}


def client_files(zarr_format: int, values: NDArray[np.generic] | list[object], **options: object) -> dict[str, bytes]:
    """The documents and chunk files that zarr-python writes for an array with these values."""
    store: dict[str, object] = {}
    with unstable_types():
        array = zarr.create_array(MemoryStore(store), zarr_format=zarr_format, **options)
        array[...] = values
    return {name: content.to_bytes() for name, content in store.items()}


def changed(document: bytes, **members: object) -> bytes:
    """A JSON document with members replaced, or taken away where the value is `...`."""
    value = json.loads(document) | members
    return json.dumps({key: member for key, member in value.items() if member is not ...}).encode()


def example_values(dtype: DType, shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Values of an array of this shape, inner dimensions behind; no two of them alike where the type allows it."""
    base, inner = leaf(dtype)
    count = int(np.prod(shape + inner))
    if base.name == "String":
        texts = ["", "é", *(f"text {n}" * (n % 3) for n in range(count))]
        return np.array(texts[:count], object).reshape(shape)
    if base.name == "Binary":
        flat = np.empty(count, object)
        flat[:] = [bytes(range(n % 7)) for n in range(count)]
        return flat.reshape(shape)
    return np.arange(1, count + 1).astype(numpy_dtype(base)).reshape(shape + inner)


def stored_chunks(spec: ArraySpec, values: NDArray[np.generic]) -> dict[tuple[int, ...], bytes]:
    """The chunks as a container stores them, by coordinate: made here, not by the code under test."""
    grid = Grid(spec.shape, spec.chunk_shape)
    chunks = {}
    for coord in itertools.product(*map(range, grid.counts)):
        place = tuple(slice(c * n, (c + 1) * n) for c, n in zip(coord, spec.chunk_shape, strict=True))
        part = values[place]
        if element_size(spec.dtype) is not None:
            chunks[coord] = np.ascontiguousarray(part).tobytes()
        else:
            elements = [e.encode() if isinstance(e, str) else e for e in np.asarray(part, object).ravel()]
            offsets = np.cumsum([0, *map(len, elements)]).astype(np.int64)
            chunks[coord] = join_elements(spec.dtype, offsets, b"".join(elements))
    return chunks


def chunk_files(
    spec: ArraySpec, stored: Mapping[tuple[int, ...], bytes], keys: KeyStyle
) -> dict[str, bytes | memoryview]:
    """The chunk files of stored chunks, by path."""
    chunks, grid = NativeChunks(spec), Grid(spec.shape, spec.chunk_shape)
    zeros = (0,) * len(leaf(spec.dtype)[1])
    return {
        "/".join(keys.components(coord + zeros)): chunks.to_file(content, grid.extent(coord))
        for coord, content in stored.items()
    }
