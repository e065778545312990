"""Zarr v2: `.zarray`, `.zattrs`, `.zgroup` <-> what the container stores. (Zarr v2 specification, metadata).

Dimension names stand in the attribute `_ARRAY_DIMENSIONS`, as xarray reads and writes them. `fill_value` is null unless
the container has one: xarray takes any other for a mask.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arrayfs.container.array import ArraySpec
from arrayfs.errors import FormatError
from arrayfs.format.dtypes import ELEMENTS
from arrayfs.format.model import AttributeValue, DType
from arrayfs.view.attributes import json_attributes, patch_json, typed_from_json
from arrayfs.view.fills import fill_from_json, fill_to_json
from arrayfs.view.metadata import (
    ELEMENT_TYPE_ATTRIBUTE,
    ArrayDocument,
    GroupDocument,
    KeyStyle,
    complete_names,
    continue_spec,
    describe_type,
    dump_json,
    first_json,
    grid_fits,
    lengths,
    native_spec,
    patch_members,
    same_json,
    zarr_look,
)

DIMENSIONS_ATTRIBUTE = "_ARRAY_DIMENSIONS"

_NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}
_TYPES = {row.zarr2: DType(row.name) for row in ELEMENTS.values() if row.kind != "vlen"}
_VLEN_FILTERS = {"String": "vlen-utf8", "Binary": "vlen-bytes"}
_NOTHING = object()


def parse(
    zarray: bytes,
    zattrs: bytes | None,
    footer_version: int = 5,
    *,
    dimension_names: Sequence[str] | None = None,
    current: ArraySpec | None = None,
    attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
) -> ArrayDocument | None:
    """Read an array's documents; None if `.zarray` is JSON that describes no array.

    dimension_names: the container's, kept where `.zattrs` has none (it may have been rewritten without them).
    current, attributes: what the container has there now; what the documents say the same of keeps its types.
    Raises ValueError if a document does not parse (yet).
    """
    document = first_json(zarray)
    members = _json_object(zattrs)
    if not isinstance(document, dict) or document.get("zarr_format") != 2:
        return None
    shape, chunk_shape = lengths(document.get("shape")), lengths(document.get("chunks"))
    separator = document.get("dimension_separator") or "."
    if shape is None or chunk_shape is None or separator not in (".", "/") or not grid_fits(shape, chunk_shape):
        return None
    if dimension_names is None:
        dimension_names = current.dimension_names if current is not None else ()
    said = members.get(DIMENSIONS_ATTRIBUTE)
    names = complete_names(said if _are_names(said, len(shape)) else tuple(dimension_names), len(shape))
    native = _native(document, shape, chunk_shape, names)
    if native is not None and current is not None:
        native = continue_spec(native, current, same_fill=_same_fill(native, current))
    typed = _typed(members, len(shape), footer_version, attributes)
    return ArrayDocument(shape, chunk_shape, KeyStyle("", str(separator)), native, members, typed)


def parse_group(
    zgroup: bytes,
    zattrs: bytes | None,
    footer_version: int = 5,
    *,
    attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
) -> GroupDocument | None:
    """Read a group's documents; None if `.zgroup` is JSON that describes no group. Raises ValueError like `parse`."""
    document = first_json(zgroup)
    members = _json_object(zattrs)
    if not isinstance(document, dict) or document.get("zarr_format") != 2:
        return None
    return GroupDocument(members, typed_from_json(members, footer_version, attributes))


def has_type(spec: ArraySpec) -> bool:
    """Whether v2 can show an array of this type."""
    try:
        return bool(ELEMENTS[zarr_look(spec).dtype.name].zarr2)
    except FormatError:
        return False


def render_array(spec: ArraySpec) -> bytes:
    """The `.zarray` of an array for which nobody wrote one. Raises FormatError for types that cannot be shown."""
    return dump_json({"zarr_format": 2, **_members(zarr_look(spec)), "dimension_separator": "."})


def render_attributes(spec: ArraySpec | None, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The `.zattrs` of such an array, or of a group (spec None)."""
    shown = json_attributes(attributes)
    if spec is not None:
        shown |= {DIMENSIONS_ATTRIBUTE: list(zarr_look(spec).dimension_names)} | _reserved({}, spec)
    return dump_json(shown)


def render_group() -> bytes:
    """The `.zgroup` of a group for which nobody wrote one."""
    return dump_json({"zarr_format": 2})


def patch_array(zarray: bytes, spec: ArraySpec | None) -> bytes:
    """The client's `.zarray`, with what the container says otherwise now put in; the same bytes if nothing is.

    spec None: of an opaque array, about which the container says nothing. Raises ValueError if it does not parse.
    """
    document = first_json(zarray)
    if spec is None or not isinstance(document, dict):
        return zarray
    said = parse(zarray, None)
    if said is None:
        return render_array(spec)
    said_members = _members(said.native) if said.native is not None else {}
    patched = patch_members(document, said_members, _members(zarr_look(spec)))
    return zarray if same_json(patched, document) else dump_json(patched)


def patch_attributes(
    zattrs: bytes,
    spec: ArraySpec | None,
    attributes: Mapping[str, AttributeValue],
    footer_version: int = 5,
    *,
    missing_are_gone: bool = True,
) -> bytes:
    """The same for `.zattrs`; dimension names that the client left out are put in.

    spec None: of a group or of an opaque array. missing_are_gone: see `patch_json`.
    """
    document = _json_object(zattrs)
    reserved = _reserved(document, spec)
    patched = patch_json(document, attributes, footer_version, reserved, missing_are_gone=missing_are_gone)
    return zattrs if same_json(patched, document) else dump_json(patched)


# --- reading ----------------------------------------------------------------------------------------------------------


def _json_object(zattrs: bytes | None) -> dict[str, object]:
    value = first_json(zattrs) if zattrs is not None else {}
    return value if isinstance(value, dict) else {}


def _are_names(names: object, rank: int) -> bool:
    return isinstance(names, list) and len(names) == rank and all(isinstance(name, str) for name in names)


def _typed(
    members: Mapping[str, object], rank: int, footer_version: int, current: Mapping[str, AttributeValue]
) -> dict[str, AttributeValue]:
    """The typed attributes, without those that stand for something else of the array."""
    typed = typed_from_json(members, footer_version, current)
    typed.pop(ELEMENT_TYPE_ATTRIBUTE, None)
    if _are_names(members.get(DIMENSIONS_ATTRIBUTE), rank):
        typed.pop(DIMENSIONS_ATTRIBUTE, None)
    return typed


def _native(
    document: dict[str, Any], shape: tuple[int, ...], chunk_shape: tuple[int, ...], names: tuple[str, ...]
) -> ArraySpec | None:
    dtype = _dtype(document.get("dtype"), document.get("filters"))
    # a missing compressor or order is no valid document: only its writer knows what it meant
    in_order = document.get("order") == "C" or (document.get("order") == "F" and len(shape) < 2)
    if dtype is None or document.get("compressor", _NOTHING) is not None or not in_order:
        return None
    fill_value = document.get("fill_value")
    try:
        fill = None if fill_value is None else fill_from_json(dtype, fill_value)
    except ValueError:
        return None
    return native_spec(ArraySpec(dtype, shape, chunk_shape, names, fill))


def _dtype(value: object, filters: object) -> DType | None:
    if not isinstance(value, str):
        return None
    if value == "|O":
        for name, codec in _VLEN_FILTERS.items():
            if filters == [{"id": codec}]:
                return DType(name)
        return None
    one_byte = value[1:] in ("b1", "i1", "u1")
    return None if filters else _TYPES.get("|" + value[1:] if one_byte else value)


def _same_fill(native: ArraySpec, current: ArraySpec) -> bool:
    """Whether both show the same `fill_value`; null is not the zero that it reads as."""
    if native.fill_value is None or current.fill_value is None:
        return native.fill_value is current.fill_value
    try:
        shown = _fill(zarr_look(current))
    except FormatError:
        return False
    return same_json(_fill(native), shown)


# --- writing ----------------------------------------------------------------------------------------------------------


def _members(look: ArraySpec) -> dict[str, object]:
    """What `.zarray` says of an array in Zarr's terms, but for how its keys are spelled."""
    name = look.dtype.name
    return {
        "shape": list(look.shape),
        "chunks": list(look.chunk_shape),
        "dtype": ELEMENTS[name].zarr2,
        "compressor": None,
        "fill_value": _fill(look),
        "order": "C",
        "filters": [{"id": _VLEN_FILTERS[name]}] if name in _VLEN_FILTERS else None,
    }


def _fill(look: ArraySpec) -> object:
    return None if look.fill_value is None else fill_to_json(look.dtype, look.fill_value, hex_nan=False)


def _reserved(document: Mapping[str, object], spec: ArraySpec | None) -> dict[str, object]:
    """The attributes that stand for something else of the array, as they have to be."""
    reserved = {key: value for key, value in document.items() if key in (DIMENSIONS_ATTRIBUTE, ELEMENT_TYPE_ATTRIBUTE)}
    if spec is None:
        return reserved
    names = zarr_look(spec).dimension_names
    said = document.get(DIMENSIONS_ATTRIBUTE)
    if complete_names(said if _are_names(said, len(names)) else None, len(names)) != names:
        reserved[DIMENSIONS_ATTRIBUTE] = list(names)
    if spec.dtype.name == "List":
        reserved[ELEMENT_TYPE_ATTRIBUTE] = describe_type(spec.dtype)
    return reserved


# --- the native form of an opaque array -------------------------------------------------------------------------------


def raw_document(document: Mapping[str, Any]) -> dict[str, object]:
    """The `.zarray` of an array with the same values in raw chunks.

    Raises ValueError, with the reason, if the container has no words for it; beyond its limits `parse` says so.
    """
    said, filters = document.get("dtype"), document.get("filters")
    listed = filters if isinstance(filters, list) else []
    if said == "|O":
        objects = [each for each in listed if isinstance(each, dict) and each.get("id") in _VLEN_FILTERS.values()]
        little, filters = said, [{"id": objects[0]["id"]}] if objects else None
    else:
        little, filters = "<" + said[1:] if isinstance(said, str) and said[:1] == ">" else said, None
    dtype = _dtype(little, filters)
    if dtype is None:
        raise ValueError(f"data type {json.dumps(said)} is none of the container's")
    if document.get("fill_value") is not None:
        fill_from_json(dtype, document["fill_value"])
    return {**document, "dtype": little, "compressor": None, "filters": filters, "order": "C"}
