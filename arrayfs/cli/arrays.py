"""What there is to say of the arrays of a container: native ones, those kept as a client encoded them, and our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from arrayfs.cli.layer_json import attribute_json, dtype_json, fill_json
from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.errors import FormatError
from arrayfs.format.model import DType
from arrayfs.view import plain
from arrayfs.view.documents import FILE_ARRAY

# A document beyond this is none that a client wrote for an array.
_DOCUMENT_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True)
class ArrayFacts:
    """One array as `ls` shows it.

    kind: "native", "opaque" (chunks as the client encoded them; element type and shapes are those of its document) or
    "reserved" (arrayfs's own, by its name in the container). chunks: stored ones; grid: how many there could be;
    stored_bytes: of the blocks in the files, the part that these chunks take. chunks and stored_bytes are None where
    the index is damaged.
    """

    name: str
    kind: str
    dtype: Any
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dimension_names: tuple[str, ...]
    fill_value: Any
    chunks: int | None
    grid: int
    stored_bytes: int | None


def array_facts(container: Container, *, all_names: bool) -> Iterator[ArrayFacts]:
    """All arrays that a user knows of; with all_names every array of the container, by the names it has there."""
    for name in container.names_of_arrays():
        reserved = name.startswith(plain.RESERVED) or name == FILE_ARRAY
        if all_names or not reserved:
            yield _facts(container.get(name), "reserved" if reserved else "native")
        elif name.startswith(plain.CHUNKS):
            yield _opaque(container, name)


def attributes_json(container: Container, name: str) -> dict[str, Any]:
    """An array's attributes by name, with their types in the container."""
    return {key: attribute_json(value) for key, value in container.get(name).attributes.items()}


def dtype_text(dtype: Any) -> str:
    """An element type in one word: `Int16`, `FixedSizeList<Float32, 3>`."""
    if not isinstance(dtype, dict):
        return str(dtype)
    if "name" in dtype:  # as a Zarr document names a type with parameters
        return str(dtype["name"])
    for name, inner in dtype.items():
        size = f", {inner['size']}" if "size" in inner else ""
        return f"{name}<{dtype_text(inner['child'])}{size}>"
    return ""


def _facts(array: Array, kind: str) -> ArrayFacts:
    spec = array.spec
    chunks, stored = _stored(array)
    return ArrayFacts(
        array.name, kind, dtype_json(spec.dtype), spec.shape, spec.chunk_shape, spec.dimension_names,
        fill_json(spec.fill_value), chunks, array.grid.total, stored,
    )  # fmt: skip


def _stored(array: Array) -> tuple[int | None, int | None]:
    try:
        index = array.index
        return len(index), int(index.stored_shares(0, len(index)).sum())
    except FormatError:  # `verify` says where
        return None, None


def _opaque(container: Container, name: str) -> ArrayFacts:
    """An array that Zarr sees and the format has no words for: what it is stands in its document."""
    shown = name.removeprefix(plain.CHUNKS)
    array = container.get(name)
    chunks, stored = _stored(array)
    document = _document(container, shown)
    grid = document.get("chunk_grid")
    chunk_shape = document.get("chunks") or (
        grid.get("configuration", {}).get("chunk_shape") if isinstance(grid, dict) else ()
    )
    dtype = document.get("data_type") or document.get("dtype") or dtype_json(DType("Binary"))
    names = document.get("dimension_names") or ()
    return ArrayFacts(
        shown, "opaque", dtype, _lengths(document.get("shape")), _lengths(chunk_shape), tuple(map(str, names)),
        document.get("fill_value"), chunks, array.grid.total, stored,
    )  # fmt: skip


def _document(container: Container, shown: str) -> dict[str, Any]:
    """The array document in a directory; empty where there is none that can be read."""
    for document in ("zarr.json", ".zarray"):
        name = f"{plain.FILES}{shown}/{document}" if shown else plain.FILES + document
        if name not in container:
            continue
        array = container.get(name)
        size = min(plain.read_attributes(array)[0], _DOCUMENT_LIMIT)
        try:
            content = bytes(plain.read(container, array, size, 0, size))
            value, _ = json.JSONDecoder().raw_decode(content.decode().lstrip())
        except (FormatError, ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}


def _lengths(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(length, int) for length in value):
        return ()
    return tuple(value)
