"""Zarr documents that are wrong in meaning, not only in bytes: any JSON value in the place of any other."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.t8_hostile.containers import NATIVE2, OPAQUE
from tests.t8_hostile.mutations import mutants

_GROUP = b'{"zarr_format": 3, "node_type": "group", "attributes": {"a": 1, "b": [1.5, 2], "c": {"d": null}}}'
_NATIVE = b"""{"zarr_format": 3, "node_type": "array", "shape": [4, 4], "data_type": "int32",
"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}},
"chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}}, "fill_value": 7,
"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}], "attributes": {"units": "m", "n": [1, 2]},
"dimension_names": ["y", null], "storage_transformers": []}"""
_TEXT = b"""{"zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "string",
"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}}, "chunk_key_encoding": "v2",
"fill_value": "none", "codecs": ["vlen-utf8"]}"""
_FLOAT = _NATIVE.replace(b'"int32"', b'"float32"').replace(b'"fill_value": 7', b'"fill_value": "0x7fc00001"')
_TIME = _NATIVE.replace(
    b'"int32"', b'{"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 1}}'
).replace(b'"fill_value": 7', b'"fill_value": "NaT"')
V3 = {"group": _GROUP, "native": _NATIVE, "text": _TEXT, "float": _FLOAT, "time": _TIME, "opaque": OPAQUE}
_TEXT2 = b"""{"zarr_format": 2, "shape": [3], "chunks": [2], "dtype": "|O", "compressor": null, "fill_value": "",
"order": "C", "filters": [{"id": "vlen-utf8"}], "dimension_separator": "."}"""
V2 = {
    "array": NATIVE2,
    "text": _TEXT2,
    "group": b'{"zarr_format": 2}',
    "attributes": b'{"units": "m", "_ARRAY_DIMENSIONS": ["y", "x"], "arrayfs_element_type": "List<Int32>", "l": []}',
}

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from((0, 1, 2, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, -1, -(2**63), 10**30, 10**400)),
    st.sampled_from((0.0, -0.0, 0.5, 1e308, 4.0, float("nan"), float("inf"), float("-inf"))),
    st.sampled_from(("", "NaN", "Infinity", "0x7fc00001", "0xzz", "NaT", "=", "AA==", "\ud800", "\0", "ä", "x" * 300)),
    st.sampled_from(
        ("int8", "bool", "float64", "string", "bytes", "r16", "|O", "<f4", ">f4", "<M8[ns]", "|b1", "little")
    ),
    st.sampled_from(("default", "v2", "regular", "/", ".", "C", "F", "vlen-bytes", "sharding_indexed", "big")),
)
VALUES = st.recursive(
    _LEAVES,
    lambda below: st.one_of(
        st.lists(below, max_size=4), st.dictionaries(st.sampled_from(("name", "configuration", "id", "a")), below)
    ),
    max_leaves=6,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, child in below for place in _places(child, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: object) -> Any:
    if not path:
        return new
    if isinstance(value, dict):
        return {**value, path[0]: _replaced(value[path[0]], path[1:], new)}
    return [*value[: path[0]], _replaced(value[path[0]], path[1:], new), *value[path[0] + 1 :]]


@st.composite
def wrong_values(draw: st.DrawFn, seeds: dict[str, bytes]) -> bytes:
    """A document with one to three of its values replaced."""
    value = json.loads(seeds[draw(st.sampled_from(sorted(seeds)))])
    for _ in range(draw(st.integers(1, 3))):
        value = _replaced(value, draw(st.sampled_from(_places(value))), draw(VALUES))
    return json.dumps(value).encode()


def nested(depth: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening * depth + closing * depth


def json_mutants(seeds: dict[str, bytes]) -> st.SearchStrategy[bytes]:
    deep = st.builds(
        lambda data, depth, pair: data.replace(b"}", b', "deep": ' + nested(depth, *pair) + b"}", 1),
        st.sampled_from(sorted(seeds.values())),
        st.sampled_from((10, 255, 256, 257, 1000, 100_000)),
        st.sampled_from(((b"[", b"]"), (b'{"a":', b"}"), (b"[", b""))),
    )
    bytewise = mutants(seeds).map(lambda mutant: mutant.data(seeds))
    return st.one_of(wrong_values(seeds), wrong_values(seeds), bytewise, deep)
