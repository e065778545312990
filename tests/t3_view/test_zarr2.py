"""`.zarray` and `.zattrs` <-> what the container stores, against tables, zarr-python and xarray."""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.container.array import ArraySpec
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.dtypes import fill_element, leaf, numpy_dtype
from arrayfs.format.model import DType, FillValue
from arrayfs.view import zarr2
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.metadata import ArrayDocument, GroupDocument, KeyStyle
from tests.t3_view.zarr_python import (
    CLIENT_TYPES,
    LEAF_NAMES,
    VEC3,
    changed,
    chunk_files,
    client_documents,
    client_files,
    example_values,
    memory_store,
    open_tree,
    stored_chunks,
)

DEFAULT_KEYS = KeyStyle("", ".")
BASE: dict[str, object] = {
    "zarr_format": 2,
    "shape": [5],
    "chunks": [2],
    "dtype": "<i4",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
    "filters": None,
    "dimension_separator": ".",
}
ZERO = FillValue("Int", bytes(8))
UTF8 = [{"id": "vlen-utf8"}]
BYTES = [{"id": "vlen-bytes"}]


def zarray(**members: object) -> bytes:
    return changed(json.dumps(BASE).encode(), **members)


def parse_array(data: bytes, zattrs: bytes | None = None, **options: object) -> ArrayDocument:
    document = zarr2.parse(data, zattrs, **options)  # type: ignore[arg-type]
    assert document is not None
    return document


def spec(dtype: str, fill: FillValue | None, names: tuple[str, ...] = ("dim_0",)) -> ArraySpec:
    return ArraySpec(DType(dtype), (5,), (2,), names, fill)


NATIVE = {
    "plain": ({}, spec("Int32", ZERO)),
    "null fill": ({"fill_value": None}, spec("Int32", None)),
    "no fill": ({"fill_value": ...}, spec("Int32", None)),
    "no filters": ({"filters": []}, spec("Int32", ZERO)),
    "one axis in order F": ({"order": "F"}, spec("Int32", ZERO)),
    "bool": ({"dtype": "|b1", "fill_value": False}, spec("Bool", FillValue("Bool", b"\0"))),
    "one byte, any byte order": ({"dtype": ">u1"}, spec("UInt8", FillValue("UInt", bytes(8)))),
    "NaN": ({"dtype": "<f4", "fill_value": "NaN"}, spec("Float32", FillValue("Float", struct.pack("<d", math.nan)))),
    "infinity": (
        {"dtype": "<f8", "fill_value": "-Infinity"},
        spec("Float64", FillValue("Float", struct.pack("<d", -math.inf))),
    ),
    "time": ({"dtype": "<M8[ns]", "fill_value": 5}, spec("TimestampNs", FillValue("TimestampNs", b"\5" + bytes(7)))),
    "not a time": (
        {"dtype": "<M8[ns]", "fill_value": "NaT"},
        spec("TimestampNs", FillValue("TimestampNs", bytes(7) + b"\x80")),
    ),
    "text": ({"dtype": "|O", "fill_value": "", "filters": UTF8}, spec("String", FillValue("String", b""))),
    "bytes": ({"dtype": "|O", "fill_value": "YWI=", "filters": BYTES}, spec("Binary", FillValue("String", b"ab"))),
    "unknown member": ({"comment": {"name": "x"}}, spec("Int32", ZERO)),
}
OPAQUE: dict[str, dict[str, object]] = {
    "compressed": {"compressor": {"id": "zlib", "level": 1}},
    "compressor missing": {"compressor": ...},
    "filtered": {"filters": [{"id": "delta", "dtype": "<i4"}]},
    "big endian": {"dtype": ">i4"},
    "native endian": {"dtype": "=i4"},
    "order missing": {"order": ...},
    "order F": {"order": "F", "shape": [5, 5], "chunks": [2, 2]},
    "half": {"dtype": "<f2"},
    "text of a fixed length": {"dtype": "<U4", "fill_value": ""},
    "bytes of a fixed length": {"dtype": "|S4", "fill_value": ""},
    "structured": {"dtype": [["a", "<i4"]], "fill_value": None},
    "object": {"dtype": "|O", "fill_value": None},
    "object, filtered again": {"dtype": "|O", "fill_value": "", "filters": [*UTF8, {"id": "zlib"}]},
    "text with a number to fill": {"dtype": "|O", "fill_value": 0, "filters": UTF8},
    "fill out of range": {"fill_value": 1 << 31},
    "extent of 2^32": {"shape": [1 << 32], "chunks": [1 << 20]},
}
NO_ARRAY: dict[str, dict[str, object]] = {
    "another format": {"zarr_format": 3},
    "no shape": {"shape": ...},
    "no chunks": {"chunks": ...},
    "chunks of another rank": {"chunks": [2, 2]},
    "chunks of nothing": {"chunks": [0]},
    "unknown separator": {"dimension_separator": "-"},
    "separator of another kind": {"dimension_separator": ["/"]},
}


@pytest.mark.parametrize(("members", "expected"), NATIVE.values(), ids=NATIVE.keys())
def test_native_documents(members: dict[str, object], expected: ArraySpec) -> None:
    data = zarray(**members)
    parsed = parse_array(data)
    assert parsed.native == expected
    assert (parsed.shape, parsed.chunk_shape, parsed.keys) == ((5,), (2,), DEFAULT_KEYS)
    assert zarr2.patch_array(data, expected) == data
    assert parse_array(zarr2.render_array(expected)).native == expected


@pytest.mark.parametrize("members", OPAQUE.values(), ids=OPAQUE.keys())
def test_opaque_documents(members: dict[str, object]) -> None:
    assert parse_array(zarray(**members)).native is None


@pytest.mark.parametrize("members", NO_ARRAY.values(), ids=NO_ARRAY.keys())
def test_documents_of_no_array(members: dict[str, object]) -> None:
    assert zarr2.parse(zarray(**members), None) is None


def test_what_does_not_parse_yet() -> None:
    for data, attributes in ((b'{"zarr_fo', None), (zarray(), b'{"a": ')):
        with pytest.raises(ValueError, match="line 1"):
            zarr2.parse(data, attributes)


@pytest.mark.parametrize(("separator", "expected"), [(".", "."), ("/", "/"), (..., "."), (None, ".")])
def test_separators(separator: object, expected: str) -> None:
    assert parse_array(zarray(dimension_separator=separator)).keys == KeyStyle("", expected)


# --- dimension names ------------------------------------------------------------------------------------------------


def names_of(zattrs: bytes | None, **options: object) -> tuple[str, ...]:
    native = parse_array(zarray(), zattrs, **options).native
    assert native is not None
    return native.dimension_names


def test_dimension_names_stand_in_the_attributes() -> None:
    zattrs = b'{"_ARRAY_DIMENSIONS": ["x"], "a": 1}'
    assert names_of(zattrs) == ("x",)
    parsed = parse_array(zarray(), zattrs)
    assert parsed.attributes == {"_ARRAY_DIMENSIONS": ["x"], "a": 1}
    assert parsed.typed == {"a": attribute_from_python("Int64", 1)}


@pytest.mark.parametrize("zattrs", [None, b"{}", b'{"a": 1}', b"[]", b'{"_ARRAY_DIMENSIONS": ["x", "y"]}'])
def test_a_client_that_drops_them_does_not_lose_them(zattrs: bytes | None) -> None:
    assert names_of(zattrs) == ("dim_0",)
    assert names_of(zattrs, dimension_names=("old",)) == ("old",)
    assert names_of(zattrs, current=spec("Int32", ZERO, ("old",))) == ("old",)


def test_names_that_are_none_are_an_ordinary_attribute() -> None:
    typed = parse_array(zarray(), b'{"_ARRAY_DIMENSIONS": ["x", "y"]}').typed
    assert typed == {"_ARRAY_DIMENSIONS": attribute_from_python("StringList", ["x", "y"])}


def test_the_containers_names_are_put_into_the_document() -> None:
    now = spec("Int32", ZERO, ("x",))
    assert json.loads(zarr2.patch_attributes(b'{"a": {}}', now, {})) == {"a": {}, "_ARRAY_DIMENSIONS": ["x"]}
    assert json.loads(zarr2.patch_attributes(b'{"_ARRAY_DIMENSIONS": ["y"]}', now, {})) == {"_ARRAY_DIMENSIONS": ["x"]}


@pytest.mark.parametrize("zattrs", [b'{"a": null}', b'{"_ARRAY_DIMENSIONS": ["x"], "a": []}', b"{}"])
def test_attributes_that_say_the_same_stay(zattrs: bytes) -> None:
    native = parse_array(zarray(), zattrs).native
    assert zarr2.patch_attributes(zattrs, native, {}) == zattrs
    assert zarr2.patch_attributes(zattrs, None, {}) == zattrs


# --- groups ---------------------------------------------------------------------------------------------------------


def test_groups() -> None:
    group = zarr2.parse_group(
        zarr2.render_group(), zarr2.render_attributes(None, {"a": attribute_from_python("Int64", 1)})
    )
    assert group == GroupDocument({"a": 1}, {"a": attribute_from_python("Int64", 1)})
    assert zarr2.parse_group(b"{}", None) is None
    assert zarr2.parse_group(b'{"zarr_format": 2}', None) == GroupDocument({}, {})


# --- documents made by zarr-python ----------------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [".", "/"])
@pytest.mark.parametrize("name", CLIENT_TYPES)
def test_uncompressed_arrays_of_the_formats_types_are_native(name: str, separator: str) -> None:
    values = example_values(DType(name), (5, 4))
    options = {"shape": (5, 4), "chunks": (2, 3), "dtype": CLIENT_TYPES[name], "compressors": None}
    keys = {"name": "v2", "separator": separator}
    files = client_files(2, values, chunk_key_encoding=keys, **options)
    parsed = parse_array(files[".zarray"], files[".zattrs"])
    assert parsed.native is not None
    assert parsed.native.dtype == DType(name)
    assert zarr2.patch_array(files[".zarray"], parsed.native) == files[".zarray"]
    assert zarr2.patch_attributes(files[".zattrs"], parsed.native, parsed.typed) == files[".zattrs"]
    chunks = NativeChunks(parsed.native)
    for coord, stored in stored_chunks(parsed.native, values).items():
        extent = tuple(min(n, s - c * n) for c, n, s in zip(coord, (2, 3), (5, 4), strict=True))
        assert bytes(chunks.from_file(files["/".join(parsed.keys.components(coord))], extent)) == stored


@pytest.mark.parametrize(
    "options",
    [
        {"dtype": "float32"},
        {"dtype": "float16", "compressors": None},
        {"dtype": "complex64", "compressors": None},
        {"dtype": ">i4", "compressors": None},
        {"dtype": ">M8[ns]", "compressors": None},
        {"dtype": "U4", "compressors": None},
        {"dtype": "S4", "compressors": None},
        {"dtype": "M8[s]", "compressors": None},
        {"dtype": "m8[ns]", "compressors": None},
        {"dtype": [("a", "i4")], "compressors": None},
        {"dtype": "float32", "compressors": None, "order": "F"},
        {"dtype": str},
    ],
    ids=str,
)
def test_what_the_container_has_no_words_for_is_opaque(options: dict[str, object]) -> None:
    documents = client_documents(2, shape=(5, 5), chunks=(2, 2), **options)
    assert parse_array(documents[".zarray"], documents[".zattrs"]).native is None


# --- documents for zarr-python --------------------------------------------------------------------------------------

FILLS: list[tuple[str, FillValue | None]] = [
    *((name, None) for name in LEAF_NAMES),
    ("Bool", FillValue("Bool", b"\1")),
    *((name, FillValue("Int", (7).to_bytes(8, "little"))) for name in LEAF_NAMES),
    *((name, FillValue("Float", struct.pack("<d", math.nan))) for name in ("Float32", "Float64")),
    *((name, FillValue("Float", struct.pack("<d", -math.inf))) for name in ("Float32", "Float64")),
    ("TimestampNs", FillValue("TimestampNs", bytes(7) + b"\x80")),
    ("String", FillValue("String", "é".encode())),
    ("Binary", FillValue("String", b"ab")),
]


@pytest.mark.parametrize(("name", "fill"), FILLS)
def test_zarr_python_reads_what_we_render(name: str, fill: FillValue | None) -> None:
    """Values, edges, and the missing chunk (0, 1) where the container has a fill value."""
    array_spec = ArraySpec(DType(name), (5, 4), (2, 3), ("y", "x"), fill)
    assert zarr2.has_type(array_spec)
    values = example_values(DType(name), (5, 4))
    stored = stored_chunks(array_spec, values)
    if fill is not None:
        del stored[0, 1]
    documents = {".zarray": zarr2.render_array(array_spec), ".zattrs": zarr2.render_attributes(array_spec, {})}
    array = open_tree({**documents, **chunk_files(array_spec, stored, DEFAULT_KEYS)})
    assert array.attrs["_ARRAY_DIMENSIONS"] == ["y", "x"]
    assert (array.metadata.fill_value is None) == (fill is None)
    if name in ("String", "Binary"):
        if fill is not None:
            payload = fill.payload if fill.kind == "String" else b""
            values[:2, 3:] = payload.decode() if name == "String" else payload
        assert array[...].tolist() == values.tolist()
    else:
        if fill is not None:
            values[:2, 3:] = np.frombuffer(fill_element(DType(name), fill), numpy_dtype(DType(name)))[0]
        assert array.dtype == numpy_dtype(DType(name))
        assert array[...].tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("dtype", "shape", "chunk"),
    [
        (VEC3, (5,), (2,)),
        (VEC3, (), ()),
        (DType("Int16"), (), ()),
        (DType("String"), (), ()),
        (DType("Int32"), (0, 3), (0, 2)),
    ],
    ids=["vec3", "one vec3", "scalar", "text", "empty"],
)
def test_zarr_python_reads_every_form(dtype: DType, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
    array_spec = ArraySpec(dtype, shape, chunk)
    values = example_values(dtype, shape)
    files = chunk_files(array_spec, stored_chunks(array_spec, values), DEFAULT_KEYS)
    array = open_tree({".zarray": zarr2.render_array(array_spec), **files})
    assert array.shape == shape + leaf(dtype)[1]
    assert np.asarray(array[...]).tolist() == values.tolist()


def test_xarray_masks_nothing_where_the_container_has_no_fill_value() -> None:
    """xarray takes any `fill_value` but null for a mask: 0 would become NaN."""
    array_spec = ArraySpec(DType("Int16"), (4,), (2,), ("x",))
    values = np.array([0, 1, 0, 2], "<i2")
    files = {
        ".zgroup": zarr2.render_group(),
        "v/.zarray": zarr2.render_array(array_spec),
        "v/.zattrs": zarr2.render_attributes(array_spec, {"units": attribute_from_python("String", "m")}),
    }
    files |= {
        f"v/{key}": data
        for key, data in chunk_files(array_spec, stored_chunks(array_spec, values), DEFAULT_KEYS).items()
    }
    with xr.open_zarr(memory_store(files), consolidated=False, zarr_format=2) as dataset:
        assert dataset["v"].dims == ("x",)
        assert dataset["v"].dtype == np.dtype("int16")
        assert dataset["v"].values.tolist() == [0, 1, 0, 2]
        assert dataset["v"].attrs == {"units": "m"}


def test_lists_are_shown_as_bytes_with_their_type() -> None:
    array_spec = ArraySpec(DType("List", DType("Int32")), (2,), (2,))
    shown = json.loads(zarr2.render_attributes(array_spec, {}))
    assert shown == {"_ARRAY_DIMENSIONS": ["dim_0"], "arrayfs_element_type": "List<Int32>"}
    assert (
        parse_array(zarr2.render_array(array_spec), json.dumps(shown).encode(), current=array_spec).native == array_spec
    )


def test_what_v2_cannot_show() -> None:
    assert not zarr2.has_type(ArraySpec(DType("List", DType("String")), (2,), (2,)))


# --- what the container changed -------------------------------------------------------------------------------------


def test_only_what_the_container_changed_is_patched() -> None:
    data = zarray(comment="mine", dimension_separator="/", order="F")
    patched = json.loads(zarr2.patch_array(data, ArraySpec(DType("Int32"), (7,), (2,), ("x",), None)))
    assert patched == json.loads(data) | {"shape": [7], "fill_value": None}


def test_null_is_not_the_zero_that_it_reads_as() -> None:
    """A client that sets the fill value to 0 must get a mask, one that sets none must not."""
    assert parse_array(zarray(), current=spec("Int32", None)).native == spec("Int32", ZERO)
    assert parse_array(zarray(fill_value=None), current=spec("Int32", ZERO)).native == spec("Int32", None)


def test_a_nan_that_v2_cannot_spell_stays() -> None:
    current = spec("Float64", FillValue("Float", (0x7FF8000000000123).to_bytes(8, "little")))
    data = zarr2.render_array(current)
    assert parse_array(data, current=current).native == current
    assert zarr2.patch_array(data, current) == data


def test_a_redefined_array_takes_its_whole_description() -> None:
    data = zarray(compressor={"id": "zlib", "level": 1}, comment="mine")
    patched = zarr2.patch_array(data, ArraySpec(DType("String"), (7, 2), (2, 2)))
    assert parse_array(patched).native == ArraySpec(DType("String"), (7, 2), (2, 2), ("dim_0", "dim_1"))
    assert json.loads(patched)["comment"] == "mine"
    assert zarr2.patch_array(data, None) == data  # as it says of an opaque array


def test_a_rewritten_document_keeps_the_containers_types() -> None:
    current = ArraySpec(VEC3, (5,), (2,), ("t",))
    attributes = {"a": attribute_from_python("Float32", 0.1)}
    parsed = parse_array(
        zarr2.render_array(current),
        zarr2.render_attributes(current, attributes),
        current=current,
        attributes=attributes,
    )
    assert parsed.native == current
    assert parsed.typed == attributes


# --- hostile documents ----------------------------------------------------------------------------------------------

JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["<f4", "|O"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["id", "name"]), inner)),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(list(BASE)), JSON, max_size=4), st.dictionaries(st.text(max_size=3), JSON))
def test_whatever_the_members_are_a_document_is_read_or_not(members: dict[str, object], attributes: object) -> None:
    data, zattrs = zarray(**members), json.dumps(attributes).encode()
    parsed = zarr2.parse(data, zattrs)
    if parsed is not None:
        assert zarr2.patch_array(data, parsed.native) == data
        assert zarr2.patch_attributes(zattrs, parsed.native, parsed.typed) == zattrs
