"""An open file: one handle of an inode. All handles of an inode show one content, in-place writes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from arrayfs.errors import RefusedError
from arrayfs.view.attr import Attr
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

import errno


class OpenFile:
    """One handle. Closed by `release`, once."""

    def __init__(self, tree: Tree, file: File, *, write: bool) -> None:
        self._tree = tree
        self._file = file
        self._write = write
        file.opens += 1
        file.writers += write

    @property
    def ino(self) -> int:
        """The inode's number."""
        return self._file.ino

    @property
    def file(self) -> File:
        """The inode."""
        return self._file

    @property
    def cacheable(self) -> bool:
        """Whether what the kernel has of this inode stays right until it is written through the mount."""
        return not self._file.synthetic and not self._tree.control.owns(self._file)

    def attr(self) -> Attr:
        """What fstat says."""
        with self._tree.container.lock:
            return self._tree.attr(self._file)

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        with self._tree.container.lock:
            return self._tree.files.read(self._file, offset, size)

    def write(self, offset: int, data: bytes) -> int:
        """Put `data` at `offset`; returns how many bytes were taken."""
        if not self._write:
            raise RefusedError(errno.EBADF, "the file is open for reading")
        with self._tree.container.lock:
            self._file.mtime_ns = self._tree.now()
            if self._tree.control.owns(self._file):
                return self._tree.control.write(self._file, data)
            return self._tree.files.write(self._file, offset, data)

    def truncate(self, size: int) -> None:
        """Cut the file, or let it grow by zeros."""
        with self._tree.container.lock:
            self._tree.control.refuse_change(self._file)
            if self._tree.control.owns(self._file):
                return
            self._file.mtime_ns = self._tree.now()
            self._tree.files.truncate(self._file, size)

    def flush(self) -> None:
        """One descriptor was closed: judge what was written."""
        if self._write:
            with self._tree.container.lock:
                self._tree.files.judge(self._file, final=False)

    def sync(self) -> None:
        """Judge what was written; what `fsync` promises stands in docs/SEMANTICS.md."""
        self.flush()

    def release(self) -> None:
        """The handle ends; with the last one that writes, the content is judged for good."""
        file = self._file
        with self._tree.container.lock:
            file.opens -= 1
            file.writers -= self._write
            if self._write and not file.writers:
                self._tree.files.judge(file, final=True)
            if not file.opens:
                self._tree.closed(file)

    def prefetch(self) -> Callable[[], None] | None:
        """Work for another thread: have the chunk after this one unpacked in the cache. None: nothing to predict."""
        file = self._file
        binding = file.bindings[0] if file.bindings else None
        if binding is None or binding.zarr is None or file.draft is not None:
            return None
        return binding.zarr.prefetch(binding.coord)
