"""What changed in the arrays from one version to another: found by the layers between them, by addresses and checksums.

Only arrays that a layer of one version and not of the other names are looked at. Two chunks at one address are equal,
and so are two whose blocks have equal checksums and sizes; all others are read and compared, unless `quick`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.index import ALL, Chosen, ChunkIndex
from arrayfs.container.stack import LayerStack
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import Extent, recut
from arrayfs.format.model import AttributeValue

Coords = NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkChanges:
    """Coordinates of chunks that came, went, or have another content, each (n, rank), in C order."""

    added: Coords
    removed: Coords
    changed: Coords

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """Names of attributes that came, went, or have another value."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.added) + len(self.removed) + len(self.changed)


@dataclass(frozen=True, slots=True, eq=False)
class ArrayChange:
    """One array that is not what it was. before, after: None where the version does not have it.

    chunks: None where the two have no grid in common (one of them is missing, or it was defined anew with another
    element type, rank or chunk shape).
    """

    name: str
    before: Array | None
    after: Array | None
    chunks: ChunkChanges | None
    attributes: AttributeChanges

    @property
    def kind(self) -> str:
        """In one word: "added", "removed", "renamed", "redefined" or "changed"."""
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        if self.before.name != self.after.name:
            return "renamed"
        return "redefined" if self.chunks is None else "changed"


def changes(older: Container, newer: Container, *, quick: bool = False) -> Iterator[ArrayChange]:
    """All that is different in `newer`. Both must share their layers (`Container.at`).

    quick: read no chunks; one that was written and later written back counts as changed.
    """
    renamed = renamed_since(older.stack, newer.stack)
    gone = set(renamed.values())
    for name in changed_names(older.stack, newer.stack):
        if name in gone:
            continue
        source = renamed.get(name, name)
        before = older.get(source) if source in older else None
        after = newer.get(name) if name in newer else None
        change = compare(name, before, after, older, quick=quick)
        if change is not None:
            yield change


def changed_names(older: LayerStack, newer: LayerStack) -> list[str]:
    """Arrays for which not the same entries speak, in the order in which layers name them. Cost: what was changed."""
    common = _common(older, newer)
    names: dict[str, None] = {}
    for layer in (*older.layers[common:], *newer.layers[common:]):
        names.update(dict.fromkeys(meta.name for meta in layer.footer.arrays))
    return [name for name in names if older.spans.get(name) != newer.spans.get(name)]


def renamed_since(older: LayerStack, newer: LayerStack) -> dict[str, str]:
    """New name -> old name of arrays that only have another name, where one version was made on top of the other."""
    common = _common(older, newer)
    names: dict[str, str] = {}
    if common < len(older.layers):
        return names
    for layer in newer.layers[common:]:
        if layer.extension is None:
            continue
        above = {
            layer.footer.arrays[place].name: names.get(old, old)
            for place, old in layer.extension.renamed_from.items()
            if place < len(layer.footer.arrays)
        }
        names.update(above)
    return {
        new: old
        for new, old in names.items()
        if old in older.spans and old not in newer.spans and new in newer.spans and new not in older.spans
    }


def _common(one: LayerStack, other: LayerStack) -> int:
    """How many layers two stacks have in common, from the base on."""
    for place, (mine, yours) in enumerate(zip(one.layers, other.layers, strict=False)):
        if mine is not yours:
            return place
    return min(len(one.layers), len(other.layers))


def compare(
    name: str, before: Array | None, after: Array | None, container: Container, *, quick: bool = False
) -> ArrayChange | None:
    """What is different in one array; None if nothing is."""
    attributes = _attributes({} if before is None else before.attributes, {} if after is None else after.attributes)
    if before is None or after is None:
        return None if before is after else ArrayChange(name, before, after, None, attributes)
    if not after.spec.continues(before.spec):
        return ArrayChange(name, before, after, None, attributes)
    chunks = chunk_changes(before, after, container, quick=quick)
    same = before.spec == after.spec and before.name == after.name and not len(chunks) and not len(attributes)
    return None if same else ArrayChange(name, before, after, chunks, attributes)


def chunk_changes(before: Array, after: Array, container: Container, *, quick: bool) -> ChunkChanges:
    """The chunks that are different in two arrays of one element type, rank and chunk shape."""
    shape = tuple(map(max, before.spec.shape, after.spec.shape))
    grid = Grid(shape, after.spec.chunk_shape)
    old, new = grid.keys(before.coords()), grid.keys(after.coords())
    both, old_places, new_places = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    moved = (addresses(before.index)[old_places] != addresses(after.index)[new_places]).any(axis=1)
    doubtful = np.flatnonzero(moved)
    doubtful = doubtful[~_same_blocks(before.index, old_places[doubtful], after.index, new_places[doubtful])]
    if not quick:
        equal = [same_content(before, after, tuple(coord), container) for coord in grid.coords(both[doubtful]).tolist()]
        doubtful = doubtful[~np.array(equal, np.bool_)]
    return ChunkChanges(
        grid.coords(np.setdiff1d(new, old, assume_unique=True)),
        grid.coords(np.setdiff1d(old, new, assume_unique=True)),
        grid.coords(both[doubtful]),
    )


def addresses(index: ChunkIndex, places: Chosen = ALL) -> NDArray[np.int64]:
    """Of committed chunks: layer (its serial), place of the block (-1: none), offset and size in it; (n, 4)."""
    all_rows = index.rows[places]
    out = np.empty((len(all_rows), 4), np.int64)
    for entry, chosen in index.by_entry(places):
        rows, chunks = all_rows[chosen], entry.meta.chunks
        out[chosen, 0] = entry.layer.serial
        out[chosen, 1] = entry.layer.block_rows(chunks.block_ids[rows])
        out[chosen, 2], out[chosen, 3] = chunks.offsets[rows], chunks.sizes[rows]
    return out


def _same_blocks(
    old: ChunkIndex, old_places: NDArray[np.intp], new: ChunkIndex, new_places: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Which pairs of chunks lie in the same place of blocks whose checksums say that they are copies."""
    mine, yours = _fingerprints(old, old_places), _fingerprints(new, new_places)
    same: NDArray[np.bool_] = (mine == yours).all(axis=1) & (mine[:, 0] >= 0)
    return same


def _fingerprints(index: ChunkIndex, places: NDArray[np.intp]) -> NDArray[np.int64]:
    """Checksum of the block (-1: not known), its stored and unpacked size, offset and size of the chunk; (n, 5)."""
    out = np.full((len(places), 5), -1, np.int64)
    rows = index.rows[places]
    for entry, chosen in index.by_entry(places):
        layer, chunks, mine = entry.layer, entry.meta.chunks, rows[chosen]
        blocks = layer.block_rows(chunks.block_ids[mine])
        known = np.maximum(blocks, 0)
        crcs = None if layer.extension is None else layer.extension.block_crcs
        if crcs is None or len(crcs) != len(layer.footer.blocks) or not len(crcs):
            continue
        out[chosen, 0] = np.where(blocks >= 0, crcs[known].astype(np.int64), -1)
        out[chosen, 1] = layer.footer.blocks.compressed_sizes[known].astype(np.int64)
        out[chosen, 2] = layer.footer.blocks.uncompressed_sizes[known].astype(np.int64)
        out[chosen, 3], out[chosen, 4] = chunks.offsets[mine], chunks.sizes[mine]
    return out


def same_content(before: Array, after: Array, coord: Coord, container: Container) -> bool:
    """Whether a chunk has the same elements in both; one that cannot be read is another."""
    try:
        old, new = before.read(coord, container.cache), after.read(coord, container.cache)
        if old is None or new is None:
            return old is new
        was, now = before.grid.extent(coord), after.grid.extent(coord)
        if was == now:
            return old == new
        # where the edge moved: what one of them does not reach is fill in both
        common: Extent = tuple(map(max, was, now))
        dtype, fill = after.spec.dtype, after.spec.fill_value
        return bytes(recut(dtype, fill, old, was, common)) == bytes(recut(dtype, fill, new, now, common))
    except FormatError:
        return False


def _attributes(old: dict[str, AttributeValue], new: dict[str, AttributeValue]) -> AttributeChanges:
    return AttributeChanges(
        tuple(key for key in new if key not in old),
        tuple(key for key in old if key not in new),
        tuple(key for key in new if key in old and new[key] != old[key]),
    )
