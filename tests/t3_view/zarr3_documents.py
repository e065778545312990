"""A zarr.json to vary, for the tests of what documents mean and of what the container changes in them."""

from __future__ import annotations

import json
import struct

from arrayfs.container.array import ArraySpec
from arrayfs.format.model import DType, FillValue
from arrayfs.view import zarr3
from arrayfs.view.metadata import ArrayDocument
from tests.t3_view.zarr_python import changed

BASE: dict[str, object] = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [5],
    "data_type": "int32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "fill_value": 0,
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
}
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
DATETIME = {"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 1}}


def document(**members: object) -> bytes:
    return changed(json.dumps(BASE).encode(), **members)


def int_fill(value: int) -> FillValue:
    return FillValue("Int", value.to_bytes(8, "little", signed=True))


def float_fill(value: float) -> FillValue:
    return FillValue("Float", struct.pack("<d", value))


def parse_array(data: bytes, **options: object) -> ArrayDocument:
    document = zarr3.parse(data, **options)  # type: ignore[arg-type]
    assert isinstance(document, ArrayDocument)
    return document


def spec(dtype: str, fill: FillValue | None, names: tuple[str, ...] = ("dim_0",)) -> ArraySpec:
    return ArraySpec(DType(dtype), (5,), (2,), names, fill)
