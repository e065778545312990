"""Bytes at an offset of a file: all of them, though one call may take or give fewer."""

from __future__ import annotations

import os
from typing import Final

# What is read of a large file at a time.
STEP: Final = 4 << 20
Buffer = bytes | memoryview


def write_all(fd: int, offset: int, data: Buffer) -> None:
    """Write all of it."""
    view = memoryview(data)
    while len(view):
        done = os.pwrite(fd, view, offset)
        view, offset = view[done:], offset + done


def read_all(fd: int, offset: int, size: int) -> bytes:
    """Read all of it; what the file does not have yet reads as zeros, which it will have."""
    found = b""
    while len(found) < size:
        more = os.pread(fd, size - len(found), offset + len(found))
        if not more:
            return found + bytes(size - len(found))
        found = found + more if found else more
    return found
