"""A client's zarr.json over an array that the container changed, or that it rewrites itself."""

from __future__ import annotations

import json
import math

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import AttributeValue, DType, FillValue
from arrayfs.view import zarr3
from arrayfs.view.metadata import KeyStyle
from tests.t3_view.zarr3_documents import BASE, LITTLE, document, float_fill, int_fill, parse_array, spec
from tests.t3_view.zarr_python import VEC3, changed

# --- what the container changed -------------------------------------------------------------------------------------


def test_only_what_the_container_changed_is_patched() -> None:
    data = document(attributes={"keep": {"x": None}, "a": 1}, comment="mine")
    now = ArraySpec(DType("Int32"), (7,), (2,), ("t",), int_fill(4))
    attributes = {"a": attribute_from_python("Int64", 2)}
    patched = json.loads(zarr3.patch(data, now, attributes))
    expected = json.loads(data) | {"shape": [7], "fill_value": 4, "dimension_names": ["t"]}
    expected["attributes"] = {"keep": {"x": None}, "a": 2}
    assert patched == expected
    assert list(patched)[: len(BASE)] == list(BASE)


def test_a_redefined_array_takes_its_whole_description() -> None:
    data = document(codecs=[LITTLE, {"name": "zstd"}], storage_transformers=[{"name": "x"}], comment="mine")
    now = ArraySpec(DType("String"), (7, 2), (2, 2))
    parsed = parse_array(zarr3.patch(data, now, {}))
    assert parsed.native == ArraySpec(DType("String"), (7, 2), (2, 2), ("dim_0", "dim_1"), FillValue("String", b""))
    assert json.loads(zarr3.patch(data, now, {}))["comment"] == "mine"


def test_the_key_encoding_stays_the_clients() -> None:
    data = document(chunk_key_encoding={"name": "v2"})
    assert parse_array(zarr3.patch(data, ArraySpec(DType("Int32"), (9,), (3,)), {})).keys == KeyStyle("", ".")


def test_a_half_overwritten_document_stays_as_it_is() -> None:
    data = document() + b'old": 5}'
    assert zarr3.patch(data, spec("Int32", int_fill(0)), {}) == data


def test_opaque_arrays_and_groups_differ_in_attributes_alone() -> None:
    data = document(data_type="float16", attributes={"a": 1})
    same: dict[str, AttributeValue] = {"a": attribute_from_python("Int64", 1)}
    assert zarr3.patch(data, None, same) == data
    assert json.loads(zarr3.patch(data, None, {}))["attributes"] == {}
    group = b'{"node_type": "group", "zarr_format": 3}'
    assert zarr3.patch(group, None, {}) == group
    assert json.loads(zarr3.patch(group, None, same))["attributes"] == {"a": 1}


def test_the_document_of_another_node_gives_way() -> None:
    group = b'{"node_type": "group", "zarr_format": 3}'
    assert parse_array(zarr3.patch(group, spec("Int32", None), {})).native == spec("Int32", int_fill(0))


def test_json_numbers_keep_their_kind_in_a_patched_document() -> None:
    data = document(attributes={"f": 1.0, "i": 1, "n": [math.nan, {}]}, shape=[5])
    attributes = parse_array(data).typed
    text = zarr3.patch(data, ArraySpec(DType("Int32"), (6,), (2,), ("dim_0",), int_fill(0)), attributes)
    assert json.dumps(json.loads(text)["attributes"]) == '{"f": 1.0, "i": 1, "n": [NaN, {}]}'


# --- documents rewritten by a client over an array that is there ----------------------------------------------------

CURRENT = {
    "vec3": ArraySpec(VEC3, (5,), (2,), ("t",), float_fill(0.1)),
    "list": ArraySpec(DType("List", DType("Int32")), (5,), (2,)),
    "no fill value": ArraySpec(DType("Int64"), (5,), (2,), ()),
    "fill of another kind": ArraySpec(DType("Int64"), (5,), (2,), (), float_fill(2.5)),
    "empty axis": ArraySpec(DType("Int64"), (0,), (0,)),
    "chunk beyond every file": ArraySpec(DType("Int64"), (3,), (0xFFFFFFFF,)),
}


@pytest.mark.parametrize("current", CURRENT.values(), ids=CURRENT.keys())
def test_a_document_that_says_the_same_changes_nothing(current: ArraySpec) -> None:
    attributes = {"a": attribute_from_python("Int32", 1)}
    data = zarr3.render_array(current, attributes)
    parsed = parse_array(data, current=current, attributes=attributes)
    assert parsed.native == current
    assert parsed.typed == attributes
    assert zarr3.patch(data, current, attributes) == data


def test_a_resized_array_keeps_its_type() -> None:
    current = CURRENT["vec3"]
    data = changed(zarr3.render_array(current, {}), shape=[9, 3], dimension_names=["time", "dim_1"])
    expected = ArraySpec(VEC3, (9,), (2,), ("time",), float_fill(0.1))
    assert parse_array(data, current=current).native == expected


def test_a_grown_empty_axis_has_a_chunk_extent() -> None:
    data = changed(zarr3.render_array(CURRENT["empty axis"], {}), shape=[4])
    parsed = parse_array(data, current=CURRENT["empty axis"]).native
    assert parsed is not None
    assert (parsed.shape, parsed.chunk_shape) == ((4,), (1,))


def test_another_inner_length_is_another_array() -> None:
    data = changed(zarr3.render_array(CURRENT["vec3"], {}), shape=[5, 4])
    parsed = parse_array(data, current=CURRENT["vec3"]).native
    assert parsed is not None
    assert (parsed.dtype, parsed.shape) == (DType("Float32"), (5, 4))
