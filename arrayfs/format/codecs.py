"""Compression of blocks by name: none, lz4, zstd.

A block's table entry says how long its content is. Nothing of that length is allocated before the compressed bytes have
been found able to hold as much, so a small file cannot ask for all memory. (docs/FORMAT.md, "Blocks")
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass

import cramjam
import lz4.block
import numpy as np
import zstandard

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.foreign_codecs import BlockCodec, installed

ZSTD_LEVEL = 3
# A chunk begins below 4 GiB in its block and is shorter than 4 GiB, so no address reaches further.
MAX_BLOCK_SIZE = 2**33
# A byte of an LZ4 block adds at most 255 to the length of a match; the constant covers its shortest sequences.
_LZ4_MAX_RATIO, _LZ4_SLACK = 255, 64
# A Zstandard frame's blocks give at most 128 KiB each and have at least 4 bytes (3 of header, 1 repeated).
_ZSTD_BLOCK_CONTENT, _ZSTD_BLOCK_BYTES = 1 << 17, 4
_LZ4_MAX_CONTENT = 0x7E000000  # LZ4_MAX_INPUT_SIZE of its library
_LZ4_PREFIX = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Codec:
    """compress: content -> block; decompress: (block, size of the content in bytes) -> content.

    stated_size: block -> size of the content, as the block says. decompress_into: (block, room for the content), where
    the codec can do without memory of its own.
    """

    compress: Callable[[bytes | memoryview], bytes | memoryview]
    decompress: Callable[[bytes | memoryview, int], bytes | memoryview]
    stated_size: Callable[[bytes | memoryview], int | None]
    decompress_into: Callable[[bytes | memoryview, memoryview], None] | None = None


def compress(codec: str | None, data: bytes | memoryview) -> bytes | memoryview:
    """Return the block that holds `data`; with codec None that is `data` itself.

    Raises LimitError if the codec cannot hold as much, FormatError if it is unknown.
    """
    return _find(codec).compress(data)


def decompress(codec: str | None, data: bytes | memoryview, uncompressed_size: int) -> bytes | memoryview:
    """Return the content of a block: exactly `uncompressed_size` bytes. With codec None that is `data` itself.

    Raises FormatError if the codec is unknown, the bytes are damaged or the content is of another size.
    """
    return unpack(codec, _find(codec), data, uncompressed_size)


def unpack(name: str | None, codec: BlockCodec, data: bytes | memoryview, uncompressed_size: int) -> bytes | memoryview:
    """`decompress` by a codec that need not be known by its name."""
    if uncompressed_size > MAX_BLOCK_SIZE:
        raise FormatError(f"a block of {uncompressed_size} bytes: no chunk lies beyond {MAX_BLOCK_SIZE}")
    try:
        content = codec.decompress(data, uncompressed_size)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"codec {name}: {error}") from error
    if len(content) != uncompressed_size:
        raise FormatError(f"codec {name}: content of {len(content)} bytes, {uncompressed_size} expected")
    return content


def decompress_into(codec: str | None, data: bytes | memoryview, out: memoryview) -> None:
    """As `decompress`, into `out`: bytes, to be written to, as many as the content has."""
    into = _find(codec).decompress_into
    if into is None:
        out[:] = decompress(codec, data, len(out))
    else:
        into(data, out)


def stated_size(codec: str | None, data: bytes | memoryview) -> int | None:
    """What a block says of the size of its content, without unpacking it; None if it says nothing.

    Raises FormatError if the codec is unknown, or the bytes are no block of its.
    """
    return _find(codec).stated_size(data)


def is_known(codec: str | None) -> bool:
    """Whether blocks of a codec can be read and written here: it is built in, or installed."""
    try:
        check_codec(codec)
    except FormatError:
        return False
    return True


def check_codec(codec: str | None) -> None:
    """Raise FormatError for a codec that is not known."""
    _find(codec)


def _find(codec: str | None) -> Codec:
    found = CODECS.get(codec)
    if found is None:
        foreign = None if codec is None else installed(codec)
        if foreign is None:
            known = ", ".join(name for name in CODECS if name)
            raise FormatError(f"unknown codec {codec!r}; known are none, {known}; no installed package adds it")
        found = Codec(foreign.compress, foreign.decompress, lambda _: None)
    return found


# Two libraries: python-lz4 unpacks into memory of its own and copies that, which takes twice as long for a MiB; what
# cramjam makes of a block of 64 KiB is a sixth larger (a float32 field; scripts/bench).
def _lz4_compress(data: bytes | memoryview) -> bytes:
    if len(data) > _LZ4_MAX_CONTENT:
        raise LimitError(f"codec lz4: {len(data)} bytes are too many for one block of {_LZ4_MAX_CONTENT}")
    return bytes(lz4.block.compress(data, store_size=True))


def _lz4_size(data: bytes | memoryview) -> int:
    if len(data) < _LZ4_PREFIX.size:
        raise FormatError(f"codec lz4: a block of {len(data)} bytes has no length")
    (prefix,) = _LZ4_PREFIX.unpack_from(data)
    return int(prefix)


def _lz4_decompress(data: bytes | memoryview, uncompressed_size: int) -> memoryview:
    _lz4_check(data, uncompressed_size)
    content = np.empty(uncompressed_size, np.uint8).data
    _lz4_unpack(data, content)
    return content.toreadonly()


def _lz4_decompress_into(data: bytes | memoryview, out: memoryview) -> None:
    _lz4_check(data, len(out))
    _lz4_unpack(data, out)


def _lz4_check(data: bytes | memoryview, uncompressed_size: int) -> None:
    prefix = _lz4_size(data)
    if prefix != uncompressed_size:
        raise FormatError(f"codec lz4: content of {prefix} bytes, {uncompressed_size} expected")
    if uncompressed_size > _LZ4_MAX_RATIO * len(data) + _LZ4_SLACK:
        raise FormatError(f"codec lz4: {len(data)} bytes cannot hold {uncompressed_size}")


def _lz4_unpack(data: bytes | memoryview, out: memoryview) -> None:
    try:
        size = cramjam.lz4.decompress_block_into(data, out)
    except cramjam.DecompressionError as error:
        raise FormatError("codec lz4: the block is damaged, or has more content than it says") from error
    if size != len(out):
        raise FormatError(f"codec lz4: content of {size} bytes, {len(out)} expected")


class _ZstdContexts(threading.local):
    """zstandard's objects may not be used by two threads at once, and cost more to make than a small block."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _ZstdContexts()


def _zstd_compress(data: bytes | memoryview) -> bytes:
    return _zstd.compressor.compress(data)


def _zstd_size(data: bytes | memoryview) -> int | None:
    try:
        stated: int = zstandard.frame_content_size(data)
    except zstandard.ZstdError as error:
        raise FormatError(f"codec zstd: {error}") from None
    return None if stated == -1 else stated


def _zstd_decompress(data: bytes | memoryview, uncompressed_size: int) -> bytes:
    if uncompressed_size > _ZSTD_BLOCK_CONTENT * (len(data) // _ZSTD_BLOCK_BYTES):
        raise FormatError(f"codec zstd: {len(data)} bytes cannot hold {uncompressed_size}")
    # None: the frame does not say; then no more than what is expected is allocated.
    stated = _zstd_size(data)
    if stated not in (None, uncompressed_size):
        raise FormatError(f"codec zstd: content of {stated} bytes, {uncompressed_size} expected")
    try:
        return _zstd.decompressor.decompress(data, max_output_size=max(uncompressed_size, 1), allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError(f"codec zstd: {error}") from None


CODECS: dict[str | None, Codec] = {
    None: Codec(lambda data: data, lambda data, _: data, len),
    "lz4": Codec(_lz4_compress, _lz4_decompress, _lz4_size, _lz4_decompress_into),
    "zstd": Codec(_zstd_compress, _zstd_decompress, _zstd_size),
}
