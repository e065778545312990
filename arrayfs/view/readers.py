"""Handles that only read a chunk which nobody has touched: what most opens are, at a fraction of a `File`'s price.

They share one object, which keeps what the chunk was when it was opened: index and chunk format never change, nor do
the layers that they lead to. As soon as the chunk becomes a `File`, its content is what that one says.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from arrayfs.container.grid import Coord
from arrayfs.errors import RefusedError
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.content import Content, cut
from arrayfs.view.handles import OpenFile
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


class ReadHandle:
    """What handles that only read have in common."""

    __slots__ = ("_tree",)

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def write(self, offset: int, data: bytes) -> int:
        """Refused: the handle reads."""
        raise RefusedError(errno.EBADF, f"{len(data)} bytes for offset {offset}: the file is open for reading")

    def truncate(self, size: int) -> None:
        """Refused, as by ftruncate(2) for a descriptor that reads."""
        raise RefusedError(errno.EINVAL, f"cut to {size} bytes: the file is open for reading")

    def flush(self) -> None:
        """Nothing was written through these handles."""

    @property
    def at_risk(self) -> bool:
        """Nothing is written through these handles that a death could cut in half."""
        return False

    def killed(self, signal: int) -> None:
        """Nor is anything undone by one."""

    def sync(self) -> None:
        """Fsync; what it promises stands in docs/SEMANTICS.md."""
        self._tree.sync()


class ChunkReader(ReadHandle):
    """All handles of one inode number that read a committed chunk; each is closed by `release`, once.

    opens: how many there are. It is in `zarr.readers` until they are closed or the chunk becomes a file.
    """

    __slots__ = ("_chunks", "_content", "_coord", "_file", "_index", "_place", "ino", "opens", "zarr")

    # nothing changes the chunk but writing to it, or a commit of another mount, which gives it another number
    cacheable = True
    unpacks = False

    def __init__(self, tree: Tree, ino: int, zarr: ZarrArray, coord: Coord, place: int) -> None:
        """place: that of the chunk in the array's index."""
        super().__init__(tree)
        self.ino = ino
        self.zarr = zarr
        self.opens = 1
        self._coord = coord
        self._place = place
        self._index = zarr.array.index
        self._chunks = zarr.chunks
        self._file: OpenFile | None = None
        self._content: Content | None = None
        zarr.readers[coord] = self

    def become(self, file: File) -> None:
        """The chunk is a file from now on, of the same number: the handles are handles of it."""
        del self.zarr.readers[self._coord]
        self._file = OpenFile(self._tree, file, write=False)
        file.opens += self.opens - 1
        self._content = None

    @property
    def alone(self) -> bool:
        """Whether this is the only open handle of its inode."""
        return self.opens == 1 if self._file is None else self._file.alone

    @property
    def size(self) -> int:
        """Bytes of the file."""
        if self._file is not None:
            return self._file.size
        size = self._chunks.size
        if size is None:
            extent = self._index.grid.extent(self.zarr.stored(self._coord))
            size = self._chunks.file_size(self._index.size(self._place), extent)
        return size

    @property
    def mtime_ns(self) -> int:
        """When the chunk was written."""
        return self._index.mtime_ns(self._place)

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        with self._tree.container.lock:
            return cut(self.content(), offset, size) if self._file is None else self._file.read(offset, size)

    def content(self) -> Content:
        """The chunk file as it was when it was opened. Raises FormatError, naming file, array and chunk."""
        if self._content is None:
            self._content = self.zarr.content_committed(self._index, self._place, self._chunks, self._coord)
        return self._content

    def release(self) -> None:
        """One of the handles ends."""
        with self._tree.container.lock:
            if self._file is not None:
                self._file.release()
                return
            self.opens -= 1
            if not self.opens:
                del self.zarr.readers[self._coord]

    def prefetch(self) -> Callable[[], None] | None:
        """Work for another thread: have the chunk after this one unpacked in the cache. None: nothing to predict."""
        return self.zarr.prefetch(self._coord) if self._file is None else self._file.prefetch()
