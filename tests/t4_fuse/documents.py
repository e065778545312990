"""Metadata documents as a client that is no Zarr library would write them, for tests of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def array3(shape: list[int], chunks: list[int], dtype: str = "int32", **members: Any) -> dict[str, Any]:
    """A v3 array document."""
    size_one = dtype in ("int8", "uint8", "bool")
    codec = {"name": "bytes"} if size_one else {"name": "bytes", "configuration": {"endian": "little"}}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [codec],
        **members,
    }


def array2(shape: list[int], chunks: list[int], dtype: str = "<i4", **members: Any) -> dict[str, Any]:
    """A v2 array document."""
    return {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": dtype,
        "order": "C",
        "fill_value": 0,
        "compressor": None,
        "filters": None,
        **members,
    }


GROUP3 = {"zarr_format": 3, "node_type": "group", "attributes": {}}


def write(path: Path, document: dict[str, Any]) -> None:
    """Create or overwrite a document, and the directory that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1))


def put(path: Path, *numbers: int) -> None:
    """Write a chunk of int32 numbers, and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(ints(*numbers))


def ints(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "little", signed=True) for number in numbers)
