"""Zarr v3: `zarr.json` <-> what the container stores. (Zarr v3 specification, metadata).

An array is native if raw little-endian chunks in C order say the same as its codecs; with anything else its chunk files
are kept as they are. Members that nobody here knows stay in the document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from arrayfs.container.array import ArraySpec
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

_NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}
# "bytes" is the registered name; zarr-python writes variable_length_bytes and reads both.
_TYPES = {row.zarr3: DType(row.name) for row in ELEMENTS.values() if row.kind != "time"} | {"bytes": DType("Binary")}
_NANOSECONDS = {"unit": "ns", "scale_factor": 1}
_VLEN_CODECS = {"String": "vlen-utf8", "Binary": "vlen-bytes"}
_DEFAULT_SEPARATORS = {"default": "/", "v2": "."}
_KEY_PREFIXES = {"default": "c", "v2": ""}
_KNOWN_MEMBERS = frozenset(
    (
        *("zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"),
        *("attributes", "dimension_names", "storage_transformers"),
    )
)


def parse(
    data: bytes,
    footer_version: int = 5,
    *,
    current: ArraySpec | None = None,
    attributes: Mapping[str, AttributeValue] = _NO_ATTRIBUTES,
) -> ArrayDocument | GroupDocument | None:
    """Read a document; None if it is JSON that describes neither a group nor an array whose chunk grid we know.

    current, attributes: what the container has there now; what the document says the same of keeps the container's
    types (FixedSizeList, List, an attribute's Int32). Raises ValueError if the document does not parse (yet).
    """
    document = first_json(data)
    if not isinstance(document, dict) or document.get("zarr_format") != 3:
        return None
    members = _attributes(document)
    typed = typed_from_json(members, footer_version, attributes)
    typed.pop(ELEMENT_TYPE_ATTRIBUTE, None)  # says what the container's type says
    if document.get("node_type") == "group":
        return GroupDocument(members, typed)
    shape, chunk_shape, keys = lengths(document.get("shape")), _chunk_shape(document), _keys(document)
    if document.get("node_type") != "array" or shape is None or chunk_shape is None or keys is None:
        return None
    if not grid_fits(shape, chunk_shape):
        return None
    native = _native(document, shape, chunk_shape)
    if native is not None and current is not None:
        fill_now = fill_to_json(native.dtype, current.fill_value, hex_nan=True) if _same_type(native, current) else None
        same_fill = same_json(fill_to_json(native.dtype, native.fill_value, hex_nan=True), fill_now)
        native = continue_spec(native, current, same_fill=same_fill)
    return ArrayDocument(shape, chunk_shape, keys, native, members, typed)


def render_array(spec: ArraySpec, attributes: Mapping[str, AttributeValue]) -> bytes:
    """The document of an array for which nobody wrote one. Raises FormatError for types that cannot be shown."""
    document: dict[str, object] = {"zarr_format": 3, "node_type": "array"}
    document |= _members(zarr_look(spec))
    document["chunk_key_encoding"] = {"name": "default", "configuration": {"separator": "/"}}
    document["attributes"] = json_attributes(attributes) | _element_type(spec)
    return dump_json(document)


def render_group(attributes: Mapping[str, AttributeValue]) -> bytes:
    """The document of a group for which nobody wrote one."""
    return dump_json({"zarr_format": 3, "node_type": "group", "attributes": json_attributes(attributes)})


def patch(
    data: bytes,
    spec: ArraySpec | None,
    attributes: Mapping[str, AttributeValue],
    footer_version: int = 5,
    *,
    missing_are_gone: bool = True,
) -> bytes:
    """The client's document, with what the container says otherwise now put in; the same bytes if nothing is.

    spec None: of a group, or of an opaque array, whose attributes alone can differ. missing_are_gone: see `patch_json`.
    Raises ValueError if the document does not parse.
    """
    document = first_json(data)
    said = parse(data, footer_version)
    if spec is not None and not isinstance(said, ArrayDocument):
        return render_array(spec, attributes)
    if not isinstance(document, dict) or said is None:
        return data
    patched = dict(document)
    if spec is not None and isinstance(said, ArrayDocument):
        said_members = _members(said.native) if said.native is not None else {}
        patched = patch_members(document, said_members, _members(zarr_look(spec)))
        if said.native is None:
            patched.pop("storage_transformers", None)
    reserved = _shown_element_type(said, spec)
    shown = patch_json(said.attributes, attributes, footer_version, reserved, missing_are_gone=missing_are_gone)
    if not same_json(shown, said.attributes):
        patched["attributes"] = shown
    return data if same_json(patched, document) else dump_json(patched)


# --- reading ----------------------------------------------------------------------------------------------------------


def _attributes(document: dict[str, Any]) -> dict[str, object]:
    attributes = document.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _named(value: object) -> tuple[str, dict[str, Any]] | None:
    """Name and configuration of an extension point; both its forms, the bare name and the object, mean the same."""
    if isinstance(value, str):
        return value, {}
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    configuration = value.get("configuration") or {}
    return (value["name"], configuration) if isinstance(configuration, dict) else None


def _chunk_shape(document: dict[str, Any]) -> tuple[int, ...] | None:
    named = _named(document.get("chunk_grid"))
    return lengths(named[1].get("chunk_shape")) if named is not None and named[0] == "regular" else None


def _keys(document: dict[str, Any]) -> KeyStyle | None:
    named = _named(document.get("chunk_key_encoding", "default"))
    if named is None or named[0] not in _KEY_PREFIXES:
        return None
    separator = named[1].get("separator", _DEFAULT_SEPARATORS[named[0]])
    return KeyStyle(_KEY_PREFIXES[named[0]], separator) if separator in ("/", ".") else None


def _native(document: dict[str, Any], shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> ArraySpec | None:
    dtype = _dtype(document.get("data_type"))
    if dtype is None or document.get("storage_transformers") or not _is_raw(dtype, document.get("codecs")):
        return None
    if any(_must_be_understood(key, value) for key, value in document.items()):
        return None
    fill_value = document.get("fill_value")
    try:
        fill = None if fill_value is None else fill_from_json(dtype, fill_value)
    except ValueError:
        return None
    names = complete_names(document.get("dimension_names"), len(shape))
    return native_spec(ArraySpec(dtype, shape, chunk_shape, names, fill))


def _must_be_understood(key: str, value: object) -> bool:
    """Whether a member may change what chunks mean: objects that do not say the opposite. (Zarr v3, extensions)."""
    return key not in _KNOWN_MEMBERS and isinstance(value, dict) and value.get("must_understand") is not False


def _dtype(value: object) -> DType | None:
    named = _named(value)
    if named is None:
        return None
    name, configuration = named
    if name == ELEMENTS["TimestampNs"].zarr3:
        return DType("TimestampNs") if configuration == _NANOSECONDS else None
    return None if configuration else _TYPES.get(name)


def _is_raw(dtype: DType, codecs: object) -> bool:
    """Whether the codecs make chunk files that the container's own chunks can be turned into and back.

    An empty list is not: the specification asks for one codec that makes bytes, so only the client knows what it did.
    """
    if not isinstance(codecs, list) or len(codecs) != 1:
        return False
    named = _named(codecs[0])
    if named is None:
        return False
    name, configuration = named
    if dtype.name in _VLEN_CODECS:
        return name == _VLEN_CODECS[dtype.name] and not configuration
    if name != "bytes" or set(configuration) - {"endian"}:
        return False
    return ELEMENTS[dtype.name].size == 1 or configuration.get("endian") == "little"


def _same_type(native: ArraySpec, current: ArraySpec) -> bool:
    try:
        return zarr_look(current).dtype == native.dtype
    except ValueError:
        return False


# --- writing ----------------------------------------------------------------------------------------------------------


def _members(look: ArraySpec) -> dict[str, object]:
    """What a document says of an array in Zarr's terms, but for its attributes and how its keys are spelled."""
    return {
        "shape": list(look.shape),
        "data_type": _data_type(look.dtype),
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(look.chunk_shape)}},
        "fill_value": fill_to_json(look.dtype, look.fill_value, hex_nan=True),
        "codecs": [_codec(look.dtype)],
        "dimension_names": list(look.dimension_names),
    }


def _data_type(dtype: DType) -> object:
    name = ELEMENTS[dtype.name].zarr3
    return {"name": name, "configuration": dict(_NANOSECONDS)} if dtype.name == "TimestampNs" else name


def _codec(dtype: DType) -> dict[str, object]:
    if dtype.name in _VLEN_CODECS:
        return {"name": _VLEN_CODECS[dtype.name], "configuration": {}}
    if ELEMENTS[dtype.name].size == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def _element_type(spec: ArraySpec) -> dict[str, object]:
    return {ELEMENT_TYPE_ATTRIBUTE: describe_type(spec.dtype)} if spec.dtype.name == "List" else {}


def _shown_element_type(said: ArrayDocument | GroupDocument, spec: ArraySpec | None) -> dict[str, object]:
    """The attribute as the container's type has it; where that is no List, as the client wrote it."""
    if spec is not None and spec.dtype.name == "List":
        return _element_type(spec)
    return {key: value for key, value in said.attributes.items() if key == ELEMENT_TYPE_ATTRIBUTE}


# --- the native form of an opaque array -------------------------------------------------------------------------------


def raw_document(document: Mapping[str, Any], chunk_shape: Sequence[int]) -> dict[str, object]:
    """The document of an array with the same values in raw chunks of this shape.

    Raises ValueError, with the reason, if the container has no words for it; beyond its limits `parse` says so.
    """
    dtype = _dtype(document.get("data_type"))
    if dtype is None:
        raise ValueError(f"data type {_said(document.get('data_type'))} is none of the container's")
    if document.get("storage_transformers"):
        raise ValueError(f"storage transformers {_said(document['storage_transformers'])} are not known")
    strange = [key for key, value in document.items() if _must_be_understood(key, value)]
    if strange:
        raise ValueError(f"member {strange[0]!r} must be understood, and is not known")
    if document.get("fill_value") is not None:
        fill_from_json(dtype, document["fill_value"])
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunk_shape)}}
    return {**document, "chunk_grid": grid, "codecs": [_codec(dtype)]}


def _said(value: object) -> str:
    named = _named(value)
    return repr(named[0]) if named is not None and not named[1] else json.dumps(value)
