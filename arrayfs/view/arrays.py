"""One Zarr array in the tree: which names below its directory are chunks, and what each is as a file.

Computed from the container's array; only chunks that were opened or replaced, and directories that got a child, are
objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array, Found, read_ref, source_name
from arrayfs.container.cache import BlockCache
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.index import ChunkIndex, ChunkRef
from arrayfs.container.large import LARGE, Spilled, Stretch
from arrayfs.errors import FormatError
from arrayfs.view.attr import Attr
from arrayfs.view.chunks import ChunkFormat
from arrayfs.view.content import Content, cut
from arrayfs.view.draft import Draft
from arrayfs.view.metadata import KeyStyle, chunk_number
from arrayfs.view.nodes import FILE_MODE, Components, Directory, File
from arrayfs.view.numbers import InodeNumbers, NumberRange, Prefix

if TYPE_CHECKING:
    from arrayfs.view.readers import ChunkReader

STAT_BLOCK = 512
# How many chunks after the one that is opened are unpacked: while one is, the next can wait in line. scripts/bench.
AHEAD = 2


class Line(NamedTuple):
    """The chunks right in one directory, which lie along the last axis. leading: their other coordinates; first: the
    key of the first; length: how many there can be.
    """

    leading: Prefix
    first: int
    length: int


class ZarrArray:
    """A Zarr array and its chunk files.

    root: its directory. array: where the chunks are kept, native or opaque. look: 2 or 3, which documents describe it.
    rank: the number of axes that Zarr sees. inner: lengths of the inner axes of a FixedSizeList type: one axis each for
    Zarr, always with the one chunk 0.
    files: chunks that are objects. readers: open handles of chunks that are none. directories: chunk directories that
    are objects, by their components; passing: some that were computed lately, valid until one becomes an object or
    numbers change; left: some that were moved away, or were here when the array went, and are known by old numbers.
    gone: its document was removed; the chunks stay until they are removed too, or a document comes back. torn: its
    document does not parse now, and what it said before holds.
    """

    def __init__(
        self,
        container: Container,
        numbers: InodeNumbers,
        root: Directory,
        array: Array,
        keys: KeyStyle,
        chunks: ChunkFormat,
        inner: tuple[int, ...],
        look: int,
    ) -> None:
        self.container = container
        self.root = root
        self.array = array
        self.rank = len(array.spec.shape) + len(inner)
        self.keys = keys
        self.chunks = chunks
        self.inner = inner
        self.look = look
        self.gone = False
        self.torn = False
        self.files: dict[Coord, File] = {}
        self.readers: dict[Coord, ChunkReader] = {}
        self.directories: dict[Components, Directory] = {}
        self.passing: dict[Components, Directory] = {}
        self.left: dict[Components, Directory] = {}
        self._numbers = numbers
        self._range: NumberRange | None = None
        self._range_grid = array.grid
        self._line: tuple[Components | None, Grid, Line | None] = (None, array.grid, None)

    @property
    def counts(self) -> tuple[int, ...]:
        """Chunks per axis that Zarr sees."""
        return self.array.grid.counts + (1,) * len(self.inner) if self.inner else self.array.grid.counts

    # --- names --------------------------------------------------------------------------------------------------------

    def coord_of(self, components: Sequence[str]) -> Coord | None:
        """The chunk coordinate that a path below the array's directory spells, inside the grid; else None."""
        coord = self.keys.parse(components, self.rank)
        return coord if coord is not None and _all_less(coord, self.counts) else None

    def coord_in(self, components: Components, name: str) -> Coord | None:
        """The same for a name in a chunk directory."""
        line = self.line(components)
        if line is None:
            return self.coord_of((*components, name))
        number = chunk_number(name)
        return None if number is None or number >= line.length else (*line.leading, number)

    def line(self, components: Components) -> Line | None:
        """The chunks right in a directory, if there can be any. What was asked last is kept: many are in one."""
        last, grid, line = self._line
        if components is not last or grid is not self.array.grid:
            grid, leading = self.array.grid, self.prefix_of(components)
            inside = leading is not None and len(leading) == self.rank - 1 and _all_less(leading, self.counts)
            line = Line(leading, grid.key(leading), self.counts[-1]) if leading is not None and inside else None
            self._line = components, grid, line
        return line

    def prefix_of(self, components: Components) -> Prefix | None:
        """The leading coordinates of the chunks below a directory path, if chunks can be below it; else None."""
        if self.keys.separator != "/":
            return None
        rest = components
        if self.keys.prefix:
            if not components or components[0] != self.keys.prefix:
                return None
            rest = components[1:]
        if len(rest) >= self.rank:
            return None
        if not rest:
            return ()
        return KeyStyle("", "/").parse(rest, len(rest))

    def components_of(self, prefix: Prefix) -> Components:
        """The path of a chunk directory below the array's directory."""
        return ((self.keys.prefix,) if self.keys.prefix else ()) + tuple(map(str, prefix))

    @property
    def inodes(self) -> NumberRange:
        """The inode numbers of its untouched chunks and chunk directories."""
        if self._range is None or self._range_grid is not self.array.grid:
            self._range_grid = self.array.grid
            if self._range is None or not self._range.fits(tuple(max(count, 1) for count in self.counts)):
                self._range = self._numbers.take_range(self, self.counts)
                self.passing.clear()
        return self._range

    def number(self, prefix: Prefix) -> int:
        """The inode number of an untouched chunk or chunk directory."""
        return self.inodes.number(prefix)

    # --- chunks -------------------------------------------------------------------------------------------------------

    def stored(self, coord: Coord) -> Coord:
        """The container's coordinate of a chunk."""
        return coord[: len(self.array.spec.shape)] if self.inner else coord

    def has(self, coord: Coord) -> bool:
        """Whether there is such a chunk file."""
        if self.inner and any(coord[-len(self.inner) :]):
            return False
        return self.array.has(self.stored(coord))

    def has_below(self, prefix: Prefix) -> bool:
        """Whether any committed chunk that is still there begins with these coordinates."""
        prefix = prefix[: len(self.array.spec.shape)]
        index, changes = self.array.index, self.array.changes
        low, high = index.slice(prefix)
        if not changes:
            return low < high
        for place in range(low, high):
            change = changes.get(self.array.grid.coord(int(index.keys[place])))
            if change is None or change.content is not None:
                return True
        return False

    def path(self, coord: Coord) -> str:
        """The chunk file's names from the root of the tree down."""
        return "/".join((*self.root.path(), *self.keys.components(coord)))

    def is_clipped(self, coord: Coord) -> bool:
        """Whether part of the chunk lies outside the array's shape."""
        place, grid = self.stored(coord), self.array.grid
        return grid.extent(place) != grid.chunk_shape

    def file_size(self, coord: Coord) -> int:
        """Bytes of the chunk file. The chunk must exist."""
        place = self.stored(coord)
        return self.chunks.file_size(self.array.stored_size(place) or 0, self.array.grid.extent(place))

    def read(self, coord: Coord) -> bytes | memoryview:
        """The whole chunk file. Raises FormatError, naming file, array and chunk, if it cannot be had."""
        place = self.stored(coord)
        return self.content_of(self.array.find(place), place, self.array.grid, self.chunks)

    def content(self, coord: Coord) -> Content:
        """As `read`, but a large chunk file is not had in memory where that can be avoided."""
        place = self.stored(coord)
        size = self.array.stored_size(place) or 0
        return self._content(self.array.find(place), place, self.array.grid, self.chunks, size)

    def content_later(self, coord: Coord) -> Stretch:
        """The content of a chunk file, not read before it is asked for, whatever becomes of the array until then."""
        place, grid, chunks = self.stored(coord), self.array.grid, self.chunks
        found = self.array.find(place)
        return Stretch(lambda o, n: cut(self.content_of(found, place, grid, chunks), o, n), 0, self.file_size(coord))

    def content_committed(self, index: ChunkIndex, place: int, chunks: ChunkFormat, coord: Coord) -> Content:
        """As `content`, of the chunk that `index`, at `place`, and `chunks` (which never change) once showed."""
        found, stored = index.ref(place), self.stored(coord)
        if found.size == chunks.size and index.grid.extent(stored) == index.grid.chunk_shape and found.size <= LARGE:
            try:
                data = read_ref(found, self.container.cache)
                if len(data) == found.size:
                    return data  # the stored chunk is the file
            except FormatError:  # comes again below, where it gets the chunk's name
                pass
        return self._content(found, stored, index.grid, chunks, found.size)

    def _content(self, found: Found, place: Coord, grid: Grid, chunks: ChunkFormat, stored_size: int) -> Content:
        read = self.array.ranges(found, place, self.container.cache) if stored_size > LARGE else None
        if read is not None:
            extent = grid.extent(place)
            size = chunks.file_size(stored_size, extent)
            head = chunks.head(size, extent)
            if head is not None and len(head) + size == stored_size and read(0, len(head)) == head:
                body = found.body if isinstance(found, Spilled) else None
                return body if isinstance(body, Draft) else Stretch(read, len(head), size)
        return self.content_of(found, place, grid, chunks)

    def content_of(
        self, found: Found, place: Coord, grid: Grid, chunks: ChunkFormat, *, keep: bool = True
    ) -> bytes | memoryview:
        """The chunk file of what was found at a stored coordinate under `grid`. Raises FormatError as `read` does."""
        stored = self.array.fetch(found, place, grid, self.container.cache, keep=keep)
        if stored is None:
            raise FormatError(f"array {self.array.name!r}: chunk {place} is gone")
        try:
            return chunks.to_file(stored, grid.extent(place))
        except FormatError as error:
            file = f"{source_name(found)}: " if isinstance(found, tuple) else ""
            raise FormatError(f"{file}array {self.array.name!r}: chunk {place}: {error}") from None

    def write(self, coord: Coord, content: bytes | memoryview, mtime_ns: int) -> None:
        """Set a chunk from the content of its file, which `chunks.accepts`."""
        place = self.stored(coord)
        stored = self.chunks.from_file(content, self.array.grid.extent(place))
        self.container.put(self.array, place, stored, mtime_ns)

    def takes_as_it_is(self, coord: Coord, size: int) -> bool:
        """Whether a file of so many bytes is stored byte by byte, so that `write_draft` can take it."""
        return self.chunks.head(size, self.array.grid.extent(self.stored(coord))) is not None

    def write_draft(self, coord: Coord, draft: Draft, mtime_ns: int) -> None:
        """Set a chunk from a draft to which nobody writes any more, without having it in memory."""
        place = self.stored(coord)
        head = self.chunks.head(draft.size, self.array.grid.extent(place))
        if head is None:
            raise TypeError(f"chunk {coord} of {self.array.name!r} is not stored as its file is")
        self.container.put(self.array, place, Spilled(head, draft), mtime_ns)

    def remove(self, coord: Coord, mtime_ns: int) -> None:
        """Remove a chunk."""
        self.container.put(self.array, self.stored(coord), None, mtime_ns)

    def attr(self, coord: Coord) -> Attr:
        """What stat says of a chunk that is no object. The chunk must exist."""
        array, place = self.array, self.stored(coord)
        stored, taken, mtime_ns = array.describe(place)
        size = self.chunks.size
        if size is None:
            size = self.chunks.file_size(stored, array.grid.extent(place))
        return Attr(self.number(coord), FILE_MODE, size, -(-taken // STAT_BLOCK), mtime_ns)

    def has_chunks(self, prefix: Prefix) -> bool:
        """Whether any chunk begins with these coordinates, committed or not."""
        return bool(len(self.listed_coords(prefix)))

    def prefetch(self, coord: Coord) -> Callable[[], None] | None:
        """Work for another thread: have the first missing block of the next AHEAD committed chunks in the cache.

        None: all are there.
        """
        index, cache = self.array.index, self.container.cache
        place = index.place(self.stored(coord))
        if place is None:
            return None
        for following in range(place + 1, min(place + 1 + AHEAD, len(index))):
            try:
                ref = index.ref(following)
            except FormatError:
                return None
            if ref.layer.is_large(ref.row):
                return None  # it is read by pieces, and who knows by which
            if (ref.layer.serial, ref.row) not in cache:
                return partial(_load_block, ref, cache)
        return None

    # --- listings -----------------------------------------------------------------------------------------------------

    def listed_coords(self, prefix: Prefix) -> NDArray[np.uint32]:
        """Coordinates of the chunks that begin with `prefix`, (n, rank of the container's array), in order."""
        return self.array.coords(prefix[: len(self.array.spec.shape)])

    def listed_sizes(self, prefix: Prefix) -> tuple[list[int], list[int], list[int]] | None:
        """Sizes in bytes, 512-byte blocks and times of the same chunks, by column; None if each must be asked."""
        index = self.array.index
        if self.array.changes or self.chunks.varies:
            return None
        low, high = index.slice(prefix[: len(self.array.spec.shape)])
        stored = index.stored_sizes(low, high).astype(np.int64)
        sizes = self.chunks.file_sizes(stored)
        blocks = -(-index.stored_shares(low, high) // STAT_BLOCK)
        return sizes.tolist(), blocks.tolist(), index.mtimes(low, high).tolist()


def _all_less(coord: Coord, counts: tuple[int, ...]) -> bool:
    return all(c < count for c, count in zip(coord, counts, strict=False))


def _load_block(ref: ChunkRef, cache: BlockCache) -> None:
    with suppress(FormatError, OSError):  # whoever really reads the chunk gets the error
        ref.layer.read_block(ref.row, cache)
