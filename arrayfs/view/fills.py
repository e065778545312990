"""Fill values <-> JSON, the same in both Zarr formats but for the bits of NaN, which only v3 can spell.

What a document says is taken only if the container gives back exactly that element; else it is a ValueError, and the
array is kept opaque. (Zarr v3, "Fill value"; Zarr v2, "Fill value encoding")
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable

import numpy as np

from arrayfs.format.dtypes import ELEMENTS, fill_element
from arrayfs.format.model import DType, FillValue

_NAMED_FLOATS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOATS = {4: ("<f", "<I"), 8: ("<d", "<Q")}
_CANONICAL_NAN = {4: 0x7FC00000, 8: 0x7FF8000000000000}
_NAT = -(1 << 63)


def fill_from_json(dtype: DType, value: object) -> FillValue:
    """The fill value that JSON `value` means for elements of `dtype`, one of the table of dtypes.py.

    Raises ValueError if it means none, or none that a container can give back exactly.
    """
    return _READERS[_rule(dtype)](dtype, value)


def fill_to_json(dtype: DType, fill: FillValue | None, *, hex_nan: bool) -> object:
    """The element that a missing chunk reads as, as JSON. hex_nan: spell unusual NaNs by their bits."""
    element = padding_element(dtype, fill)
    if dtype.name == "Binary":
        return base64.b64encode(element).decode()
    if dtype.name == "String":
        return element.decode()
    kind = ELEMENTS[dtype.name].kind
    if kind == "bool":
        return element != b"\0"
    if kind == "float":
        return _float_to_json(element, hex_nan=hex_nan)
    return int.from_bytes(element, "little", signed=kind != "uint")


def padding_element(dtype: DType, fill: FillValue | None) -> bytes:
    """One element of a missing chunk as a Zarr client reads it.

    Unlike the crate, which reads empty text there, a String or Binary array has its fill value as text or bytes.
    """
    if ELEMENTS[dtype.name].size:
        return fill_element(dtype, fill)
    return fill.payload if fill is not None and fill.kind == "String" else b""


def shortest_float(number: np.float32) -> float:
    """The float with the fewest digits that is `number` again as a Float32."""
    short = float(str(number))
    with np.errstate(over="ignore"):
        return short if np.float32(short).tobytes() == number.tobytes() else float(number)


def _rule(dtype: DType) -> str:
    return dtype.name if ELEMENTS[dtype.name].kind == "vlen" else ELEMENTS[dtype.name].kind


def _read_bool(_dtype: DType, value: object) -> FillValue:
    if not isinstance(value, bool):
        raise ValueError(f"fill value {value!r} is no bool")
    return FillValue("Bool", bytes((value,)))


def _read_int(dtype: DType, value: object) -> FillValue:
    row = ELEMENTS[dtype.name]
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"fill value {value!r} is no integer")
    try:
        value.to_bytes(row.size, "little", signed=row.kind == "int")
    except OverflowError:
        raise ValueError(f"fill value {value!r} is out of the range of {dtype.name}") from None
    kind = "Int" if row.kind == "int" else "UInt"
    return FillValue(kind, value.to_bytes(8, "little", signed=kind == "Int"))


def _read_float(dtype: DType, value: object) -> FillValue:
    if isinstance(value, str) and value.startswith("0x"):
        return _read_float_bits(dtype, value)
    if isinstance(value, str) and value in _NAMED_FLOATS:
        value = _NAMED_FLOATS[value]
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"fill value {value!r} is no number")
    try:
        return FillValue("Float", struct.pack("<d", float(value)))
    except OverflowError:
        raise ValueError(f"fill value {value!r} is out of the range of {dtype.name}") from None


def _read_float_bits(dtype: DType, text: str) -> FillValue:
    size = ELEMENTS[dtype.name].size
    if len(text) != 2 + 2 * size:
        raise ValueError(f"fill value {text!r} does not have the {size} bytes of {dtype.name}")
    element = bytes.fromhex(text[2:])[::-1]
    with np.errstate(all="ignore"):
        fill = FillValue("Float", np.frombuffer(element, _FLOATS[size][0]).astype("<f8").tobytes())
    # a container keeps Float64; a signalling NaN of Float32 does not survive the way there and back
    if fill_element(dtype, fill) != element:
        raise ValueError(f"fill value {text!r} cannot be kept as a Float64")
    return fill


def _read_time(_dtype: DType, value: object) -> FillValue:
    if value == "NaT":
        value = _NAT
    if not isinstance(value, int) or isinstance(value, bool) or not _NAT <= value < -_NAT:
        raise ValueError(f"fill value {value!r} is no time in ns")
    return FillValue("TimestampNs", value.to_bytes(8, "little", signed=True))


def _read_text(_dtype: DType, value: object) -> FillValue:
    if not isinstance(value, str):
        raise ValueError(f"fill value {value!r} is no text")
    return FillValue("String", value.encode())  # a lone surrogate is a UnicodeEncodeError, a ValueError too


def _read_bytes(_dtype: DType, value: object) -> FillValue:
    if not isinstance(value, str):
        raise ValueError(f"fill value {value!r} is no base64 text")
    raw = base64.b64decode(value.encode(), validate=True)
    raw.decode()  # the format keeps fill values of varying size as text
    if base64.b64encode(raw).decode() != value:
        raise ValueError(f"fill value {value!r} is not written as base64 is")
    return FillValue("String", raw)


_READERS: dict[str, Callable[[DType, object], FillValue]] = {
    "bool": _read_bool,
    "int": _read_int,
    "uint": _read_int,
    "float": _read_float,
    "time": _read_time,
    "String": _read_text,
    "Binary": _read_bytes,
}


def _float_to_json(element: bytes, *, hex_nan: bool) -> float | str:
    float_code, int_code = _FLOATS[len(element)]
    (number,) = struct.unpack(float_code, element)
    if math.isnan(number):
        (bits,) = struct.unpack(int_code, element)
        return f"0x{bits:0{2 * len(element)}x}" if hex_nan and bits != _CANONICAL_NAN[len(element)] else "NaN"
    if math.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    return shortest_float(np.float32(number)) if len(element) == 4 else float(number)
