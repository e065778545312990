"""Which node an inode number or a name stands for: objects that exist, chunks and directories that are computed.

What the shells call is `tree.py`, which this is the lower half of; what changes names is `namespace.py`.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.errors import FormatError, NotDirectoryError, ReadOnlyError, RefusedError, StaleError
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.control import Control
from arrayfs.view.documents import NAMES, Documents
from arrayfs.view.nodes import Binding, Components, Directory, File
from arrayfs.view.numbers import FIRST_LENT, LAST_LENT, ROOT, InodeNumbers
from arrayfs.view.readers import ChunkReader

# Computed chunk directories that an array keeps at hand.
PASSING_LIMIT = 256

Invalidate = Callable[[Iterable[int], Iterable[tuple[int, str]]], None]
Found = Directory | File | tuple[ZarrArray, Coord]


class Nodes:
    """The nodes of one tree. The caller holds the container's lock.

    nodes: those that exist as objects and have a number that no array computes, by number. synthetic: documents made
    from the container, by directory and name. lent_from: inode numbers from there on are those of `view.versions`.
    """

    documents: Documents
    control: Control

    def __init__(self, container: Container, numbers: InodeNumbers | None = None) -> None:
        self.container = container
        self.numbers = numbers or InodeNumbers()
        self.nodes: dict[int, Directory | File] = {}
        self.root = Directory(self.numbers.root, None, "", container.stack.newest.time_ns)
        self.root.explicit = True
        self.nodes[self.root.ino] = self.root
        self.lent_from = FIRST_LENT if self.root.ino == ROOT else LAST_LENT
        self.synthetic: dict[tuple[int, str], File] = {}
        self._last_directory = self.root  # names are mostly looked up in one directory again and again
        self.on_invalidate: Invalidate | None = None
        self.warnings: list[str] = list(container.warnings)
        self._last_ns = 0
        self._touched: dict[Directory, None] = {}

    def node(self, ino: int) -> Found:
        """What an inode number stands for: an object, or an untouched chunk. Raises StaleError if it is gone."""
        node = self.nodes.get(ino)
        if node is not None:
            if isinstance(node, File) and not node.bindings and not node.opens:
                raise StaleError(errno.ESTALE, f"inode {ino} has no name any more")
            return node
        numbers = self.numbers.find_range(ino)
        if numbers is None:
            if ino >= self.lent_from:  # who only reads it has asked `versions`
                raise ReadOnlyError("earlier versions can be read, not changed")
            raise StaleError(errno.ESTALE, f"inode {ino} is gone")
        zarr, prefix = numbers.zarr, numbers.prefix(ino)
        if len(prefix) < zarr.rank:
            components = zarr.components_of(prefix)
            return zarr.left.get(components) or self.chunk_directory(zarr, components)
        file = zarr.files.get(prefix)
        if file is None:
            if zarr.has(prefix):
                # an array that has outgrown the numbers that the kernel knows: the chunk keeps the one it is known by
                return (zarr, prefix) if zarr.inodes is numbers else self.chunk_of_number(zarr, prefix, ino)
        elif file.ino == ino:
            return file
        reader = zarr.readers.get(prefix)
        if reader is None or reader.ino != ino:
            raise StaleError(errno.ESTALE, f"inode {ino}: chunk {prefix} of {zarr.array.name!r} is gone")
        return self.nameless(reader)

    def nameless(self, reader: ChunkReader) -> File:
        """The file object of a chunk that is gone, for the handles that read it."""
        file = self.nodes[reader.ino] = File(reader.ino, reader.mtime_ns)
        file.size = reader.size
        with suppress(FormatError):  # damaged: the handles read an error either way
            file.kept = reader.content()
        reader.become(file)
        return file

    def directory(self, ino: int) -> Directory:
        """The directory with this number. Raises NotDirectoryError, StaleError."""
        last = self._last_directory
        if last.ino == ino and _is_given(last):
            return last
        node = self.node(ino)
        if not isinstance(node, Directory):
            raise NotDirectoryError(f"inode {ino} is no directory")
        self._last_directory = node
        return node

    def file(self, node: File | tuple[ZarrArray, Coord]) -> File:
        """The file as an object; an untouched chunk becomes one."""
        if isinstance(node, File):
            return node
        return self.chunk_of_number(*node)

    def chunk_of_number(self, zarr: ZarrArray, coord: Coord, ino: int | None = None) -> File:
        """Make an untouched chunk an object, of the number that it is known by, or that its array gives it."""
        components = zarr.keys.components(coord)
        return self.chunk_file(zarr, coord, self.chunk_directory(zarr, components[:-1]), components[-1], ino)

    def chunk_file(
        self, zarr: ZarrArray, coord: Coord, directory: Directory, name: str, ino: int | None = None
    ) -> File:
        """Make an untouched chunk, known by this name, an object. Who reads it reads that from now on."""
        reader = zarr.readers.get(coord)
        number = reader.ino if reader is not None else zarr.number(coord) if ino is None else ino
        file = File(number, zarr.array.mtime_ns(zarr.stored(coord)))
        binding = Binding(directory, name)
        binding.zarr, binding.coord = zarr, coord
        file.bindings.append(binding)
        zarr.files[coord] = file
        if reader is not None:
            reader.become(file)
        return file

    def find(self, directory: Directory, name: str) -> Found | None:
        """The entry of this name."""
        if not directory.loaded:
            self.documents.zarr(directory)  # directories below it learn here that they lie between its chunks
        child = directory.children.get(name)
        if child is not None:
            return self.control.entry(name) if directory is self.control.directory else child
        place = self.chunk_place(directory, name)
        if place is not None:
            zarr, coord = place
            file = zarr.files.get(coord)
            if file is not None:
                return file
            return place if zarr.has(coord) else None
        below = self._chunk_directory_below(directory, name)
        if below is not None:
            return below
        if name in self.documents.synthetic_names(directory):
            return self.synthetic_file(directory, name)
        return self.control.find(directory, name)

    def arrays_of(self, directory: Directory) -> Iterator[tuple[ZarrArray, Components]]:
        """The arrays whose chunks a directory can hold, and its path below each: one that it lies in, and its own."""
        if directory.owner is not None:
            yield directory.owner, directory.components
        zarr = self.documents.zarr(directory)
        if zarr is not None:
            yield zarr, ()

    def chunk_place(self, directory: Directory, name: str) -> tuple[ZarrArray, Coord] | None:
        """The chunk that a name in a directory spells, whether it is there or not."""
        owner = directory.owner  # not by `arrays_of`: it would take half as long again, and every look-up comes here
        if owner is not None:
            coord = owner.coord_in(directory.components, name)
            if coord is not None:
                return owner, coord
        zarr = self.documents.zarr(directory)
        if zarr is not None:
            coord = zarr.coord_of((name,))
            if coord is not None:
                return zarr, coord
        return None

    def _chunk_directory_below(self, directory: Directory, name: str) -> Directory | None:
        for zarr, components in self.arrays_of(directory):
            prefix = zarr.prefix_of((*components, name))
            if prefix is not None and zarr.has_below(prefix):
                return self.chunk_directory(zarr, (*components, name))
        return None

    def chunk_directory(self, zarr: ZarrArray, components: Components) -> Directory:
        """A directory between an array and its chunks: the object, or one made for the occasion."""
        if not components:
            return zarr.root
        known = zarr.directories.get(components)
        if known is not None:
            return known
        known = zarr.passing.get(components)
        if known is not None and _is_given(known):
            return known
        if len(zarr.passing) >= PASSING_LIMIT:
            zarr.passing.clear()
        parent = self.chunk_directory(zarr, components[:-1])
        prefix = zarr.prefix_of(components)
        number = zarr.number(prefix) if prefix is not None else self.numbers.take()
        directory = Directory(number, parent, components[-1], zarr.root.mtime_ns)
        directory.owner, directory.components, directory.loaded = zarr, components, True
        zarr.passing[components] = directory
        return directory

    def materialise(self, directory: Directory) -> Directory:
        """Make a directory that was computed an object that stays."""
        owner = directory.owner
        if owner is None or directory.parent is None:
            return directory
        known = owner.directories.get(directory.components)
        if known is None:
            parent = self.materialise(directory.parent)
            owner.passing.clear()  # others may be below the one that was not an object
            known = owner.directories[directory.components] = parent.children[directory.name] = directory
            directory.parent = parent
        return known

    def synthetic_file(self, directory: Directory, name: str) -> File:
        """The file object of a document that is made from the container."""
        file = self.synthetic.get((directory.ino, name))
        if file is None:
            file = File(self.numbers.take(), directory.mtime_ns)
            file.synthetic = True
            file.bindings.append(Binding(directory, name))
            self.synthetic[directory.ino, name] = file
            self.nodes[file.ino] = file
        return file

    def forget_synthetic(self, directory: Directory) -> None:
        """Documents that are made from the container no more have no inode any more."""
        shown = self.documents.synthetic_names(directory)
        left = [name for name in NAMES if name not in shown and (directory.ino, name) in self.synthetic]
        for name in left:
            file = self.synthetic.pop((directory.ino, name))
            if file.synthetic:  # else a client wrote to it, and it is stored now
                file.bindings.clear()
        if left and self.on_invalidate is not None:
            self.on_invalidate([], [(directory.ino, name) for name in left if name not in directory.children])

    # --- used by all parts of the tree -----------------------------------------------------------------------------

    def watched(self) -> Iterable[Directory]:
        """Directories in which something came or went since the last commit."""
        return self._touched

    def watch(self, directory: Directory) -> None:
        """At the next commit, see whether this directory's array is gone, and whether it needs a marker."""
        self._touched[directory] = None

    def now(self) -> int:
        """The time, growing with every call (nanosecond clocks may stand still between two)."""
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        return self._last_ns

    def warn(self, text: str) -> None:
        """Note something that the user should know; shown in `.arrayfs/status.json`."""
        self.warnings.append(text)

    def path_of(self, binding: Binding) -> Components:
        """The names from the root down to a file."""
        return (*binding.directory.path(), binding.name)

    def check_change(self, name: str | None) -> None:
        """Raise ReadOnlyError, or RefusedError for a name that cannot be made."""
        self.container.check_writable()
        if name is None:
            return
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise RefusedError(errno.EILSEQ, f"{name!r} is not UTF-8, which the container's names are") from None
        if size > 255:
            raise RefusedError(errno.ENAMETOOLONG, f"a name of {size} bytes; 255 is the limit")


def _is_given(directory: Directory) -> bool:
    """Whether a directory between an array's chunks is the one that its array gives out."""
    zarr, components = directory.owner, directory.components
    if zarr is None:
        return False
    known = zarr.directories.get(components)
    if known is not None:
        return known is directory
    return (
        zarr.passing.get(components) is directory and directory.mtime_ns == zarr.root.mtime_ns and not directory.removed
    )
