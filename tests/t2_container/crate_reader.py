"""Chunks and attributes as the Rust crate reads them (docs/FORMAT.md, "Layers"): simpler than arrayfs does.

It is wrong where a writer is careless; what arrayfs writes has to come out right here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from arrayfs.container.cache import BlockCache
from arrayfs.container.grid import Coord
from arrayfs.container.layer import Layer
from arrayfs.container.stack import LayerStack
from arrayfs.format.dtypes import element_size
from arrayfs.format.model import ArrayMeta, AttributeValue


class CrateReader:
    """The crate's view of a stack."""

    def __init__(self, stack: LayerStack) -> None:
        self._layers = stack.layers
        self._cache = BlockCache(1 << 20)

    def visible(self) -> dict[str, ArrayMeta]:
        """From oldest to newest layer, an entry sets, a deleted entry removes."""
        found: dict[str, ArrayMeta] = {}
        for layer in self._layers:
            for meta in layer.footer.arrays:
                if meta.deleted:
                    found.pop(meta.name, None)
                else:
                    found[meta.name] = meta
        return found

    def panics(self, meta: ArrayMeta) -> bool:
        """Whether an older array of the name has fewer dimensions: the crate cannot read it, whatever a writer does."""
        return any(len(entry.shape) < len(meta.shape) for _, entry in self._entries(meta.name))

    def chunk(self, meta: ArrayMeta, coord: Coord) -> bytes | None:
        """The newest layer that has the coordinate, past deleted entries; None: the fill value."""
        for layer, entry in self._entries(meta.name):
            rows = [row for row, found in enumerate(entry.chunks.coords.tolist()) if tuple(found) == coord]
            if rows:
                return self._read(layer, entry, rows[0])
        return None

    def attributes(self, meta: ArrayMeta) -> dict[str, AttributeValue]:
        """As releases before 0.14 look them up: a key's number in the newest layer that knows the key, the number
        of its value in the newest entry, the value in the newest layer that has so many.
        """
        numbers: dict[str, int] = {}
        for layer in self._layers:
            numbers.update({key: number for number, key in reversed(list(enumerate(layer.footer.attr_keys)))})
        pairs = dict(meta.attribute_pairs.tolist())
        return {key: self._value(pairs[number]) for key, number in numbers.items() if number in pairs}

    def _value(self, number: int) -> AttributeValue:
        values = (layer.footer.attr_values for layer in reversed(self._layers))
        return next(one[number] for one in values if number < len(one))

    def fits(self, meta: ArrayMeta, content: bytes, extent: tuple[int, ...]) -> bool:
        """Whether the crate takes these bytes for a chunk of this extent."""
        size = element_size(meta.dtype)
        return size is None or len(content) == size * math.prod(extent)

    def _entries(self, name: str) -> Iterator[tuple[Layer, ArrayMeta]]:
        for layer in reversed(self._layers):
            for meta in reversed(layer.footer.arrays):
                if meta.name == name and not meta.deleted:
                    yield layer, meta

    def _read(self, layer: Layer, meta: ArrayMeta, row: int) -> bytes:
        chunks = meta.chunks
        block = layer.read_block(layer.block_row(int(chunks.block_ids[row])), self._cache)
        offset = int(chunks.offsets[row])
        return bytes(block[offset : offset + int(chunks.sizes[row])])
