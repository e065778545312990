"""JSON text as clients leave it, and how chunk keys are spelled."""

from __future__ import annotations

import json
import math

import pytest

from arrayfs.view.metadata import KeyStyle, first_json

# --- JSON text ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b'{"a": 1}', b'{"a": 1}  old": 2}', b'\xef\xbb\xbf{"a": 1}', b'\n\t {"a": 1}', b'{"a": 1}\xa9 half a character'],
)
def test_the_first_value_counts(data: bytes) -> None:
    assert first_json(data) == {"a": 1}


@pytest.mark.parametrize("data", [b"", b" ", b'{"a": ', b'{"a": "\xff"}', b"\0\0\0\0", b"nothing", b"[" * 100_000])
def test_what_does_not_parse_yet(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (whatever json says of it)
        first_json(data)


def test_deep_nesting_is_refused_and_wide_is_not() -> None:
    assert first_json(json.dumps([[]] * 1000).encode()) == [[]] * 1000
    with pytest.raises(ValueError, match="nested"):
        first_json(b"[" * 300 + b"]" * 300)


def test_a_number_of_many_digits_costs_nothing() -> None:
    assert first_json(b'{"a": ' + b"9" * 100_000 + b"}") == {"a": math.inf}


# --- chunk keys -----------------------------------------------------------------------------------------------------

KEYS = [
    (KeyStyle("c", "/"), (), ("c",)),
    (KeyStyle("c", "/"), (0, 1), ("c", "0", "1")),
    (KeyStyle("c", "."), (), ("c",)),
    (KeyStyle("c", "."), (0, 1), ("c.0.1",)),
    (KeyStyle("", "."), (), ("0",)),
    (KeyStyle("", "."), (10, 4294967295), ("10.4294967295",)),
    (KeyStyle("", "/"), (), ("0",)),
    (KeyStyle("", "/"), (0, 1), ("0", "1")),
    (KeyStyle("", "."), (4913,), ("4913",)),
]
NO_KEYS = [
    (KeyStyle("c", "/"), 2, ("0", "1")),
    (KeyStyle("c", "/"), 2, ("c", "0")),
    (KeyStyle("c", "/"), 2, ("c", "0", "1", "2")),
    (KeyStyle("c", "/"), 0, ("c", "0")),
    (KeyStyle("c", "."), 2, ("c", "0", "1")),
    (KeyStyle("c", "."), 0, ("0",)),
    (KeyStyle("", "."), 2, ("4913",)),
    (KeyStyle("", "."), 0, ("4913",)),
    (KeyStyle("", "."), 0, ("",)),
    (KeyStyle("", "."), 2, ("0", "1")),
    (KeyStyle("", "/"), 2, ("0.1",)),
    (KeyStyle("", "."), 1, ("01",)),
    (KeyStyle("", "."), 1, ("+1",)),
    (KeyStyle("", "."), 1, ("-1",)),
    (KeyStyle("", "."), 1, (" 1",)),
    (KeyStyle("", "."), 1, ("1\n",)),
    (KeyStyle("", "."), 1, ("١",)),
    (KeyStyle("", "."), 1, ("4294967296",)),
    (KeyStyle("", "."), 1, ("",)),
    (KeyStyle("", "."), 1, ()),
    (KeyStyle("", "."), 1, ("9" * 5000,)),
]


@pytest.mark.parametrize(("keys", "coord", "components"), KEYS)
def test_chunk_keys(keys: KeyStyle, coord: tuple[int, ...], components: tuple[str, ...]) -> None:
    assert keys.components(coord) == components
    assert keys.parse(components, len(coord)) == coord


@pytest.mark.parametrize(("keys", "rank", "components"), NO_KEYS)
def test_names_that_are_no_chunk_keys(keys: KeyStyle, rank: int, components: tuple[str, ...]) -> None:
    assert keys.parse(components, rank) is None
