"""Whole files by path, each in one step: the tree for programs that keep values under keys.

A key is a path from the root, without a slash in front. Directories come with the first file below them, and one that
is empty counts for nothing: such a program knows none. Everything else is as for any other client of the tree. A key
that no path can be ("", "a//b", "..") has no value, and cannot be given one.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from arrayfs.container.array import is_plain
from arrayfs.container.grid import Coord
from arrayfs.container.index import ChunkRef
from arrayfs.errors import ChunkFileError, NotDirectoryError, RefusedError
from arrayfs.format.log import Op
from arrayfs.view import removal
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.attr import Attr
from arrayfs.view.content import cut, size_of
from arrayfs.view.handles import OpenFile
from arrayfs.view.key_listing import chunk_keys, keys_in, names_in
from arrayfs.view.nodes import FILE_MODE, Directory, File
from arrayfs.view.paths import CONTROL_NAME

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

Value = bytes | memoryview
Node = Directory | File | tuple[ZarrArray, Coord]

# From this many bytes on, unpacking a block takes so long that an event loop should not wait for it: more than handing
# it to a thread and back. One that is not compressed is only read: that takes as long from eight times as many.
SLOW_BLOCK = 512 << 10
SLOW_TO_READ = 4 << 20
# A value up to this size is one record of the journal, which has a limit of 64 MiB; a larger one is written in pieces.
ONE_RECORD = 32 << 20
PIECE = 4 << 20
WHOLE = slice(None)
_IN_NO_PATH = frozenset(("", ".", ".."))


class Reading(NamedTuple):
    """A value that is there. fetch: gives it, without the container's lock; slow: whether that takes its time."""

    fetch: Callable[[], Value]
    slow: bool


class Keys:
    """The values of one tree."""

    def __init__(self, tree: Tree, *, alone: bool = False) -> None:
        """alone: nobody else looks at the tree before it is committed, so the directories between new chunks need not
        be objects, of which there may be as many as chunks.
        """
        self.tree = tree
        self._alone = alone
        self._container = tree.container

    # --- finding ------------------------------------------------------------------------------------------------------

    def _find(self, parts: Sequence[str]) -> Node | None:
        """What a path leads to; the caller has the lock."""
        tree = self.tree
        if not parts:
            return tree.root
        if parts[0] == CONTROL_NAME or not _IN_NO_PATH.isdisjoint(parts):
            return None
        place = self._place(parts)
        if place is not None:
            return self._chunk(*place)
        directory = tree.root
        for name in parts[:-1]:
            below = tree.find(directory, name)
            if not isinstance(below, Directory):
                return None
            directory = below
        return tree.find(directory, parts[-1])

    def _place(self, parts: Sequence[str]) -> tuple[ZarrArray, Coord] | None:
        """The chunk that a path spells, be it there or not, if nothing else has the path."""
        directory = self.tree.root
        for position, name in enumerate(parts):
            if not directory.loaded:
                self.tree.documents.zarr(directory)  # directories below it learn that they lie between its chunks
            below = directory.children.get(name)
            if below is None:
                return self._chunk_below(directory, parts[position:])
            if not isinstance(below, Directory):
                return None
            directory = below
        return None

    def _chunk_below(self, directory: Directory, rest: Sequence[str]) -> tuple[ZarrArray, Coord] | None:
        """The chunk that a path below a directory spells; nothing on the path but perhaps the chunk is an object."""
        owner = directory.owner
        if owner is not None:
            coord = owner.coord_of((*directory.components, *rest))
            if coord is not None:
                return owner, coord
        zarr = self.tree.documents.zarr(directory)
        if zarr is not None:
            coord = zarr.coord_of(rest)
            if coord is not None:
                return zarr, coord
        return None

    @staticmethod
    def _chunk(zarr: ZarrArray, coord: Coord) -> File | tuple[ZarrArray, Coord] | None:
        return zarr.files.get(coord) or ((zarr, coord) if zarr.has(coord) else None)

    def _find_file(self, key: str) -> File | tuple[ZarrArray, Coord] | None:
        node = self._find(_parts(key))
        if isinstance(node, Directory):
            return None
        if isinstance(node, File) and not node.checked:
            self.tree.stored_documents.check(node)
        return node

    def chunk_at(self, key: str) -> tuple[ZarrArray, Coord] | None:
        """The chunk that has this path, if one is there and nothing else has it."""
        with self._container.lock:
            place = self._place(_parts(key))
            return place if place is not None and place[0].has(place[1]) else None

    # --- reading ------------------------------------------------------------------------------------------------------

    def plan(self, key: str, window: slice = WHOLE) -> Reading | None:
        """How to get a value, or the part of it that lies in `window`; None if there is none.

        What is fetched is the value of this moment.
        """
        with self._container.lock:
            place = self._place(_parts(key))
            if place is not None and place[1] not in place[0].files:
                return self._plan_chunk(*place, window)
            node = self._find_file(key)
            if isinstance(node, File):
                content = self._read(node, window)
                return Reading(lambda: content, False)
            return None if node is None else self._plan_chunk(*node, window)

    def _plan_chunk(self, zarr: ZarrArray, coord: Coord, window: slice) -> Reading | None:
        array, chunks, place = zarr.array, zarr.chunks, zarr.stored(coord)
        if zarr.inner and not zarr.has(coord):
            return None
        found, grid = array.find(place), array.grid
        if found is None:
            return None
        if not isinstance(found, ChunkRef):
            value = memoryview(zarr.content_of(found, place, grid, chunks))[window]
            return Reading(lambda: value, False)
        if window is WHOLE:
            keep = not is_plain(found)
            return Reading(lambda: zarr.content_of(found, place, grid, chunks, keep=keep), self._is_slow(found))
        content = zarr.content(coord)  # of a large one, what reads its ranges
        start, stop, _ = window.indices(size_of(content))
        return Reading(lambda: cut(content, start, max(0, stop - start)), False)

    def _read(self, file: File, window: slice) -> Value:
        if window is WHOLE:
            return self.tree.files.whole(file)
        start, stop, _ = window.indices(self.tree.files.size(file))
        return self.tree.files.read(file, start, max(0, stop - start))

    def _is_slow(self, ref: ChunkRef) -> bool:
        layer, size = ref.layer, ref.layer.block_size(ref.row)
        if size < SLOW_BLOCK or (layer.serial, ref.row) in self._container.cache:
            return False
        return size >= SLOW_TO_READ or layer.stored_size(ref.row) != size

    def size(self, key: str) -> int | None:
        """Bytes of a value, None if there is none."""
        with self._container.lock:
            node = self._find_file(key)
            if isinstance(node, tuple):
                return node[0].file_size(node[1])
            return None if node is None else self.tree.files.size(node)

    def attr(self, key: str) -> Attr | None:
        """What stat says of a value, None if there is none."""
        with self._container.lock:
            node = self._find_file(key)
            return None if node is None else self.tree.attr(node)

    def __contains__(self, key: object) -> bool:
        with self._container.lock:
            return isinstance(key, str) and not isinstance(self._find(_parts(key)), Directory | None)

    def leads_anywhere(self, path: str) -> bool:
        """Whether a path is that of a value, or of a directory."""
        with self._container.lock:
            return self._find(_parts(path)) is not None

    def holds(self, key: str, content: Value) -> bool:
        """Whether the value is this; of a chunk that the array's shape cuts, what lies outside does not count."""
        reading = self.plan(key)
        if reading is None:
            return False
        now = reading.fetch()
        return now == content or self._is_cut_to(key, content, now)

    def _is_cut_to(self, key: str, content: Value, now: Value) -> bool:
        with self._container.lock:
            place = self._place(_parts(key))
            if place is None or not place[0].is_clipped(place[1]):
                return False
            chunks, extent = place[0].chunks, place[0].array.grid.extent(place[0].stored(place[1]))
            try:
                return chunks.to_file(chunks.from_file(content, extent), extent) == now
            except ChunkFileError:
                return False

    def holds_parts(self, key: str, size: int, parts: Iterable[Value]) -> bool:
        """The same for a value of `size` bytes that comes in parts."""
        if self.size(key) != size:
            return False
        offset = 0
        for part in parts:
            reading = self.plan(key, slice(offset, offset + len(part)))
            if reading is None or reading.fetch() != part:
                return False
            offset += len(part)
        return offset == size

    # --- writing ------------------------------------------------------------------------------------------------------

    def put(self, key: str, content: Value, *, replace: bool = True) -> bool:
        """Set a value; whether it was set, which it is not where there is one already and `replace` is False.

        Raises RefusedError for a key that no path can be, IsDirectoryError and NotDirectoryError where one key's path
        would lead through another's value.
        """
        parts = _checked_parts(key)
        with self._container.lock:
            if not replace and self._find(parts) is not None:
                return False
            if len(content) > ONE_RECORD:
                self._write(parts, [content])
            else:
                self.tree.change_whole(Op.PUT, lambda: self._put(parts, content), key, content)
            return True

    def put_parts(self, key: str, contents: Iterable[Value]) -> None:
        """Set a value that comes in parts, so that it need not be in memory as a whole. Raises as `put` does."""
        with self._container.lock:
            self._write(_checked_parts(key), contents)

    def _put(self, parts: Sequence[str], content: Value) -> None:
        self.tree.check_change(None)
        if not self._put_chunk(parts, content):
            directory, name = self._directory_for(parts), parts[-1]
            self.tree.check_change(name)
            there = self.tree.find(directory, name)
            if isinstance(there, File) and there.is_link:
                self.tree.namespace.unlink(directory, name)  # its content is where it leads to
            file = self.tree.namespace.create(directory, name, FILE_MODE & 0o7777, exclusive=False)
            handle = OpenFile(self.tree, file, write=True)
            try:
                handle.truncate(0)
                handle.write(0, bytes(content))
            finally:
                handle.release()

    def _put_chunk(self, parts: Sequence[str], content: Value) -> bool:
        """Set a chunk that nobody has open, without making an inode for it; False where that cannot be done."""
        place = self._place(parts)
        if place is None:
            return False
        zarr, coord = place
        if coord in zarr.files or coord in zarr.readers or not zarr.chunks.accepts(len(content)):
            return False
        above = zarr.keys.components(coord)[:-1]
        if above and not self._alone and above not in zarr.directories:
            self.tree.materialise(self.tree.chunk_directory(zarr, above))
        zarr.write(coord, content, self.tree.now())
        return True

    def _directory_for(self, parts: Sequence[str]) -> Directory:
        """The directory that a file is in, made if need be."""
        tree, directory = self.tree, self.tree.root
        for name in parts[:-1]:
            below = tree.find(directory, name)
            if below is None:
                tree.check_change(name)
                below = tree.namespace.mkdir(directory, name, 0o755)
                below.explicit = False
            if not isinstance(below, Directory):
                raise NotDirectoryError(errno.ENOTDIR, f"{'/'.join(parts)}: {name!r} is a file")
            directory = below
        return directory

    def _write(self, parts: Sequence[str], contents: Iterable[Value]) -> None:
        """Set a value that may be too large for one record, as a program that writes a file does."""
        tree, parent = self.tree, self.tree.root.ino
        for name in parts[:-1]:
            attr = tree.lookup(parent, name) or tree.mkdir(parent, name, 0o755)
            parent = attr.ino
        _, file = tree.make(parent, parts[-1], FILE_MODE & 0o7777, exclusive=False, write=True, truncate=True)
        end = 0
        try:
            for content in contents:
                view = memoryview(content)
                for offset in range(0, len(view), PIECE):
                    file.write(end + offset, bytes(view[offset : offset + PIECE]))
                end += len(view)
            file.flush()
        finally:
            file.release()

    # --- removing -----------------------------------------------------------------------------------------------------

    def remove(self, key: str) -> bool:
        """Remove a value; whether there was one."""
        with self._container.lock:
            return not isinstance(self._find(_parts(key)), Directory | None) and self._change(key)

    def remove_below(self, path: str) -> bool:
        """Remove all values below a path ("": everything); whether it led to any, or to a directory without."""
        with self._container.lock:
            return isinstance(self._find(_parts(path)), Directory) and self._change(path)

    def remove_any(self, path: str) -> None:
        """Whichever of both it is."""
        with self._container.lock:
            if self._find(_parts(path)) is not None:
                self._change(path)

    def _change(self, path: str) -> bool:
        self.tree.change_whole(Op.REMOVE, lambda: self._remove(_parts(path)), path)
        return True

    def _remove(self, parts: Sequence[str]) -> None:
        self.tree.check_change(None)
        above = self._find(parts[:-1])
        if not parts:
            removal.clear(self.tree, self.tree.root)
        elif isinstance(above, Directory):
            self.tree.namespace.remove_all(above, parts[-1])

    # --- listing ------------------------------------------------------------------------------------------------------

    def below(self, prefix: str) -> Iterator[str]:
        """All keys that begin with `prefix`, which need not end at a slash."""
        path, _, begin = prefix.rpartition("/")
        with self._container.lock:
            directory = self._find(_parts(path))
        if isinstance(directory, Directory):
            start = f"{path}/" if path else ""
            yield from (start + key for key in keys_in(self.tree, directory) if key.startswith(begin))

    def chunks(self, path: str) -> Iterator[str]:
        """The keys of all chunks of the array at a path; none if there is no array."""
        zarr = self.array_at(path)
        if zarr is not None:
            start = f"{path}/" if path else ""
            yield from (start + key for key in chunk_keys(self.tree, zarr, zarr.root))

    def array_at(self, path: str) -> ZarrArray | None:
        """The array whose directory a path is; None for any other."""
        with self._container.lock:
            directory = self._find(_parts(path))
            return self.tree.documents.zarr(directory) if isinstance(directory, Directory) else None

    def names(self, path: str) -> list[str]:
        """What stands directly below a path: last parts of keys, and beginnings of longer ones."""
        with self._container.lock:
            directory = self._find(_parts(path.rstrip("/")))
            return names_in(self.tree, directory) if isinstance(directory, Directory) else []


def _parts(key: str) -> list[str]:
    return key.split("/") if key else []


def _checked_parts(key: str) -> list[str]:
    parts = _parts(key)
    if not parts or not _IN_NO_PATH.isdisjoint(parts):
        raise RefusedError(errno.EINVAL, f"{key!r} can be no path of a file")
    return parts
