"""Attributes of HDF5 and NetCDF4 as JSON, and what the two libraries keep for themselves in them."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

# How dimension scales (HDF5 Dimension Scale specification) and the NetCDF library (its "Interoperability with HDF5")
# say which axis is which: dimension names say it in Zarr.
_OF_SCALES = frozenset(("REFERENCE_LIST", "DIMENSION_LIST", "DIMENSION_LABELS"))
_OF_NETCDF = frozenset(("_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict", "_NCCopy"))
_OF_A_SCALE = frozenset(("CLASS", "NAME"))
FILL = "_FillValue"


def kept_names(attributes: Any) -> Iterator[str | bytes]:
    """The names of those attributes that say something of the data, of `h5py.AttributeManager`; bytes: not UTF-8."""
    is_scale = text_of(attributes.get("CLASS", "")) == "DIMENSION_SCALE"
    hidden = _OF_SCALES | _OF_NETCDF | (_OF_A_SCALE if is_scale else frozenset())
    return (name for name in attributes if name not in hidden)


def text_of(value: object) -> str | None:
    """An attribute that is one text; None for any other."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(())[()]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else None


def as_json(value: Any, *, netcdf: bool) -> object:
    """An attribute's value. netcdf: one element alone is a single value, as the NetCDF library has it.

    Raises ValueError, with the reason, for what JSON cannot say.
    """
    if type(value).__name__ == "Empty":  # h5py's, which has nothing but a type
        return "" if value.dtype.kind in "SOU" else []
    if netcdf and isinstance(value, np.ndarray) and value.shape == (1,):
        value = value[0]
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "O" and value.dtype.metadata:
            _check_objects(value.dtype)
        return _plain(value.tolist(), value.dtype)
    return _plain(value.item() if isinstance(value, np.generic) else value, getattr(value, "dtype", None))


def _check_objects(dtype: np.dtype[Any]) -> None:
    """Raise ValueError unless the elements of an array of objects are texts."""
    said: Mapping[str, Any] = dtype.metadata or {}
    if "ref" in said:
        raise ValueError("a reference to an object or region")
    if said.get("vlen", str) not in (str, bytes):
        raise ValueError("sequences of varying length")


def _plain(value: object, dtype: np.dtype[Any] | None) -> object:
    if isinstance(value, list):
        return [_plain(one, dtype) for one in value]
    if isinstance(value, bytes):
        if dtype is not None and dtype.kind == "V":
            raise ValueError("bytes of a type of their own")
        return value.decode()  # UnicodeDecodeError is a ValueError
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, complex):
        raise ValueError("a complex number")
    if isinstance(value, tuple):
        raise ValueError("a structure")
    raise ValueError(
        "a reference to an object or region" if "Ref" in type(value).__name__ else f"{type(value).__name__}"
    )


def encoded_fill(fill: Any) -> object:
    """`_FillValue` as xarray has it among the attributes of a v3 array (`xarray.backends.zarr.FillValueCoder`).

    Raises ValueError for types of which it has none.
    """
    if isinstance(fill, str):
        return fill
    if isinstance(fill, bytes):
        return base64.standard_b64encode(fill).decode()
    kind = np.asarray(fill).dtype.kind
    if kind == "b":
        return bool(fill)
    if kind in "iu":
        return int(fill)
    if kind == "f":
        return base64.standard_b64encode(struct.pack("<d", float(fill))).decode()
    raise ValueError(f"a fill value of type {np.asarray(fill).dtype}")


def decoded_float(text: str) -> object:
    """The inverse of `encoded_fill` for a float; any other text is left as it is."""
    try:
        return struct.unpack("<d", base64.b64decode(text, validate=True))[0]
    except (ValueError, struct.error):
        return text
