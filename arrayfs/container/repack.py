"""The chunks that stay, in as few blocks of a new layer as they need: the part of a compaction that moves bytes.

Each block is read, checked and unpacked once. One that is wanted whole, and is as blocks should be, is copied as it
is; of the others the wanted chunks are packed anew, with their neighbours. What was stored already is not stored again.

An *address* is a chunk's place in a block of an old layer. All that is done for each of them is a checksum, or a copy.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.large import OWN_BLOCK_SIZE
from arrayfs.container.layer import Layer
from arrayfs.container.part import LayerPart
from arrayfs.container.pool import BLOCK_SIZE, COMPRESSED_LIMIT
from arrayfs.container.seen import Seen
from arrayfs.errors import FormatError
from arrayfs.format.checksums import crc32c
from arrayfs.store.protocol import Hastened

Progress = Callable[[int], None]
KEEP: Final = "keep"  # a codec: as it was
# Bytes, packed and unpacked, of blocks that are read ahead of their turn.
AHEAD = 64 << 20
# Larger blocks are copied without a look at their chunks, a few MiB at a time: they need not fit into memory.
TOO_LARGE = 64 << 20
# So much is appended before it is sent on its way to the disk: then little is left to wait for at the end.
EARLY = 16 << 20


@dataclass(frozen=True, slots=True)
class PackOptions:
    """codec: of all blocks but those of more than COMPRESSED_LIMIT, which stay; None for no compression, KEEP as they
    were. block_size: bytes to which small chunks are packed, None for the usual, and then larger blocks stay.
    chunk_stats: whether there are figures of chunks; True: also of those that had none; None: as it was.
    """

    codec: str | None = KEEP
    block_size: int | None = None
    chunk_stats: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Addresses:
    """Columns of n addresses, each (n,) uint32. layers: places in a list of layers; rows: of their block tables;
    offsets, sizes: bytes in the unpacked block.
    """

    layers: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    sizes: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.sizes)

    @staticmethod
    def join(parts: Sequence[Addresses]) -> Addresses:
        """One after another."""
        columns = ([getattr(part, name) for part in parts] for name in Addresses.__slots__)
        return Addresses(*(np.concatenate([np.zeros(0, np.uint32), *column]) for column in columns))

    def blocks(self) -> NDArray[np.uint64]:
        """(n,) uint64: a number for each block."""
        return self.layers.astype(np.uint64) << np.uint64(32) | self.rows

    def ranges(self) -> NDArray[np.uint64]:
        """(n,) uint64: a number for each range of bytes, in order of the offsets."""
        return self.offsets.astype(np.uint64) << np.uint64(32) | self.sizes


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The chunks of one block that stay: addresses low to high of `_Plan.addresses`."""

    layer: Layer
    row: int
    low: int
    high: int

    @property
    def room(self) -> int:
        """Bytes that it takes packed and unpacked."""
        return self.layer.stored_size(self.row) + self.layer.block_size(self.row)


class _Plan:
    """Each address once, those of a block together, the blocks in the order in which their first chunk was named.

    inverse: for each given address its place among these.
    """

    def __init__(self, layers: Sequence[Layer], given: Addresses) -> None:
        blocks, ranges = given.blocks(), given.ranges()
        order = np.lexsort((ranges, blocks))
        blocks, ranges = blocks[order], ranges[order]
        new_block = np.append(True, blocks[1:] != blocks[:-1])[: len(order)]
        new = np.append(True, ranges[1:] != ranges[:-1])[: len(order)] | new_block
        number = np.cumsum(new) - 1
        # the blocks by their first use
        starts = np.flatnonzero(new_block)
        first_use = np.minimum.reduceat(order, starts) if len(starts) else starts
        turn = np.argsort(first_use, kind="stable")
        bounds = np.append(number[starts], number[-1] + 1 if len(number) else 0)
        counts = np.diff(bounds)[turn]
        ends = np.cumsum(counts)
        moved = np.empty(int(new.sum()), np.int64)
        source = np.repeat(bounds[:-1][turn] - (ends - counts), counts) + np.arange(len(moved))
        moved[source] = np.arange(len(moved))
        self.inverse = np.empty(len(order), np.int64)
        self.inverse[order] = moved[number]
        unique = order[np.flatnonzero(new)][source]
        self.offsets, self.sizes = given.offsets[unique], given.sizes[unique]
        firsts = order[starts][turn]
        self.blocks = [
            _Wanted(layers[layer], row, end - count, end)
            for layer, row, end, count in zip(
                given.layers[firsts].tolist(), given.rows[firsts].tolist(), ends.tolist(), counts.tolist(), strict=True
            )
        ]


class Repacker:
    """Puts the chunks at some addresses into a part.

    Invariants
    - `_rows[n]`, `_starts[n]`: the new block and offset of address n of the plan, once it is stored.
    - `_unstored[n]`: its content, while it is in the block at hand or waits for its neighbours.
    - A chunk that equals one before it is in `_twins` instead, with the address of that one. `_seen` has all others.
    - `_waiting`: chunks that are to be packed with their neighbours, by codec, fewer than fill a block.
    """

    def __init__(self, part: LayerPart, layers: Sequence[Layer], given: Addresses, options: PackOptions) -> None:
        self._part, self._options = part, options
        self._plan = _Plan(layers, given)
        self._block_size = options.block_size or BLOCK_SIZE
        self._cache = BlockCache(32 << 20)
        self._rows, self._starts = (np.zeros(len(self._plan.sizes), np.uint32) for _ in range(2))
        self._seen = Seen(self._plan.sizes)
        self._unstored: dict[int, bytes | memoryview] = {}
        self._waiting: dict[str | None, list[int]] = {}
        self._waiting_size: dict[str | None, int] = {}
        self._twins: list[tuple[int, int]] = []
        self._begun = 0
        self._beginning: Future[None] = Future()
        self._beginning.set_result(None)

    def run(self, progress: Progress) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
        """Store the chunks; returns (rows, offsets), (n,) each: where each is now.

        progress: called with the bytes of a block that was dealt with. Raises FormatError, naming file and block, if
        one cannot be read; OSError if the medium fails.
        """
        with ThreadPoolExecutor(3, "arrayfs-compact") as workers, closing(self._ahead(workers)) as loaded:
            for wanted, stored, raw in loaded:
                self._take(wanted, stored, raw)
                progress(wanted.layer.stored_size(wanted.row))
                self._begin_sync(workers)
        for codec in self._waiting:
            self._flush(codec)
        if self._twins:
            twins, firsts = np.array(self._twins).T
            # the first ones are no twins themselves
            self._rows[twins], self._starts[twins] = self._rows[firsts], self._starts[firsts]
        return self._rows[self._plan.inverse], self._starts[self._plan.inverse]

    def _begin_sync(self, workers: ThreadPoolExecutor) -> None:
        """Have the disk begin with what was appended meanwhile."""
        part = self._part.part
        if part.size - self._begun > EARLY and self._beginning.done() and isinstance(part, Hastened):
            self._begun, self._beginning = part.size, workers.submit(part.begin_sync)

    def _take(self, wanted: _Wanted, stored: bytes, raw: memoryview | None) -> None:
        if raw is None:
            self._copy_large(wanted)
            return
        numbers = range(wanted.low, wanted.high)
        ranges = zip(numbers, *self._ranges(wanted), strict=True)
        new = [n for n, start, size in ranges if not self._is_twin(n, _cut(wanted, raw, start, size), wanted)]
        if len(new) == len(numbers) and self._can_stay(wanted):
            self._copy(wanted, stored)
            for number in new:
                del self._unstored[number]
            return
        codec = wanted.layer.codec(wanted.row) if self._options.codec == KEEP else self._options.codec
        for number in new:
            self._pack(codec, number)

    def _ranges(self, wanted: _Wanted) -> tuple[list[int], list[int]]:
        """Offsets and sizes of the chunks that are wanted of a block."""
        places = slice(wanted.low, wanted.high)
        return self._plan.offsets[places].tolist(), self._plan.sizes[places].tolist()

    def _can_stay(self, wanted: _Wanted) -> bool:
        """Whether a block is wanted whole, and is as blocks should be."""
        size = wanted.layer.block_size(wanted.row)
        if self._options.codec not in (KEEP, wanted.layer.codec(wanted.row)) and size <= COMPRESSED_LIMIT:
            return False
        end = 0
        for offset, length in zip(*self._ranges(wanted), strict=True):
            if offset != end:
                return False  # somebody's chunk is gone, or two overlap
            end += length
        if end != size:
            return False
        if wanted.high - wanted.low == 1 and size >= OWN_BLOCK_SIZE:
            return True
        small_enough = self._options.block_size is None or size <= 2 * self._block_size
        return small_enough and 2 * size >= self._block_size

    def _copy(self, wanted: _Wanted, stored: bytes) -> None:
        layer, row = wanted.layer, wanted.row
        self._stands(
            wanted, self._part.copy_block(layer.codec(row), stored, layer.block_size(row), layer.checksum(row))
        )

    def _copy_large(self, wanted: _Wanted) -> None:
        layer, row = wanted.layer, wanted.row
        self._stands(wanted, self._part.add_large(layer.codec(row), layer.stored_steps(row), layer.block_size(row)))

    def _stands(self, wanted: _Wanted, row: int) -> None:
        """A block is copied: its chunks are in block `row` of the part."""
        self._rows[wanted.low : wanted.high] = row
        self._starts[wanted.low : wanted.high] = self._plan.offsets[wanted.low : wanted.high]

    def _pack(self, codec: str | None, number: int) -> None:
        content = self._unstored[number]
        if len(content) >= OWN_BLOCK_SIZE:
            self._rows[number] = self._part.add_block(codec, [content])
            del self._unstored[number]
            return
        if self._waiting_size.get(codec, 0) + len(content) > self._block_size:
            self._flush(codec)
        self._unstored[number] = bytes(content)  # and nothing else of its old block
        self._waiting.setdefault(codec, []).append(number)
        self._waiting_size[codec] = self._waiting_size.get(codec, 0) + len(content)

    def _flush(self, codec: str | None) -> None:
        numbers = self._waiting.get(codec)
        if not numbers:
            return
        contents = [self._unstored.pop(number) for number in numbers]
        self._rows[numbers] = self._part.add_block(codec, contents)
        self._starts[numbers] = np.cumsum([0, *map(len, contents[:-1])])
        self._waiting[codec], self._waiting_size[codec] = [], 0

    def _is_twin(self, number: int, content: memoryview, wanted: _Wanted) -> bool:
        """Whether the same was stored before, or is about to be."""
        checksum = None
        if wanted.layer.codec(wanted.row) is None and len(content) == wanted.layer.block_size(wanted.row):
            checksum = wanted.layer.checksum(wanted.row)  # of just these bytes, and it was looked at
        checksum = crc32c(content) if checksum is None else checksum
        first = self._seen.first(checksum, number)
        if first != number and self._content(first) == content:
            self._twins.append((number, first))
            return True
        self._unstored[number] = content
        return False

    def _content(self, number: int) -> bytes | memoryview:
        content = self._unstored.get(number)
        if content is not None:
            return content
        start, size = int(self._starts[number]), int(self._plan.sizes[number])
        return self._part.read_block(int(self._rows[number]), self._cache)[start : start + size]

    # --- reading ------------------------------------------------------------------------------------------------------

    def _ahead(self, workers: ThreadPoolExecutor) -> Generator[tuple[_Wanted, bytes, memoryview | None], None, None]:
        """Each block stored and unpacked, in order, read by worker threads ahead of its turn."""
        waiting: deque[tuple[_Wanted, Future[tuple[bytes, memoryview | None]]]] = deque()
        size = 0
        try:
            for wanted in self._plan.blocks:
                size += wanted.room
                while waiting and size > AHEAD:
                    first, loaded = waiting.popleft()
                    yield first, *loaded.result()
                    size -= first.room
                waiting.append((wanted, workers.submit(self._load, wanted)))
            for first, loaded in waiting:
                yield first, *loaded.result()
        finally:
            workers.shutdown(cancel_futures=True)

    def _load(self, wanted: _Wanted) -> tuple[bytes, memoryview | None]:
        if wanted.layer.block_size(wanted.row) > TOO_LARGE and self._can_stay(wanted):
            return b"", None
        stored = wanted.layer.read_stored(wanted.row)
        return stored, memoryview(wanted.layer.unpack(wanted.row, stored))


def _cut(wanted: _Wanted, raw: memoryview, start: int, size: int) -> memoryview:
    if start + size > len(raw):
        block = wanted.layer.footer.blocks.ids[wanted.row]
        raise FormatError(f"{wanted.layer.name}: block {block}: has {len(raw)} bytes, a chunk ends at {start + size}")
    return raw[start : start + size]
