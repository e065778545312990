"""One open NumPy file of `.arrayfs/arrays`: who reads it from start to end gets more made at a time than he asks for.

Reading takes no lock of the container: what is read never changes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from arrayfs.errors import FormatError
from arrayfs.view import npy
from arrayfs.view.readers import ReadHandle

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree
    from arrayfs.view.whole_arrays import WholeFile

# Bytes made at a time for who reads from start to end. Of an array in cubes of 100, 128 KiB are cut from 24 chunks, and
# 1 MiB from 40.
STRETCH = 1 << 20


class Stretch:
    """More than what was asked for, made at once by who comes first."""

    __slots__ = ("_data", "_lock", "_make", "is_ready", "start", "stop")

    def __init__(self, content: npy.NpyFile, start: int) -> None:
        wanted = content.plan(start, STRETCH)
        self.start, self.stop = start, start + len(wanted.data)
        self.is_ready = content.is_ready(wanted)
        self._make: Callable[[], memoryview] | None = lambda: content.fetch(wanted)
        self._data = memoryview(b"")
        self._lock = threading.Lock()

    def read(self, offset: int, size: int) -> memoryview:
        """Bytes of it."""
        with self._lock:
            if self._make is not None:
                self._data = self._make()
                self._make, self.is_ready = None, True
        return self._data[offset - self.start : offset - self.start + size]


class WholeReader(ReadHandle):
    """One handle of a file.

    _next: where the last read ended; who goes on there is a reader of the whole file. _stretch: what was made for him.
    """

    __slots__ = ("_content", "_file", "_next", "_stretch")

    # it stands for one state of the array
    cacheable = True
    unpacks = True

    def __init__(self, tree: Tree, file: WholeFile, content: npy.NpyFile) -> None:
        super().__init__(tree)
        self._file, self._content = file, content
        self._next = -1
        self._stretch: Stretch | None = None
        file.opens += 1

    @property
    def ino(self) -> int:
        """The inode's number."""
        return self._file.ino

    @property
    def alone(self) -> bool:
        """Whether this is the only open handle of its inode."""
        return self._file.opens == 1

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._content.size

    def plan(self, offset: int, size: int) -> tuple[bool, Callable[[], memoryview]]:
        """How to get bytes from `offset`, fewer at the end, and whether they are there without waiting."""
        goes_on, self._next = offset == self._next, offset + size
        stretch = self._stretch
        if stretch is None or not stretch.start <= offset < self._next <= stretch.stop:
            stretch = Stretch(self._content, offset) if goes_on and size < STRETCH else None
        if stretch is not None:
            self._stretch = stretch
            if self._next <= stretch.stop or stretch.stop == self._content.size:
                return stretch.is_ready, lambda: self._read(stretch, offset, size)
        wanted = self._content.plan(offset, size)
        return self._content.is_ready(wanted), lambda: self._content.fetch(wanted)

    def _read(self, stretch: Stretch, offset: int, size: int) -> memoryview:
        try:
            return stretch.read(offset, size)
        except (FormatError, OSError):  # perhaps of a chunk that was not asked for
            self._stretch = None
            return self._content.fetch(self._content.plan(offset, size))

    def read(self, offset: int, size: int) -> memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        return self.plan(offset, size)[1]()

    def release(self) -> None:
        """The handle ends."""
        with self._tree.container.lock:
            self._file.opens -= 1
            if not self._file.opens:
                self._tree.control.arrays.released(self._file)

    def prefetch(self) -> None:
        """Nothing: what is read next lies in the same chunks."""
