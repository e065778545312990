"""Element types: one table from the container's types to sizes, numpy and Zarr, and what a missing chunk reads as.

Everything that depends on an element type looks here; nothing here reads or writes bytes of a file.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arrayfs.format.model import DType, FillValue


@dataclass(frozen=True, slots=True)
class ElementType:
    """One row of the table. size: bytes, 0 where it varies; kind: the rule for fill values (format chapter 6)."""

    name: str
    tag: int
    size: int
    kind: str
    numpy: str
    zarr3: str
    zarr2: str


ELEMENTS = {
    row.name: row
    for row in (
        ElementType("Bool", 0, 1, "bool", "|b1", "bool", "|b1"),
        ElementType("Int8", 1, 1, "int", "|i1", "int8", "|i1"),
        ElementType("Int16", 2, 2, "int", "<i2", "int16", "<i2"),
        ElementType("Int32", 3, 4, "int", "<i4", "int32", "<i4"),
        ElementType("Int64", 4, 8, "int", "<i8", "int64", "<i8"),
        ElementType("UInt8", 5, 1, "uint", "|u1", "uint8", "|u1"),
        ElementType("UInt16", 6, 2, "uint", "<u2", "uint16", "<u2"),
        ElementType("UInt32", 7, 4, "uint", "<u4", "uint32", "<u4"),
        ElementType("UInt64", 8, 8, "uint", "<u8", "uint64", "<u8"),
        ElementType("Float32", 9, 4, "float", "<f4", "float32", "<f4"),
        ElementType("Float64", 10, 8, "float", "<f8", "float64", "<f8"),
        ElementType("String", 11, 0, "vlen", "", "string", "|O"),
        ElementType("Binary", 12, 0, "vlen", "", "variable_length_bytes", "|O"),
        ElementType("TimestampNs", 15, 8, "time", "<M8[ns]", "numpy.datetime64", "<M8[ns]"),
    )
}
BINARY = DType("Binary")


def leaf(dtype: DType) -> tuple[DType, tuple[int, ...]]:
    """Unwrap FixedSizeList: the innermost element type and the inner dimensions, outermost first."""
    inner: list[int] = []
    while dtype.name == "FixedSizeList" and dtype.child is not None:
        inner.append(dtype.size)
        dtype = dtype.child
    return dtype, tuple(inner)


def element_size(dtype: DType) -> int | None:
    """Bytes of one element of an array of this type, inner dimensions included; None where the size varies."""
    base, inner = leaf(dtype)
    row = ELEMENTS.get(base.name)
    if row is None or row.size == 0:
        return None
    return row.size * math.prod(inner)


def numpy_dtype(dtype: DType) -> np.dtype[np.generic]:
    """The numpy type of the leaf elements of a fixed-size type, little-endian."""
    return np.dtype(ELEMENTS[leaf(dtype)[0].name].numpy)


def fill_element(dtype: DType, fill: FillValue | None) -> bytes:
    """What one leaf element of a missing chunk reads as, as little-endian bytes (b"" for types of varying size)."""
    row = ELEMENTS.get(leaf(dtype)[0].name)
    if row is None or row.size == 0:
        return b""
    return _FILLERS[row.kind](row, fill)


def fill_array(dtype: DType, fill: FillValue | None, count: int) -> NDArray[np.uint8]:
    """`count` elements of a missing chunk, as bytes."""
    element = fill_element(dtype, fill)
    total = count * math.prod(leaf(dtype)[1])
    if not any(element):
        return np.zeros(total * len(element), np.uint8)
    return np.tile(np.frombuffer(element, np.uint8), total)


def _fill_int(row: ElementType, fill: FillValue | None) -> bytes:
    bits = row.size * 8
    value = _number(fill)
    if isinstance(value, float):
        signed = row.kind != "uint"
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
        value = 0 if math.isnan(value) else max(low, min(high, value if math.isinf(value) else int(value)))
        value = high if value == math.inf else low if value == -math.inf else int(value)
    if fill is not None and fill.kind == "Bool" and row.kind != "uint":
        value = 0
    return (int(value) & ((1 << bits) - 1)).to_bytes(row.size, "little")


def _fill_float(row: ElementType, fill: FillValue | None) -> bytes:
    if fill is None or fill.kind not in ("Int", "UInt", "Float"):
        return bytes(row.size)
    if fill.kind == "Float" and row.size == 8:
        return fill.payload
    if fill.kind == "Float":
        with np.errstate(all="ignore"):
            return np.frombuffer(fill.payload, "<f8").astype("<f4").tobytes()
    with np.errstate(all="ignore"):
        return np.frombuffer(fill.payload, "<i8" if fill.kind == "Int" else "<u8").astype(row.numpy).tobytes()


def _fill_bool(_row: ElementType, fill: FillValue | None) -> bytes:
    return b"\1" if fill is not None and fill.kind == "Bool" and fill.payload != b"\0" else b"\0"


def _fill_time(_row: ElementType, fill: FillValue | None) -> bytes:
    return fill.payload if fill is not None and fill.kind in ("Int", "TimestampNs") else bytes(8)


_FILLERS = {"int": _fill_int, "uint": _fill_int, "float": _fill_float, "bool": _fill_bool, "time": _fill_time}


def _number(fill: FillValue | None) -> int | float:
    if fill is None or fill.kind in ("String", "TimestampNs"):
        return 0
    if fill.kind == "Float":
        return float(struct.unpack("<d", fill.payload)[0])
    return int.from_bytes(fill.payload, "little", signed=fill.kind == "Int")
