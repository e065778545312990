"""Attribute values <-> bytes in the archive, and <-> Python objects; one table row per kind.

Version 5 of the footer knows all kinds, version 4 those up to String. (docs/FORMAT.md, "Attribute values")
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, cast

import numpy as np

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.model import AttributeValue
from arrayfs.format.rkyv import VEC, ArchiveReader, ArchiveWriter, encode_text, string_form

VALUE_SIZE = 24  # bytes of one value's record: tag, then the payload at its own alignment
# A layer's dictionary is mostly that of the layer below, so the last records seen are kept, and runs of them.
_KNOWN_VALUES, _KNOWN_RUNS = 4096, 512
_RUN_SIZE = 16 * VALUE_SIZE


@dataclass(frozen=True, slots=True)
class Kind:
    """One variant: its tag, and its element's numpy type ("" for text and raw bytes)."""

    tag: int
    name: str
    element: str
    is_list: bool = False

    @property
    def size(self) -> int:
        """Bytes of an element; also its alignment and, for scalars, its offset from the tag."""
        return np.dtype(self.element).itemsize if self.element else 1


_SCALARS = {
    "Bool": "?",
    "Int8": "<i1",
    "Int16": "<i2",
    "Int32": "<i4",
    "Int64": "<i8",
    "UInt8": "<u1",
    "UInt16": "<u2",
    "UInt32": "<u4",
    "UInt64": "<u8",
    "Float32": "<f4",
    "Float64": "<f8",
}
_NAMES = (*_SCALARS, "String", "Binary", *(f"{name}List" for name in _SCALARS), "StringList", "BinaryList")
KINDS: tuple[Kind, ...] = tuple(
    Kind(tag, name, _SCALARS.get(name.removesuffix("List"), ""), name.endswith("List"))
    for tag, name in enumerate(_NAMES)
)
_KIND_BY_NAME = {kind.name: kind for kind in KINDS}
# Footer version -> the kinds it may hold.
KINDS_OF_VERSION: dict[int, tuple[Kind, ...]] = {4: KINDS[:12], 5: KINDS}
_SIZES = tuple(kind.size for kind in KINDS)
_BOOL, _STRING, _BINARY = (_NAMES.index(name) for name in ("Bool", "String", "Binary"))
# numpy's letter for a sort of type -> the Python types that are taken for it.
_ACCEPTED: dict[str, tuple[type, ...]] = {
    "b": (bool, np.bool_),
    "i": (int, np.integer),
    "u": (int, np.integer),
    "f": (int, float, np.integer, np.floating),
}


def decode_values(
    reader: ArchiveReader, position: int, pointer: int, count: int, kinds: tuple[Kind, ...]
) -> tuple[AttributeValue, ...]:
    """Return the Vec<AttributeValue> whose pointer stands at `position`. Raises FormatError on a tag not in `kinds`."""
    start = reader.target(position, pointer, VALUE_SIZE * count, 8, "attribute values")
    end = start + VALUE_SIZE * count
    outer = reader.descend(start)
    if count > _KNOWN_VALUES:
        values = tuple([_decode_value(reader, at, kinds) for at in range(start, end, VALUE_SIZE)])
    else:
        runs = [
            _whole_run(reader.data[at : min(at + _RUN_SIZE, end)]) or _decode_run(reader, at, end, kinds)
            for at in range(start, end, _RUN_SIZE)
        ]
        values = tuple(chain.from_iterable(runs))
    reader.ascend(outer, end)
    return values


def encode_values(writer: ArchiveWriter, values: Iterable[AttributeValue], kinds: tuple[Kind, ...]) -> int:
    """Append the records and what they point to; return the position of the first record.

    Raises LimitError on a kind that the version does not have, ValueError on a payload that is not of its kind.
    """
    outside = [_put_outside(writer, value, kinds) for value in values]
    start = writer.align(8)
    places = range(start, start + VALUE_SIZE * len(outside), VALUE_SIZE)
    return writer.put_bytes(b"".join(map(_record, outside, places)))


def attribute_from_python(kind: str, value: object) -> AttributeValue:
    """Return `value` as an attribute of this kind; lists take any iterable, numpy scalars keep their bits.

    Raises LimitError if the value is out of the kind's range, TypeError if it is of another type.
    """
    known = _KIND_BY_NAME.get(kind)
    if known is None:
        raise LimitError(f"attribute kind {kind!r} is none of {', '.join(_KIND_BY_NAME)}")
    if not known.is_list:
        return AttributeValue(kind, _element_from_python(known, value))
    if isinstance(value, np.ndarray) and known.element and value.dtype == np.dtype(known.element):
        return AttributeValue(kind, value.tobytes())
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"an attribute of kind {kind} is made from a list, not from {value!r}")
    elements = tuple(_element_from_python(known, element) for element in value)
    return AttributeValue(kind, b"".join(elements) if known.element else elements)


def attribute_to_python(value: AttributeValue) -> object:
    """Return the value as bool, int, float, str, bytes or a list of them; Float32 as numpy.float32, bits kept."""
    kind = _KIND_BY_NAME[value.kind]
    if isinstance(value.payload, tuple):
        return [raw.decode() if kind.name == "StringList" else raw for raw in value.payload]
    if not kind.element:
        return value.payload.decode() if kind.name == "String" else value.payload
    numbers = np.frombuffer(value.payload, kind.element)
    elements = list(numbers) if kind.element == "<f4" else numbers.tolist()
    return elements if kind.is_list else elements[0]


def _element_from_python(kind: Kind, value: Any) -> bytes:
    if not kind.element:
        if kind.name.startswith("String") and isinstance(value, str):
            return encode_text(value, "attribute")
        if kind.name.startswith("Binary") and isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise TypeError(f"an attribute of kind {kind.name} cannot hold {value!r}")
    dtype = np.dtype(kind.element)
    if isinstance(value, bool | np.bool_) != (dtype.kind == "b") or not isinstance(value, _ACCEPTED[dtype.kind]):
        raise TypeError(f"an attribute of kind {kind.name} cannot hold {value!r}")
    if dtype.kind in "iu" and not np.iinfo(dtype).min <= cast(int, value) <= np.iinfo(dtype).max:
        raise LimitError(f"{value!r} is out of the range of {kind.name}")
    try:
        with np.errstate(over="raise"):
            return cast(bytes, dtype.type(value).astype(dtype).tobytes())
    except (OverflowError, FloatingPointError):
        raise LimitError(f"{value!r} is out of the range of {kind.name}") from None


@lru_cache(_KNOWN_RUNS)
def _whole_run(records: bytes) -> tuple[AttributeValue, ...] | None:
    """`_whole_value` of records side by side; None if one of them is not whole."""
    values = tuple([_whole_value(records[at : at + VALUE_SIZE]) for at in range(0, len(records), VALUE_SIZE)])
    return None if None in values else cast(tuple[AttributeValue, ...], values)


def _decode_run(reader: ArchiveReader, start: int, end: int, kinds: tuple[Kind, ...]) -> list[AttributeValue]:
    """The values whose records begin at `start`, before `end`: those of a run."""
    places = range(start, min(start + _RUN_SIZE, end), VALUE_SIZE)
    return [_whole_value(reader.data[at : at + VALUE_SIZE]) or _decode_value(reader, at, kinds) for at in places]


@lru_cache(_KNOWN_VALUES)
def _whole_value(record: bytes) -> AttributeValue | None:
    """The value of a record that holds all of it, wherever it stands; None where there is more to it, or a fault."""
    tag = record[0]
    if tag >= len(_SCALARS):
        if tag != _STRING or record[8] & 0xC0 == 0x80:
            return None
        payload = record[8:].partition(b"\xff")[0]
        return AttributeValue("String", payload) if _is_text(payload) else None
    size = _SIZES[tag]
    payload = record[size : 2 * size]
    return None if tag == _BOOL and payload > b"\1" else AttributeValue(KINDS[tag].name, payload)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _decode_value(reader: ArchiveReader, position: int, kinds: tuple[Kind, ...]) -> AttributeValue:
    data = reader.data
    tag = data[position]
    if tag >= len(kinds):
        raise FormatError(f"attribute value: tag is {tag}, not 0 to {len(kinds) - 1} (position {position})")
    kind, size = kinds[tag], _SIZES[tag]
    if kind.is_list or tag == _BINARY:
        pointer, count = VEC.unpack_from(data, position + 8)
        if not kind.element and kind.is_list:
            return AttributeValue(kind.name, _decode_texts(reader, kind, position + 8, pointer, count))
        payload = reader.leaf(position + 8, pointer, size * count, size, kind.name)
    elif tag == _STRING:
        payload = reader.string(data[position + 8 : position + 24], position + 8, "attribute text").encode()
    else:
        payload = data[position + size : position + 2 * size]
    if kind.element == "?" and payload.translate(None, b"\0\1"):
        raise FormatError(f"attribute value: a {kind.name} has bytes other than 0 and 1 (position {position})")
    return AttributeValue(kind.name, payload)


def _decode_texts(reader: ArchiveReader, kind: Kind, position: int, pointer: int, count: int) -> tuple[bytes, ...]:
    if kind.name == "StringList":
        return tuple([text.encode() for text in reader.strings(position, pointer, count, kind.name)])
    start = reader.target(position, pointer, VEC.size * count, 8, kind.name)
    end = start + VEC.size * count
    outer = reader.descend(start)
    raws = []
    for at in range(start, end, VEC.size):
        inner, size = VEC.unpack_from(reader.data, at)
        raws.append(reader.leaf(at, inner, size, 1, kind.name))
    reader.ascend(outer, end)
    return tuple(raws)


@dataclass(frozen=True, slots=True)
class _Outside:
    """A value of which everything outside its record is written: at `target`, with `count` elements."""

    kind: Kind
    value: AttributeValue
    target: int = 0
    count: int = 0


def _put_outside(writer: ArchiveWriter, value: AttributeValue, kinds: tuple[Kind, ...]) -> _Outside:
    kind = _KIND_BY_NAME.get(value.kind)
    if kind is None or kind.tag >= len(kinds):
        raise LimitError(f"attribute kind {value.kind!r} is not one of this footer version")
    payload = value.payload
    _check_payload(kind, payload)
    if isinstance(payload, tuple):
        put = writer.put_strings if kind.name == "StringList" else writer.put_vecs
        return _Outside(kind, value, put(payload), len(payload))
    if kind.name == "String":
        return _Outside(kind, value, writer.put_text(payload))
    if kind.is_list or kind.name == "Binary":
        return _Outside(kind, value, writer.put_bytes(payload, kind.size), len(payload) // kind.size)
    return _Outside(kind, value)


def _check_payload(kind: Kind, payload: bytes | tuple[bytes, ...]) -> None:
    """Refuse what no reader could read again."""
    if isinstance(payload, tuple) != (kind.is_list and not kind.element):
        raise ValueError(f"attribute of kind {kind.name} with a payload of type {type(payload).__name__}")
    if kind.name.startswith("String"):
        for text in payload if isinstance(payload, tuple) else (payload,):
            text.decode()
    elif isinstance(payload, bytes) and kind.element:
        if len(payload) % kind.size or (len(payload) != kind.size and not kind.is_list):
            raise ValueError(f"attribute of kind {kind.name} with a payload of {len(payload)} bytes")
        if kind.element == "?" and payload.translate(None, b"\0\1"):
            raise ValueError(f"attribute of kind {kind.name} with bytes other than 0 and 1")


def _record(outside: _Outside, position: int) -> bytes:
    kind, payload = outside.kind, outside.value.payload
    tag = bytes((kind.tag,))
    if isinstance(payload, tuple) or kind.is_list or kind.name == "Binary":
        return tag + bytes(7) + VEC.pack(outside.target - position - 8, outside.count)
    if kind.name == "String":
        return tag + bytes(7) + string_form(payload, position + 8, outside.target)
    return (tag.ljust(kind.size, b"\0") + payload).ljust(VALUE_SIZE, b"\0")
