"""The nodes of the tree that exist as objects: directories, and files that are more than an untouched chunk.

Untouched chunks and the directories between them are computed from the array's index (`arrays.py`); they become objects
when they are opened, changed, or get a child.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from arrayfs.container.array import Array
from arrayfs.container.grid import Coord
from arrayfs.view.content import Content
from arrayfs.view.draft import Draft

if TYPE_CHECKING:
    from arrayfs.view.arrays import ZarrArray
    from arrayfs.view.handles import OpenFile

DIRECTORY_MODE = stat.S_IFDIR | 0o755
FILE_MODE = stat.S_IFREG | 0o644
LINK_MODE = stat.S_IFLNK | 0o777
# As of file systems that do not count: with 2, programs that know more would not look for directories below.
DIRECTORY_LINKS = 1

Components = tuple[str, ...]

# When something else than the content changed: the mtime that the node had then, and the time. Where the mtime is
# another one, the content has changed since, which counts.
Changed = tuple[int, int]
NEVER: Changed = (0, 0)


class Directory:
    """One directory.

    children: what exists as objects, by name. explicit: stays when nothing implies it (made by mkdir, or emptied).
    zarr: the Zarr array whose directory it is. owner, components: for a directory between an array's chunks, that
    array and the path below the array's directory. array_name: the container's native array here.
    told_ns: the mtime that a client set; it means something while it is the directory's.
    changed: as a file's.
    natives: how many arrays without a client's document lie at or below (these make group documents appear).
    """

    __slots__ = (
        "array_name", "changed", "children", "components", "explicit", "hidden", "ino", "loaded", "marker", "mode",
        "mtime_ns", "name", "natives", "owner", "parent", "removed", "told_ns", "zarr",
    )  # fmt: skip

    def __init__(self, ino: int, parent: Directory | None, name: str, mtime_ns: int) -> None:
        self.ino = ino
        self.parent = parent
        self.name = name
        self.mtime_ns = mtime_ns
        self.mode = DIRECTORY_MODE
        self.children: dict[str, Directory | File] = {}
        self.explicit = False
        self.zarr: ZarrArray | None = None
        self.loaded = False
        self.owner: ZarrArray | None = None
        self.components: Components = ()
        self.array_name: str | None = None
        self.marker: Array | None = None
        self.hidden: set[str] = set()
        self.natives = 0
        self.removed = False
        self.told_ns: int | None = None
        self.changed = NEVER

    def path(self) -> Components:
        """The names from the root down to this directory."""
        names: list[str] = []
        node = self
        while node.parent is not None:
            names.append(node.name)
            node = node.parent
        return tuple(reversed(names))

    def ancestors(self) -> Iterator[Directory]:
        """The directory itself and those above it, up to the root."""
        node: Directory | None = self
        while node is not None:
            yield node
            node = node.parent

    def count_natives(self, step: int) -> None:
        """An array without a client's document came (1) or went (-1) here."""
        for directory in self.ancestors():
            directory.natives += step


class Binding:
    """One name of a file, and where its content is kept under that name.

    A chunk: zarr and coord are set. A plain file or document: array, once it was written to the pool; array_name: the
    container's array that was not looked at yet.
    """

    __slots__ = ("array", "array_name", "coord", "directory", "name", "zarr")

    def __init__(self, directory: Directory, name: str) -> None:
        self.directory = directory
        self.name = name
        self.array: Array | None = None
        self.array_name: str | None = None
        self.zarr: ZarrArray | None = None
        self.coord: Coord = ()


class File:
    """One inode that is a file: all its handles show one content.

    draft: what was written since the content was last put where its bindings keep it. judged: the draft was flushed and
    is what a commit takes. kept: the content, held while the file is open and for a file without a name.
    synthetic: a document that is made from the container and that no client wrote. opens, writers: open handles.
    checked: a stored document was compared with what the container says now.
    fresh: it was made and never judged, so nothing is kept under its names yet. authors: the handles by which the draft
    was written since it was last judged; None stands for somebody without one. changed: when names or attributes did.
    """

    __slots__ = (
        "authors",
        "bindings",
        "changed",
        "checked",
        "draft",
        "fresh",
        "ino",
        "judged",
        "kept",
        "mode",
        "mtime_ns",
        "opens",
        "size",
        "synthetic",
        "writers",
    )

    def __init__(self, ino: int, mtime_ns: int, mode: int = FILE_MODE) -> None:
        self.ino = ino
        self.mtime_ns = mtime_ns
        self.mode = mode
        self.bindings: list[Binding] = []
        self.draft: Draft | None = None
        self.judged = False
        self.kept: Content | None = None
        self.size = 0
        self.synthetic = False
        self.checked = False
        self.fresh = False
        self.authors: frozenset[OpenFile | None] = frozenset()
        self.opens = 0
        self.writers = 0
        self.changed = NEVER

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link, whose content is where it leads to; asked of a file that was looked at."""
        return stat.S_ISLNK(self.mode)


Node = Directory | File


def ctime_of(node: Node) -> int:
    """What `Attr` says of the time of the last change, 0 if that is the mtime."""
    mtime_ns, time_ns = node.changed
    return time_ns if mtime_ns == node.mtime_ns else 0
