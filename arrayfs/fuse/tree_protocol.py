"""What the mount needs of a tree: the part of `view.tree` that `fuse` calls, as Protocols.

Errors are those of `arrayfs.errors`; `errnos.py` translates them. Inode numbers are never used again within a mount.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from arrayfs.view.attr import Attr

if TYPE_CHECKING:
    from arrayfs.container.commit import CommitReport

Invalidate = Callable[[Iterable[int], Iterable[tuple[int, str]]], None]


class OpenFile(Protocol):
    """One handle; all handles of an inode show one content."""

    @property
    def ino(self) -> int: ...

    @property
    def unpacks(self) -> bool:
        """Reading may take its time: it is an `UnpackingFile`."""

    @property
    def cacheable(self) -> bool:
        """The kernel may keep the pages that it has of this inode."""

    @property
    def size(self) -> int:
        """Bytes of the file."""

    @property
    def alone(self) -> bool:
        """Whether no other handle of the inode is open."""

    def read(self, offset: int, size: int) -> bytes | memoryview: ...

    def write(self, offset: int, data: bytes) -> int: ...

    def truncate(self, size: int) -> None: ...

    def flush(self) -> None: ...

    @property
    def at_risk(self) -> bool:
        """Something was written through this handle that is worse than nothing if its writer is killed now."""

    def killed(self, signal: int) -> None:
        """Instead of `flush`: the process that opened the handle is dying of a signal."""

    def sync(self) -> None: ...

    def release(self) -> None: ...

    def prefetch(self) -> Callable[[], None] | None: ...


@runtime_checkable
class UnpackingFile(Protocol):
    """A handle whose content is put together when it is read."""

    def plan(self, offset: int, size: int) -> tuple[bool, Callable[[], bytes | memoryview]]:
        """How to read a range, and whether that needs no waiting; it may be done in any thread."""


class OpenDirectory(Protocol):
    """A listing under way. Cookies are positions that stay right when entries come and go."""

    def dots(self) -> tuple[Attr, Attr]:
        """The directory itself, and the one above it."""

    def entries(self, start: int) -> Iterator[tuple[str, Attr, int]]: ...

    def sync(self) -> None:
        """Keep every namespace change so far through a loss of power (fsync of the directory)."""

    def release(self) -> None: ...


class Control(Protocol):
    """The control directory, as far as the mount adds to it."""

    figures: dict[str, Callable[[], object]]
    """Further members of the status: by name, the call that makes a value for JSON."""

    recent_operations: Callable[[], bytes]

    def path_of(self, ino: int) -> str | None:
        """Where an inode is below the root, None if it has no name."""


class Tree(Protocol):
    """A container as a tree of files. Calls may come from several threads; the tree has its own lock."""

    on_invalidate: Invalidate | None

    changing: set[int]
    """Inodes whose attributes and content may change by what is done to others: the kernel may not keep them."""

    @property
    def read_only(self) -> bool: ...

    @property
    def control(self) -> Control: ...

    def lookup(self, parent: int, name: str) -> Attr | None: ...

    def getattr(self, ino: int) -> Attr: ...

    def mode(self, ino: int) -> int: ...

    def setattr(
        self,
        ino: int,
        *,
        size: int | None = None,
        mode: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> Attr: ...

    def make(
        self, parent: int, name: str, mode: int, *, exclusive: bool, write: bool, truncate: bool
    ) -> tuple[Attr, OpenFile]: ...

    def mkdir(self, parent: int, name: str, mode: int) -> Attr: ...

    def unlink(self, parent: int, name: str) -> None: ...

    def rmdir(self, parent: int, name: str) -> None: ...

    def rename(self, parent: int, name: str, new_parent: int, new_name: str, *, no_replace: bool) -> None: ...
    def exchange(self, parent: int, name: str, other_parent: int, other_name: str) -> None: ...

    def link(self, ino: int, new_parent: int, new_name: str) -> Attr: ...

    def open(self, ino: int, *, write: bool, truncate: bool) -> OpenFile: ...

    def opendir(self, ino: int) -> OpenDirectory: ...

    def readlink(self, ino: int) -> bytes: ...

    def symlink(self, parent: int, name: str, target: bytes) -> Attr: ...

    def statfs(self) -> os.statvfs_result: ...

    def forget(self, ino: int, count: int) -> None: ...

    def close(self) -> CommitReport | None: ...
