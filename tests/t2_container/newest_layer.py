"""What the newest layer of a container says, for the tests of commits."""

from __future__ import annotations

import numpy as np

from arrayfs.container.container import Container
from arrayfs.container.index import is_hole
from arrayfs.format.model import ArrayMeta, Footer


def newest(container: Container) -> Footer:
    return container.stack.newest.footer


def entry(container: Container, name: str = "a") -> ArrayMeta:
    """The newest layer's word on an array."""
    return next(meta for meta in newest(container).arrays if meta.name == name and not meta.deleted)


def holes(container: Container, name: str = "a") -> dict[tuple[int, ...], bytes]:
    """Coordinates that the newest layer points at holes, and what these hold."""
    layer, chunks = container.stack.newest, entry(container, name).chunks
    found = {}
    for row in np.flatnonzero(is_hole(layer, chunks)):
        block = layer.read_block(layer.block_row(int(chunks.block_ids[row])), container.cache)
        start = int(chunks.offsets[row])
        found[tuple(chunks.coords[row].tolist())] = bytes(block[start : start + int(chunks.sizes[row])])
    return found
