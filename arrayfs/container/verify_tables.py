"""What a layer's index says, held against itself: addresses, chunk tables and grids, attributes, the extension block.

Columns only, never a step for each chunk: a layer has millions of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from itertools import pairwise

import numpy as np

from arrayfs.container.findings import Finding, listed, more, without
from arrayfs.container.grid import Grid
from arrayfs.container.index import build_index, is_hole
from arrayfs.container.layer import Layer
from arrayfs.container.opening import check_chain
from arrayfs.container.stack import Span
from arrayfs.errors import ArrayFSError, FormatError
from arrayfs.format.dtypes import element_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.model import ArrayMeta


def check_layers(
    layers: list[Layer], damaged: Collection[int] = (), repeating: Collection[int] = ()
) -> Iterator[Finding]:
    """Whether each layer was made on top of the one below it.

    damaged: numbers of layers that could not be opened; repeating: of those that are there and do not count.
    """
    for below, layer in pairwise(layers):
        if any(below.number < number < layer.number for number in damaged):
            continue  # was found already; what lies below it is not this one's parent
        try:
            check_chain([below, layer])
        except FormatError as error:
            yield Finding("error", layer.name, "", without(layer.name, error))
            continue
        if any(number not in repeating for number in range(below.number + 1, layer.number)):
            # the format allows it; the crate's next flush would put a layer into the gap, below this one
            yield Finding("warning", layer.name, "", f"the sidecars between {below.name} and this one are not there")
        if layer.extension is None or below.extension is None:
            continue
        if layer.extension.container_id != below.extension.container_id:
            yield Finding("warning", layer.name, "extension block", f"names another container than {below.name}")
        if layer.extension.version <= below.extension.version:
            text = f"version {layer.extension.version} above version {below.extension.version}"
            yield Finding("warning", layer.name, "extension block", text)


def check_extension(layer: Layer) -> Iterator[Finding]:
    """What the extension block says about blocks and arrays that the footer does not have."""
    ext, footer = layer.extension, layer.footer
    if ext is None:
        return
    place = "extension block"
    if len(ext.block_crcs) != len(footer.blocks):
        text = f"{len(ext.block_crcs)} checksums for {len(footer.blocks)} blocks: none is verified"
        yield Finding("error", layer.name, place, text)
    arrays = len(footer.arrays)
    beyond = [n for n in (*ext.renamed_from, *ext.chunk_mtimes, *ext.array_marks) if n >= arrays]
    if beyond:
        yield Finding("warning", layer.name, place, f"tells of array {max(beyond)}, but there are {arrays}")
    for number, times in ext.chunk_mtimes.items():
        if number < arrays and len(times) != len(footer.arrays[number].chunks):
            text = f"{len(times)} times for {len(footer.arrays[number].chunks)} chunks: they are not used"
            yield Finding("warning", layer.name, f"array {footer.arrays[number].name!r}", text)
    yield from _check_holes(layer, ext)


def _check_holes(layer: Layer, ext: Extension) -> Iterator[Finding]:
    rows = layer.block_rows(ext.holes[:, 0])
    sizes = np.append(layer.footer.blocks.uncompressed_sizes, np.uint64(0))[rows]
    outside = (rows < 0) | (ext.holes[:, 1].astype(np.uint64) + ext.holes[:, 2] > sizes)
    for number in listed(outside):
        block, offset, size = ext.holes[number].tolist()
        text = f"bytes {offset} to {offset + size} of block {block} are not there"
        yield Finding("warning", layer.name, f"hole {number}", text)


def check_entries(layer: Layer, meta: ArrayMeta) -> Iterator[Finding]:
    """Addresses, coordinates and sizes of one array's chunks in one layer, and its attributes."""
    place = f"array {meta.name!r}"
    try:
        grid = Grid(meta.shape, meta.chunk_shape)
    except ArrayFSError as error:
        yield Finding("error", layer.name, place, str(error))
        return
    yield from _check_attributes(layer, meta)
    chunks, footer = meta.chunks, layer.footer
    if not len(chunks):
        return
    rows = layer.block_rows(chunks.block_ids)
    sizes = np.append(footer.blocks.uncompressed_sizes, np.uint64(0))[rows]
    ends = chunks.offsets.astype(np.uint64) + chunks.sizes
    for number in listed(rows < 0):
        text = f"lies in block {chunks.block_ids[number]}, which is not there"
        yield Finding("error", layer.name, _chunk(meta, number), text)
    yield from more("error", layer.name, place, rows < 0)
    outside = (rows >= 0) & (ends > sizes)
    for number in listed(outside):
        text = f"bytes {chunks.offsets[number]} to {ends[number]} of a block of {sizes[number]}"
        yield Finding("error", layer.name, _chunk(meta, number), text)
    yield from more("error", layer.name, place, outside)
    yield from _check_grid(layer, meta, grid)


def _check_attributes(layer: Layer, meta: ArrayMeta) -> Iterator[Finding]:
    pairs, footer = meta.attribute_pairs, layer.footer
    beyond = int(((pairs[:, 0] >= len(footer.attr_keys)) | (pairs[:, 1] >= len(footer.attr_values))).sum())
    if beyond:
        # the crate carries pairs of the layer below up as they are; arrayfs writes complete sets
        severity = "warning" if layer.extension is None else "error"
        text = f"{beyond} attribute pairs are out of range of this layer's dictionaries"
        yield Finding(severity, layer.name, f"array {meta.name!r}", text)


def _check_grid(layer: Layer, meta: ArrayMeta, grid: Grid) -> Iterator[Finding]:
    """Coordinates that the grid does not have; sizes that are not those of their extents."""
    chunks, holes = meta.chunks, is_hole(layer, meta.chunks)
    inside = (chunks.coords < np.array(grid.counts, np.int64)).all(axis=1)
    for number in listed(~inside & ~holes):
        text = f"lies outside the grid of {grid.counts} chunks; nobody reads it"
        yield Finding("warning", layer.name, _chunk(meta, number), text)
    unit = element_size(meta.dtype)
    if unit is None:
        return
    wrong = inside & (grid.elements(chunks.coords) * unit != chunks.sizes)
    # a hole's bytes are for the crate; arrayfs never looks at them
    for severity, mask in (("error", wrong & ~holes), ("warning", wrong & holes)):
        for number in listed(mask):
            coord = tuple(chunks.coords[number].tolist())
            yield Finding(severity, layer.name, _chunk(meta, number), _misfit(meta, grid, coord, chunks.sizes[number]))
        yield from more(severity, layer.name, f"array {meta.name!r}", mask)


def check_visible(name: str, span: Span) -> Iterator[Finding]:
    """Chunks of fixed size whose extent is another in the newest layer's grid than in their own: cut wrongly by growth.

    What does not fit its own layer's grid either was found there.
    """
    newest = span[-1].meta
    unit = element_size(newest.dtype)
    try:
        index = build_index(span)
        grids = [Grid(entry.meta.shape, entry.meta.chunk_shape) for entry in span]
    except ArrayFSError as error:
        yield Finding("error", span[-1].layer.name, f"array {name!r}", str(error))
        return
    if unit is None or all(grid == index.grid for grid in grids):
        return
    coords = index.grid.coords(index.keys)
    sizes, want = index.stored_sizes(0, len(index)), index.grid.elements(coords) * unit
    for number, (entry, grid) in enumerate(zip(span, grids, strict=True)):
        wrong = (index.entries == number) & (want != sizes) & (grid.elements(coords) * unit == sizes)
        for place in listed(wrong):
            coord = tuple(coords[place].tolist())
            text = _misfit(newest, index.grid, coord, sizes[place])
            yield Finding("error", entry.layer.name, f"array {name!r}: chunk {coord}", text)
        yield from more("error", entry.layer.name, f"array {name!r}", wrong)


def _misfit(meta: ArrayMeta, grid: Grid, coord: tuple[int, ...], size: int) -> str:
    extent = grid.extent(coord)
    needed = int(grid.elements(np.array([coord], np.uint32).reshape(1, -1))[0]) * (element_size(meta.dtype) or 0)
    return f"{size} bytes, but its extent {extent} of {meta.dtype.name} needs {needed}"


def _chunk(meta: ArrayMeta, number: int) -> str:
    return f"array {meta.name!r}: chunk {tuple(meta.chunks.coords[number].tolist())}"
