"""A container as a tree of files, by inode number: the one core under mount, Zarr store and command line.

Every public method takes the container's lock, so any thread may call. Names are shown names (`paths.py`); inode
numbers are those of `numbers.py`. How names are found is here, what changes them in `namespace.py`, content in
`files.py`, documents in `documents.py`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.grid import Coord
from arrayfs.errors import ArrayFSError, IsDirectoryError, NoEntryError, NotDirectoryError, RefusedError, StaleError
from arrayfs.view import plain
from arrayfs.view.adoption import Adoption
from arrayfs.view.arrays import STAT_BLOCK, ZarrArray
from arrayfs.view.attr import Attr
from arrayfs.view.control import Control
from arrayfs.view.documents import FILE_ARRAY, NAMES, Documents
from arrayfs.view.files import Files
from arrayfs.view.handles import OpenFile
from arrayfs.view.listing import OpenDirectory
from arrayfs.view.namespace import Namespace
from arrayfs.view.nodes import DIRECTORY_MODE, Binding, Components, Directory, File
from arrayfs.view.numbers import ROOT, InodeNumbers
from arrayfs.view.populate import populate

# Computed chunk directories that an array keeps at hand.
PASSING_LIMIT = 256

Invalidate = Callable[[Iterable[int], Iterable[tuple[int, str]]], None]


class Tree:
    """The tree of one open container.

    on_invalidate: called with inode numbers whose content, and (directory, name) pairs whose meaning, changed otherwise
    than by a call about them. look: 3 or 2, the Zarr format of documents that no client wrote.
    """

    def __init__(self, container: Container, look: int = 3) -> None:
        self.container = container
        self.read_only = container.read_only
        self.numbers = InodeNumbers()
        self.nodes: dict[int, Directory | File] = {}
        self.root = Directory(ROOT, None, "", container.stack.newest.time_ns)
        self.root.explicit = True
        self.nodes[ROOT] = self.root
        self.documents = Documents(self, look)
        self.files = Files(self)
        self.on_invalidate: Invalidate | None = None
        self.warnings: list[str] = list(container.warnings)
        # names of arrays that make group documents appear above them
        self.counted: set[str] = set()
        self.synthetic: dict[tuple[int, str], File] = {}
        self._last_ns = 0
        self.adoption = Adoption(self)
        self._namespace = Namespace(self)
        self._touched: dict[Directory, None] = {}
        populate(self)
        self.control = Control(self)

    # --- calls of the shells ------------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: str) -> Attr | None:
        """Attributes of an entry, None if there is none."""
        with self.container.lock:
            found = self.find(self.directory(parent), name)
            return None if found is None else self.attr(found)

    def getattr(self, ino: int) -> Attr:
        """Attributes of an inode. Raises StaleError if it is gone."""
        with self.container.lock:
            return self.attr(self.node(ino))

    def setattr(
        self,
        ino: int,
        *,
        size: int | None = None,
        mode: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> Attr:
        """Change size (bytes), permissions or times. Times of access are not kept."""
        with self.container.lock:
            self._check_change(None)
            node = self.node(ino)
            if isinstance(node, Directory):
                if mtime_ns is not None:
                    node.mtime_ns = mtime_ns
                return self.attr(node)
            file = self.file(node)
            if size is not None:
                self._truncate(file, size)
            if mode is not None:
                file.mode = (file.mode & ~0o7777) | (mode & 0o7777)
            if mtime_ns is not None:
                self._set_time(file, mtime_ns)
            if mode is not None or mtime_ns is not None:
                self.files.store_attributes(file)
            return self.attr(file)

    def _truncate(self, file: File, size: int) -> None:
        self.control.refuse_change(file)
        if self.control.owns(file):
            return  # programs empty a file before they write to it; there is nothing in this one
        file.mtime_ns = self.now()
        self.files.truncate(file, size)
        if not file.writers:
            self.files.judge(file, final=True)

    def _set_time(self, file: File, mtime_ns: int) -> None:
        file.mtime_ns = mtime_ns
        for binding in file.bindings:
            if binding.zarr is not None:
                binding.zarr.array.set_mtime(binding.zarr.stored(binding.coord), mtime_ns)

    def create(self, parent: int, name: str, mode: int, exclusive: bool) -> Attr:
        """Make an empty file, or answer with the one that is there unless `exclusive`."""
        with self.container.lock:
            self._check_change(name)
            return self.attr(self._namespace.create(self.directory(parent), name, mode, exclusive=exclusive))

    def mkdir(self, parent: int, name: str, mode: int) -> Attr:
        """Make a directory."""
        with self.container.lock:
            self._check_change(name)
            return self.attr(self._namespace.mkdir(self.directory(parent), name))

    def unlink(self, parent: int, name: str) -> None:
        """Remove a file's name."""
        with self.container.lock:
            self._check_change(name)
            self._namespace.unlink(self.directory(parent), name)

    def rmdir(self, parent: int, name: str) -> None:
        """Remove an empty directory."""
        with self.container.lock:
            self._check_change(name)
            self._namespace.rmdir(self.directory(parent), name)

    def rename(self, parent: int, name: str, new_parent: int, new_name: str, *, no_replace: bool) -> None:
        """Give an entry another name, replacing what has it unless `no_replace`."""
        with self.container.lock:
            self._check_change(name)
            self._check_change(new_name)
            source, target = self.directory(parent), self.directory(new_parent)
            self._namespace.rename(source, name, target, new_name, no_replace=no_replace)

    def link(self, ino: int, new_parent: int, new_name: str) -> Attr:
        """Give a file one more name. Raises EntryExistsError if the name is taken."""
        with self.container.lock:
            self._check_change(new_name)
            node = self.node(ino)
            if isinstance(node, Directory):
                raise RefusedError(1, "a directory has one name")
            return self.attr(self._namespace.link(self.file(node), self.directory(new_parent), new_name))

    def open(self, ino: int, *, write: bool, truncate: bool) -> OpenFile:
        """Open a file."""
        with self.container.lock:
            node = self.node(ino)
            if isinstance(node, Directory):
                raise IsDirectoryError(f"inode {ino} is a directory")
            file = self.file(node)
            if not file.bindings and file.draft is None and file.kept is None:
                raise StaleError(errno.ESTALE, f"inode {ino} has no content any more")  # the kernel looks its name up anew
            if write or truncate:
                self.control.check_open_for_writing(file)
            if truncate and not self.control.owns(file):
                file.mtime_ns = self.now()
                self.files.truncate(file, 0)
            return self._handle(file, write=write or truncate)

    def _handle(self, file: File, *, write: bool) -> OpenFile:
        return OpenFile(self, file, write=write)

    def opendir(self, ino: int) -> OpenDirectory:
        """Begin a listing."""
        with self.container.lock:
            return OpenDirectory(self, self.directory(ino))

    def statfs(self) -> os.statvfs_result:
        """The space of the device that the container lies on."""
        return self.container.store.statvfs() or os.statvfs("/")

    def forget(self, ino: int, count: int) -> None:
        """The kernel knows this inode no more."""
        node = self.nodes.get(ino)
        if isinstance(node, File) and not node.bindings and not node.opens:
            with self.container.lock:
                self.nodes.pop(ino, None)

    def commit(self, message: str = "") -> CommitReport | None:
        """Make all that was closed a new version. None: nothing had changed."""
        with self.container.lock:
            try:
                self.files.settle_all()
                self.adoption.drop_gone()
                self._namespace.write_markers(self._touched)
                self._touched.clear()
                report = self.container.commit(message)
            except (ArrayFSError, OSError) as error:
                self.warn(f"commit failed: {error}")
                raise
            if report is not None:
                self.control.committed(report, message)
            return report

    def close(self) -> CommitReport | None:
        """Commit, if writable, and close the container. Raises what the commit raises; files are closed either way."""
        try:
            return None if self.read_only else self.commit()
        finally:
            self.container.close()

    def journal_status(self) -> dict[str, object] | None:
        """What the status says of the journal; a tree without one: None."""
        return None

    # --- nodes --------------------------------------------------------------------------------------------------------

    def node(self, ino: int) -> Directory | File | tuple[ZarrArray, Coord]:
        """What an inode number stands for: an object, or an untouched chunk. Raises StaleError if it is gone."""
        node = self.nodes.get(ino)
        if node is not None:
            if isinstance(node, File) and not node.bindings and not node.opens:
                raise StaleError(errno.ESTALE, f"inode {ino} has no name any more")
            return node
        numbers = self.numbers.find_range(ino)
        if numbers is None:
            raise StaleError(116, f"inode {ino} is gone")
        prefix = numbers.prefix(ino)
        if len(prefix) < numbers.zarr.rank:
            return self.chunk_directory(numbers.zarr, numbers.zarr.components_of(prefix))
        file = numbers.zarr.files.get(prefix)
        if file is not None and file.ino == ino:
            return file
        if file is not None or not numbers.zarr.has(prefix):
            raise StaleError(116, f"inode {ino}: chunk {prefix} of {numbers.zarr.array.name!r} is gone")
        if numbers.zarr.number(prefix) != ino:
            # the array has outgrown the numbers that the kernel knows: the chunk keeps the one that it is known by
            return self._chunk_file(numbers.zarr, prefix, ino)
        return numbers.zarr, prefix

    def directory(self, ino: int) -> Directory:
        """The directory with this number. Raises NotDirectoryError, StaleError."""
        node = self.node(ino)
        if not isinstance(node, Directory):
            raise NotDirectoryError(f"inode {ino} is no directory")
        return node

    def file(self, node: File | tuple[ZarrArray, Coord]) -> File:
        """The file as an object; an untouched chunk becomes one."""
        return node if isinstance(node, File) else self._chunk_file(*node, node[0].number(node[1]))

    def _chunk_file(self, zarr: ZarrArray, coord: Coord, ino: int) -> File:
        file = File(ino, zarr.array.mtime_ns(zarr.stored(coord)))
        components = zarr.keys.components(coord)
        directory = self.chunk_directory(zarr, components[:-1])
        binding = Binding(directory, components[-1])
        binding.zarr, binding.coord = zarr, coord
        file.bindings.append(binding)
        zarr.files[coord] = file
        return file

    def find(self, directory: Directory, name: str) -> Directory | File | tuple[ZarrArray, Coord] | None:
        """The entry of this name."""
        self.documents.zarr(directory)  # directories below it learn here that they lie between its chunks
        child = directory.children.get(name)
        if child is not None:
            if directory is self.control.directory:
                self.control.refresh()
            return child
        place = self.chunk_place(directory, name)
        if place is not None:
            zarr, coord = place
            return zarr.files.get(coord) or place if zarr.has(coord) or coord in zarr.files else None
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
        for zarr, components in self.arrays_of(directory):
            coord = zarr.coord_of((*components, name))
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
        if known is not None and not known.removed and known.mtime_ns == zarr.root.mtime_ns:
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

    def attr(self, node: Directory | File | tuple[ZarrArray, Coord]) -> Attr:
        """What stat says of a node."""
        if isinstance(node, tuple):
            return node[0].attr(node[1])
        if isinstance(node, Directory):
            return Attr(node.ino, DIRECTORY_MODE, 0, 0, node.mtime_ns, 2)
        if not node.checked:
            self.files.check_document(node)
        binding = node.bindings[0] if node.bindings else None
        if binding is not None and binding.zarr is not None and node.draft is None:
            chunk = binding.zarr.attr(binding.coord)
            return Attr(node.ino, node.mode, chunk.size, chunk.blocks, node.mtime_ns, len(node.bindings))
        size = self.files.size(node)
        if binding is not None and binding.array is not None and node.draft is None:
            blocks = -(-binding.array.stored_bytes() // STAT_BLOCK)
        else:
            blocks = -(-size // STAT_BLOCK)
        return Attr(node.ino, node.mode, size, blocks, node.mtime_ns, len(node.bindings))

    def closed(self, file: File) -> None:
        """The last handle of a file was released: keep of it only what has to stay."""
        if not file.bindings:
            return
        file.kept = None
        binding = file.bindings[0]
        zarr = binding.zarr
        if zarr is None or file.draft is not None or len(file.bindings) > 1 or file.ino in self.nodes:
            return
        if file.mtime_ns == zarr.array.mtime_ns(zarr.stored(binding.coord)) and zarr.files.get(binding.coord) is file:
            del zarr.files[binding.coord]

    def watched(self) -> Iterable[Directory]:
        """Directories in which something came or went since the last commit."""
        return self._touched

    def content(self, file: File) -> bytes | memoryview:
        """The whole content of a file as it was last judged."""
        return self.files.whole(file)

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

    def _check_change(self, name: str | None) -> None:
        self.container.check_writable()
        if name is None:
            return
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise RefusedError(84, f"{name!r} is not UTF-8, which the container's names are") from None
        if size > 255:
            raise RefusedError(36, f"a name of {size} bytes; 255 is the limit")


def open_tree(url: str, *, mode: str = "r", look: int = 3, options: ContainerOptions | None = None) -> Tree:
    """Open a container as a tree. mode: "r" to read, "a" to change; look: Zarr format 3 or 2."""
    container = Container.open(url, mode, options)
    try:
        return Tree(container, look)
    except BaseException:
        container.close()
        raise


__all__ = ["FILE_ARRAY", "NoEntryError", "Tree", "open_tree", "plain"]
