"""The bytes of a writer's journal: a header, then what clients did, one record after another (docs/FORMAT.md).

A record's checksum goes on from the one before it, beginning with the header's: a record is believed only if all before
it are whole, so a journal ends where the first damaged or torn record begins. Nothing here does I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from arrayfs.errors import FormatError
from arrayfs.format.checksums import crc32c

_HEADER = struct.Struct("<16s16s16s16sQII")
_FRAME = struct.Struct("<II")
_BODY = struct.Struct("<BBHIIQQQ")
_U64 = (1 << 64) - 1
# What follows from the time of an operation has to fit into 64 bits with a sign as well.
_LATEST_NS = (1 << 63) - (1 << 32)
_SIZED_BODY = struct.Struct("<IBBHIIQQQ")
_MAGIC = b"arrayfs journal\0"
VERSION = 1

HEADER_SIZE = _HEADER.size + 4
FRAME_SIZE = _FRAME.size
# The kernel's largest WRITE is 1 MiB; a path may be long, but not as long as this.
MAX_RECORD = 64 << 20


class Op(IntEnum):
    """What was done. In brackets: the fields of `Operation` that say how."""

    CREATE = 1  # an empty file, or the one that was there [path, number: mode]
    MKDIR = 2  # [path, number: mode, flag: with those above it, as far as they are missing]
    UNLINK = 3  # [path, flag: if it is there]
    RMDIR = 4  # [path]
    RENAME = 5  # [path, new_path]
    LINK = 6  # [path, new_path]
    OPEN = 7  # for writing; a later record means this handle by its number [path, handle, flag: O_TRUNC]
    WRITE = 8  # [handle, number: offset, data]
    RESIZE = 9  # through a handle [handle, number: size]
    FLUSH = 10  # one descriptor of the handle was closed, or fsync called [handle]
    RELEASE = 11  # the handle ended [handle]
    TRUNCATE = 12  # by name [path, number: size]
    MODE = 13  # [path, number: mode]
    MTIME = 14  # [path, number: nanoseconds since 1970, negative before]
    CATCH_UP = 16  # all above was carried over to a newer version [path: its layer id in hex, flag: ours wins]
    SYMLINK = 17  # [path, data: what it leads to]
    PUT = 18  # a whole file, with the directories above it [path, data]
    REMOVE = 19  # a file, or a directory with all that is below it; of the root, all below it [path]
    EXCHANGE = 20  # of two names [path, new_path]
    KILLED = 15  # what comes instead of FLUSH when the writer is killed [handle, number: signal]


_WITH_DATA = (Op.WRITE, Op.SYMLINK, Op.PUT)


@dataclass(frozen=True, slots=True)
class LogHeader:
    """Whose journal it is. parent_id: the layer that it goes on from; layer_id: the one that its commit will have.

    look: the Zarr format (2 or 3) of the documents that no client wrote; time_ns: when it was begun.
    """

    container_id: bytes
    parent_id: bytes
    layer_id: bytes
    time_ns: int
    look: int


class Operation(NamedTuple):
    """One change that a client made. Paths go down from the root, without a slash in front; the root's is empty.

    time_ns: what the clock said; times that the operation sets follow from it.
    """

    op: Op
    time_ns: int
    path: str = ""
    new_path: str = ""
    handle: int = 0
    number: int = 0
    flag: bool = False
    data: bytes | memoryview = b""


def encode_header(header: LogHeader) -> bytes:
    """The first HEADER_SIZE bytes of a journal."""
    packed = _HEADER.pack(
        _MAGIC, header.container_id, header.parent_id, header.layer_id, header.time_ns, VERSION, header.look
    )
    return packed + crc32c(packed).to_bytes(4, "little")


def decode_header(data: bytes) -> LogHeader:
    """The header of a journal that begins with `data`. Raises FormatError."""
    if len(data) < HEADER_SIZE or not data.startswith(_MAGIC):
        raise FormatError("no journal of arrayfs: its header is missing or torn")
    _, container_id, parent_id, layer_id, time_ns, version, look = _HEADER.unpack_from(data)
    if checksum_of_header(data) != crc32c(data[: _HEADER.size]):
        raise FormatError("the journal's header is damaged: its checksum is wrong")
    if version != VERSION or look not in (2, 3):
        raise FormatError(f"a journal of version {version}, look {look}; version {VERSION}, look 2 or 3 can be read")
    return LogHeader(container_id, parent_id, layer_id, time_ns, look)


def checksum_of_header(header: bytes) -> int:
    """What the checksum of the first record goes on from."""
    return int.from_bytes(header[_HEADER.size : HEADER_SIZE], "little")


def encode_operation(operation: Operation, checksum: int) -> tuple[bytes, bytes | memoryview, int]:
    """A record in two pieces, the second being `operation.data` itself, and its checksum.

    checksum: that of the record before.
    """
    op, time_ns, path, new_path, handle, number, flag, data = operation
    one, two = path.encode(), new_path.encode()
    size = _BODY.size + len(one) + len(two) + len(data)
    # the size and what follows the checksum in one piece: each call of the checksum costs more than these few bytes
    head = _SIZED_BODY.pack(size, op, flag, 0, len(one), len(two), time_ns, handle, number & _U64) + one + two
    checksum = crc32c(head, checksum)
    if data:
        checksum = crc32c(data, checksum)
    return b"%b%b%b" % (head[:4], checksum.to_bytes(4, "little"), head[4:]), data, checksum


def record_size(frame: bytes) -> int:
    """Bytes that follow a record's first FRAME_SIZE bytes; 0 if they can be no record's."""
    if len(frame) < FRAME_SIZE:
        return 0
    size: int = _FRAME.unpack_from(frame)[0]
    return size if _BODY.size <= size <= MAX_RECORD else 0


def decode_operation(frame: bytes, content: bytes, checksum: int) -> tuple[Operation, int]:
    """A record and its checksum. Raises FormatError for bytes that are not what was written."""
    size, expected = _FRAME.unpack_from(frame)
    found = crc32c(content, crc32c(size.to_bytes(4, "little"), checksum))
    if len(content) != size or found != expected:
        raise FormatError(f"a record of {size} bytes is torn or damaged: checksum {found:#010x}, not {expected:#010x}")
    kind, flag, _, path_size, new_path_size, time_ns, handle, number = _BODY.unpack_from(content)
    if time_ns > _LATEST_NS:
        raise FormatError(f"a record of the time {time_ns} ns, which no clock can have said")
    start = _BODY.size
    if start + path_size + new_path_size > size:
        raise FormatError(f"a record of {size} bytes claims paths of {path_size} and {new_path_size}")
    try:
        path, new_path = _texts(content, start, path_size, new_path_size)
        op = Op(kind)
    except ValueError as error:
        raise FormatError(f"a record that nobody can have written: {error}") from None
    if op is Op.MTIME and number >> 63:  # a time before 1970, in two's complement
        number -= 1 << 64
    data = memoryview(content)[start + path_size + new_path_size :] if op in _WITH_DATA else b""
    return Operation(op, time_ns, path, new_path, handle, number, bool(flag), data), found


def _texts(content: bytes, start: int, *sizes: int) -> Iterator[str]:
    for size in sizes:
        yield content[start : start + size].decode()
        start += size
