"""A container as a tree of files, by inode number: the one core under mount, Zarr store and command line.

Every public method takes the container's lock, so any thread may call. Names are shown names (`paths.py`); inode
numbers are those of `numbers.py`. How nodes are found is in `finding.py`, what stat says of them in `stating.py`,
commits in `committing.py`, what changes names in `namespace.py`, content in `files.py`, documents in `documents.py`.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.errors import IsDirectoryError, RefusedError, StaleError
from arrayfs.format.log import Op
from arrayfs.view.adoption import Adoption
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.attr import Attr
from arrayfs.view.committing import Committing
from arrayfs.view.consolidated import ConsolidatedDocuments
from arrayfs.view.control import Control
from arrayfs.view.documents import Documents
from arrayfs.view.exchanging import exchange
from arrayfs.view.files import Files
from arrayfs.view.finding import Found
from arrayfs.view.following import Following
from arrayfs.view.handles import OpenFile
from arrayfs.view.listing import OpenDirectory
from arrayfs.view.namespace import Namespace
from arrayfs.view.nodes import FILE_MODE, Directory, File
from arrayfs.view.numbers import InodeNumbers
from arrayfs.view.paths import CONTROL_NAME
from arrayfs.view.populate import populate
from arrayfs.view.readers import ChunkReader
from arrayfs.view.stored_documents import StoredDocuments
from arrayfs.view.untouched import attr_of, reader_of
from arrayfs.view.versions import VersionListing
from arrayfs.view.whole_reader import WholeReader

T = TypeVar("T")


class Tree(Committing):
    """The tree of one open container.

    on_invalidate: called with inode numbers whose content, and (directory, name) pairs whose meaning, changed otherwise
    than by a call about them. look: 3 or 2, the Zarr format of documents that no client wrote.
    """

    def __init__(self, container: Container, look: int = 3, numbers: InodeNumbers | None = None) -> None:
        super().__init__(container, numbers)
        self.read_only = container.read_only
        # where what is being written goes when memory does not hold it
        self.scratch_store = container.store
        self.documents = Documents(self, look)
        self.consolidated = ConsolidatedDocuments(self)
        self.stored_documents = StoredDocuments(self)
        self.files = Files(self)
        # names of arrays that make group documents appear above them
        self.counted: set[str] = set()
        # inodes of documents that may show something else because another file changed
        self.changing: set[int] = set()
        # files that are open for writing
        self.being_written: dict[File, None] = {}
        # held by the one commit that is under way, before the container's lock is
        self._committing = threading.RLock()
        self.adoption = Adoption(self)
        self.namespace = Namespace(self)
        populate(self)
        self.control = Control(self)
        self.following = container.follower = Following(self)

    # --- calls of the shells ------------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: str) -> Attr | None:
        """Attributes of an entry, None if there is none."""
        if parent >= self.lent_from:
            return self.control.versions.lookup(parent, name)
        with self.container.lock:
            directory = self.directory(parent)
            attr = attr_of(directory, name)
            if attr is None:
                found = self.find(directory, name)
                attr = None if found is None else self.attr(found)
            return attr

    def create(self, parent: int, name: str, mode: int, exclusive: bool) -> Attr:
        """Make an empty file, or answer with the one that is there unless `exclusive`."""
        with self.container.lock:
            self.check_change(name)
            return self.attr(self.namespace.create(self.directory(parent), name, mode, exclusive=exclusive))

    def make(
        self, parent: int, name: str, mode: int, *, exclusive: bool, write: bool, truncate: bool
    ) -> tuple[Attr, OpenFile | ChunkReader | WholeReader]:
        """Create and open in one step: a commit in between would leave out a new file, and so would its journal."""
        with self.container.lock:
            is_new = not write and self.lookup(parent, name) is None
            made = self.create(parent, name, mode, exclusive)
            if is_new:  # nobody will write and close it, which is when a file is judged
                handle = self.open_for_writing(made.ino, truncate=False)
                handle.flush()
                handle.release()
            if truncate:
                opened = self.open_for_writing(made.ino, truncate=True)
                return self.attr(opened.file), opened
            return made, self.open(made.ino, write=write, truncate=False)

    def symlink(self, parent: int, name: str, target: bytes) -> Attr:
        """Make a symbolic link."""
        with self.container.lock:
            self.check_change(name)
            return self.attr(self.namespace.symlink(self.directory(parent), name, target))

    def mkdir(self, parent: int, name: str, mode: int) -> Attr:
        """Make a directory."""
        with self.container.lock:
            self.check_change(name)
            return self.attr(self.namespace.mkdir(self.directory(parent), name, mode))

    def unlink(self, parent: int, name: str) -> None:
        """Remove a file's name."""
        with self.container.lock:
            self.check_change(name)
            self.namespace.unlink(self.directory(parent), name)

    def rmdir(self, parent: int, name: str) -> None:
        """Remove an empty directory."""
        with self.container.lock:
            self.check_change(name)
            self.namespace.rmdir(self.directory(parent), name)

    def remove_all(self, parent: int, name: str) -> None:
        """Remove a file, or a directory with all that is below it."""
        with self.container.lock:
            self.check_change(name)
            self.namespace.remove_all(self.directory(parent), name)

    def rename(self, parent: int, name: str, new_parent: int, new_name: str, *, no_replace: bool) -> None:
        """Give an entry another name, replacing what has it unless `no_replace`."""
        with self.container.lock:
            self.check_change(name)
            self.check_change(new_name)
            source, target = self.directory(parent), self.directory(new_parent)
            self.namespace.rename(source, name, target, new_name, no_replace=no_replace)

    def exchange(self, parent: int, name: str, other_parent: int, other_name: str) -> None:
        """Have two entries exchange their names."""
        with self.container.lock:
            self.check_change(name)
            self.check_change(other_name)
            exchange(self, (self.directory(parent), name), (self.directory(other_parent), other_name))

    def link(self, ino: int, new_parent: int, new_name: str) -> Attr:
        """Give a file one more name. Raises EntryExistsError if the name is taken."""
        with self.container.lock:
            self.check_change(new_name)
            node = self.node(ino)
            if isinstance(node, Directory):
                raise RefusedError(errno.EPERM, "a directory has one name")
            return self.attr(self.namespace.link(self.file(node), self.directory(new_parent), new_name))

    def open(self, ino: int, *, write: bool, truncate: bool) -> OpenFile | ChunkReader | WholeReader:
        """Open a file."""
        if ino >= self.lent_from:
            return self.control.versions.tree(ino).open(ino, write=write, truncate=truncate)
        if write or truncate:
            return self.open_for_writing(ino, truncate=truncate)
        with self.container.lock:
            reader = reader_of(self, ino)
            if reader is not None:
                return reader
            file = self._openable(self.node(ino))
            return self.control.arrays.open(file) or self._handle(file, write=False, emptied=False)

    def open_for_writing(self, ino: int, *, truncate: bool) -> OpenFile:
        """Open a file for reading and writing."""
        with self.container.lock:
            file = self._openable(self.node(ino))
            self.control.check_open_for_writing(file)
            emptied = truncate and not self.control.owns(file)
            if emptied:
                file.mtime_ns = self.now()
                self.files.truncate(file, 0)
            return self._handle(file, write=True, emptied=emptied)

    def _openable(self, node: Found) -> File:
        if isinstance(node, Directory):
            raise IsDirectoryError(f"inode {node.ino} is a directory")
        file = self.file(node)
        if not file.bindings and file.draft is None and file.kept is None:
            raise StaleError(errno.ESTALE, f"inode {file.ino} has no content any more")  # the kernel looks it up anew
        return file

    def _handle(self, file: File, *, write: bool, emptied: bool) -> OpenFile:
        return OpenFile(self, file, write=write, emptied=emptied)

    def opendir(self, ino: int) -> OpenDirectory | VersionListing:
        """Begin a listing."""
        if ino >= self.lent_from:
            versions = self.control.versions
            return versions.listing() if ino == versions.directory.ino else versions.tree(ino).opendir(ino)
        with self.container.lock:
            return OpenDirectory(self, self.directory(ino))

    def readlink(self, ino: int) -> bytes:
        """What a symbolic link leads to."""
        if ino >= self.lent_from:
            return self.control.versions.readlink(ino)
        with self.container.lock:
            file = self.node(ino)
            content = bytes(self.files.whole(file)) if isinstance(file, File) else b""
            if not isinstance(file, File) or not file.is_link:
                raise RefusedError(errno.EINVAL, f"inode {ino} is no link")
            return content

    def statfs(self) -> os.statvfs_result:
        """The space of the device that the container lies on."""
        return self.container.store.statvfs() or os.statvfs("/")

    def forget(self, ino: int, count: int) -> None:
        """The kernel knows this inode no more."""
        node = self.nodes.get(ino)
        if isinstance(node, File) and not node.bindings and not node.opens:
            with self.container.lock:
                self.nodes.pop(ino, None)
        elif node is not None and ino in self.changing:
            with self.container.lock:
                self.control.arrays.forget(node)

    # --- parts of the calls -------------------------------------------------------------------------------------------

    def change_whole(self, op: Op, act: Callable[[], T], path: str, data: bytes | memoryview = b"") -> T:
        """Do something to a whole file, or all below a directory, by its path (`keys.py`). The caller has the lock."""
        return act()

    def closed(self, file: File) -> None:
        """The last handle of a file was released: keep of it only what has to stay."""
        if not file.bindings:
            return
        binding = file.bindings[0]
        if binding.directory is self.control.directory:
            return  # who looked it up meanwhile is about to read it
        file.kept = None
        zarr = binding.zarr
        if zarr is None or file.draft is not None or len(file.bindings) > 1 or file.ino in self.nodes:
            return
        if file.mode != FILE_MODE:
            return
        if file.mtime_ns == zarr.array.mtime_ns(zarr.stored(binding.coord)) and zarr.files.get(binding.coord) is file:
            del zarr.files[binding.coord]

    def content(self, file: File) -> bytes | memoryview:
        """The whole content of a file as it was last judged."""
        return self.files.whole(file)

    def past(self, container: Container, numbers: InodeNumbers) -> PastTree:
        """The tree of an older version, beside this one."""
        return PastTree(container, self.documents.look, numbers)

    # --- used by the parts of the tree --------------------------------------------------------------------------------

    def adopt(self, directory: Directory, zarr: ZarrArray) -> None:
        """Files that were here before the array's document become its chunks, where they fit."""
        self.adoption.adopt(directory, zarr, ())

    def place_below(self, directory: Directory, zarr: ZarrArray) -> None:
        """Directories that were here before the array was looked at learn that they lie between its chunks."""
        self.adoption.place_below(directory, zarr, ())

    def release_chunks(self, zarr: ZarrArray) -> None:
        """Chunk files become plain files."""
        self.adoption.release_chunks(zarr)


class PastTree(Tree):
    """The tree of an older version, below `.arrayfs/versions` of another tree; it has no control directory."""

    def find(self, directory: Directory, name: str) -> Found | None:
        return None if directory is self.root and name == CONTROL_NAME else super().find(directory, name)


def open_tree(
    url: str,
    *,
    mode: str = "r",
    look: int = 3,
    options: ContainerOptions | None = None,
    version: str | int | None = None,
) -> Tree:
    """Open a container as a tree. mode: "r" to read, "a" to change; look: Zarr format 3 or 2; version: to read one."""
    container = Container.open(url, mode, options, version)
    try:
        return Tree(container, look)
    except BaseException:
        container.close()
        raise
