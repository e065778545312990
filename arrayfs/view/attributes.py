"""Attributes as JSON <-> attributes as the format types them, and which of two is right.

JSON knows more (null, objects, mixed lists) and less (widths, bytes) than the format. What JSON alone can say stays in
the document as the client wrote it; what both can say is kept in both, and the container's word wins where they differ.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping

import numpy as np

from arrayfs.format.attributes import attribute_to_python
from arrayfs.format.model import AttributeValue
from arrayfs.view.fills import shortest_float
from arrayfs.view.metadata import same_json

_NO_ATTRIBUTES: Mapping[str, AttributeValue] = {}
_INT64 = range(-(1 << 63), 1 << 63)
_UINT64 = range(1 << 64)


def typed_from_json(
    attributes: Mapping[str, object], footer_version: int, current: Mapping[str, AttributeValue] = _NO_ATTRIBUTES
) -> dict[str, AttributeValue]:
    """Those attributes that the format has a type for in this footer version, in order.

    Left out: null, objects, empty and mixed lists, integers beyond 64 bits, text without a UTF-8 form; lists before
    version 5. current: what the container has; a value that JSON shows the same keeps its type (Int32, Binary, …).
    """
    typed = {}
    for key, value in attributes.items():
        if not _is_text(key):
            continue
        old = current.get(key)
        found = old if old is not None and same_json(json_from_typed(old), value) else _typed(value, footer_version)
        if found is not None:
            typed[key] = found
    return typed


def json_from_typed(value: AttributeValue) -> object:
    """An attribute as a JSON value: Float32 by its shortest digits, bytes as base64 text, lists as lists."""
    shown = attribute_to_python(value)
    return [_json_element(element) for element in shown] if isinstance(shown, list) else _json_element(shown)


def json_attributes(attributes: Mapping[str, AttributeValue]) -> dict[str, object]:
    """All attributes of a container's array as JSON values."""
    return {key: json_from_typed(value) for key, value in attributes.items()}


def patch_json(
    attributes: Mapping[str, object],
    current: Mapping[str, AttributeValue],
    footer_version: int,
    reserved: Mapping[str, object],
    *,
    missing_are_gone: bool = True,
) -> dict[str, object]:
    """A document's attributes with the container's word: set what differs or is new there, drop what went there.

    What the format has no type for stays as the document has it, unless the container has that key.
    reserved: attributes that stand for something else than themselves, and what they have to be. missing_are_gone:
    whether what the container could have and does not have was removed there.
    """
    typed = typed_from_json(attributes, footer_version, current)
    kept = {
        key: value
        for key, value in attributes.items()
        if not missing_are_gone or key in reserved or key in current or key not in typed
    }
    for key, value in current.items():
        if typed.get(key) != value:
            kept[key] = json_from_typed(value)
    return {**kept, **reserved}


def _json_element(element: object) -> object:
    if isinstance(element, bytes):
        return base64.b64encode(element).decode()
    return shortest_float(element) if isinstance(element, np.float32) else element


def _typed(value: object, footer_version: int) -> AttributeValue | None:
    if isinstance(value, list):
        return _typed_list(value) if footer_version >= 5 and value else None
    if isinstance(value, bool):
        return AttributeValue("Bool", bytes((value,)))
    if isinstance(value, int):
        return _typed_ints("", [value])
    if isinstance(value, float):
        return AttributeValue("Float64", struct.pack("<d", value))
    if isinstance(value, str) and _is_text(value):
        return AttributeValue("String", value.encode())
    return None


def _typed_list(values: list[object]) -> AttributeValue | None:
    kinds = set(map(type, values))
    if kinds == {bool}:
        return AttributeValue("BoolList", bytes(values))  # type: ignore[arg-type]
    if kinds == {int}:
        return _typed_ints("List", values)  # type: ignore[arg-type]
    if kinds == {float}:
        return AttributeValue("Float64List", struct.pack(f"<{len(values)}d", *values))
    if kinds == {str} and all(_is_text(value) for value in values):  # type: ignore[arg-type]
        return AttributeValue("StringList", tuple(value.encode() for value in values))  # type: ignore[attr-defined]
    return None


def _typed_ints(suffix: str, values: list[int]) -> AttributeValue | None:
    low, high = min(values), max(values)
    if low in _INT64 and high in _INT64:
        return AttributeValue("Int64" + suffix, struct.pack(f"<{len(values)}q", *values))
    if low in _UINT64 and high in _UINT64:
        return AttributeValue("UInt64" + suffix, struct.pack(f"<{len(values)}Q", *values))
    return None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
