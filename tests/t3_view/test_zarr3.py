"""zarr.json <-> what the container stores, against tables and against zarr-python itself."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.container.array import ArraySpec
from arrayfs.errors import FormatError
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.dtypes import fill_element, leaf, numpy_dtype
from arrayfs.format.model import DType, FillValue
from arrayfs.view import zarr3
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.metadata import ArrayDocument, GroupDocument, KeyStyle
from tests.t3_view.zarr3_documents import BASE, DATETIME, LITTLE, document, float_fill, int_fill, parse_array, spec
from tests.t3_view.zarr_python import (
    CLIENT_TYPES,
    LEAF_NAMES,
    VEC3,
    chunk_files,
    client_documents,
    client_files,
    example_values,
    open_tree,
    stored_chunks,
)

DEFAULT_KEYS = KeyStyle("c", "/")

# --- documents and what they mean -----------------------------------------------------------------------------------

NATIVE = {
    "plain": ({}, spec("Int32", int_fill(0))),
    "null fill": ({"fill_value": None}, spec("Int32", None)),
    "no fill": ({"fill_value": ...}, spec("Int32", None)),
    "negative fill": ({"fill_value": -5}, spec("Int32", int_fill(-5))),
    "integral float fill": ({"fill_value": 3.0}, spec("Int32", int_fill(3))),
    "large unsigned": (
        {"data_type": "uint64", "fill_value": (1 << 64) - 1},
        spec("UInt64", FillValue("UInt", b"\xff" * 8)),
    ),
    "bool without endian": (
        {"data_type": "bool", "fill_value": True, "codecs": [{"name": "bytes"}]},
        spec("Bool", FillValue("Bool", b"\1")),
    ),
    "one byte, any endian": (
        {"data_type": "int8", "codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
        spec("Int8", int_fill(0)),
    ),
    "short codec": ({"data_type": "int8", "codecs": ["bytes"]}, spec("Int8", int_fill(0))),
    "float": ({"data_type": "float64", "fill_value": 0.1}, spec("Float64", float_fill(0.1))),
    "float as int": ({"data_type": "float64", "fill_value": 1}, spec("Float64", float_fill(1.0))),
    "negative zero": ({"data_type": "float64", "fill_value": -0.0}, spec("Float64", float_fill(-0.0))),
    "NaN": ({"data_type": "float32", "fill_value": "NaN"}, spec("Float32", float_fill(math.nan))),
    "bare NaN": ({"data_type": "float32", "fill_value": math.nan}, spec("Float32", float_fill(math.nan))),
    "infinity": ({"data_type": "float32", "fill_value": "-Infinity"}, spec("Float32", float_fill(-math.inf))),
    "NaN payload": (
        {"data_type": "float64", "fill_value": "0x7ff8000000000123"},
        spec("Float64", FillValue("Float", (0x7FF8000000000123).to_bytes(8, "little"))),
    ),
    "NaN payload of float32": (
        {"data_type": "float32", "fill_value": "0x7fc00001"},
        spec("Float32", FillValue("Float", (0x7FF8000020000000).to_bytes(8, "little"))),
    ),
    "text": (
        {"data_type": "string", "fill_value": "é", "codecs": [{"name": "vlen-utf8"}]},
        spec("String", FillValue("String", "é".encode())),
    ),
    "bytes": (
        {"data_type": "bytes", "fill_value": "YWI=", "codecs": [{"name": "vlen-bytes", "configuration": {}}]},
        spec("Binary", FillValue("String", b"ab")),
    ),
    "variable_length_bytes": (
        {"data_type": "variable_length_bytes", "fill_value": "", "codecs": ["vlen-bytes"]},
        spec("Binary", FillValue("String", b"")),
    ),
    "time": ({"data_type": DATETIME, "fill_value": 5}, spec("TimestampNs", FillValue("TimestampNs", b"\5" + bytes(7)))),
    "not a time": (
        {"data_type": DATETIME, "fill_value": "NaT"},
        spec("TimestampNs", FillValue("TimestampNs", bytes(7) + b"\x80")),
    ),
    "names": ({"dimension_names": ["x"]}, spec("Int32", int_fill(0), ("x",))),
    "null name": ({"dimension_names": [None]}, spec("Int32", int_fill(0))),
    "name without UTF-8": ({"dimension_names": ["\ud800"]}, spec("Int32", int_fill(0))),
    "no key configuration": ({"chunk_key_encoding": {"name": "default"}}, spec("Int32", int_fill(0))),
    "short key encoding": ({"chunk_key_encoding": "default"}, spec("Int32", int_fill(0))),
    "no transformers": ({"storage_transformers": []}, spec("Int32", int_fill(0))),
    "unknown text": ({"comment": "mine"}, spec("Int32", int_fill(0))),
    "unknown, need not be understood": ({"x": {"must_understand": False}}, spec("Int32", int_fill(0))),
}
OPAQUE: dict[str, dict[str, object]] = {
    "float16": {"data_type": "float16"},
    "complex": {"data_type": "complex64", "fill_value": [0.0, 0.0]},
    "vendor type": {"data_type": {"name": "vendor", "configuration": {"x": 1}}},
    "type with configuration": {"data_type": {"name": "int32", "configuration": {"x": 1}}},
    "type of another kind": {"data_type": 5},
    "seconds": {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "s", "scale_factor": 1}}},
    "tens of ns": {"data_type": {"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 10}}},
    "big endian": {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]},
    "endian not said": {"codecs": [{"name": "bytes"}]},
    "unknown codec option": {"codecs": [{"name": "bytes", "configuration": {"endian": "little", "x": 1}}]},
    "no codecs": {"codecs": []},
    "codecs missing": {"codecs": ...},
    "compressed": {"codecs": [LITTLE, {"name": "zstd", "configuration": {"level": 0, "checksum": False}}]},
    "transposed": {"codecs": [{"name": "transpose", "configuration": {"order": [0]}}, LITTLE]},
    "text as bytes": {"data_type": "string", "fill_value": "", "codecs": [LITTLE]},
    "bytes as text": {"data_type": "bytes", "fill_value": "", "codecs": ["vlen-utf8"]},
    "transformer": {"storage_transformers": [{"name": "x"}]},
    "to be understood": {"extension": {"name": "x"}},
    "fill out of range": {"fill_value": 1 << 31},
    "fill of another kind": {"fill_value": "a"},
    "fractional fill": {"fill_value": 0.5},
    "bool as number": {"fill_value": True},
    "number as bool": {"data_type": "bool", "fill_value": 1},
    "signalling NaN of float32": {"data_type": "float32", "fill_value": "0x7f800001"},
    "hex of another width": {"data_type": "float64", "fill_value": "0x7fc00000"},
    "no hex": {"data_type": "float32", "fill_value": "0xzzzzzzzz"},
    "float beyond range": {"data_type": "float64", "fill_value": 10**400},
    "fill no UTF-8": {"data_type": "bytes", "fill_value": "/w==", "codecs": ["vlen-bytes"]},
    "fill no base64": {"data_type": "bytes", "fill_value": "a", "codecs": ["vlen-bytes"]},
    "fill surrogate": {"data_type": "string", "fill_value": "\ud800", "codecs": ["vlen-utf8"]},
    "extent of 2^32": {
        "shape": [1 << 32],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1 << 20]}},
    },
    "chunk of 4 GiB": {"shape": [1], "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1 << 30]}}},
    "rank 32": {"shape": [1] * 32, "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1] * 32}}},
}
NO_ARRAY: dict[str, dict[str, object]] = {
    "another format": {"zarr_format": 2},
    "no node type": {"node_type": ...},
    "another node": {"node_type": "table"},
    "no shape": {"shape": ...},
    "negative shape": {"shape": [-1]},
    "fractional shape": {"shape": [5.0]},
    "another grid": {"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shapes": [[2, 3]]}}},
    "no grid": {"chunk_grid": ...},
    "grid of another rank": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2, 2]}}},
    "chunk of nothing": {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0]}}},
    "unknown keys": {"chunk_key_encoding": {"name": "hilbert"}},
    "unknown separator": {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "-"}}},
    "separator of another kind": {"chunk_key_encoding": {"name": "default", "configuration": {"separator": ["/"]}}},
    "2^60 chunks": {
        "shape": [1 << 30, 1 << 30],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, 1]}},
    },
    "2^32 chunks in a row": {
        "shape": [1 << 40],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    },
    "a million axes": {
        "shape": [1 << 31] * 10000,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1] * 10000}},
    },
}


@pytest.mark.parametrize(("members", "expected"), NATIVE.values(), ids=NATIVE.keys())
def test_native_documents(members: dict[str, object], expected: ArraySpec) -> None:
    data = document(**members)
    parsed = parse_array(data)
    assert parsed.native == expected
    assert (parsed.shape, parsed.chunk_shape, parsed.keys) == ((5,), (2,), DEFAULT_KEYS)
    # what the container gives back says the same as the client's document
    assert zarr3.patch(data, expected, {}) == data
    assert parse_array(zarr3.render_array(expected, {})).native in (expected, _with_zero(expected))


def _with_zero(expected: ArraySpec) -> ArraySpec:
    """v3 has no word for "no fill value"."""
    return ArraySpec(expected.dtype, expected.shape, expected.chunk_shape, expected.dimension_names, int_fill(0))


@pytest.mark.parametrize("members", OPAQUE.values(), ids=OPAQUE.keys())
def test_opaque_documents(members: dict[str, object]) -> None:
    parsed = parse_array(document(**members))
    assert parsed.native is None
    assert len(parsed.shape) == len(parsed.chunk_shape)


@pytest.mark.parametrize("members", NO_ARRAY.values(), ids=NO_ARRAY.keys())
def test_documents_of_no_array(members: dict[str, object]) -> None:
    assert zarr3.parse(document(**members)) is None


@pytest.mark.parametrize("data", [b"[]", b"5", b"null", b'"zarr"', b"{}"])
def test_other_json_describes_nothing(data: bytes) -> None:
    assert zarr3.parse(data) is None


@pytest.mark.parametrize(
    ("encoding", "keys"),
    [
        (..., KeyStyle("c", "/")),
        ({"name": "default", "configuration": {"separator": "."}}, KeyStyle("c", ".")),
        ({"name": "v2"}, KeyStyle("", ".")),
        ({"name": "v2", "configuration": {"separator": "/"}}, KeyStyle("", "/")),
    ],
)
def test_key_encodings(encoding: object, keys: KeyStyle) -> None:
    assert parse_array(document(chunk_key_encoding=encoding)).keys == keys


def test_made_up_names_do_not_collide() -> None:
    grid = {"name": "regular", "configuration": {"chunk_shape": [1, 1]}}
    parsed = parse_array(document(shape=[2, 2], chunk_grid=grid, dimension_names=["dim_1", None]))
    assert parsed.native is not None
    assert parsed.native.dimension_names == ("dim_1", "dim_1_")


def test_groups() -> None:
    data = b'{"zarr_format": 3, "node_type": "group", "attributes": {"a": 1, "b": null}}'
    assert zarr3.parse(data) == GroupDocument({"a": 1, "b": None}, {"a": attribute_from_python("Int64", 1)})
    assert zarr3.parse(b'{"zarr_format": 3, "node_type": "group"}') == GroupDocument({}, {})


# --- documents made by zarr-python ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIENT_TYPES)
def test_uncompressed_arrays_of_the_formats_types_are_native(name: str) -> None:
    data = client_documents(3, shape=(5, 4), chunks=(2, 3), dtype=CLIENT_TYPES[name], compressors=None)["zarr.json"]
    parsed = parse_array(data)
    assert parsed.native is not None
    assert parsed.native.dtype == DType(name)
    assert zarr3.patch(data, parsed.native, parsed.typed) == data


@pytest.mark.parametrize("name", CLIENT_TYPES)
def test_chunk_files_of_zarr_python_are_chunks(name: str) -> None:
    """What it wrote is kept, clipped; padded again it is the same to it."""
    values = example_values(DType(name), (5, 4))
    options = {"shape": (5, 4), "chunks": (2, 3), "dtype": CLIENT_TYPES[name], "compressors": None}
    files = client_files(3, values, **options)
    native = parse_array(files["zarr.json"]).native
    assert native is not None
    chunks = NativeChunks(native)
    for coord, stored in stored_chunks(native, values).items():
        extent = tuple(min(n, s - c * n) for c, n, s in zip(coord, (2, 3), (5, 4), strict=True))
        assert bytes(chunks.from_file(files["/".join(DEFAULT_KEYS.components(coord))], extent)) == stored


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"dtype": "float32", "shards": (4,)},
        {"dtype": "float32", "shards": (4,), "compressors": None},
        {"dtype": "float16", "compressors": None},
        {"dtype": "complex64", "compressors": None},
        {"dtype": "U4", "compressors": None},
        {"dtype": "S4", "compressors": None},
        {"dtype": "M8[s]", "compressors": None},
        {"dtype": "m8[ns]", "compressors": None},
        {"dtype": [("a", "i4")], "compressors": None},
        {"dtype": "int32", "compressors": None, "serializer": zarr.codecs.BytesCodec(endian="big")},
        {"dtype": "float32", "compressors": None, "filters": [zarr.codecs.TransposeCodec(order=(0,))]},
    ],
    ids=str,
)
def test_what_the_container_has_no_words_for_is_opaque(options: dict[str, object]) -> None:
    parsed = parse_array(client_documents(3, shape=(5,), chunks=(2,), **options)["zarr.json"])
    assert parsed.native is None
    assert parsed.chunk_shape == ((4,) if "shards" in options else (2,))


# --- documents for zarr-python --------------------------------------------------------------------------------------

RENDERED_FILLS: list[tuple[str, FillValue | None]] = [
    *((name, None) for name in LEAF_NAMES),
    ("Bool", FillValue("Bool", b"\1")),
    *((name, int_fill(-1)) for name in LEAF_NAMES),
    *((name, float_fill(0.1)) for name in LEAF_NAMES),
    *((name, float_fill(value)) for name in ("Float32", "Float64") for value in (math.nan, math.inf, -math.inf, -0.0)),
    ("Float64", FillValue("Float", (0x7FF8000000000123).to_bytes(8, "little"))),
    ("Float32", FillValue("Float", (0x7FF8000020000000).to_bytes(8, "little"))),
    ("TimestampNs", FillValue("TimestampNs", bytes(7) + b"\x80")),
    ("String", FillValue("String", "é".encode())),
    ("Binary", FillValue("String", b"ab")),
]


@pytest.mark.parametrize(("name", "fill"), RENDERED_FILLS)
def test_zarr_python_reads_what_we_render(name: str, fill: FillValue | None) -> None:
    """Values, edges and the missing chunk (0, 1); fill values bit for bit."""
    array_spec = ArraySpec(DType(name), (5, 4), (2, 3), ("y", "x"), fill)
    values = example_values(DType(name), (5, 4))
    stored = stored_chunks(array_spec, values)
    del stored[0, 1]
    files: Mapping[str, bytes | memoryview] = chunk_files(array_spec, stored, DEFAULT_KEYS)
    array = open_tree({"zarr.json": zarr3.render_array(array_spec, {}), **files})
    shown = array[...]
    assert array.metadata.dimension_names == ("y", "x")
    if name in ("String", "Binary"):
        payload = fill.payload if fill is not None and fill.kind == "String" else b""
        values[:2, 3:] = payload.decode() if name == "String" else payload
        assert shown.tolist() == values.tolist()
    else:
        values[:2, 3:] = np.frombuffer(fill_element(DType(name), fill), numpy_dtype(DType(name)))[0]
        assert shown.dtype == numpy_dtype(DType(name))
        assert shown.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("dtype", "shape", "chunk"),
    [
        (VEC3, (5,), (2,)),
        (VEC3, (), ()),
        (DType("FixedSizeList", VEC3, 2), (3,), (2,)),
        (DType("Int16"), (), ()),
        (DType("String"), (), ()),
        (DType("Int32"), (0, 3), (0, 2)),
        (DType("Int32"), (3,), (0xFFFFFFFF,)),
    ],
    ids=["vec3", "one vec3", "nested", "scalar", "text", "empty", "chunk beyond the shape"],
)
def test_zarr_python_reads_every_form(dtype: DType, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    array_spec = ArraySpec(dtype, shape, chunk)
    values = example_values(dtype, shape)
    files = chunk_files(array_spec, stored_chunks(array_spec, values), DEFAULT_KEYS)
    array = open_tree({"zarr.json": zarr3.render_array(array_spec, {}), **files})
    assert array.shape == shape + leaf(dtype)[1]
    assert np.asarray(array[...]).tolist() == values.tolist()


def test_lists_are_shown_as_bytes_with_their_type() -> None:
    array_spec = ArraySpec(DType("List", DType("Int32")), (2,), (2,))
    stored = np.array([0, 1, 3, 5, 6, 7], "<u4").tobytes()
    files = chunk_files(array_spec, {(0,): stored}, DEFAULT_KEYS)
    array = open_tree({"zarr.json": zarr3.render_array(array_spec, {}), **files})
    assert array.attrs["arrayfs_element_type"] == "List<Int32>"
    assert [np.frombuffer(element, "<i4").tolist() for element in array[...]] == [[5], [6, 7]]


def test_attributes_are_shown() -> None:
    attributes = {
        "f": attribute_from_python("Float32", 0.1),
        "n": attribute_from_python("Float64", math.nan),
        "b": attribute_from_python("Binary", b"ab"),
        "l": attribute_from_python("Int8List", [1, 2]),
    }
    array = open_tree({"zarr.json": zarr3.render_array(ArraySpec(DType("Int8"), (), ()), attributes)})
    assert array.attrs["f"] == 0.1
    assert math.isnan(array.attrs["n"])
    assert (array.attrs["b"], array.attrs["l"]) == ("YWI=", [1, 2])


def test_a_rendered_group() -> None:
    data = zarr3.render_group({"a": attribute_from_python("Int16", 3)})
    parsed = zarr3.parse(data)
    assert isinstance(parsed, GroupDocument)
    assert parsed.attributes == {"a": 3}


@pytest.mark.parametrize("dtype", [DType("List", DType("String")), DType("FixedSizeList", DType("Binary"), 2)])
def test_types_without_a_settled_layout_cannot_be_shown(dtype: DType) -> None:
    with pytest.raises(FormatError, match="cannot be shown"):
        zarr3.render_array(ArraySpec(dtype, (2,), (2,)), {})


# --- hostile documents ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(list(BASE))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from([*BASE, "name"]), inner)),
    max_leaves=8,
)
MEMBERS = st.sampled_from([*BASE, "attributes", "dimension_names", "storage_transformers", "x"])


@settings(deadline=None)
@given(st.dictionaries(MEMBERS, JSON, max_size=4))
def test_whatever_the_members_are_a_document_is_read_or_not(members: dict[str, object]) -> None:
    data = document(**members)
    parsed = zarr3.parse(data)
    if isinstance(parsed, ArrayDocument) and parsed.native is not None:
        assert zarr3.patch(data, parsed.native, parsed.typed) == data
        assert parse_array(data, current=parsed.native, attributes=parsed.typed) == parsed
    else:
        assert parsed is None or zarr3.patch(data, None, parsed.typed) == data
