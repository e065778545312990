"""Where other readers of the format, the releases of the Rust crate, see a container otherwise than it is meant.

Each rule repeats what the crate does (docs/FORMAT.md, "Layers") and compares. Nothing here is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from arrayfs.container.container import Container
from arrayfs.container.grid import Grid
from arrayfs.container.layer import Layer
from arrayfs.container.opening import sidecars
from arrayfs.container.stack import LayerStack, Span
from arrayfs.errors import FormatError, LimitError
from arrayfs.format.codecs import is_known
from arrayfs.format.extension import EXTENSION_CODEC
from arrayfs.format.model import ArrayMeta, AttributeValue
from arrayfs.format.naming import sidecar_of_other
from arrayfs.format.stats import decode_stats

# Which releases of the crate read a footer version: those that look attributes up through all layers, and those that
# take the newest layer of the array alone.
READERS = {4: ("0.9 and 0.10", ""), 5: ("0.11 to 0.13", "0.14")}
CODECS = (None, "lz4", "zstd", EXTENSION_CODEC)
Attributes = dict[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class Difference:
    """subject: the file or array that it is about; kind: a word for programs."""

    kind: str
    subject: str
    text: str


def differences(container: Container) -> Iterator[Difference]:
    """Everything that is known to look different elsewhere."""
    yield from _names(container)
    yield from _statistics(container)
    yield from _codecs(container.stack)
    for name in container.stack.spans:
        yield from _fill(container, name)
        yield from _redefined(container.stack, name)
    yield from _attributes(container)


def _names(container: Container) -> Iterator[Difference]:
    base = container.names.base
    other = sidecar_of_other(base)
    if other is not None:
        yield Difference(
            "name", base, f"by its name it is sidecar {other[1]} of {other[0]}.af, too, if that is ever made"
        )
    numbers = [number for number, _ in sidecars(container.store, container.names)]
    if len(set(numbers)) < len(numbers):
        yield Difference("numbers", base, "two sidecars have the same number; both are read")
    elif numbers and numbers != list(range(1, len(numbers) + 1)):
        yield Difference("numbers", base, "the sidecars' numbers have gaps: a flush of the crate would overwrite one")


def _statistics(container: Container) -> Iterator[Difference]:
    name = container.names.stats
    if container.stack.newest.footer.version < 5 or name not in container.store.list():
        return
    blob = container.store.open(name)
    try:
        readable = decode_stats(blob.read(0, blob.size)).version is not None
    except FormatError:
        readable = False
    finally:
        blob.close()
    if not readable:
        yield Difference(
            "statistics", name, "the crate from 0.12 on refuses to open the container until this file is removed"
        )


def _codecs(stack: LayerStack) -> Iterator[Difference]:
    for layer in stack.layers:
        for codec in layer.footer.blocks.codec_names:
            if codec not in CODECS:
                here = "but here: an installed package adds it" if is_known(codec) else "nor here"
                yield Difference("codec", layer.name, f"blocks of codec {codec!r} are not read by the crate, {here}")


def _fill(container: Container, name: str) -> Iterator[Difference]:
    spec = container.get(name).spec
    fill = spec.fill_value
    if spec.dtype.name == "String" and fill is not None and fill.kind == "String" and fill.payload:
        said = fill.payload.decode()
        said = said if len(said) <= 40 else f"{said[:40]}…"
        yield Difference(
            "string fill", name, f"its fill value {said!r} is stored by the crate and never returned: it reads ''"
        )


def _redefined(stack: LayerStack, name: str) -> Iterator[Difference]:
    """Chunks of an array that was here before: the crate's readers see through to them."""
    meta = stack.spans[name][-1].meta
    buried = stack.buried.get(name, ())
    if any(len(entry.meta.shape) < len(meta.shape) for entry in buried):
        text = "an array of fewer dimensions had this name: the crate panics when it reads this one, until a compaction"
        yield Difference("rank", name, text)
        return
    count = _shown_through(meta, stack.spans[name], buried)
    if count:
        text = f"the crate shows chunks of an array that had this name before, in {count} places where this has none"
        yield Difference("redefined", name, text)


def _shown_through(meta: ArrayMeta, span: Span, buried: Span) -> int:
    try:
        grid = Grid(meta.shape, meta.chunk_shape)
    except (FormatError, LimitError):
        return 0
    below = [_keys(grid, entry.meta) for entry in buried if len(entry.meta.shape) == len(meta.shape)]
    if not below:
        return 0
    named = np.concatenate([_keys(grid, entry.meta) for entry in span])
    return len(np.setdiff1d(np.concatenate(below), named))


def _keys(grid: Grid, meta: ArrayMeta) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    coords = meta.chunks.coords
    inside = np.ones(len(coords), np.bool_)
    for axis, count in enumerate(grid.counts):
        inside &= coords[:, axis] < count
    return np.asarray(grid.keys(coords[inside]))


# --- attributes -------------------------------------------------------------------------------------------------------


def _attributes(container: Container) -> Iterator[Difference]:
    stack = container.stack
    old, new = READERS.get(stack.newest.footer.version, ("", ""))
    for kind, releases, seen, text in (
        ("attributes", old, _seen_through_all_layers(stack.layers), "come out wrong in"),
        ("attributes", new, _seen_in_newest, "come out wrong in"),
        ("compaction", old, _left_by_compaction(stack.layers), "come out wrong after a compaction with"),
    ):
        wrong = [name for name, span in stack.spans.items() if seen(span) != container.get(name).attributes]
        if releases and wrong:
            some = ", ".join(map(repr, wrong[:5])) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            yield Difference(kind, container.names.base, f"attributes of {some} {text} the crate {releases}")


def _seen_through_all_layers(layers: tuple[Layer, ...]) -> Callable[[Span], Attributes]:
    """How releases up to 0.13 read: a key's index from the newest layer that knows the key, the value's index from the
    array's newest entry, the value from the newest layer whose dictionary is long enough.
    """
    key_index: dict[str, int] = {}
    for layer in layers:
        first = {key: place for place, key in reversed(list(enumerate(layer.footer.attr_keys)))}
        key_index.update(first)
    newest_first = [layer.footer.attr_values for layer in reversed(layers)]

    def seen(span: Span) -> Attributes:
        pairs = dict(span[-1].meta.attribute_pairs.tolist())
        places = ((key, pairs[place]) for key, place in key_index.items() if place in pairs)
        found = ((key, next((values[at] for values in newest_first if at < len(values)), None)) for key, at in places)
        return {key: value for key, value in found if value is not None}

    return seen


def _left_by_compaction(layers: tuple[Layer, ...]) -> Callable[[Span], Attributes]:
    """What a compaction with a release up to 0.13 makes of them: the pairs of the array's newest entry as they are, in
    dictionaries that have each key and value of all layers once, the oldest layer's first.
    """
    keys = tuple(dict.fromkeys(key for layer in layers for key in layer.footer.attr_keys))
    values = tuple(dict.fromkeys(value for layer in layers for value in layer.footer.attr_values))

    def seen(span: Span) -> Attributes:
        return _meant(span[-1].meta, keys, values)

    return seen


def _seen_in_newest(span: Span) -> Attributes:
    """How 0.14 reads: the pairs of the array's newest entry, in the dictionaries of that layer."""
    footer = span[-1].layer.footer
    return _meant(span[-1].meta, footer.attr_keys, footer.attr_values)


def _meant(meta: ArrayMeta, keys: tuple[str, ...], values: tuple[AttributeValue, ...]) -> Attributes:
    pairs = meta.attribute_pairs.tolist()
    return {keys[key]: values[value] for key, value in pairs if key < len(keys) and value < len(values)}
