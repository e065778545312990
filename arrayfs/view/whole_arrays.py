"""`.arrayfs/arrays`: every array of numbers as one NumPy file, in the directories of its groups.

A name is looked up in the tree when it is asked for. A file's inode stands for one state of its array: as soon as the
array is changed its name leads to another inode, and who has the old one open goes on reading what it was. Names are
those of the tree with `.npy` behind them; a group whose name ends so gets a `%`, so that no two mean the same. The
caller holds the container's lock.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import TYPE_CHECKING

from arrayfs.container.array import Array
from arrayfs.errors import StaleError
from arrayfs.view import npy, paths
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.nodes import Binding, Directory, File
from arrayfs.view.whole_reader import WholeReader

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

NAME = "arrays"
END = ".npy"
# Only the user who mounted may look into them.
DIRECTORY_MODE = 0o040500
FILE_MODE = 0o100400
# The documents that make a directory a group.
GROUP_DOCUMENTS = frozenset(("zarr.json", ".zgroup"))
# Inodes that keep their numbers though the kernel has forgotten them; each takes about 1 KB.
KEPT = 16384
# Chunks that are not packed yet stay in memory for who has the file open; of more than this they are packed first.
RAW_LIMIT = 16 << 20


class WholeDirectory(Directory):
    """The directory here for one of the tree, `shows`."""

    __slots__ = ("shows",)

    def __init__(self, tree: Tree, parent: Directory, name: str, shows: Directory) -> None:
        super().__init__(tree.numbers.take(), parent, name, shows.mtime_ns)
        self.mode, self.loaded, self.shows = DIRECTORY_MODE, True, shows


class WholeFile(File):
    """One state of an array: what it was after so many edits. shows: the array's directory.

    opened: somebody had it open, so the kernel may have pages of it. content: while somebody has.
    """

    __slots__ = ("array", "content", "edits", "opened", "shows")

    def __init__(self, tree: Tree, directory: WholeDirectory, name: str, shows: Directory, array: Array) -> None:
        super().__init__(tree.numbers.take(), 0, FILE_MODE)
        self.bindings.append(Binding(directory, name))
        self.checked = True
        self.shows = shows
        self.opened = False
        self.content: npy.NpyFile | None = None
        self.renew(array)

    def renew(self, array: Array) -> None:
        """Stand for what the array is now."""
        self.array, self.edits = array, array.edits
        self.mtime_ns = array.edited_ns or self.shows.mtime_ns
        self.size = npy.file_size(array.spec.dtype, array.spec.shape) or 0

    @property
    def is_current(self) -> bool:
        """Whether the array still is what it was."""
        zarr = self.shows.zarr
        return zarr is not None and zarr.array is self.array and self.array.edits == self.edits


class WholeArrays:
    """The nodes that somebody knows, by what they show."""

    def __init__(self, tree: Tree, control: Directory) -> None:
        self._tree = tree
        self.directory = WholeDirectory(tree, control, NAME, tree.root)
        control.children[NAME] = self.directory
        self._add(self.directory)
        self._directories: dict[Directory, WholeDirectory] = {}
        self._files: dict[Directory, WholeFile] = {}

    def owns(self, node: Directory | File) -> bool:
        """Whether it is one of these."""
        return isinstance(node, WholeDirectory | WholeFile)

    # --- names --------------------------------------------------------------------------------------------------------

    def names(self, directory: Directory) -> Iterator[str]:
        """What a listing has."""
        if not isinstance(directory, WholeDirectory) or directory.shows.removed:
            return
        if directory is self.directory and self._array_in(self._tree.root) is not None:
            yield paths.show("") + END
        for name, child in list(directory.shows.children.items()):
            if isinstance(child, Directory):
                if self._array_in(child) is not None:
                    yield paths.shorten(name, END)
                if self._is_group(child):
                    yield _directory_name(name)

    def find(self, directory: Directory, name: str) -> Directory | File | None:
        """The entry of this name."""
        if not isinstance(directory, WholeDirectory) or directory.shows.removed:
            return None
        if not name.endswith(END):
            return self._find_directory(directory, name)
        if directory is self.directory and name == paths.show("") + END:
            array = self._array_in(self._tree.root)
            if array is not None:
                return self._file(directory, name, self._tree.root, array)
        child = self._child(directory, name, name.removesuffix(END), END)
        array = None if child is None else self._array_in(child)
        return None if child is None or array is None else self._file(directory, name, child, array)

    def _find_directory(self, directory: WholeDirectory, name: str) -> Directory | None:
        stem = name if _directory_name(name) == name else name[:-1]
        child = self._child(directory, name, stem, "%")
        if child is None or _directory_name(child.name) != name or not self._is_group(child):
            return None
        known = self._directories.get(child)
        if known is None or known.parent is not directory or known.name != name:
            known = self._directories[child] = WholeDirectory(self._tree, directory, name, child)
            self._add(known)
        known.mtime_ns = child.mtime_ns
        return known

    @staticmethod
    def _child(directory: WholeDirectory, name: str, stem: str, end: str) -> Directory | None:
        """The directory of the tree that is shown by a name, which may have been cut."""
        children = directory.shows.children
        child = children.get(stem)
        if child is None and len(name.encode("utf-8", "surrogateescape")) > paths.NAME_MAX - 4:
            long = (other for other in children if paths.shorten(other, end) == name)
            child = children.get(next(long, ""))
        return child if isinstance(child, Directory) else None

    def _array_in(self, directory: Directory) -> Array | None:
        """The array of a directory, if it can be shown: of numbers, and of a size that a file can have."""
        if directory.owner is not None or directory is self._tree.control.directory:
            return None
        zarr = self._tree.documents.zarr(directory)
        if zarr is None or zarr.gone or not isinstance(zarr.chunks, NativeChunks):
            return None
        spec = zarr.array.spec
        return None if npy.file_size(spec.dtype, spec.shape) is None else zarr.array

    def _is_group(self, directory: Directory) -> bool:
        """Whether arrays may lie below: a group by its document, or a directory with others that hold no chunks."""
        tree = self._tree
        if directory.owner is not None or directory is tree.control.directory:
            return False
        if any(isinstance(child, Directory) and child.owner is None for child in directory.children.values()):
            return True
        if tree.documents.zarr(directory) is not None:
            return False
        names = (*directory.children.keys() & GROUP_DOCUMENTS, *tree.documents.synthetic_names(directory))
        return not GROUP_DOCUMENTS.isdisjoint(names)

    # --- files --------------------------------------------------------------------------------------------------------

    def _file(self, directory: WholeDirectory, name: str, shows: Directory, array: Array) -> WholeFile:
        known = self._files.get(shows)
        if known is not None:
            binding = known.bindings[0]
            if binding.directory is directory and binding.name == name:
                if not known.opened:
                    known.renew(array)
                if known.is_current:
                    return known
            del self._files[shows]
            self._drop(known)
        made = self._files[shows] = WholeFile(self._tree, directory, name, shows, array)
        self._add(made)
        return made

    def _add(self, node: WholeDirectory | WholeFile) -> None:
        self._tree.nodes[node.ino] = node
        self._tree.changing.add(node.ino)

    def _drop(self, node: WholeDirectory | WholeFile) -> None:
        if isinstance(node, WholeFile) and node.opens:
            return
        self._tree.nodes.pop(node.ino, None)
        self._tree.changing.discard(node.ino)

    def open(self, file: File) -> WholeReader | None:
        """A handle, if it is one of these files: of what the array is now.

        Raises StaleError where that is not what the kernel was told, or may have pages of: it looks the name up anew.
        """
        if not isinstance(file, WholeFile):
            return None
        if file.content is None:
            array, size = self._array_in(file.shows), file.size
            if array is not None and not file.opened:
                file.renew(array)
            if not file.is_current or file.size != size:
                raise StaleError(errno.ESTALE, f"inode {file.ino}: array {file.array.name!r} was changed meanwhile")
            file.opened = True
            pool = self._tree.container.pool
            raw = [pool.raw.get((file.array, coord), 0) for coord in file.array.changes]
            if sum(raw) > RAW_LIMIT:
                pool.pack_array(file.array)
            file.content = npy.NpyFile(file.array, self._tree.container.cache)
        return WholeReader(self._tree, file, file.content)

    def released(self, file: WholeFile) -> None:
        """The last handle of a file was closed."""
        file.content = None
        if not file.is_current:
            self._remove(file)

    def forget(self, node: Directory | File) -> None:
        """The kernel knows this inode no more, which comes soon after each look-up: numbers are kept all the same.

        Programs compare them (cp does, before and after it opens a file).
        """
        if isinstance(node, WholeFile) and not node.opens:
            node.opened = False
        if isinstance(node, WholeFile | WholeDirectory) and len(self._files) + len(self._directories) > KEPT:
            self._remove(node)

    def _remove(self, node: WholeDirectory | WholeFile) -> None:
        known: dict[Directory, WholeDirectory] | dict[Directory, WholeFile]
        known = self._directories if isinstance(node, WholeDirectory) else self._files
        if known.get(node.shows) is node:
            del known[node.shows]
        self._drop(node)


def _directory_name(name: str) -> str:
    """How a group is called here: another name than any file's."""
    return paths.shorten(name, "%") if name.rstrip("%").endswith(END) else name
