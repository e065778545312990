"""Attribute values: (kind, value, bytes of the record) by hand, and Python objects there and back."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.attributes import KINDS, attribute_from_python, attribute_to_python, decode_values, encode_values
from arrayfs.format.model import AttributeValue
from arrayfs.format.rkyv import ArchiveReader, ArchiveWriter

SCALARS: list[tuple[str, Any, str]] = [
    ("Bool", True, "00 01"),
    ("Int8", -2, "01 fe"),
    ("Int16", -2, "02 00 feff"),
    ("Int32", 5, "03 000000 05000000"),
    ("Int64", -(2**63), "04 00000000000000 0000000000000080"),
    ("UInt8", 255, "05 ff"),
    ("UInt16", 65535, "06 00 ffff"),
    ("UInt32", 2**32 - 1, "07 000000 ffffffff"),
    ("UInt64", 2**64 - 1, "08 00000000000000 ffffffffffffffff"),
    ("Float32", np.float32(1.5), "09 000000 0000c03f"),
    ("Float64", -0.0, "0a 00000000000000 0000000000000080"),
    ("String", "m/s", "0b 00000000000000 6d2f73 ffffffffffffffffffffffffff"),
]
# (kind, value, elements as they stand before the record)
LISTS: list[tuple[str, Any, str]] = [
    ("Binary", b"\xff\x00", "ff00"),
    ("BoolList", [True, False], "0100"),
    ("Int8List", [-1, 1], "ff01"),
    ("Int16List", [-2], "feff"),
    ("Int32List", [1, 2], "01000000 02000000"),
    ("Int64List", [-1], "ff" * 8),
    ("UInt8List", [1, 2, 3], "010203"),
    ("UInt16List", [256], "0001"),
    ("UInt32List", [], ""),
    ("UInt64List", [2**64 - 1], "ff" * 8),
    ("Float32List", [np.float32(1.5)], "0000c03f"),
    ("Float64List", [1.5], "000000000000f83f"),
]


def encoded(value: AttributeValue) -> bytes:
    writer = ArchiveWriter()
    encode_values(writer, [value], KINDS)
    return writer.getvalue()


def decoded(data: bytes) -> AttributeValue:
    """data: an archive whose last 24 bytes are the record; a pointer to it is put behind."""
    reader = ArchiveReader(data + bytes(8), 8)
    (value,) = decode_values(reader, len(data), -24, 1, KINDS)
    return value


@pytest.mark.parametrize(("kind", "value", "record"), SCALARS)
def test_a_scalar_stands_at_its_own_alignment(kind: str, value: object, record: str) -> None:
    data = bytes.fromhex(record).ljust(24, b"\0")
    assert encoded(attribute_from_python(kind, value)) == data
    assert attribute_to_python(decoded(data)) == value


@pytest.mark.parametrize(("kind", "value", "elements"), LISTS)
def test_a_list_stands_before_its_record(kind: str, value: list[object] | bytes, elements: str) -> None:
    raw = bytes.fromhex(elements)
    before = raw.ljust(-(-len(raw) // 8) * 8, b"\0")
    tag = 12 + [row[0] for row in LISTS].index(kind)
    data = before + struct.pack("<B7xqQ", tag, -len(before) - 8, len(value))
    assert encoded(attribute_from_python(kind, value)) == data
    assert attribute_to_python(decoded(data)) == value


def test_lists_of_text_and_of_bytes() -> None:
    long = "seventeen letters"
    texts = long.encode() + bytes(7) + b"a".ljust(16, b"\xff") + struct.pack("<Qq", 0x91, -40)
    texts += struct.pack("<B7xqQ", 24, 24 - 64, 2)
    assert encoded(attribute_from_python("StringList", ["a", long])) == texts
    assert decoded(texts) == AttributeValue("StringList", (b"a", long.encode()))
    raws = b"xyz" + bytes(5) + struct.pack("<qQqQqQ", -8, 1, -23, 0, -39, 2) + struct.pack("<B7xqQ", 25, 8 - 64, 3)
    assert encoded(attribute_from_python("BinaryList", [b"x", b"", b"yz"])) == raws
    assert attribute_to_python(decoded(raws)) == [b"x", b"", b"yz"]


@pytest.mark.parametrize("bits", ["0100a07f", "ffffffff", "000080ff", "01000000"])
def test_float32_keeps_its_bits(bits: str) -> None:
    value = AttributeValue("Float32", bytes.fromhex(bits))
    assert attribute_from_python("Float32", attribute_to_python(value)) == value
    many = AttributeValue("Float32List", bytes.fromhex(bits) * 3)
    assert attribute_from_python("Float32List", attribute_to_python(many)) == many


def test_a_numpy_array_of_the_type_is_taken_whole() -> None:
    numbers = np.arange(5, dtype=np.int16)
    assert attribute_from_python("Int16List", numbers) == attribute_from_python("Int16List", numbers.tolist())


@pytest.mark.parametrize(
    ("kind", "value"),
    [("Int8", 128), ("UInt16", -1), ("Int8", np.int64(300)), ("UInt64", 2**64), ("Float32", 1e39), ("Complex", 1)],
)
def test_a_value_out_of_range_is_refused(kind: str, value: object) -> None:
    with pytest.raises(LimitError):
        attribute_from_python(kind, value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("Bool", 1),
        ("Int8", True),
        ("Int8", 1.0),
        ("Float64", "1"),
        ("String", b"x"),
        ("Binary", "x"),
        ("Int8List", 1),
        ("StringList", "abc"),
    ],
)
def test_a_value_of_another_type_is_refused(kind: str, value: object) -> None:
    with pytest.raises(TypeError):
        attribute_from_python(kind, value)


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ("1a", "tag is 26, not 0 to 25"),
        ("00 02", "a Bool has bytes other than 0 and 1"),
        ("0b 00000000000000 80", "not UTF-8|stands outside its form"),
        ("0c 00000000000000 f8ffffffffffffff 01", "Binary: pointer"),
        ("17 00000000000000 f8ffffffffffffff ffffffffffffff1f", "Float64List: pointer leads outside"),
    ],
)
def test_a_record_that_cannot_be_is_refused(record: str, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        decoded(bytes.fromhex(record).ljust(24, b"\0"))


@pytest.mark.parametrize(
    "value",
    [
        AttributeValue("Int32", b"\0\0"),
        AttributeValue("Int32List", b"\0\0"),
        AttributeValue("Bool", b"\2"),
        AttributeValue("StringList", b"x"),
        AttributeValue("String", b"\xff"),
        AttributeValue("StringList", (b"\xff",)),
    ],
)
def test_what_could_not_be_read_again_is_not_written(value: AttributeValue) -> None:
    with pytest.raises(ValueError, match=r"attribute of kind|codec can't decode"):
        encoded(value)
