"""Every way a container can be broken, as a list of findings: nothing here raises for damage, and nothing is changed.

Layers are looked at one by one, so that one damaged file does not hide what is wrong with the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.grid import Grid
from arrayfs.container.index import build_index, is_hole
from arrayfs.container.layer import Layer, extension_row, open_layer
from arrayfs.container.opening import check_chain, sidecars
from arrayfs.container.stack import LayerStack, Span
from arrayfs.errors import ArrayFSError, FormatError
from arrayfs.format.chunkdata import check_size, split_elements, stored_size
from arrayfs.format.dtypes import element_size
from arrayfs.format.model import ArrayMeta
from arrayfs.format.naming import ContainerNames
from arrayfs.format.stats import decode_stats
from arrayfs.store import open_store
from arrayfs.store.protocol import Store

# Findings of one kind in one array are listed up to this many, then counted.
LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. severity: "error" (content cannot be had, or may be wrong) or "warning"."""

    severity: str
    file: str
    place: str
    text: str

    def __str__(self) -> str:
        return (
            f"{self.severity}: {self.file}: {self.place}: {self.text}"
            if self.place
            else f"{self.severity}: {self.file}: {self.text}"
        )


def verify(url: str) -> Iterator[Finding]:
    """Check a container completely: structure, addresses, checksums, every block unpacked.

    Raises MissingObjectError if there is no such container.
    """
    store, base = open_store(url)
    names = ContainerNames.from_base(base)
    layers: list[Layer] = []
    try:
        for number, name in [(0, names.base), *sidecars(store, names)]:
            try:
                layers.append(open_layer(number, store.open(name)))
            except FormatError as error:
                yield Finding("error", name, "", _without(name, error))
        for layer in layers:
            yield from _verify_layer(layer)
        yield from _verify_chain(layers)
        yield from _verify_arrays(LayerStack.of(layers))
    finally:
        for layer in layers:
            layer.close()
    yield from _verify_stats(store, names)


def _without(name: str, error: Exception) -> str:
    return str(error).removeprefix(f"{name}: ")


def _verify_chain(layers: list[Layer]) -> Iterator[Finding]:
    for below, layer in pairwise(layers):
        try:
            check_chain([below, layer])
        except FormatError as error:
            yield Finding("error", layer.name, "", _without(layer.name, error))


def _verify_layer(layer: Layer) -> Iterator[Finding]:
    """Blocks: where they lie, their checksums, and whether they unpack."""
    ids = layer.footer.blocks.ids
    twice = len(ids) - len(np.unique(ids))
    if twice:
        yield Finding("warning", layer.name, "blocks", f"{twice} block ids stand twice; the first counts")
    used = _used_blocks(layer)
    ours = extension_row(layer.footer)
    for row in range(len(ids)):
        if row == ours:
            continue
        try:
            layer.unpack_block(row)
        except (ArrayFSError, OSError) as error:
            # a block that no chunk points at is ignored by all readers
            severity = "error" if row in used else "warning"
            yield Finding(
                severity,
                layer.name,
                f"block {ids[row]}",
                _without(layer.name, error).removeprefix(f"block {ids[row]}: "),
            )


def _used_blocks(layer: Layer) -> set[int]:
    used: set[int] = set()
    for meta in layer.footer.arrays:
        used.update(np.unique(layer.block_rows(meta.chunks.block_ids)).tolist())
    return used


def _verify_arrays(stack: LayerStack) -> Iterator[Finding]:
    for layer in stack.layers:
        for meta in layer.footer.arrays:
            yield from _verify_entries(layer, meta)
    for name, span in stack.spans.items():
        yield from _verify_array(name, span)


def _verify_entries(layer: Layer, meta: ArrayMeta) -> Iterator[Finding]:
    """Addresses and sizes of one array's chunks in one layer."""
    place = f"array {meta.name!r}"
    try:
        grid = Grid(meta.shape, meta.chunk_shape)
    except ArrayFSError as error:
        yield Finding("error", layer.name, place, str(error))
        return
    pairs = meta.attribute_pairs
    footer = layer.footer
    if len(pairs):
        beyond = int(((pairs[:, 0] >= len(footer.attr_keys)) | (pairs[:, 1] >= len(footer.attr_values))).sum())
        if beyond:
            yield Finding(
                "warning", layer.name, place, f"{beyond} attribute pairs are out of range of this layer's dictionaries"
            )
    chunks = meta.chunks
    if not len(chunks):
        return
    rows = layer.block_rows(chunks.block_ids)
    sizes = np.append(footer.blocks.uncompressed_sizes, np.uint64(0))[rows]
    ends = chunks.offsets.astype(np.uint64) + chunks.sizes
    for number in _first(rows < 0):
        yield Finding(
            "error", layer.name, _chunk(meta, number), f"lies in block {chunks.block_ids[number]}, which is not there"
        )
    for number in _first((rows >= 0) & (ends > sizes)):
        text = f"bytes {chunks.offsets[number]} to {ends[number]} of a block of {sizes[number]}"
        yield Finding("error", layer.name, _chunk(meta, number), text)
    if element_size(meta.dtype) is not None:
        yield from _verify_sizes(layer, meta, grid)


def _verify_sizes(layer: Layer, meta: ArrayMeta, grid: Grid) -> Iterator[Finding]:
    chunks = meta.chunks
    extents = np.ones(len(chunks), np.int64)
    inside = np.ones(len(chunks), np.bool_)
    for axis, (length, chunk) in enumerate(zip(grid.shape, grid.chunk_shape, strict=True)):
        first = chunks.coords[:, axis].astype(np.int64) * chunk
        inside &= first < length
        extents *= np.clip(length - first, 0, chunk)
    want = extents * (element_size(meta.dtype) or 1)
    for number in _first(inside & ~is_hole(layer, chunks) & (want != chunks.sizes)):
        extent = grid.extent(tuple(chunks.coords[number].tolist()))
        needed = stored_size(meta.dtype, extent)
        text = f"{chunks.sizes[number]} bytes, but its extent {extent} of {meta.dtype.name} needs {needed}"
        yield Finding("error", layer.name, _chunk(meta, number), text)


def _verify_array(name: str, span: Span) -> Iterator[Finding]:
    """Chunks of elements of varying size, as all layers together show them: offsets and bytes."""
    meta = span[-1].meta
    if element_size(meta.dtype) is not None:
        return
    cache = BlockCache(64 << 20)
    try:
        index = build_index(span)
    except ArrayFSError as error:
        yield Finding("error", span[-1].layer.name, f"array {name!r}", str(error))
        return
    for place in range(len(index)):
        coord = index.grid.coord(int(index.keys[place]))
        extent = index.grid.extent(coord)
        count = int(np.prod(extent, dtype=np.int64))
        try:
            ref = index.ref(place)
            block = ref.layer.read_block(ref.row, cache)
            data = block[ref.offset : ref.offset + ref.size]
            check_size(meta.dtype, extent, len(data))
            split_elements(meta.dtype, data, count)
        except (ArrayFSError, OSError) as error:
            yield Finding(
                "error", index.span[int(index.entries[place])].layer.name, f"array {name!r}: chunk {coord}", str(error)
            )


def _first(mask: NDArray[np.bool_]) -> list[int]:
    return [int(number) for number in np.flatnonzero(mask)[:LISTED]]


def _chunk(meta: ArrayMeta, number: int) -> str:
    return f"array {meta.name!r}: chunk {tuple(meta.chunks.coords[number].tolist())}"


def _verify_stats(store: Store, names: ContainerNames) -> Iterator[Finding]:
    if names.stats not in store.list():
        return
    blob = store.open(names.stats)
    try:
        decode_stats(blob.read(0, blob.size))
    except FormatError as error:
        # the crate from 0.12 on refuses to open a container with such a file; arrayfs does not need it
        yield Finding(
            "warning", names.stats, "", f"unreadable, newer releases of the crate refuse the container: {error}"
        )
    finally:
        blob.close()
