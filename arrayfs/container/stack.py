"""The committed layers seen as one set of arrays: which entries speak for an array, and what they say together.

Where the crate reads wrongly (format chapter 7), this reads rightly: a tombstone, or an entry of another type, rank or
chunk shape, ends what lies below it; attribute pairs count in their own layer's dictionaries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from arrayfs.container.index import SpanEntry
from arrayfs.container.layer import Layer
from arrayfs.format.model import ArrayMeta, AttributeValue

Span = tuple[SpanEntry, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LayerStack:
    """The committed layers, oldest first; layers[0] is the base.

    Invariants
    - A layer never changes once it is in a stack; a commit makes a new stack.
    - spans[name]: the entries that speak for a visible array, oldest first, in order of (re)appearance of the names.
    - buried[name]: entries below a tombstone or a redefinition. They mean nothing, but the crate's readers still see
      chunks through to them, so a writer that defines the array again must cover them.
    """

    layers: tuple[Layer, ...]
    spans: dict[str, Span]
    buried: dict[str, Span]

    @staticmethod
    def of(layers: Iterable[Layer]) -> LayerStack:
        """Build from all layers at once."""
        return LayerStack((), {}, {}).push(*layers)

    def push(self, *layers: Layer) -> LayerStack:
        """The stack with more layers on top, oldest first."""
        spans, buried = dict(self.spans), dict(self.buried)
        grown: dict[str, list[SpanEntry]] = {}
        for layer in layers:
            _add(layer, spans, buried, grown)
        for name in list(grown):
            _settle(name, spans, grown)
        return LayerStack((*self.layers, *layers), spans, buried)

    def is_current(self) -> bool:
        """Whether all of its files are still the ones that their names stand for: nobody has exchanged any."""
        return all(layer.blob.is_current() for layer in self.layers)

    @property
    def newest(self) -> Layer:
        """The layer on top."""
        return self.layers[-1]


def _add(layer: Layer, spans: dict[str, Span], buried: dict[str, Span], grown: dict[str, list[SpanEntry]]) -> None:
    """grown: what follows on `spans`, kept apart: a span of ten thousand entries is not to be copied for each."""
    for position, meta in enumerate(layer.footer.arrays):
        name = meta.name
        if name in spans:
            newest = (grown.get(name) or spans[name])[-1]
            if meta.deleted or not _continues(meta, newest.meta):
                _settle(name, spans, grown)
                _bury(name, spans.pop(name), buried)
        if meta.deleted:
            continue
        if name in spans:
            grown.setdefault(name, []).append(SpanEntry(layer, position))
        else:
            spans[name] = (SpanEntry(layer, position),)


def _settle(name: str, spans: dict[str, Span], grown: dict[str, list[SpanEntry]]) -> None:
    """Put what follows on a span into it."""
    spans[name] = (*spans[name], *grown.pop(name, ()))


def _bury(name: str, below: Span, buried: dict[str, Span]) -> None:
    chunks = tuple(entry for entry in below if len(entry.meta.chunks))
    if chunks:
        buried[name] = (*buried.get(name, ()), *chunks)


def _continues(newer: ArrayMeta, older: ArrayMeta) -> bool:
    return (newer.dtype, len(newer.shape), newer.chunk_shape) == (older.dtype, len(older.shape), older.chunk_shape)


def attributes_of(span: Span) -> dict[str, AttributeValue]:
    """An array's attributes: the union over its layers, newest wins, down to the first layer that is complete.

    A layer with our extension block carries complete sets; the crate's copy pairs of lower layers as they are, so pairs
    out of range of their own layer's dictionaries were carried over and mean nothing there.
    """
    first = len(span) - 1
    while first > 0 and span[first].layer.extension is None:
        first -= 1
    out: dict[str, AttributeValue] = {}
    for entry in span[first:]:
        footer = entry.layer.footer
        for key, value in entry.meta.attribute_pairs.tolist():
            if key < len(footer.attr_keys) and value < len(footer.attr_values):
                out[footer.attr_keys[key]] = footer.attr_values[value]
    return out
