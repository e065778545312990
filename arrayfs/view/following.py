"""A tree that goes on from a newer version: what others committed is shown, and nobody's open file changes under him.

A file that is open keeps the content and the inode number that it had; its name leads to another inode from then on.
Of what nobody has open the number stays, and the kernel is told to forget what it knows. Only what the newer layers
speak of is looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from arrayfs.container.array import Array
from arrayfs.container.grid import Coord
from arrayfs.container.merge import Names, coords_since, goes_on
from arrayfs.container.stack import LayerStack
from arrayfs.errors import FormatError
from arrayfs.view import merging, plain, populate
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.chunks import NativeChunks, OpaqueChunks
from arrayfs.view.content import size_of
from arrayfs.view.documents import FILE_ARRAY, NAMES
from arrayfs.view.draft import Draft
from arrayfs.view.nodes import Components, Directory, File
from arrayfs.view.reshaping import follow_spec, let_go, names_of, renew

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

# More chunks than this in one array, and all of its directory is looked up anew.
MANY = 4096
# Members of documents that a native array says.
TOLD_BY_ARRAYS = frozenset({"shape", "fill_value", "dimension_names"})


class Following:
    """What a container's commits and refreshes ask and tell one tree (`container.merge.Follower`).

    times: how often the tree went on from a newer version.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.times = 0
        self._inodes: set[int] = set()
        self._entries: set[tuple[int, str]] = set()
        self._again: tuple[set[int], set[tuple[int, str]]] = (set(), set())

    # --- asked --------------------------------------------------------------------------------------------------------

    def busy(self) -> Iterable[tuple[str, Coord | None]]:
        """See `Follower`: the files that are open for writing."""
        for file in self._tree.being_written:
            for binding in file.bindings:
                place = self._tree.files.chunk_place(binding)
                if place is not None:
                    yield place[0].array.name, place[0].stored(place[1])
                if binding.zarr is None:
                    yield self._tree.files.array_name(binding), None

    def merge_file(self, name: str, base: Array | None, ours: Array, theirs: Array) -> Callable[[], None] | None:
        """See `Follower`."""
        container, told = self._tree.container, frozenset[str]()
        path = merging.path_of(name)[:-1]
        directory, opaque = self._known(path), plain.CHUNKS + "/".join(path)
        if isinstance(directory, Directory) and directory.array_name is not None and directory.array_name in container:
            told = TOLD_BY_ARRAYS.union(container.get(directory.array_name).attributes)
        elif opaque in container:
            told = frozenset(container.get(opaque).attributes)
        return merging.merge_file(container, name, base, ours, theirs, told)

    def is_file(self, name: str) -> bool:
        """See `Follower`."""
        return merging.is_file(name)

    def clashes(self, ours: Names, theirs: Names) -> list[str]:
        """See `Follower`."""
        return merging.clashes(ours, theirs)

    # --- before -------------------------------------------------------------------------------------------------------

    def publishing(self) -> None:
        """See `Follower`."""
        self._tree.publishing()

    def leaving(self, stack: LayerStack, names: frozenset[str]) -> None:
        """Open files keep what they show now, whatever becomes of their arrays."""
        self._tree.moving(stack)
        for file in self._tree.synthetic.values():
            if file.opens and file.kept is None and file.draft is None:
                file.kept = self._tree.files.whole(file)
        for name in names:
            directory = self._known(merging.path_of(name))
            if isinstance(directory, File):
                self._freeze_plain(directory)
            elif directory is not None and directory.zarr is not None and directory.zarr.array.name == name:
                for coord, file in directory.zarr.files.items():
                    self._freeze_chunk(directory.zarr, coord, file)

    def _freeze_plain(self, file: File) -> None:
        if not file.opens:
            return
        for binding in file.bindings:
            array = self._tree.files.backing(binding) if binding.zarr is None else None
            if array is None or not array.span:
                continue
            self._tree.files.load(file)
            read = partial(plain.read, self._tree.container, Array.committed(array.name, array.span), file.size)
            if file.draft is None:
                file.draft = Draft(read, file.size)
            elif file.draft.base_size:
                file.draft.rest_on(read)
            return

    def _freeze_chunk(self, zarr: ZarrArray, coord: Coord, file: File) -> None:
        stored, index = zarr.stored(coord), zarr.array.index
        if not file.opens or file.draft is not None or file.kept is not None or stored in zarr.array.changes:
            return
        place = index.place(stored)
        if place is None:
            return
        with suppress(FormatError):  # damaged: who reads it gets an error either way
            file.kept = zarr.content_committed(index, place, zarr.chunks, coord)
            file.size = size_of(file.kept)

    def _known(self, path: Components) -> Directory | File | None:
        """The object at a path, without looking anything up."""
        node: Directory | File | None = self._tree.root
        for name in path:
            node = node.children.get(name) if isinstance(node, Directory) else None
        return node

    # --- after --------------------------------------------------------------------------------------------------------

    def arrived(self, old: LayerStack, names: frozenset[str]) -> None:
        """The container's arrays are what the newer stack says: bring the tree in line."""
        self.times += 1
        self._tree.consolidated.doubt()
        # what went makes room for what came; files come before arrays, for documents say where an array is shown
        in_order = sorted(names, key=lambda name: (not name.startswith(plain.RESERVED), name))
        gone = self._take_in((name for name in in_order if name not in self._tree.container), old)
        self._prune(gone)
        came = self._take_in((name for name in in_order if name in self._tree.container), old)
        looked_at = dict.fromkeys((*gone, *came))
        for directory in looked_at:
            if not directory.removed:
                self._look_again(directory)
        self._prune(looked_at)
        self._tree.consolidated.arrived(names)
        self.tell()

    def _take_in(self, names: Iterable[str], old: LayerStack) -> dict[Directory, None]:
        """Take arrays as they are now into the tree; returns the directories in which something is otherwise."""
        directories: dict[Directory, None] = {}
        for name in names:
            if name.startswith(plain.FILES):
                directory = self._file_came(name)
            elif name.startswith(plain.HIDDEN):
                directory = self._document_was_hidden(name)
            elif name == FILE_ARRAY:
                directory = self._tree.root
            else:
                directory = self._array_came(name, old)
            if directory is not None:
                directories[directory] = None
        return directories

    def tell(self) -> None:
        """Have the kernel forget what is otherwise now, and once more what it was told the last time.

        An answer that was under way when it was told may have reached it afterwards.
        """
        now = (self._inodes, self._entries)
        if self._tree.on_invalidate is not None and any((*now, *self._again)):
            self._tree.on_invalidate(now[0] | self._again[0], now[1] | self._again[1])
        self._again, self._inodes, self._entries = now, set(), set()

    # --- files --------------------------------------------------------------------------------------------------------

    def _file_came(self, name: str) -> Directory | None:
        """A stored file, or the marker of an empty directory, came, changed or went; returns the directory it is in."""
        tree = self._tree
        path = merging.path_of(name)
        there = name in tree.container
        found = self._known(path)
        if name.endswith("/") or name == plain.FILES:
            if there:
                populate.add_file(tree, name)
            elif isinstance(found, Directory):
                found.explicit, found.marker = found.parent is None, None
            found = self._known(path)
            return found if isinstance(found, Directory) else None
        if isinstance(found, File):
            if found.writers:
                return found.bindings[0].directory  # ours, whatever the other did
            self._renew_plain(found, path, name, there=there)
        elif there:
            populate.add_file(tree, name)
        above = self._known(path[:-1])
        return above if isinstance(above, Directory) else None

    def _renew_plain(self, file: File, path: Components, name: str, *, there: bool) -> None:
        directory = self._known(path[:-1])
        assert isinstance(directory, Directory)
        if there and not file.opens:
            self._forget_content(file)
            for binding in file.bindings:
                if binding.directory is directory and binding.name == path[-1]:
                    binding.array, binding.array_name = None, name
            file.size = populate.UNKNOWN_SIZE
            self._inodes.add(file.ino)
            return
        del directory.children[path[-1]]
        file.bindings = [b for b in file.bindings if b.directory is not directory or b.name != path[-1]]
        self._entries.add((directory.ino, path[-1]))
        if not file.opens and not file.bindings:
            self._tree.nodes.pop(file.ino, None)
        if there:
            populate.add_file(self._tree, name)

    def _forget_content(self, file: File) -> None:
        self._tree.files.unsettle(file)
        file.draft, file.kept, file.checked, file.judged = None, None, False, False

    def _document_was_hidden(self, name: str) -> Directory | None:
        path = merging.path_of(name)
        directory = self._known(path[:-1])
        if not isinstance(directory, Directory):
            return None
        if name in self._tree.container:
            directory.hidden.add(path[-1])
        else:
            directory.hidden.discard(path[-1])
        return directory

    # --- arrays -------------------------------------------------------------------------------------------------------

    def _array_came(self, name: str, old: LayerStack) -> Directory | None:
        """An array came, changed or went; returns its directory."""
        tree, native = self._tree, not name.startswith(plain.CHUNKS)
        there = name in tree.container
        directory = self._directory_of(name)
        if there and (directory is None or (native and directory.array_name is None)):
            if native:
                populate.add_native(tree, name)
            else:
                populate.directory_at(tree, merging.path_of(name))
            directory = self._directory_of(name)
            if directory is not None:
                directory.loaded = directory.loaded and directory.zarr is not None
            return directory
        if directory is None:
            return None
        if not there and native and directory.array_name == name:
            directory.array_name = None
            if name in tree.counted:
                tree.counted.discard(name)
                directory.count_natives(-1)
        zarr = directory.zarr
        if zarr is not None and zarr.array.name == name:
            below, now = old.spans.get(name, ()), tree.container.stack.spans.get(name, ())
            if there and below and goes_on(now, below):
                self._chunks_changed(zarr, Array.committed(name, below), coords_since(below, now).tolist())
            else:
                self._unload(directory, zarr)
        return directory

    def _directory_of(self, name: str) -> Directory | None:
        found = self._known(merging.path_of(name))
        if isinstance(found, Directory) and found.zarr is None and found.array_name not in (None, name):
            return None
        if name == "" and not isinstance(found, Directory):
            found = self._tree.root if self._tree.root.array_name == "" else None
        return found if isinstance(found, Directory) else None

    def _chunks_changed(self, zarr: ZarrArray, before: Array, changed: list[list[int]]) -> None:
        tree, emptied = self._tree, set[Components]()
        zarr.root.mtime_ns = tree.container.stack.newest.time_ns
        zarr.passing.clear()
        self._inodes.add(zarr.root.ino)
        self._inodes.update(directory.ino for directory in zarr.directories.values())
        if zarr.array.spec != before.spec:
            zarr.chunks = OpaqueChunks() if isinstance(zarr.chunks, OpaqueChunks) else NativeChunks(zarr.array.spec)
            emptied = follow_spec(tree, zarr, before.coords(), before.spec)
        if len(changed) > MANY:
            self._unload(zarr.root, zarr)
            return
        inner = (0,) * len(zarr.inner)
        for stored in changed:
            coord = (*stored, *inner)
            if not self._chunk_changed(zarr, before, coord):
                emptied.add(zarr.keys.components(coord)[:-1])
        # The other one may have removed them: those that he has not have markers, which are taken in by now.
        paths = {components[:length] for components in emptied for length in range(1, len(components) + 1)}
        self._prune([zarr.directories[path] for path in paths & zarr.directories.keys()])

    def _chunk_changed(self, zarr: ZarrArray, before: Array, coord: Coord) -> bool:
        """Returns whether it is there now."""
        place = zarr.stored(coord)
        there = place in zarr.array.grid and zarr.has(coord)
        if place not in before.grid:
            return there  # nobody can know it
        file, reader = zarr.files.get(coord), zarr.readers.get(coord)
        if file is not None and file.writers:
            return there  # ours, whatever the other did
        if reader is not None:
            file = self._tree.nameless(reader)
        elif file is not None and file.opens:
            let_go(self._tree, zarr, coord)
        if file is not None and file.opens:
            if there:
                renew(self._tree, zarr, coord)
            self._entries.update(names_of(self._tree, zarr, coord)[: 1 if there else None])
        elif there:
            if file is not None:
                file.kept, file.mtime_ns = None, zarr.array.mtime_ns(place)
            self._inodes.add(zarr.number(coord) if file is None else file.ino)
        elif place in zarr.array.grid:
            let_go(self._tree, zarr, coord)
            self._entries.update(names_of(self._tree, zarr, coord))
        return there

    def _unload(self, directory: Directory, zarr: ZarrArray) -> None:
        """All that is known of an array's files is forgotten: they are looked up anew, under new numbers."""
        for reader in list(zarr.readers.values()):
            self._tree.nameless(reader)
        for coord, file in list(zarr.files.items()):
            self._freeze_chunk(zarr, coord, file)  # of an array that is the same, and shown otherwise
            let_go(self._tree, zarr, coord)
        for components, child in list(zarr.directories.items()):
            child.owner, child.components, child.loaded = None, (), False
            if not child.children and not child.explicit and child.parent is not None:
                child.removed = True
                child.parent.children.pop(components[-1], None)
            else:
                self._tree.nodes[child.ino] = child  # the number was the array's
        zarr.directories.clear()
        zarr.passing.clear()
        # who still asks by an old number finds nothing, and looks the name up
        zarr.array = Array(zarr.array.name, replace(zarr.array.spec, shape=(0,) * len(zarr.array.spec.shape)))
        directory.zarr, directory.loaded = None, False
        self._forget_directory(directory)

    def _forget_directory(self, directory: Directory) -> None:
        self._inodes.add(directory.ino)
        if directory.parent is not None:
            self._entries.add((directory.parent.ino, directory.name))
        else:
            self._entries.update((directory.ino, name) for name in (*directory.children, "c"))

    # --- documents ----------------------------------------------------------------------------------------------------

    def _look_again(self, directory: Directory) -> None:
        """What is in a directory changed: its documents, and the array that they speak of, may be others."""
        tree = self._tree
        directory.mtime_ns = tree.container.stack.newest.time_ns
        self._inodes.add(directory.ino)
        for name in NAMES.intersection(directory.children):
            document = directory.children[name]
            if isinstance(document, File) and not document.opens and document not in tree.files.unsettled:
                self._forget_content(document)
                self._inodes.add(document.ino)
        zarr = directory.zarr
        if zarr is None:
            directory.loaded = False
        elif not tree.documents.still_describes(directory, zarr):
            self._unload(directory, zarr)
        for above in directory.ancestors():
            self._renew_synthetic(above)
            tree.forget_synthetic(above)

    def _renew_synthetic(self, directory: Directory) -> None:
        tree = self._tree
        for name in NAMES:
            file = tree.synthetic.get((directory.ino, name))
            if file is None or file.writers:
                continue
            if file.opens:
                del tree.synthetic[directory.ino, name]
                file.bindings.clear()
                self._entries.add((directory.ino, name))
            else:
                file.kept, file.mtime_ns = None, directory.mtime_ns
                self._inodes.add(file.ino)

    def _prune(self, directories: Iterable[Directory]) -> None:
        """Those that nothing implies any more go, and those above them that nothing else implied."""
        for directory in directories:
            while not directory.removed and directory.parent is not None and not self._is_implied(directory):
                above = directory.parent
                if above.children.get(directory.name) is directory:
                    del above.children[directory.name]
                directory.removed = True
                if directory.owner is not None:
                    directory.owner.directories.pop(directory.components, None)
                    directory.owner.passing.clear()
                self._tree.nodes.pop(directory.ino, None)
                self._entries.add((above.ino, directory.name))
                directory = above

    def _is_implied(self, directory: Directory) -> bool:
        if directory.children or directory.explicit or directory.array_name is not None or directory.hidden:
            return True
        owner = directory.owner
        if owner is not None and (
            owner.has_chunks(owner.prefix_of(directory.components) or ())
            or any(binding.directory is directory for file in owner.files.values() for binding in file.bindings)
        ):
            return True
        return self._tree.documents.zarr(directory) is not None
