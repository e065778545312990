"""An object of a folder, opened: a file that nobody writes to any more, read at any place by any thread."""

from __future__ import annotations

import errno
import os
import stat

from arrayfs.errors import MissingObjectError, StaleError
from arrayfs.store.descriptor import Descriptor, read_exact, read_into, short_read
from arrayfs.store.folder import Folder
from arrayfs.store.openfiles import OPEN_FILES
from arrayfs.store.protocol import check_range


class LocalBlob:
    """One open file.

    Its descriptor may be given back meanwhile (`openfiles.py`), never its content: if another file has the name when it
    is needed again, that is a StaleError.
    """

    def __init__(self, folder: Folder, name: str, file: Descriptor, status: os.stat_result) -> None:
        self.name = name
        self.size = status.st_size
        self.stored_bytes = status.st_blocks * 512
        self.mtime_ns = status.st_mtime_ns
        self._folder = folder
        self._status = status
        self._path = file.path
        self._closed = False
        self._file: Descriptor | None = file
        OPEN_FILES.opened(self)

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        return read_exact(self._opened(), offset, size)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._check(offset, buffer.nbytes)
        read_into(self._opened(), offset, buffer)

    def close(self) -> None:
        self._closed = True
        self._file = None

    def is_current(self) -> bool:
        return self._folder.has(self.name, self._status)

    def lend(self) -> None:
        """Give the descriptor back until the next read."""
        self._file = None

    def _check(self, offset: int, size: int) -> None:
        # Before anything of that size is allocated: sizes come from containers that anyone may have written.
        check_range(offset, size)
        if offset + size > self.size:
            raise short_read(self._path, offset, size, max(self.size - offset, 0))

    def _opened(self) -> Descriptor:
        file = self._file
        if file is None:
            if self._closed:
                raise ValueError(f"{self._path}: read after close")
            file = self._file = self._reopened()
            OPEN_FILES.opened(self)
        return file

    def _reopened(self) -> Descriptor:
        try:
            file, status = open_regular(self._folder, self.name)
        except MissingObjectError:
            raise StaleError(errno.ESTALE, f"{self._path}: removed since it was opened") from None
        if not os.path.samestat(status, self._status) or _content(status) != _content(self._status):
            raise StaleError(errno.ESTALE, f"{self._path}: replaced since it was opened")
        return file


def _content(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


def open_regular(folder: Folder, name: str) -> tuple[Descriptor, os.stat_result]:
    """Open a file for reading. Raises MissingObjectError if it is none, or no regular one."""
    # O_NONBLOCK: opening a named pipe would wait for its other end.
    file = folder.open(name, os.O_RDONLY | os.O_NONBLOCK)
    status = os.fstat(file.fd)
    if not stat.S_ISREG(status.st_mode):
        raise MissingObjectError(f"{file.path}: not a regular file")
    return file, status
