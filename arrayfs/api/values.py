"""The values of a stored chunk as numpy arrays, and back; element types and fill values as numpy has them.

Numbers are looked at where they lie, text and bytes become arrays of Python objects. Nothing here knows where chunks
are kept.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import Buffer, join_elements, split_elements
from arrayfs.format.dtypes import ELEMENTS, fill_element, leaf, numpy_dtype
from arrayfs.format.model import DType
from arrayfs.view.fills import padding_element
from arrayfs.view.metadata import zarr_look

Values = NDArray[Any]
Extent = tuple[int, ...]

_BY_NUMPY = {np.dtype(row.numpy): row.name for row in ELEMENTS.values() if row.numpy}
_TEXT_NAMES = {"string": "String", "str": "String", "bytes": "Binary", "binary": "Binary"}


class Elements(Protocol):
    """How one array's chunks are values. extent: elements of a chunk, with the inner axes of FixedSizeList.

    dtype: of the numpy arrays, little-endian; fill: what a missing chunk reads as, one element.
    """

    dtype: np.dtype[Any]
    fill: Any

    def decode(self, stored: Buffer, extent: Extent, offset: int = 0, size: int | None = None) -> Values:
        """The values of a stored chunk, perhaps where they lie: not to be written to.

        stored: bytes that have the chunk at `offset`; size: its bytes, by default all. Raises FormatError.
        """

    def encode(self, values: Values) -> Buffer:
        """The stored chunk of values of `dtype`, contiguous; the same memory where that can be."""

    def convert(self, values: Any) -> Values:
        """What a caller gave as an array of `dtype`. Raises TypeError, ValueError."""


class Numbers:
    """Elements of a fixed size."""

    __slots__ = ("_size", "dtype", "fill")

    def __init__(self, spec: ArraySpec) -> None:
        self.dtype = numpy_dtype(spec.dtype)
        self._size = self.dtype.itemsize
        self.fill = np.frombuffer(fill_element(spec.dtype, spec.fill_value), self.dtype)[0]

    def decode(self, stored: Buffer, extent: Extent, offset: int = 0, size: int | None = None) -> Values:
        if size is None:
            size = len(stored)
        if size != math.prod(extent) * self._size or offset + size > len(stored):
            raise FormatError(f"{size} bytes at {offset} of {len(stored)} are no values of {self.dtype} {extent}")
        return np.ndarray(extent, self.dtype, stored, offset)

    def encode(self, values: Values) -> Buffer:
        return values.reshape(-1).view(np.uint8).data

    def convert(self, values: Any) -> Values:
        return np.asarray(values, self.dtype)


class Texts:
    """Elements of varying size: str for String, bytes for Binary and List."""

    __slots__ = ("_of", "_text", "dtype", "fill")

    def __init__(self, spec: ArraySpec) -> None:
        self.dtype = np.dtype(object)
        self._of = spec.dtype
        self._text = spec.dtype.name == "String"
        self.fill = self._shown(padding_element(zarr_look(spec).dtype, spec.fill_value))

    def _shown(self, element: bytes) -> str | bytes:
        return element.decode("utf-8", "surrogateescape") if self._text else element

    def decode(self, stored: Buffer, extent: Extent, offset: int = 0, size: int | None = None) -> Values:
        count = math.prod(extent)
        if size is not None:
            stored = memoryview(stored)[offset : offset + size]
        offsets, payload = split_elements(self._of, stored, count)
        whole, ends = bytes(payload), offsets.tolist()
        out = np.empty(count, object)
        out[:] = [self._shown(whole[ends[i] : ends[i + 1]]) for i in range(count)]
        return out.reshape(extent)

    def encode(self, values: Values) -> Buffer:
        elements = [self._bytes(value) for value in values.reshape(-1).tolist()]
        offsets = np.zeros(len(elements) + 1, np.int64)
        np.cumsum([len(element) for element in elements], out=offsets[1:])
        return join_elements(self._of, offsets, b"".join(elements))

    def _bytes(self, value: object) -> bytes:
        if self._text:
            if not isinstance(value, str):
                raise TypeError(f"{value!r} is no str, which the elements of this array are")
            return value.encode("utf-8", "surrogateescape")
        if not isinstance(value, bytes | bytearray | memoryview):
            raise TypeError(f"{value!r} is no bytes, which the elements of this array are")
        return bytes(value)

    def convert(self, values: Any) -> Values:
        if isinstance(values, str | bytes | bytearray | memoryview):
            one = np.empty((), object)
            one[()] = values
            return one
        return np.asarray(values, object)


def elements_of(spec: ArraySpec) -> Elements:
    """How the chunks of a native array are values. Raises FormatError for types whose layout is not settled."""
    return Numbers(spec) if ELEMENTS[zarr_look(spec).dtype.name].size else Texts(spec)


def filled(elements: Elements, extent: Extent) -> Values:
    """The values of a missing chunk, to be written to."""
    return np.full(extent, elements.fill, elements.dtype)


def inner_axes(spec: ArraySpec) -> tuple[int, ...]:
    """Lengths of the inner axes of a FixedSizeList type."""
    return leaf(spec.dtype)[1]


def element_type(dtype: DTypeLike) -> DType:
    """The container's type for a numpy type, or its name; `str` and `bytes` are elements of varying size.

    Raises FormatError for types that the format does not have (float16, complex, other units of time, records, …).
    """
    if dtype in (str, bytes):
        return DType("String" if dtype is str else "Binary")
    if isinstance(dtype, str) and dtype in _TEXT_NAMES:
        return DType(_TEXT_NAMES[dtype])
    wanted = np.dtype(dtype).newbyteorder("<")
    if wanted.kind in "UT":
        return DType("String")
    name = _BY_NUMPY.get(wanted)
    if name is None:
        known = ", ".join(one.name for one in _BY_NUMPY)
        raise FormatError(f"{wanted} is no type of the format, which has {known}, str and bytes")
    return DType(name)


def fill_as_json(dtype: DType, fill: Any) -> object:
    """A fill value as an array's document spells it; None: the type's zero. Raises ValueError, TypeError."""
    kind = ELEMENTS[dtype.name].kind
    if kind == "vlen":
        wanted: type[str] | type[bytes] = str if dtype.name == "String" else bytes
        text = wanted() if fill is None else fill
        if not isinstance(text, wanted):
            raise TypeError(f"fill value {fill!r} is no {wanted.__name__}")
        return text if isinstance(text, str) else base64.b64encode(text).decode()
    value = np.asarray(0 if fill is None else fill)
    if value.shape:
        raise ValueError(f"fill value {fill!r} is no single value")
    if kind == "time":
        nanoseconds = int(value.astype("M8[ns]").astype(np.int64))
        return "NaT" if np.isnat(value.astype("M8[ns]")) else nanoseconds
    if kind == "bool":
        return bool(value)
    number = value.item()
    if kind != "float":
        if number != int(number):
            raise ValueError(f"fill value {fill!r} is no integer")
        return int(number)
    return _float_as_json(float(number))


def _float_as_json(number: float) -> object:
    if math.isnan(number):
        return "NaN"
    return ("Infinity" if number > 0 else "-Infinity") if math.isinf(number) else number


def check_extent(given: Extent, allowed: Iterable[Extent], what: str) -> None:
    """Raise ValueError unless values have one of these shapes."""
    allowed = list(dict.fromkeys(allowed))
    if given not in allowed:
        raise ValueError(f"{what}: values of shape {given}, wanted {' or '.join(map(str, allowed))}")
