"""What changed between two versions, as lines for a person and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click
import numpy as np

from arrayfs.cli import text
from arrayfs.cli.arrays import dtype_text
from arrayfs.cli.layer_json import attribute_json, dtype_json, fill_json
from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.changes import ArrayChange
from arrayfs.container.container import Container
from arrayfs.container.value_changes import value_changes
from arrayfs.view import plain
from arrayfs.view.meaning import FILE, NATIVE, OPAQUE, meaning

# The sign that a line begins with.
_SIGNS = {"added": "+", "removed": "-", "renamed": ">", "redefined": "!", "changed": "~"}


class ChangeText:
    """Says what an `ArrayChange` is. values: compare the elements too; coords: name each chunk."""

    def __init__(self, container: Container, *, values: bool, coords: bool) -> None:
        self._container, self._values, self._coords = container, values, coords

    def echo(self, changes: list[ArrayChange]) -> None:
        """A line for each change; arrays first."""
        for change in sorted(changes, key=lambda change: meaning(change.name).kind not in (NATIVE, OPAQUE)):
            for line in self.lines(change):
                click.echo(line)

    def lines(self, change: ArrayChange) -> Iterator[str]:
        """The line of one change, and those of its chunks."""
        kind, path = meaning(change.name)
        words = "array" if kind in (NATIVE, OPAQUE) else kind
        sayings = "; ".join(self._file(change) if kind == FILE else self._array(change))
        yield f"{_SIGNS[change.kind]} {words} {path or '(root)'}{': ' if sayings else ''}{sayings}"
        if self._coords and change.chunks is not None and kind != FILE:
            chunks = change.chunks
            for sign, part in (("+", chunks.added), ("-", chunks.removed), ("~", chunks.changed)):
                for coord in part.tolist():
                    yield f"    {sign} {' '.join(map(str, coord)) or 'the only chunk'}"

    def json(self, change: ArrayChange) -> dict[str, Any]:
        """All that there is to say of one change."""
        kind, path = meaning(change.name)
        before, after, chunks = change.before, change.after, change.chunks
        out: dict[str, Any] = {
            "path": path,
            "kind": kind,
            "change": change.kind,
            "array": change.name,
            "renamed_from": before.name if change.kind == "renamed" and before is not None else None,
            "before": _spec_json(before),
            "after": _spec_json(after),
            "attributes": {
                "added": {key: _value(after, key) for key in change.attributes.added},
                "removed": {key: _value(before, key) for key in change.attributes.removed},
                "changed": {key: [_value(before, key), _value(after, key)] for key in change.attributes.changed},
            },
            "chunks": None,
        }
        if kind == FILE:
            out["bytes"] = [None if one is None else plain.read_attributes(one)[0] for one in (before, after)]
        if chunks is not None:
            parts = {"added": chunks.added, "removed": chunks.removed, "changed": chunks.changed}
            out["chunks"] = {name: part.tolist() if self._coords else len(part) for name, part in parts.items()}
        values = value_changes(change, self._container) if self._values and kind == NATIVE else None
        if values is not None:
            largest = values.largest if values.largest is None or np.isfinite(values.largest) else "Infinity"
            out["values"] = {"changed": values.elements, "largest": largest, "unreadable_chunks": values.unreadable}
        return out

    def _array(self, change: ArrayChange) -> Iterator[str]:
        before, after = change.before, change.after
        if before is None or after is None:
            yield _described(after or before)
            return
        if change.kind == "renamed":
            yield f"was {meaning(before.name).path}"
        if change.kind == "redefined":
            yield f"was {_described(before)}, is {_described(after)}"
        else:
            yield from _respecified(before.spec, after.spec)
        if change.chunks:
            yield _counted("chunk", change.chunks.added, change.chunks.removed, change.chunks.changed)
        attributes = change.attributes
        parts = (("+", attributes.added), ("-", attributes.removed), ("~", attributes.changed))
        if attributes:
            yield "attributes " + ", ".join(f"{sign}{key}" for sign, keys in parts for key in keys)
        yield from self._elements(change)

    def _elements(self, change: ArrayChange) -> Iterator[str]:
        values = value_changes(change, self._container) if self._values else None
        if values is None or meaning(change.name).kind != NATIVE:
            return
        largest = "" if values.largest is None else f", by at most {values.largest}"
        yield f"{text.count(values.elements, 'element')} changed{largest}"
        if values.unreadable:
            yield f"{text.count(values.unreadable, 'chunk')} cannot be read"

    def _file(self, change: ArrayChange) -> Iterator[str]:
        sizes = [text.size(plain.read_attributes(one)[0]) for one in (change.before, change.after) if one is not None]
        if change.kind == "renamed" and change.before is not None:
            yield f"was {meaning(change.before.name).path}"
        if change.kind == "changed" and not change.chunks and sizes[0] == sizes[-1]:
            yield "mode or time"
        else:
            yield " -> ".join(dict.fromkeys(sizes))


def _described(array: Array | None) -> str:
    if array is None:
        return ""
    kind = meaning(array.name).kind
    if kind not in (NATIVE, OPAQUE):
        return ""
    what = dtype_text(dtype_json(array.spec.dtype)) if kind == NATIVE else "chunks as a client encoded them, grid"
    return f"{what} {text.shape(array.spec.shape)}, {text.count(len(array.index), 'chunk')}"


def _respecified(before: ArraySpec, after: ArraySpec) -> Iterator[str]:
    if before.shape != after.shape:
        yield f"shape {text.shape(before.shape)} -> {text.shape(after.shape)}"
    if before.fill_value != after.fill_value:
        old, new = ((fill_json(spec.fill_value) or {"value": None})["value"] for spec in (before, after))
        yield f"fill value {old} -> {new}"
    if before.dimension_names != after.dimension_names:
        yield f"dimensions {', '.join(before.dimension_names)} -> {', '.join(after.dimension_names)}"


def _counted(thing: str, added: Any, removed: Any, changed: Any) -> str:
    parts = [(len(changed), "changed"), (len(added), "added"), (len(removed), "removed")]
    first, *others = [(count, word) for count, word in parts if count]
    return ", ".join([f"{text.count(first[0], thing)} {first[1]}", *(f"{count} {word}" for count, word in others)])


def _spec_json(array: Array | None) -> dict[str, Any] | None:
    if array is None:
        return None
    spec = array.spec
    return {
        "dtype": dtype_json(spec.dtype),
        "shape": list(spec.shape),
        "chunk_shape": list(spec.chunk_shape),
        "dimension_names": list(spec.dimension_names),
        "fill_value": fill_json(spec.fill_value),
        "chunks": len(array.index),
    }


def _value(array: Array | None, key: str) -> dict[str, Any] | None:
    return None if array is None else attribute_json(array.attributes[key])
