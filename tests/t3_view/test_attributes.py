"""Attributes: JSON <-> the format's types, and whose word counts."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.format.attributes import KINDS, KINDS_OF_VERSION, attribute_from_python
from arrayfs.format.model import AttributeValue
from arrayfs.view.attributes import json_from_typed, patch_json, typed_from_json
from arrayfs.view.metadata import same_json

TYPED = [
    (True, "Bool", b"\1"),
    (5, "Int64", struct.pack("<q", 5)),
    (-(1 << 63), "Int64", struct.pack("<q", -(1 << 63))),
    ((1 << 64) - 1, "UInt64", b"\xff" * 8),
    (5.0, "Float64", struct.pack("<d", 5.0)),
    (-0.0, "Float64", struct.pack("<d", -0.0)),
    (math.inf, "Float64", struct.pack("<d", math.inf)),
    ("é", "String", "é".encode()),
    ("", "String", b""),
    ([True, False], "BoolList", b"\1\0"),
    ([1, -2], "Int64List", struct.pack("<qq", 1, -2)),
    ([1, (1 << 63)], "UInt64List", struct.pack("<QQ", 1, 1 << 63)),
    ([1.0, 2.5], "Float64List", struct.pack("<dd", 1.0, 2.5)),
    (["a", ""], "StringList", (b"a", b"")),
]
LEFT_OUT = [
    *(None, {}, {"a": 1}, [], [1, 2.0], [1, True], [None], [[1]], ["a", 1]),
    *(1 << 64, -(1 << 63) - 1, [-1, 1 << 63], "\ud800", ["a", "\ud800"]),
]


@pytest.mark.parametrize(("value", "kind", "payload"), TYPED)
def test_a_typed_attribute_and_back(value: object, kind: str, payload: bytes | tuple[bytes, ...]) -> None:
    typed = typed_from_json({"key": value}, 5)
    assert typed == {"key": AttributeValue(kind, payload)}
    assert same_json(json_from_typed(typed["key"]), value)


@pytest.mark.parametrize("value", LEFT_OUT)
def test_what_the_format_has_no_type_for_is_left_out(value: object) -> None:
    assert typed_from_json({"key": value, "other": 1}, 5).keys() == {"other"}


def test_a_key_without_a_utf8_form_is_left_out() -> None:
    assert typed_from_json({"\ud800": 1}, 5) == {}


def test_version_4_has_no_lists() -> None:
    known = {kind.name for kind in KINDS_OF_VERSION[4]}
    typed = [typed_from_json({"key": value}, 4) for value, _, _ in TYPED]
    assert all(attribute.kind in known for found in typed for attribute in found.values())
    assert sum(map(len, typed)) == sum(not isinstance(value, list) for value, _, _ in TYPED)


def test_order_is_kept() -> None:
    assert list(typed_from_json({"z": 1, "a": {}, "b": 2}, 5)) == ["z", "b"]


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("Float32", 0.1, 0.1),
        ("Float32", math.nan, math.nan),
        ("Float32", 16777216, 16777216.0),
        ("Float32List", [0.1, -0.0], [0.1, -0.0]),
        ("Binary", b"\0\xff", "AP8="),
        ("BinaryList", [b"a", b""], ["YQ==", ""]),
        ("Int8", -1, -1),
        ("UInt32List", [1, 2], [1, 2]),
    ],
)
def test_what_json_has_no_type_for_is_shown_and_keeps_its_type(kind: str, value: object, shown: object) -> None:
    """A client that rewrites all attributes to change one must not turn an Int32 of the crate into an Int64."""
    attribute = attribute_from_python(kind, value)
    assert same_json(json_from_typed(attribute), shown)
    rewritten = json.loads(json.dumps({"key": json_from_typed(attribute), "new": 1}))
    assert typed_from_json(rewritten, 5, {"key": attribute})["key"] == attribute
    assert typed_from_json({"key": "another"}, 5, {"key": attribute})["key"].kind == "String"


def test_every_kind_has_a_json_form() -> None:
    for kind in KINDS:
        example: object = {"": b"x"}.get(kind.element, 1)
        example = True if kind.element == "?" else "x" if kind.name.startswith("String") else example
        value = attribute_from_python(kind.name, [example] if kind.is_list else example)
        assert json.dumps(json_from_typed(value))


@settings(deadline=None)
@given(st.floats(width=32))
def test_float32_is_shown_by_digits_that_give_it_back(number: float) -> None:
    attribute = attribute_from_python("Float32", number)
    shown = json.loads(json.dumps(json_from_typed(attribute)))
    assert np.array(shown, "<f4") == np.float32(number) or math.isnan(number)


# --- patching: the container's word wins ----------------------------------------------------------------------------

INT32 = attribute_from_python("Int32", 7)
DOCUMENT: dict[str, object] = {"b": {"nested": [1, None]}, "a": 7, "c": [1.0]}
SAME = {"a": INT32, "c": attribute_from_python("Float64List", [1.0])}


def test_nothing_differs() -> None:
    assert same_json(patch_json(DOCUMENT, SAME, 5, {}), DOCUMENT)


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        (SAME | {"a": attribute_from_python("Int32", 8)}, {"b": {"nested": [1, None]}, "a": 8, "c": [1.0]}),
        (SAME | {"d": attribute_from_python("String", "new")}, DOCUMENT | {"d": "new"}),
        (SAME | {"b": attribute_from_python("Bool", True)}, {"b": True, "a": 7, "c": [1.0]}),
        ({"a": INT32}, {"b": {"nested": [1, None]}, "a": 7}),
    ],
    ids=["changed", "added", "over an object", "removed"],
)
def test_the_container_wins(current: dict[str, AttributeValue], expected: dict[str, object]) -> None:
    assert same_json(patch_json(DOCUMENT, current, 5, {}), expected)


def test_lists_stay_in_version_4_where_the_container_has_none() -> None:
    assert same_json(patch_json(DOCUMENT, {"a": INT32}, 4, {}), DOCUMENT)


def test_reserved_attributes_are_what_they_have_to_be() -> None:
    assert same_json(patch_json({"names": ["x"], "a": 7}, {"a": INT32}, 5, {"names": ["y"]}), {"names": ["y"], "a": 7})
