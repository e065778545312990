"""Plain files and stored documents as arrays of the container: one Binary array each, pieces of up to 1 MiB.

The layout and the reserved names are described in docs/FORMAT.md, "Stored files". A write stores the pieces that
changed; a piece that no layer has is zeros; bytes of a piece behind its stored end are zeros.
"""

from __future__ import annotations

import stat
import struct

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.container import Container
from arrayfs.errors import FormatError
from arrayfs.format.dtypes import BINARY
from arrayfs.format.model import ArrayMeta, AttributeValue
from arrayfs.view.draft import PIECE_SIZE, Draft
from arrayfs.view.nodes import FILE_MODE, LINK_MODE

RESERVED = ".arrayfs/"
FILES = RESERVED + "files/"
CHUNKS = RESERVED + "chunks/"
HIDDEN = RESERVED + "hidden/"
# Where a symbolic link leads to is shorter than this (PATH_MAX).
LINK_LIMIT = 4096
# One Binary element: its two offsets, then its bytes.
_OFFSETS = struct.Struct("<II")


def element(content: bytes | bytearray | memoryview) -> bytes:
    """A stored chunk of one Binary element."""
    return b"".join((_OFFSETS.pack(0, len(content)), content))


def content_of(stored: bytes | memoryview) -> memoryview:
    """The inverse of `element`. Raises FormatError if it is not one element."""
    if len(stored) < _OFFSETS.size or _OFFSETS.unpack_from(stored) != (0, len(stored) - _OFFSETS.size):
        raise FormatError(f"{len(stored)} bytes are not one Binary element")
    return memoryview(stored)[_OFFSETS.size :]


def spec_of(size: int) -> ArraySpec:
    """The array of a file of `size` bytes."""
    return ArraySpec(BINARY, (-(-size // PIECE_SIZE),), (1,), ("piece",))


def is_file(meta: ArrayMeta) -> bool:
    """Whether an array of a reserved name is a stored file: a container may come from anyone."""
    return meta.dtype == BINARY and len(meta.shape) == 1 and meta.chunk_shape == (1,)


def read_attributes(array: Array) -> tuple[int, int, int | None]:
    """Size in bytes, mode with the type bits, and time of the last write in ns (None: not kept) of a stored file.

    Of the types that a mode can say, one is believed: a symbolic link, if the size can be that of one.
    """
    attributes = array.attributes
    size = number_of(attributes.get("size"))
    if size is None or size < 0 or -(-size // PIECE_SIZE) > array.spec.shape[0]:
        size = array.spec.shape[0] * PIECE_SIZE
    mode = number_of(attributes.get("mode"))
    if mode is not None and stat.S_ISLNK(mode) and 0 < size < LINK_LIMIT:
        return size, LINK_MODE, read_time(array)
    return size, stat.S_IFREG | (FILE_MODE if mode is None else mode) & 0o7777, read_time(array)


def read_time(array: Array) -> int | None:
    """The time of the last write in ns; None if it is not kept."""
    mtime_ns = number_of(array.attributes.get("mtime_ns"))
    return None if mtime_ns is None or mtime_ns >= 1 << 63 else mtime_ns


def attributes_of(size: int, mode: int, mtime_ns: int) -> dict[str, AttributeValue]:
    """The inverse of `read_attributes`."""
    return {
        "size": AttributeValue("UInt64", size.to_bytes(8, "little")),
        "mode": AttributeValue("UInt32", (mode if stat.S_ISLNK(mode) else stat.S_IMODE(mode)).to_bytes(4, "little")),
        "mtime_ns": AttributeValue("Int64", mtime_ns.to_bytes(8, "little", signed=True)),
    }


def number_of(value: AttributeValue | None) -> int | None:
    """An attribute that is a whole number; None for any other, and for none."""
    if value is None or isinstance(value.payload, tuple) or not value.kind.startswith(("Int", "UInt")):
        return None
    return int.from_bytes(value.payload, "little", signed=value.kind.startswith("Int"))


def read(container: Container, array: Array, file_size: int, offset: int, size: int) -> bytes | memoryview:
    """Bytes of a stored file, fewer at its end."""
    size = max(0, min(size, file_size - offset))
    number, inner = divmod(offset, PIECE_SIZE)
    if inner + size <= PIECE_SIZE:
        return _read_piece(container, array, number, inner, size)
    out = bytearray()
    while len(out) < size:
        out += _read_piece(container, array, number, inner, min(size - len(out), PIECE_SIZE - inner))
        number, inner = number + 1, 0
    return bytes(out)


def _read_piece(container: Container, array: Array, number: int, inner: int, size: int) -> bytes | memoryview:
    stored = container.read(array, (number,)) if size else None
    part = memoryview(b"") if stored is None else content_of(stored)[inner : inner + size]
    return part if len(part) == size else bytes(part) + bytes(size - len(part))


def pieces_of(array: Array) -> list[int]:
    """Numbers of the pieces that a stored file has; all others are zeros."""
    numbers: list[int] = array.coords()[:, 0].tolist()
    return numbers


def store(container: Container, array: Array, draft: Draft, mtime_ns: int, *, new: bool = False) -> None:
    """Put what a draft changed into the file's array, and cut the array to the draft's size.

    new: the array has nothing of what the draft lies over.
    """
    pieces = spec_of(draft.size)
    if not new:
        _drop_cut_off(container, array, draft, mtime_ns)
    if pieces.shape != array.spec.shape:
        container.respec(array, pieces, mtime_ns)
    for number, piece in draft.all_pieces() if new else draft.changed():
        container.put(array, (number,), element(piece), mtime_ns)
    if new:
        return
    last, inner = divmod(draft.base_size, PIECE_SIZE)
    if inner and not draft.has(last):
        _cut_piece(container, array, last, inner, mtime_ns)


def _drop_cut_off(container: Container, array: Array, draft: Draft, mtime_ns: int) -> None:
    """Whole pieces that were cut off before the file grew again must not come back either."""
    kept = -(-draft.base_size // PIECE_SIZE)
    if kept >= min(array.spec.shape[0], -(-draft.size // PIECE_SIZE)):
        return  # the array is cut where the draft was, or nothing was cut
    for number in array.coords()[:, 0].tolist():
        if number >= kept and not draft.has(number):
            container.put(array, (number,), None, mtime_ns)


def _cut_piece(container: Container, array: Array, number: int, size: int, mtime_ns: int) -> None:
    """Bytes of a piece behind `size` were cut off: they must not come back when the file grows."""
    stored = container.read(array, (number,))
    if stored is not None and len(content_of(stored)) > size:
        container.put(array, (number,), element(content_of(stored)[:size]), mtime_ns)
