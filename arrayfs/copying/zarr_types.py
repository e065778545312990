"""numpy's types as Zarr's: how both formats spell them, and what stands for their fill values.

The container has numbers of its own for most; arrays of the others are kept as Zarr has them, uncompressed. Types that
Zarr has no name for are refused (docs/COPYING.md has the whole table).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayfs.errors import SourceError

# Elements of varying size, as numpy has them: arrays of `str` objects.
TEXT = np.dtype(object)


@dataclass(frozen=True, slots=True)
class ZarrType:
    """A type of elements. data_type: in v3; dtype: in v2; size: bytes of an element, 0 where it varies.

    fill: the JSON of an element.
    """

    data_type: object
    dtype: str
    size: int
    fill: Callable[[Any], object]

    @property
    def codecs(self) -> list[dict[str, object]]:
        """The one that makes bytes of elements, in v3."""
        if not self.size:
            return [{"name": "vlen-utf8", "configuration": {}}]
        if self.dtype[0] == "|":
            return [{"name": "bytes"}]
        return [{"name": "bytes", "configuration": {"endian": "little"}}]

    @property
    def filters(self) -> list[dict[str, object]] | None:
        """In v2."""
        return None if self.size else [{"id": "vlen-utf8"}]


def zarr_type(dtype: np.dtype[Any]) -> ZarrType:
    """The type for elements of `dtype`; `TEXT` for texts. Raises SourceError, naming it, if Zarr has none."""
    if dtype == TEXT:
        return ZarrType("string", "|O", 0, str)
    little = dtype.newbyteorder("<")
    size, name = little.itemsize, little.str
    kind = little.kind
    if kind == "b":
        return ZarrType("bool", name, size, bool)
    if kind in "iu":
        return ZarrType(little.name, name, size, int)
    if kind == "f" and size <= 8:
        return ZarrType(little.name, name, size, _float)
    if kind == "c" and size <= 16:
        return ZarrType(little.name, name, size, lambda value: [_float(value.real), _float(value.imag)])
    if kind in "mM":
        return _time(little)
    if kind == "S" and size:
        named = _configured("null_terminated_bytes", length_bytes=size)
        return ZarrType(named, name, size, lambda value: base64.b64encode(bytes(value)).decode())
    if kind == "U" and size:
        return ZarrType(_configured("fixed_length_utf32", length_bytes=size), name, size, str)
    raise SourceError(f"Zarr has no type for elements of {_said(dtype)}")


def _configured(name: str, **configuration: object) -> dict[str, object]:
    return {"name": name, "configuration": configuration}


def _time(dtype: np.dtype[Any]) -> ZarrType:
    unit, count = np.datetime_data(dtype)
    if unit == "generic":
        raise SourceError(f"Zarr has no type for elements of {_said(dtype)}, times without a unit")
    name = "numpy.datetime64" if dtype.kind == "M" else "numpy.timedelta64"
    named = _configured(name, unit=unit, scale_factor=count)
    return ZarrType(named, dtype.str, dtype.itemsize, _ticks)


def _ticks(value: Any) -> object:
    return "NaT" if np.isnat(value) else int(value.astype(np.int64))


def _float(value: Any) -> object:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    return ("Infinity" if number > 0 else "-Infinity") if math.isinf(number) else number


def _said(dtype: np.dtype[Any]) -> str:
    """A type as people know it."""
    if dtype.names is not None:
        return f"a structure of {', '.join(dtype.names)}"
    return f"{dtype.itemsize} raw bytes" if dtype.kind == "V" else dtype.name
