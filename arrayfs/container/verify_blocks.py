"""Every block read, its checksum compared, unpacked, and the chunks of varying size in it looked at; side by side.

Worker threads, as checksums and codecs release Python's lock. What is in flight is bounded in bytes; findings come in
the order of the blocks.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.findings import LISTED, Finding, without
from arrayfs.container.grid import Grid
from arrayfs.container.index import build_index
from arrayfs.container.layer import Layer, extension_row
from arrayfs.container.stack import LayerStack, Span
from arrayfs.container.verify_elements import broken_elements
from arrayfs.container.verify_figures import StatedFigures
from arrayfs.errors import ArrayFSError
from arrayfs.format.dtypes import element_size
from arrayfs.format.model import DType

Progress = Callable[[int, int], None]  # bytes done, bytes in all

# More than four threads gain nothing: reading and this module's own Python are one at a time.
WORKERS = min(4, (os.cpu_count() or 1) + 1)
IN_FLIGHT = 64 << 20  # bytes, stored and unpacked; a block larger than that is in flight alone
_HEAD = 8  # the two offsets of a chunk of one element
RUN = 1 << 20  # bytes of small blocks that one worker takes at a time


@dataclass(slots=True)
class _Chunks:
    """The visible chunks of varying size in one layer; columns in the order of their blocks.

    owners: name, element type and grid of the arrays that `owner` points to.
    """

    owners: list[tuple[str, DType, Grid]] = field(default_factory=list)
    parts: list[tuple[NDArray[np.int64], ...]] = field(default_factory=list)
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: tuple[NDArray[np.int64], ...] = ()

    def sort(self) -> None:
        """Make the columns from the parts."""
        joined = [np.concatenate(column) for column in zip(*self.parts, strict=True)]
        self.parts = []
        if joined:
            order = np.argsort(joined[0], kind="stable")
            self.rows, *rest = (column[order] for column in joined)
            self.columns = tuple(rest)

    def broken(self, row: int, block: bytes | memoryview) -> Iterator[tuple[str, str]]:
        """(array and chunk, what is wrong) of the chunks in one block."""
        low, high = np.searchsorted(self.rows, (row, row + 1)).tolist()
        if low == high:
            return
        owner, keys, offsets, sizes, counts = (column[low:high] for column in self.columns)
        for number in np.unique(owner).tolist():
            mine, dtype = owner == number, self.owners[number][1]
            for place, text in broken_elements(dtype, block, offsets[mine], sizes[mine], counts[mine]):
                yield self._place(number, keys[mine][place]), text

    def broken_by_head(self, row: int, layer: Layer) -> Iterator[tuple[str, str]] | None:
        """The same of a large block of chunks of one element each, which it does not have in memory; else None."""
        low, high = np.searchsorted(self.rows, (row, row + 1)).tolist()
        if low == high:
            return iter(())
        owner, keys, offsets, sizes, counts = (column[low:high] for column in self.columns)
        plain = all(self.owners[number][1].name in ("String", "Binary") for number in np.unique(owner).tolist())
        if not plain or (counts != 1).any() or (sizes < _HEAD).any():
            return None
        cache = BlockCache(0)
        heads = b"".join(layer.read_range(row, start, _HEAD, cache) for start in offsets.tolist())
        ends = np.frombuffer(heads, "<u4").astype(np.int64).reshape(-1, 2)
        wrong = np.flatnonzero((ends[:, 0] != 0) | (ends[:, 1] != sizes - _HEAD))
        return iter(
            [(self._place(owner[n], keys[n]), f"{sizes[n]} bytes are not its one element") for n in wrong.tolist()]
        )

    def _place(self, owner: int, key: int) -> str:
        name, _, grid = self.owners[owner]
        return f"array {name!r}: chunk {grid.coord(int(key))}"


def check_blocks(stack: LayerStack, progress: Progress) -> Iterator[Finding]:
    """Read and unpack every block of all layers."""
    chunks = _varying_chunks(stack)
    total = sum(stored for layer in stack.layers for _, stored, _ in _runs(layer))
    done = in_flight = 0
    waiting: deque[tuple[int, int, Future[list[Finding]]]] = deque()
    progress(0, total)
    with ThreadPoolExecutor(WORKERS, "arrayfs-verify") as pool:
        try:
            for layer in stack.layers:
                used, mine = _used_blocks(layer), _Content(chunks.get(layer.serial, _Chunks()), StatedFigures(layer))
                for rows, stored, cost in _runs(layer):
                    while waiting and (in_flight + cost > IN_FLIGHT or len(waiting) > 4 * WORKERS):
                        size, freed, future = waiting.popleft()
                        yield from future.result()
                        done, in_flight = done + size, in_flight - freed
                        progress(done, total)
                    waiting.append((stored, cost, pool.submit(_check_run, layer, rows, used, mine)))
                    in_flight += cost
            for size, _, future in waiting:
                yield from future.result()
                done += size
                progress(done, total)
        finally:
            for _, _, future in waiting:
                future.cancel()


@dataclass(frozen=True, slots=True)
class _Content:
    """What is known of the chunks in a layer's blocks."""

    chunks: _Chunks
    figures: StatedFigures


def _check_run(layer: Layer, rows: range, used: NDArray[np.bool_], content: _Content) -> list[Finding]:
    findings: list[Finding] = []
    for row in rows:
        number = layer.footer.blocks.ids[row]
        try:
            broken = list(_broken(layer, row, content))
        except (ArrayFSError, OSError) as error:
            # a block that no chunk points at is ignored by all readers
            severity = "error" if used[row] else "warning"
            text = without(layer.name, error).removeprefix(f"block {number}: ")
            findings.append(Finding(severity, layer.name, f"block {number}", text))
            continue
        findings += [Finding("error", layer.name, place, text) for place, text in broken[:LISTED]]
        if len(broken) > LISTED:
            text = f"and {len(broken) - LISTED} more chunks like these"
            findings.append(Finding("error", layer.name, f"block {number}", text))
    return findings


def _broken(layer: Layer, row: int, content: _Content) -> Iterator[tuple[str, str]]:
    """Read a block, and tell which chunks in it are broken, or have other figures than were written."""
    if layer.is_large(row):
        wrong = content.figures.wrong_in_parts(row)
        broken = content.chunks.broken_by_head(row, layer)
        if wrong is not None and broken is not None:
            return chain(broken, wrong)
    block = layer.unpack_block(row)
    return chain(content.chunks.broken(row, block), content.figures.wrong(row, block))


def _runs(layer: Layer) -> Iterator[tuple[range, int, int]]:
    """Neighbouring blocks, all but ours, in portions: their rows, bytes stored, bytes in flight."""
    ours = extension_row(layer.footer)
    stored = _stored(layer).tolist()
    first = size = cost = 0
    for row in range(len(stored)):
        if row == ours:
            if first < row:
                yield range(first, row), size, cost
            first, size, cost = row + 1, 0, 0
            continue
        size += stored[row]
        cost += stored[row] + layer.block_size(row)
        if cost >= RUN:
            yield range(first, row + 1), size, cost
            first, size, cost = row + 1, 0, 0
    if first < len(stored):
        yield range(first, len(stored)), size, cost


def _stored(layer: Layer) -> NDArray[np.int64]:
    """Bytes of each block in the file, where damage says more than the file has: those of the file."""
    return np.minimum(layer.footer.blocks.compressed_sizes, np.uint64(layer.blob.size)).astype(np.int64)


def _used_blocks(layer: Layer) -> NDArray[np.bool_]:
    used = np.zeros(len(layer.footer.blocks) + 1, np.bool_)
    for meta in layer.footer.arrays:
        used[layer.block_rows(meta.chunks.block_ids)] = True  # -1, no such block, is the last one
    return used


def _varying_chunks(stack: LayerStack) -> dict[int, _Chunks]:
    """By the serials of their layers."""
    found: dict[int, _Chunks] = {}
    for name, span in stack.spans.items():
        if element_size(span[-1].meta.dtype) is None:
            _add_chunks(name, span, found)
    for chunks in found.values():
        chunks.sort()
    return found


def _add_chunks(name: str, span: Span, found: dict[int, _Chunks]) -> None:
    try:
        index = build_index(span)
    except ArrayFSError:
        return  # found wrong with the tables
    counts = np.minimum(index.grid.elements(index.grid.coords(index.keys)), 2.0**40).astype(np.int64)
    for number, entry in enumerate(span):
        mine = np.flatnonzero(index.entries == number)
        layer, table, rows = entry.layer, entry.meta.chunks, index.rows[mine]
        if not len(mine):
            continue
        blocks = layer.block_rows(table.block_ids[rows])
        offsets, sizes = table.offsets[rows].astype(np.int64), table.sizes[rows].astype(np.int64)
        limits = np.append(layer.footer.blocks.uncompressed_sizes, np.uint64(0))[blocks]
        there = (blocks >= 0) & ((offsets + sizes).astype(np.uint64) <= limits)
        chunks = found.setdefault(layer.serial, _Chunks())
        owner = np.full(len(mine), len(chunks.owners), np.int64)
        chunks.owners.append((name, index.span[-1].meta.dtype, index.grid))
        columns = (blocks, owner, index.keys[mine].astype(np.int64), offsets, sizes, counts[mine])
        chunks.parts.append(tuple(column[there] for column in columns))
