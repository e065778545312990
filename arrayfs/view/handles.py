"""An open file: one handle of an inode. All handles of an inode show one content, in-place writes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from arrayfs.errors import RefusedError
from arrayfs.view import dying
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

import errno


class OpenFile:
    """One handle. Closed by `release`, once.

    death: the number of the signal by which its writer was killed, as far as is known; 0 if nothing is.
    """

    unpacks = False

    def __init__(self, tree: Tree, file: File, *, write: bool, emptied: bool = False) -> None:
        """emptied: the file was truncated for this handle."""
        self._tree = tree
        self._file = file
        self._write = write
        self.death = 0
        file.opens += 1
        file.writers += write
        if write:
            tree.being_written[file] = None
        if emptied:
            self._sign()

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
        file = self._file
        changes = file.synthetic or file.ino in self._tree.changing or self._tree.control.owns(file)
        return not (changes or _was_cut(file))

    @property
    def alone(self) -> bool:
        """Whether this is the only open handle of its inode."""
        return self._file.opens == 1

    @property
    def size(self) -> int:
        """Bytes of the file."""
        with self._tree.container.lock:
            return self._tree.attr(self._file).size

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        with self._tree.container.lock:
            return self._tree.files.read(self._file, offset, size)

    def write(self, offset: int, data: bytes) -> int:
        """Put `data` at `offset`; returns how many bytes were taken."""
        if not self._write:
            raise RefusedError(errno.EBADF, "the file is open for reading")
        if self._tree.control.owns(self._file):
            return self._tree.control.write(self._file, data)  # without the lock: others go on during a commit
        with self._tree.container.lock:
            self._file.mtime_ns = self._tree.now()
            self._sign()
            return self._tree.files.write(self._file, offset, data)

    def truncate(self, size: int) -> None:
        """Cut the file, or let it grow by zeros."""
        with self._tree.container.lock:
            self._tree.control.refuse_change(self._file)
            if self._tree.control.owns(self._file):
                return
            self._file.mtime_ns = self._tree.now()
            self._sign()
            self._tree.files.truncate(self._file, size)

    def _sign(self) -> None:
        """Somebody lives who writes through this handle, and what is in the draft is the handle's too."""
        self.death = 0
        if self not in self._file.authors:
            self._file.authors |= {self}

    def _has_written(self) -> bool:
        file = self._file
        return self in file.authors or (file.fresh and not file.authors)

    @property
    def at_risk(self) -> bool:
        """Whether a death of its writer would leave half a chunk or document: it has written what is not judged."""
        file = self._file
        if not self._write or file.draft is None or file.judged:
            return False
        with self._tree.container.lock:
            return self._has_written() and dying.counts_whole(self._tree, file)

    def flush(self) -> None:
        """One descriptor was closed: judge what was written, unless others alone have written it."""
        if self._write:
            with self._tree.container.lock:
                self.death = 0
                authors = self._file.authors
                if not authors or self in authors or None in authors:
                    self._tree.files.judge(self._file, final=False)

    def killed(self, signal: int) -> None:
        """What comes instead of `flush` when the process that opened the handle dies of a signal: nothing is judged.

        What becomes of the file is decided at `release`: until then somebody else may have the descriptor and go on.
        """
        if self._write:
            self.death = signal

    def sync(self) -> None:
        """Judge what was written, and make it durable; what `fsync` promises stands in docs/SEMANTICS.md."""
        self.flush()
        self._tree.sync()

    def release(self) -> None:
        """The handle ends; with the last one that writes, the content is judged for good.

        If its writer was killed, the last whole content may come back (`dying.undo`), or a new file lose its names.
        """
        file = self._file
        with self._tree.container.lock:
            file.opens -= 1
            file.writers -= self._write
            if not file.writers:
                self._tree.being_written.pop(file, None)
            undone = self.death and self._has_written() and dying.undo(self._tree, file, self.death)
            if self._write and not file.writers and not undone:
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


def _was_cut(file: File) -> bool:
    """Whether the kernel may have pages of what was dropped at the array's edge: it is told, but only moments later."""
    return any(
        binding.zarr is not None
        and binding.zarr.stored(binding.coord) in binding.zarr.array.changes
        and binding.zarr.is_clipped(binding.coord)
        for binding in file.bindings
    )
