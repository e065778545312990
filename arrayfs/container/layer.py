"""One sealed layer: its footer, its extension block, and its blocks read and checked.

A layer never changes. What is here knows one file only; what several layers mean together is `stack.py`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.columns import numbers
from arrayfs.container.large import LARGE, has_pieces, read_range, steps
from arrayfs.container.layer_figures import read_figures
from arrayfs.container.limits import check_room
from arrayfs.errors import ChecksumError, FormatError
from arrayfs.format.checksums import crc32c
from arrayfs.format.codecs import MAX_BLOCK_SIZE, decompress, decompress_into
from arrayfs.format.extension import EXTENSION_CODEC, HEADER_SIZE, decode_extension, glance_at_extension, stated_size
from arrayfs.format.extension_model import CHECKED_PIECE, Extension
from arrayfs.format.figures import Figures
from arrayfs.format.footer import TRAILER, decode_footer, decode_trailer, glance_at_footer
from arrayfs.format.model import Footer
from arrayfs.store.protocol import Blob

# One read of the end gets the extension block and the footer of any small layer together. How long it is goes by the
# file's size: of ten thousand layers of one chunk, reading all would take longer than all else.
LEAST_TAIL, MOST_TAIL = 4 * 1024, 64 * 1024
_TAIL_SHARE = 8
_FEW = 16  # block ids, that numpy takes longer for than Python
_COLUMNS = frozenset(("_offsets", "_stored_sizes", "_sizes", "_codecs", "_crcs", "_piece_crcs"))

_serials = itertools.count(1)
Got = TypeVar("Got", bytes, bytes | memoryview, None)


class Layer:
    """One layer file, open for as long as somebody reads it.

    serial: unique in this process, for cache keys. number: 0 for the base, n for sidecar n.
    """

    _offsets: Sequence[int]
    _stored_sizes: Sequence[int]
    _sizes: Sequence[int]
    _codecs: Sequence[int]
    _crcs: Sequence[int] | None
    _piece_crcs: Mapping[int, NDArray[np.uint32]]

    def __init__(
        self,
        number: int,
        blob: Blob,
        footer: Footer,
        ext: Extension | None,
        footer_start: int,
        serial: int | None = None,
    ) -> None:
        self.serial = next(_serials) if serial is None else serial
        self.number = number
        self.blob = blob
        self.footer = footer
        self.extension = ext
        self.footer_start = footer_start
        # rows of large blocks without checksums of their pieces that were gone through and found right
        self._gone_through: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        """The columns of the block table, made when a block is first asked for: most layers are there to be counted."""
        if name not in _COLUMNS:
            raise AttributeError(name)
        blocks = self.footer.blocks
        columns = {
            "_offsets": numbers(blocks.file_offsets),
            "_stored_sizes": numbers(blocks.compressed_sizes),
            "_sizes": numbers(blocks.uncompressed_sizes),
            "_codecs": numbers(blocks.codecs),
            "_crcs": _block_checksums(self.footer, self.extension),
            "_piece_crcs": {} if self.extension is None else self.extension.piece_crcs,
        }
        self.__dict__ |= columns | self.__dict__
        return columns[name]

    @property
    def id(self) -> bytes:
        """The layer's id, 16 bytes: what its extension block says, else a digest of its footer."""
        return self._digest if self.extension is None else self.extension.layer_id

    @cached_property
    def _digest(self) -> bytes:
        footer_size = self.blob.size - TRAILER.size - self.footer_start
        return hashlib.sha256(self.blob.read(self.footer_start, footer_size)).digest()[:16]

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.blob.name

    @cached_property
    def _row_order(self) -> tuple[NDArray[np.uint32], NDArray[np.intp]] | None:
        ids = self.footer.blocks.ids
        count = len(ids)
        if count <= _FEW and ids.tolist() == list(range(count)):
            return None
        if count and np.array_equal(ids, np.arange(count, dtype=np.uint32)):
            return None
        order = np.argsort(ids, kind="stable")
        return ids[order], order

    def block_rows(self, ids: NDArray[np.uint32]) -> NDArray[np.int64]:
        """The places in the block table of these block ids (the first where an id stands twice); -1: no such block."""
        count = len(self.footer.blocks)
        if self._row_order is None or count == 0:
            rows = ids.astype(np.int64)
            return np.where(rows < count, rows, -1)
        sorted_ids, order = self._row_order
        places = np.searchsorted(sorted_ids, ids)
        found = np.minimum(places, count - 1)
        return np.where(sorted_ids[found] == ids, order[found], -1)

    def block_row(self, block_id: int) -> int:
        """`block_rows` for one id."""
        if self._row_order is None:
            return block_id if block_id < len(self._offsets) else -1
        return int(self.block_rows(np.array([block_id], np.uint32))[0])

    def block_size(self, row: int) -> int:
        """Bytes of a block unpacked, as its table says."""
        return self._sizes[row]

    def stored_size(self, row: int) -> int:
        """Bytes of a block in the file, as its table says."""
        return self._stored_sizes[row]

    def share(self, row: int, size: int) -> int:
        """The part of a block's bytes in the file that `size` bytes of its content take."""
        whole = self._sizes[row]
        return self._stored_sizes[row] * size // whole if whole else 0

    def read_block(self, row: int, cache: BlockCache, *, keep: bool = True) -> memoryview:
        """A block unpacked, from the cache or the file. keep: in the cache, if it was not there.

        Raises FormatError or ChecksumError, naming file and block, if it lies outside the file, does not unpack to what
        the table says, or has another checksum than was written.
        """
        key = (self.serial, row)
        return cache.load(key, lambda: self.unpack_block(row)) if keep or key in cache else self.unpack_block(row)

    def read_into(self, row: int, out: memoryview) -> None:
        """A block unpacked into `out`, `block_size` bytes. Raises as `read_block`; nobody may look at `out` then."""
        if self.codec(row) is None and self._stored_sizes[row] == len(out):
            self._checked(row, lambda: self._read_plain(row, out))
        else:
            self._checked(row, lambda: decompress_into(self.codec(row), self._stored_block(row), out))

    def _read_plain(self, row: int, out: memoryview) -> None:
        self.blob.read_into(self._check_place(row), out)
        self._check_crc(row, out)

    def is_large(self, row: int) -> bool:
        """Whether a block is to be read by ranges: it is large, and not compressed."""
        return self._sizes[row] > LARGE and self._stored_sizes[row] == self._sizes[row] and self.codec(row) is None

    def read_range(self, row: int, offset: int, size: int, cache: BlockCache) -> bytes | memoryview:
        """Bytes of a large block, fewer at its end. Raises as `read_block`, for the pieces that the range lies in.

        Where the layer has no checksums of pieces, all of the block is gone through when it is first asked for.
        """
        size = max(0, min(size, self._sizes[row] - offset))
        return read_range(
            (self.serial, row), lambda number: self._checked(row, lambda: self._piece(row, number)), offset, size, cache
        )

    def _piece(self, row: int, number: int) -> bytes:
        crcs = self._piece_crcs.get(row)
        known = has_pieces(crcs, self._stored_sizes[row])
        if not known and row not in self._gone_through:
            for _ in self._steps(row):
                pass
            self._gone_through.add(row)
        start = self._check_place(row) + number * CHECKED_PIECE
        data = self.blob.read(start, min(CHECKED_PIECE, self._stored_sizes[row] - number * CHECKED_PIECE))
        if crcs is not None and known and crc32c(data) != crcs[number]:
            raise ChecksumError(
                f"checksum of bytes {number * CHECKED_PIECE} to {number * CHECKED_PIECE + len(data)} is "
                f"{crc32c(data):08x}, {int(crcs[number]):08x} was written"
            )
        return data

    def stored_steps(self, row: int) -> Iterator[bytes]:
        """A block's bytes as they stand in the file, a few MiB at a time.

        Raises as `read_stored` does, of a wrong checksum when all were given out.
        """
        parts = self._steps(row)
        while part := self._checked(row, lambda: next(parts, b"")):
            yield part

    def _steps(self, row: int) -> Iterator[bytes]:
        start, found = self._check_place(row), 0
        for part in steps(lambda offset, size: self.blob.read(start + offset, size), self._stored_sizes[row]):
            found = crc32c(part, found)
            yield bytes(part)
        self._check_crc(row, b"", found)

    def unpack_block(self, row: int) -> memoryview:
        """A block read from the file, checked and unpacked."""
        return memoryview(self.unpack(row, self.read_stored(row)))

    def read_stored(self, row: int) -> bytes:
        """A block's bytes as they stand in the file, checksum verified."""
        return self._checked(row, lambda: self._stored_block(row))

    def checksum(self, row: int) -> int | None:
        """CRC-32C of a block's bytes in the file, as was written; None if the layer does not say."""
        return None if self._crcs is None else self._crcs[row]

    def unpack(self, row: int, stored: bytes) -> bytes | memoryview:
        """What `read_stored` gave, unpacked."""
        return self._checked(row, lambda: decompress(self.codec(row), stored, self._sizes[row]))

    def codec(self, row: int) -> str | None:
        """The name of a block's codec; None: not compressed."""
        return self.footer.blocks.codec_names[self._codecs[row]]

    def _checked(self, row: int, action: Callable[[], Got]) -> Got:
        try:
            return action()
        except FormatError as error:
            raise type(error)(f"{self.name}: block {self.footer.blocks.ids[row]}: {error}") from None

    def _check_place(self, row: int) -> int:
        """Where a block begins in the file. Raises FormatError for one that cannot be."""
        start, stored = self._offsets[row], self._stored_sizes[row]
        if start + stored > self.footer_start:
            raise FormatError(f"bytes {start} to {start + stored} are outside the data region of {self.footer_start}")
        if self._sizes[row] > MAX_BLOCK_SIZE:
            raise FormatError(
                f"claims {self._sizes[row]} bytes unpacked, more than the {MAX_BLOCK_SIZE} a block can have"
            )
        return start

    def _stored_block(self, row: int) -> bytes:
        start, stored = self._check_place(row), self._stored_sizes[row]
        check_room(stored + self._sizes[row], "unpacking it")
        data = self.blob.read(start, stored)
        self._check_crc(row, data)
        return data

    def _check_crc(self, row: int, end: bytes | memoryview, before: int = 0) -> None:
        if self._crcs is not None and (found := crc32c(end, before)) != self._crcs[row]:
            raise ChecksumError(f"checksum is {found:08x}, {self._crcs[row]:08x} was written")

    @property
    def time_ns(self) -> int:
        """When this version was made, ns since 1970-01-01 UTC; the file's time where nothing better is known."""
        return self.blob.mtime_ns if self.extension is None else self.extension.time_ns

    @property
    def stamp(self) -> tuple[bytes, int]:
        """Its id and its time, which no two layers have in common.

        An id alone may be: the crate's layers have the digest of a footer, in which nothing depends on the values.
        """
        return self.id, self.time_ns

    def chunk_mtimes(self, position: int) -> NDArray[np.int64] | None:
        """When the chunks of array entry `position` were written, in table order; None: all when the layer was."""
        if self.extension is None:
            return None
        times = self.extension.chunk_mtimes.get(position)
        return times if times is not None and len(times) == len(self.footer.arrays[position].chunks) else None

    @cached_property
    def figures(self) -> Mapping[int, Figures]:
        """What is known of its chunks, by the places of their arrays. Raises FormatError."""
        return read_figures(self)

    def close(self) -> None:
        """Give the file back."""
        self.blob.close()


def mark_of(layer_id: bytes) -> int:
    """What those who build on a layer hold in the store (`Store.hold`), whichever file it is in."""
    return int.from_bytes(layer_id[:8], "little") >> 2


def open_layer(number: int, blob: Blob) -> Layer:
    """Read and check the tail of one layer file.

    Raises FormatError, naming the file, if its trailer, footer or extension block is damaged.
    """
    try:
        return _open_layer(number, blob)
    except FormatError as error:
        raise type(error)(f"{blob.name}: {error}") from None


def open_by_checksum(number: int, blob: Blob) -> Layer:
    """As `open_layer`, but of a layer whose checksums are right only what a stack needs is decoded now.

    The rest is when it is asked for, and is refused then, as it would have been here. A large footer is decoded whole:
    it would be kept beside what came of it.
    """
    try:
        layer = _open_by_checksum(number, blob)
    except FormatError:
        layer = None
    return open_layer(number, blob) if layer is None else layer


def _open_by_checksum(number: int, blob: Blob) -> Layer | None:
    """None, or a FormatError that says too little: the layer has to be looked at as a whole."""
    tail_start, tail = _tail(blob)
    place = decode_trailer(tail[-TRAILER.size :], blob.size)
    if place.start < tail_start:
        return None
    data = tail[place.start - tail_start : -TRAILER.size]
    footer, last = glance_at_footer(data, blob.name)
    start = last.file_offset
    if last.codec != EXTENSION_CODEC or start < tail_start or start + last.compressed_size != place.start:
        return None
    ext = glance_at_extension(tail[start - tail_start : place.start - tail_start], blob.name, last.blocks)
    if ext.footer_crc != crc32c(data):
        return None
    return Layer(number, blob, footer, ext, place.start)


def _tail(blob: Blob) -> tuple[int, bytes]:
    """The end of a file, and where it begins."""
    start = max(0, blob.size - min(max(blob.size // _TAIL_SHARE, LEAST_TAIL), MOST_TAIL))
    return start, blob.read(start, blob.size - start)


def _open_layer(number: int, blob: Blob) -> Layer:
    if blob.size < TRAILER.size:
        raise FormatError(f"{blob.size} bytes are too few for a layer file")
    tail_start, tail = _tail(blob)
    place = decode_trailer(tail[-TRAILER.size :], blob.size)
    footer_bytes = _range(blob, tail, tail_start, place.start, len(place))
    footer = decode_footer(footer_bytes)
    row = extension_row(footer)
    ext = None
    if row is None:
        _refuse_hidden_extension(blob, footer, place.start)
    else:
        start = int(footer.blocks.file_offsets[row])
        size = int(footer.blocks.compressed_sizes[row])
        if start + size != place.start:
            raise FormatError(
                f"extension block at bytes {start} to {start + size} does not end at the footer ({place.start})"
            )
        ext = decode_extension(_range(blob, tail, tail_start, start, size))
        if ext.footer_crc != crc32c(footer_bytes):
            raise ChecksumError(f"footer: checksum is {crc32c(footer_bytes):08x}, {ext.footer_crc:08x} was written")
        if len(ext.block_crcs) not in (0, len(footer.blocks)):
            raise FormatError(f"extension block: {len(ext.block_crcs)} checksums for {len(footer.blocks)} blocks")
    return Layer(number, blob, footer, ext, place.start)


def extension_row(footer: Footer) -> int | None:
    """The place of our extension block in the block table, if the layer has one."""
    for index, name in enumerate(footer.blocks.codec_names):
        if name == EXTENSION_CODEC:
            codecs = footer.blocks.codecs
            if codecs[-1] == index:  # where arrayfs puts it
                return len(codecs) - 1
            rows = np.flatnonzero(codecs == index)
            return int(rows[-1]) if len(rows) else None
    return None


def _refuse_hidden_extension(blob: Blob, footer: Footer, end: int) -> None:
    """Raise FormatError if an extension block ends at the footer, whose block table does not say so: that is damaged.

    The layer would be taken for one of the crate's, its holes read as chunks, and nothing of it be checked. Looked at
    are the places at which the block can begin. No chunk may lie in it: a chunk of the crate's may hold any bytes.
    """
    blocks = footer.blocks
    ends = blocks.file_offsets + blocks.compressed_sizes
    at_end = np.flatnonzero(ends == end)
    if len(at_end):
        row = at_end[-1]
        if any((meta.chunks.block_ids == blocks.ids[row]).any() for meta in footer.arrays):
            return
        start = int(blocks.file_offsets[row])
    else:
        start = int(ends.max(where=ends < end, initial=0))  # the table may have lost the block's entry
    if start + HEADER_SIZE <= end and stated_size(blob.read(start, HEADER_SIZE)) == end - start:
        raise FormatError(f"footer: does not name the extension block that lies before it, at bytes {start} to {end}")


def _range(blob: Blob, tail: bytes, tail_start: int, start: int, size: int) -> bytes | memoryview:
    if start >= tail_start:
        return memoryview(tail)[start - tail_start : start - tail_start + size]
    return blob.read(start, size)


def _block_checksums(footer: Footer, ext: Extension | None) -> Sequence[int] | None:
    if ext is None or len(ext.block_crcs) != len(footer.blocks):
        return None
    return numbers(ext.block_crcs)
