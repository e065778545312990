"""File descriptors: their life, and reads and writes on them that are whole or fail.

Every call is positioned, so threads share a descriptor without sharing a place in it. Nothing here knows of stores.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress

from arrayfs.errors import ShortReadError

# One writev takes at most IOV_MAX buffers (limits.h: 1024 on Linux).
_IOV_MAX = 1024
_SYNC_FILE_RANGE_WRITE = 2
_C = ctypes.CDLL(None)


class Descriptor:
    """An open file descriptor, closed when nothing refers to it any more.

    `close` on the object that holds one only drops its reference: a read that another thread has begun keeps its own,
    so the number can never be given to another file under that read.
    """

    __slots__ = ("fd", "path")

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.fd)

    def failed(self, error: OSError) -> OSError:
        """Return `error` with the name of the file, which calls on a descriptor do not know."""
        error.filename = self.path
        return error


def read_exact(file: Descriptor, offset: int, size: int) -> bytes:
    """Return the `size` bytes at `offset`; raise ShortReadError if the file ends before."""
    data = _pread(file, offset, size)
    if len(data) == size:
        return data
    # One call gives at most 2 GiB - 4 KiB, and a network file system may give less than was asked for.
    pieces = [data]
    done = len(data)
    while done < size:
        if not pieces[-1]:
            raise _short(file, offset, size, done)
        pieces.append(_pread(file, offset + done, size - done))
        done += len(pieces[-1])
    return b"".join(pieces)


def read_into(file: Descriptor, offset: int, buffer: memoryview) -> None:
    """Fill `buffer` with the bytes at `offset`; raise ShortReadError if the file ends before."""
    if not buffer.nbytes:
        return
    view = buffer.cast("B")
    done = 0
    while done < len(view):
        try:
            count = os.preadv(file.fd, [view[done:]], offset + done)
        except OSError as error:
            raise file.failed(error) from None
        if not count:
            raise _short(file, offset, len(view), done)
        done += count


def write_all(file: Descriptor, offset: int, buffers: Sequence[memoryview]) -> None:
    """Write all of `buffers` (of bytes, none empty), one after another, from `offset` on; go on after short writes."""
    waiting = list(reversed(buffers))
    try:
        while waiting:
            batch = waiting[: -_IOV_MAX - 1 : -1]
            count = os.pwritev(file.fd, batch, offset)
            if not count:
                raise OSError(errno.EIO, "a write took no bytes")
            offset += count
            _drop(waiting, count)
    except OSError as error:
        raise file.failed(error) from None


def begin_writing(file: Descriptor, offset: int, size: int) -> None:
    """Have the kernel begin to write these bytes out (sync_file_range(2)); it says nothing of whether it could."""
    with suppress(AttributeError):  # a C library that has no such call
        _C.sync_file_range(file.fd, ctypes.c_int64(offset), ctypes.c_int64(size), _SYNC_FILE_RANGE_WRITE)


def _drop(waiting: list[memoryview], count: int) -> None:
    """Take the first `count` bytes off buffers that stand in reverse order."""
    while count:
        first = waiting.pop()
        if len(first) > count:
            waiting.append(first[count:])
            return
        count -= len(first)


def _pread(file: Descriptor, offset: int, size: int) -> bytes:
    try:
        return os.pread(file.fd, size, offset)
    except OSError as error:
        raise file.failed(error) from None


def _short(file: Descriptor, offset: int, wanted: int, got: int) -> ShortReadError:
    return short_read(file.path, offset, wanted, got)


def short_read(name: str, offset: int, wanted: int, got: int) -> ShortReadError:
    """Return the error for an object that ends too early."""
    return ShortReadError(f"{name}: {wanted} bytes wanted at offset {offset}, {got} are there")


def try_flock(fd: int, operation: int) -> bool:
    """Take an flock without waiting; return whether that worked."""
    try:
        fcntl.flock(fd, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
