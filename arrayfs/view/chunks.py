"""Stored chunk <-> chunk file.

A stored chunk is clipped to the array's shape and little-endian (format chapter 6); a chunk file always has the full
chunk shape, or is kept as its client encoded it. What is added at the edge is the fill value; what a written file holds
there is dropped.
"""

from __future__ import annotations

import math
import struct
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.container.limits import check_room
from arrayfs.errors import ChunkFileError, FormatError, LimitError
from arrayfs.format.chunkdata import U32_LIMIT, Buffer, Extent, check_size, join_elements, recut, split_elements
from arrayfs.format.dtypes import element_size, leaf
from arrayfs.view.fills import padding_element
from arrayfs.view.metadata import container_chunk_shape, zarr_look

_U32 = struct.Struct("<I")
# An opaque chunk is a Binary chunk of one element: two offsets, then the file.
_OPAQUE_HEAD = struct.Struct("<II")
# Bytes of memory for each element of varying size while its chunk file is made, beside those of the file.
_ELEMENT_COST = 48
MAX_OPAQUE_SIZE = U32_LIMIT - _OPAQUE_HEAD.size


class ChunkFormat(Protocol):
    """How the chunks of one array are files. extent: elements that the chunk really has, clipped (`Grid.extent`).

    size: bytes of every chunk file, None where they differ. varies: whether a file's size depends on more than its
    stored size.
    """

    size: int | None
    varies: bool

    def to_file(self, stored: Buffer, extent: Extent) -> Buffer:
        """The chunk file of a stored chunk; the same buffer where they are equal. Raises FormatError on damage."""

    def from_file(self, data: Buffer, extent: Extent) -> Buffer:
        """The stored chunk of a chunk file; the same buffer where they are equal.

        Raises ChunkFileError if `data` is no chunk of the array, LimitError if the format cannot hold it.
        """

    def head(self, size: int, extent: Extent) -> bytes | None:
        """What a stored chunk has before its file's `size` bytes, if it has these as they are; else None."""

    def file_size(self, stored_size: int, extent: Extent) -> int:
        """Bytes of the chunk file of a stored chunk of so many bytes."""

    def file_sizes(self, stored_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same for a column of chunks; only where the size does not vary."""

    def accepts(self, size: int) -> bool | None:
        """Whether a file of so many bytes can be a chunk; None if its content must be looked at."""


class NativeChunks:
    """Chunks that the container stores as numbers or elements of varying size.

    Inner axes of FixedSizeList are whole in every chunk, so extents here are the container's, without them.
    Raises FormatError for element types whose stored layout is not settled.
    """

    __slots__ = ("_fill", "_full_count", "_padding", "chunk_shape", "dtype", "size", "varies")

    def __init__(self, spec: ArraySpec) -> None:
        look = zarr_look(spec)
        self.dtype = spec.dtype
        self.chunk_shape = container_chunk_shape(spec)
        self._fill = spec.fill_value
        self._full_count = math.prod(self.chunk_shape)
        element = element_size(spec.dtype)
        self.size = None if element is None else element * self._full_count
        self.varies = self.size is None
        self._padding = padding_element(look.dtype, spec.fill_value) if self.varies else b""

    def to_file(self, stored: Buffer, extent: Extent) -> Buffer:
        if self.size is None:
            return self._elements_to_file(stored, extent)
        if extent == self.chunk_shape and len(stored) == self.size:
            return stored
        check_size(self.dtype, extent, len(stored))
        check_room(self.size, "its chunk file")
        return recut(self.dtype, self._fill, stored, extent, self.chunk_shape)

    def from_file(self, data: Buffer, extent: Extent) -> Buffer:
        if self.size is None:
            return self._elements_from_file(data, extent)
        if len(data) != self.size:
            raise ChunkFileError(f"{len(data)} bytes, a chunk file of this array has {self.size}")
        if extent == self.chunk_shape:
            return data
        return recut(self.dtype, self._fill, data, self.chunk_shape, extent)

    def head(self, size: int, extent: Extent) -> bytes | None:
        return b"" if size == self.size and extent == self.chunk_shape else None

    def file_size(self, stored_size: int, extent: Extent) -> int:
        if self.size is not None:
            return self.size
        count = math.prod(extent)
        payload = max(stored_size - 4 * (count + 1), 0)
        return 4 + 4 * self._full_count + payload + (self._full_count - count) * len(self._padding)

    def file_sizes(self, stored_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        if self.size is None:
            raise TypeError(f"the chunk files of {self.dtype.name} have different sizes")
        return np.full(len(stored_sizes), self.size, np.int64)

    def accepts(self, size: int) -> bool | None:
        if self.size is not None:
            return size == self.size
        return None if size >= 4 + 4 * self._full_count else False

    # --- elements of varying size: u32 count, then for each element its u32 length and its bytes ------------------
    # (numcodecs vlen-utf8 and vlen-bytes; the bytes of the elements have the same order in both forms)

    def _elements_to_file(self, stored: Buffer, extent: Extent) -> bytes:
        check_size(self.dtype, extent, len(stored))
        offsets, payload = split_elements(self.dtype, stored, math.prod(extent))
        size = self.file_size(len(stored), extent)
        if size > U32_LIMIT:
            raise FormatError(f"its chunk file would have {size} bytes, {U32_LIMIT} are the most")
        check_room(size + _ELEMENT_COST * self._full_count, "its chunk file")
        lengths, real = self._padded(np.diff(offsets), extent)
        out = np.empty(4 + 4 * len(lengths) + int(lengths.sum()), np.uint8)
        out[:4] = np.frombuffer(_U32.pack(len(lengths)), np.uint8)
        body = out[4:]
        is_element = _interleave(np.zeros(len(lengths), np.bool_), np.ones(len(lengths), np.bool_), lengths)
        body[~is_element] = lengths.astype("<u4").view(np.uint8)
        if self._padding and not real.all():
            is_padding = _interleave(np.zeros(len(lengths), np.bool_), ~real, lengths)
            body[is_padding] = np.tile(np.frombuffer(self._padding, np.uint8), int((~real).sum()))
            is_element &= ~is_padding
        body[is_element] = np.frombuffer(payload, np.uint8)
        return out.tobytes()

    def _elements_from_file(self, data: Buffer, extent: Extent) -> bytes:
        lengths = self._read_lengths(data)
        inside = np.zeros(self.chunk_shape, np.bool_)
        inside[tuple(map(slice, extent))] = True
        inside = inside.ravel()
        kept = _interleave(np.zeros(len(lengths), np.bool_), inside, lengths)
        payload = np.frombuffer(data, np.uint8)[4:][kept]
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths[inside])))
        return self._join(offsets, payload.tobytes())

    def _padded(self, lengths: NDArray[np.int64], extent: Extent) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Lengths of the elements of a full chunk, and which of them the stored chunk has."""
        full = np.full(self.chunk_shape, len(self._padding), np.int64)
        real = np.zeros(self.chunk_shape, np.bool_)
        inside = tuple(map(slice, extent))
        full[inside] = lengths.reshape(extent)
        real[inside] = True
        return full.ravel(), real.ravel()

    def _read_lengths(self, data: Buffer) -> NDArray[np.int64]:
        """The elements' lengths in bytes. Raises ChunkFileError unless they fill the file exactly."""
        count = _U32.unpack_from(data)[0] if len(data) >= 4 else -1
        if count != self._full_count:
            raise ChunkFileError(f"a chunk file of {len(data)} bytes has {count} elements, not {self._full_count}")
        if len(data) < 4 + 4 * count:
            raise ChunkFileError(f"a chunk file of {len(data)} bytes cannot hold {count} elements")
        lengths: list[int] = []
        position, read = 4, _U32.unpack_from
        try:
            for _ in range(count):
                (length,) = read(data, position)
                lengths.append(length)
                position += 4 + length
        except struct.error:
            raise ChunkFileError(f"a file of {len(data)} bytes ends in element {len(lengths)} of {count}") from None
        if position != len(data):
            raise ChunkFileError(f"the {count} elements of a chunk file end at byte {position} of {len(data)}")
        return np.array(lengths, np.int64)

    def _join(self, offsets: NDArray[np.int64], payload: bytes) -> bytes:
        base, _ = leaf(self.dtype)
        unit = element_size(base.child) if base.child is not None else 1
        if unit and bool((offsets % unit).any()):
            raise ChunkFileError(
                f"an element's length is no multiple of the {unit} bytes of a value of {self.dtype.name}"
            )
        if len(payload) + 4 * len(offsets) >= U32_LIMIT:
            raise LimitError(f"a chunk of {len(payload) + 4 * len(offsets)} bytes, {U32_LIMIT - 1} is the limit")
        return join_elements(self.dtype, offsets, payload)


class OpaqueChunks:
    """Chunk files kept as they are, each the one Binary element of a chunk."""

    __slots__ = ()
    size: int | None = None
    varies = False

    def to_file(self, stored: Buffer, extent: Extent) -> Buffer:
        del extent
        size = len(stored) - _OPAQUE_HEAD.size
        if size < 0 or _OPAQUE_HEAD.unpack_from(stored) != (0, size):
            raise FormatError(f"a stored chunk of {len(stored)} bytes does not hold one element")
        return memoryview(stored)[_OPAQUE_HEAD.size :]

    def from_file(self, data: Buffer, extent: Extent) -> Buffer:
        del extent
        if len(data) >= MAX_OPAQUE_SIZE:
            raise LimitError(f"a chunk file of {len(data)} bytes, {MAX_OPAQUE_SIZE - 1} is the limit")
        return b"".join((_OPAQUE_HEAD.pack(0, len(data)), data))

    def head(self, size: int, extent: Extent) -> bytes | None:
        del extent
        return _OPAQUE_HEAD.pack(0, size) if size < MAX_OPAQUE_SIZE else None

    def file_size(self, stored_size: int, extent: Extent) -> int:
        del extent
        return max(stored_size - _OPAQUE_HEAD.size, 0)

    def file_sizes(self, stored_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.maximum(stored_sizes - _OPAQUE_HEAD.size, 0)

    def accepts(self, size: int) -> bool | None:
        return size < MAX_OPAQUE_SIZE


def _interleave(heads: NDArray[np.bool_], bodies: NDArray[np.bool_], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    """One flag for each byte of the elements: that of the 4 bytes of their lengths, and that of their own bytes."""
    flags = np.stack((heads, bodies), axis=1).ravel()
    counts = np.stack((np.full(len(lengths), 4, np.int64), lengths), axis=1).ravel()
    return np.repeat(flags, counts)
