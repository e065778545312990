"""The next sidecar in the making: blocks compressed once and appended, readable before they are committed.

What is appended here is never moved again: a commit adds the extension block, the footer and the trailer, and gives the
file its name. Reads go the same way as those of a sealed layer, so a `PackedRef` may point into a part, and goes on to
when the part has become a layer.
"""

from __future__ import annotations

import itertools
import secrets
from array import array
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.figures import FigureLog, measure_runs
from arrayfs.container.large import LARGE, checked_pieces, read_range, steps
from arrayfs.container.layer import Layer
from arrayfs.container.measure import Measured, Run
from arrayfs.errors import ChecksumError, ObjectExistsError
from arrayfs.format.checksums import crc32c
from arrayfs.format.codecs import compress, decompress
from arrayfs.format.extension_model import CHECKED_PIECE
from arrayfs.format.model import BlockTable
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Part, Store

_serials = itertools.count(-1, -1)
# Blocks that are appended by one call: of the usual size that is one MiB.
TOGETHER = 16


Chunks = Sequence[bytes | memoryview]


class _Packed(NamedTuple):
    """A block ready to be appended: what stands in the file, in pieces, of how many bytes it is made, and what was
    measured of it.
    """

    codec: str | None
    stored: Chunks
    size: int
    stored_size: int
    checksum: int
    measured: list[Measured | None]


def _pack(codec: str | None, chunks: Chunks, runs: Sequence[Run]) -> _Packed:
    # joined here, one block at a time: to join all that is packed at once would take new memory for it
    raw = chunks if codec is None and not runs else [_joined(chunks)]
    stored = raw if codec is None else [compress(codec, raw[0])]
    checksum = 0
    for piece in stored:
        checksum = crc32c(piece, checksum)
    measured = measure_runs(raw[0], runs) if runs else []
    return _Packed(codec, stored, sum(map(len, raw)), sum(map(len, stored)), checksum, measured)


def _joined(chunks: Chunks) -> bytes | memoryview:
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class LayerPart:
    """Blocks of a layer that has no footer yet.

    serial: unique in this process and never a sealed layer's. id: the id that the layer will have; a journal names it,
    so a part that takes another's place keeps it, in a file of its own.
    Block i is entry i of the columns; its id in the footer is i. synced_size: bytes of it that `sync` made safe.
    """

    def __init__(self, store: Store, names: ContainerNames, layer_id: bytes | None = None) -> None:
        self.serial = next(_serials)
        self.id = layer_id or secrets.token_bytes(16)
        self.synced_size = 0
        self._store = store
        self._part_name = names.part(secrets.token_hex(16))
        self._part: Part | None = None
        self._file_offsets = array("Q")
        self._stored_sizes = array("Q")
        self._sizes = array("Q")
        self._codecs = array("L")
        self._crcs = array("L")
        self._codec_names: list[str | None] = []
        # of large blocks, by row
        self.piece_crcs: dict[int, NDArray[np.uint32]] = {}
        # of the chunks that were measured when they were packed
        self.figures = FigureLog()
        # what has the blocks now, under the same rows: the layer that this became, or a part that took its place
        self._heir: Layer | LayerPart | None = None
        # Two workers: lz4 and zstd release the GIL, and more than two gain nothing on small machines.
        self._workers = ThreadPoolExecutor(2, "arrayfs-compress")

    @property
    def name(self) -> str:
        """The file's name while it is in the making."""
        return self._part_name

    @property
    def part(self) -> Part:
        """The file, made when it is first needed."""
        if self._part is None:
            try:
                self._part = self._store.create_part(self._part_name)
            except ObjectExistsError:
                # nobody else makes this name: an earlier try failed after the file was there
                self._part = self._store.adopt_part(self._part_name)
        return self._part

    def __len__(self) -> int:
        return len(self._sizes)

    def add_block(self, codec: str | None, chunks: Chunks) -> int:
        """Append one block that holds these chunks one after another; returns its row."""
        return self.add_blocks([(codec, chunks)]).start

    def add_blocks(
        self, blocks: Sequence[tuple[str | None, Chunks]], runs: Sequence[Sequence[Run]] | None = None
    ) -> range:
        """Append several blocks, each compressed by its codec, side by side by worker threads; returns their rows.

        runs: of each block those chunks that are measured.
        """
        first = len(self)
        wanted: Sequence[Sequence[Run]] = [()] * len(blocks) if runs is None else runs
        work = [(codec, chunks, asked) for (codec, chunks), asked in zip(blocks, wanted, strict=True)]
        packed: Iterator[_Packed] = itertools.starmap(_pack, work)
        if len(work) > 1 and any(codec for codec, _ in blocks):
            with suppress(RuntimeError):  # the interpreter is ending, and starts no more work in threads
                packed = self._workers.map(_pack, *zip(*work, strict=True))
        found: list[list[Measured | None]] = []
        while together := list(itertools.islice(packed, TOGETHER)):
            found += [block.measured for block in together]
            if any(block.codec is None and block.size > LARGE for block in together):
                for block in together:
                    self._append(block.codec, _joined(block.stored), block.size)
                continue
            offset = self.part.append(*[stored for block in together for stored in block.stored])
            for codec, _, size, stored_size, checksum, _ in together:
                self._note(codec, offset, stored_size, size, checksum)
                offset += stored_size
        rows = range(first, len(self))
        for row, asked, answer in zip(rows, wanted, found, strict=True):
            self.figures.add(row, asked, answer)
        return rows

    def copy_block(self, codec: str | None, stored: bytes, size: int, checksum: int | None = None) -> int:
        """Append a block that is compressed already: `stored` as it stands in another layer, `size` bytes unpacked.

        checksum: CRC-32C of `stored`, where it was computed already.
        """
        return self._append(codec, stored, size, checksum)

    def add_large(
        self, codec: str | None, parts: Iterable[bytes | memoryview], size: int, checksum: int | None = None
    ) -> int:
        """Append a block that comes in parts of STEP bytes each, `size` bytes unpacked; returns its row.

        checksum: CRC-32C of it, where it is known. Raises ChecksumError if it is another, and then, as whenever the
        medium fails, nothing was appended.
        """
        mark = self.mark()
        offset, found = self.part.size, 0
        crcs: list[int] = []
        try:
            for part in parts if codec is not None else checked_pieces(parts, crcs):
                found = crc32c(part, found)
                self.part.append(part)
            if checksum not in (None, found):
                raise ChecksumError(f"checksum is {found:08x}, {checksum:08x} was written")
        except BaseException:
            with suppress(OSError):  # dead bytes then
                self.cut_back(mark)
            raise
        if codec is None and size > LARGE:
            self.piece_crcs[len(self)] = np.array(crcs, np.uint32)
        return self._note(codec, offset, self.part.size - offset, size, found)

    def _append(self, codec: str | None, stored: bytes | memoryview, size: int, checksum: int | None = None) -> int:
        if codec is None and len(stored) > LARGE:
            view = memoryview(stored)
            parts = steps(lambda start, length: view[start : start + length], len(stored))
            return self.add_large(None, parts, size, checksum)
        offset = self.part.append(stored)
        return self._note(codec, offset, len(stored), size, crc32c(stored) if checksum is None else checksum)

    def _note(self, codec: str | None, offset: int, stored_size: int, size: int, checksum: int) -> int:
        if codec not in self._codec_names:
            self._codec_names.append(codec)
        self._file_offsets.append(offset)
        self._stored_sizes.append(stored_size)
        self._sizes.append(size)
        self._codecs.append(self._codec_names.index(codec))
        self._crcs.append(checksum)
        return len(self) - 1

    def read_block(self, row: int, cache: BlockCache, *, keep: bool = True) -> memoryview:
        """As `Layer.read_block`; what is in the making is kept."""
        if self._heir is not None:
            return self._heir.read_block(row, cache, keep=keep)
        return cache.load((self.serial, row), lambda: self._unpack(row))

    def is_large(self, row: int) -> bool:
        """Whether a block is to be read by ranges: it is large, and not compressed."""
        return row in self.piece_crcs

    def read_range(self, row: int, offset: int, size: int, cache: BlockCache) -> bytes | memoryview:
        """Bytes of a large block, fewer at its end. Raises ChecksumError."""
        if self._heir is not None:
            return self._heir.read_range(row, offset, size, cache)
        size = max(0, min(size, self._sizes[row] - offset))
        return read_range((self.serial, row), lambda number: self._piece(row, number), offset, size, cache)

    def _piece(self, row: int, number: int) -> bytes:
        start = number * CHECKED_PIECE
        data = self.part.read(self._file_offsets[row] + start, min(CHECKED_PIECE, self._stored_sizes[row] - start))
        if crc32c(data) != self.piece_crcs[row][number]:
            raise ChecksumError(f"{self.name}: block {row}: bytes from {start} on are not what was written")
        return data

    def _unpack(self, row: int) -> bytes | memoryview:
        stored = self.part.read(self._file_offsets[row], self._stored_sizes[row])
        return decompress(self.codec(row), stored, self._sizes[row])

    def block_size(self, row: int) -> int:
        """Bytes of a block unpacked."""
        return self._sizes[row]

    def stored_size(self, row: int) -> int:
        """Bytes of a block in the file."""
        return self._stored_sizes[row]

    def read_stored(self, row: int) -> bytes:
        """A block's bytes as they stand in the file."""
        return self.part.read(self._file_offsets[row], self._stored_sizes[row])

    def codec(self, row: int) -> str | None:
        """The name of a block's codec; None: not compressed."""
        return self._codec_names[self._codecs[row]]

    def block_table(
        self, extension_codec: str, extension_size: int
    ) -> tuple[BlockTable, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
        """The footer's block table, with the extension block as its last entry at the part's present end, and the
        checksums of all blocks (0 for the extension block, which carries its own).
        """
        count = len(self)
        names = (*self._codec_names, extension_codec)
        table = BlockTable(
            ids=np.arange(count + 1, dtype=np.uint32),
            file_offsets=_column(self._file_offsets, self.part.size, np.uint64),
            compressed_sizes=_column(self._stored_sizes, extension_size, np.uint64),
            uncompressed_sizes=_column(self._sizes, extension_size, np.uint64),
            codecs=_column(self._codecs, len(names) - 1, np.uint32),
            codec_names=names,
        )
        return table, _column(self._crcs, 0, np.uint32)

    def mark(self) -> tuple[int, int]:
        """Where it ends now, for `cut_back`."""
        return len(self), self.part.size

    def cut_back(self, mark: tuple[int, int]) -> None:
        """Drop what was appended since `mark`; nobody has read it."""
        rows, size = mark
        for column in (self._file_offsets, self._stored_sizes, self._sizes, self._codecs, self._crcs):
            del column[rows:]
        self.piece_crcs = {row: crcs for row, crcs in self.piece_crcs.items() if row < rows}
        self.figures.cut(rows)
        self.part.truncate(size)

    def sync(self) -> None:
        """Have all that is in the file now survive a loss of power. Raises OSError; then no later sync will do."""
        size = self.part.size
        self.part.sync()
        self.synced_size = size

    def can_sync(self) -> bool:
        """Whether the file can still be made durable."""
        try:
            self.part.sync()
        except OSError:
            return False
        return True

    def copy_to(self, other: LayerPart) -> None:
        """Append all blocks to another part, in order, so that rows mean the same there. Raises ChecksumError."""
        for row, start in enumerate(self._file_offsets):
            parts = steps(partial(self._read_from, start), self._stored_sizes[row])
            try:
                other.add_large(self.codec(row), parts, self._sizes[row], self._crcs[row])
            except ChecksumError as error:
                raise ChecksumError(f"{self.name}: block {row} is not what was written: {error}") from None
        other.figures, self._heir = self.figures, other

    def _read_from(self, start: int, offset: int, size: int) -> bytes:
        return self.part.read(start + offset, size)

    def discard(self) -> None:
        """Remove the file; nothing of it is wanted any more."""
        self._workers.shutdown()
        if self._part is not None:
            self._part.discard()

    def retire(self) -> None:
        """The file has its name: what is open here is not needed any more."""
        self._workers.shutdown()
        self.part.close()

    def become(self, layer: Layer) -> None:
        """The file is this layer's: whoever still points here reads there."""
        self._heir = layer

    def keep(self) -> None:
        """Leave the file behind under its temporary name."""
        self._workers.shutdown()
        if self._part is not None:
            self._part.close()


def _column(values: array[int], last: int, dtype: type) -> np.ndarray:
    return np.append(np.array(values, dtype=dtype), dtype(last))
