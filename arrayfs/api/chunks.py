"""Values in and out of the chunks of one native array.

Reading plans under the container's lock and unpacks without it, in several threads where there is enough to do. Writing
keeps the lock from reading a chunk to putting it back, so that two threads that write to parts of one chunk lose
nothing; a chunk that is still in the pool is changed where it lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import chain, groupby, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayfs.api.selection import Piece, Pieces, Selection, Slices, one_piece
from arrayfs.api.session import Progress, Session
from arrayfs.api.sharing import shared_out
from arrayfs.api.stretches import Rows, Stretch, rows_of, stretches
from arrayfs.api.values import Elements, Extent, Numbers, Values, elements_of, filled
from arrayfs.container.array import Array, Change, Found, is_plain
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.index import ChunkRef
from arrayfs.container.large import OWN_BLOCK_SIZE
from arrayfs.container.layer import Layer
from arrayfs.container.pool import PACK_BATCH
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import Buffer
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.nodes import File

# What is read at once and is more than this part of the cache is not kept there.
SCAN_SHARE = 8
# An assignment of so many bytes is packed at once: the pool would have to take a copy, and pack it soon.
STRAIGHT = 4 << 20
# How many chunks are planned at a time: a whole array of millions needs no more memory than these.
PLANNED = 4096


class MovedError(Exception):
    """The array got another shape or fill value since it was looked at: look again."""


Job = tuple[ChunkRef, Piece]


class NativeArray:
    """A native array as values: what one call works with, as long as shape and fill value stay."""

    __slots__ = ("array", "chunk_shape", "elements", "grid", "inner", "session", "spec", "zarr")

    def __init__(self, session: Session, zarr: ZarrArray, chunks: NativeChunks) -> None:
        self.session = session
        self.zarr = zarr
        self.array: Array = zarr.array
        self.spec = zarr.array.spec
        self.grid: Grid = zarr.array.grid
        self.inner = zarr.inner
        self.chunk_shape = chunks.chunk_shape + zarr.inner
        self.elements: Elements = elements_of(self.spec)

    def is_current(self, zarr: ZarrArray) -> bool:
        """Whether this still says what the array is."""
        return zarr is self.zarr and zarr.array is self.array and self.array.spec is self.spec

    def _check_current(self) -> None:
        if self.array.spec is not self.spec or self.zarr.array is not self.array:
            raise MovedError

    @property
    def shape(self) -> Extent:
        """Elements, with the inner axes of FixedSizeList."""
        return self.spec.shape + self.inner

    def extent(self, coord: Coord) -> Extent:
        """What of a chunk lies inside the array."""
        return self.grid.extent(self.zarr.stored(coord)) + self.inner

    # --- reading ------------------------------------------------------------------------------------------------------

    def read(self, selection: Selection, progress: Progress | None = None) -> Values:
        """The selected values, (`selection.shape`). progress: chunks. Raises FormatError for damage."""
        one = one_piece(selection, self.shape, self.chunk_shape)
        if one is None or progress is not None:
            return self._read_many(selection, progress)
        found = self._found(one.coord)
        if found is None:
            return filled(self.elements, selection.shape)
        if isinstance(found, ChunkRef):
            if found.size >= OWN_BLOCK_SIZE and one.whole:
                out: Values = np.empty(selection.shape, self.elements.dtype)
                self._unpack([(found, one)], out, keep=self._keeps(out))
                return out
            found = self._decoded_block(found, one.coord, one.extent)
        part: tuple[Any, ...] = (*one.inner, ...)  # the dots keep an array of no axes an array
        values: Values = found[part].copy()
        return values

    def read_row(self, number: int) -> Values | None:
        """What `array[number]` gives, if one chunk that shares its block has it; None: it is for `read`.

        The commonest of all keys, for which choosing would take as long as reading.
        """
        if len(self.shape) < 2 or self.chunk_shape[1:] != self.shape[1:] or not 0 <= number < self.shape[0]:
            return None
        chunk, inner = divmod(number, self.chunk_shape[0])
        coord = (chunk, *(0,) * (len(self.shape) - 1))
        found = self._found(coord)
        if isinstance(found, ChunkRef):
            if found.size >= OWN_BLOCK_SIZE:
                return None
            found = self._decoded_block(found, coord, self.extent(coord))
        row: Values = filled(self.elements, self.shape[1:]) if found is None else found[inner].copy()
        return row

    def _read_many(self, selection: Selection, progress: Progress | None) -> Values:
        out: Values = np.empty(selection.shape, self.elements.dtype)
        parts = Pieces(selection, self.shape, self.chunk_shape)
        advance = progress or (lambda *_: None)
        left, done = self._read_stretches(selection, out, len(parts), advance), 0
        if left is not None:
            done = len(parts) - int(np.count_nonzero(left))
        work = partial(self._unpack, out=out, keep=self._keeps(out))
        for batch, coords in parts.batches(PLANNED, left):
            with self.session.lock:
                jobs = self._plan(batch, coords, out)
            before = done
            for share in shared_out(jobs, [ref.size for ref, _ in jobs], work, _block_of):
                done += len(share)
                advance(done, len(parts))
            done = before + len(batch)
            if len(jobs) < len(batch):
                advance(done, len(parts))
        return out

    def _read_stretches(
        self, selection: Selection, out: Values, total: int, advance: Progress
    ) -> NDArray[np.bool_] | None:
        """Unpack what can be without looking at each chunk; returns which chunks are left, None for all of them."""
        rows = rows_of(selection, self.shape, self.chunk_shape, out.itemsize)
        if rows is None or self._keeps(out) or not isinstance(self.elements, Numbers):
            return None
        cache = self.session.container.cache
        with self.session.lock:
            self._check_current()
            changed = {coord[0] for coord in self.array.changes}
            found = [
                one for one in stretches(self.array, rows)
                if (one.layer.serial, one.row) not in cache
                and changed.isdisjoint(range(one.first, one.first + one.chunks))
            ]  # fmt: skip
        left, room, done = np.ones(total, bool), out.reshape(-1).view(np.uint8).data, 0
        first = rows.start // rows.chunk
        for one in found:
            left[one.first - first : one.first - first + one.chunks] = False
        work = partial(self._fill, room=room)
        for share in shared_out(found, [one.size for one in found], work):
            done += sum([one.chunks for one in share])
            advance(done, total)
        return left

    def _fill(self, found: list[Stretch], room: memoryview) -> None:
        for one in found:
            try:
                one.layer.read_into(one.row, room[one.start : one.start + one.size])
            except FormatError as error:
                coord = (one.first, *(0,) * (len(self.shape) - 1))
                raise self._named(error, one.layer, coord) from None

    def _plan(self, batch: list[Piece], coords: NDArray[np.int64], out: Values) -> list[Job]:
        """What is to be unpacked; what is in memory, or nowhere, is put in already."""
        self._check_current()
        array, fill = self.array, self.elements.fill
        stored = coords[:, : len(self.spec.shape)]
        refs = array.index.refs(self.grid.keys(stored.astype(np.uint32)))
        jobs = []
        for number, (ref, piece) in enumerate(zip(refs, batch, strict=True)):
            if array.changes:
                place = tuple(stored[number].tolist())
                change = array.changes.get(place)
                if change is not None:
                    content = change.content
                    out[piece.outer] = fill if content is None else self._decoded(content, place)[piece.inner]
                    continue
            if ref is None:
                out[piece.outer] = fill
            else:
                jobs.append((ref, piece))
        return jobs

    def _keeps(self, out: Values) -> bool:
        """Whether what is read for this is kept: a scan would push everything else out of the cache."""
        return out.nbytes <= self.session.container.cache.limit // SCAN_SHARE

    def _unpack(self, jobs: list[Job], out: Values, *, keep: bool) -> None:
        """Chunks of one block one after another: it is asked for once. keep: in the cache."""
        decode, cache = self.elements.decode, self.session.container.cache
        for _, group in groupby(jobs, _block_of):
            chunks = list(group)
            ref, piece = chunks[0]
            try:
                room = self._room(ref, piece, out, keep=keep) if len(chunks) == 1 else None
                if room is not None:
                    ref.layer.read_into(ref.row, room)
                    continue
                block = ref.layer.read_block(ref.row, cache, keep=keep)
                for ref, piece in chunks:
                    out[piece.outer] = decode(block, piece.extent, ref.offset, ref.size)[piece.inner]
            except FormatError as error:
                raise self._named(error, ref.layer, piece.coord) from None

    def _room(self, ref: ChunkRef, piece: Piece, out: Values, *, keep: bool) -> memoryview | None:
        """The part of `out` that has the same bytes as a block, which one chunk is all of; None if there is none.

        None also if the block is in the cache, or is to be.
        """
        if (keep and not is_plain(ref)) or not isinstance(self.elements, Numbers) or not piece.whole:
            return None
        if ref.offset or ref.size != math.prod(piece.extent) * out.itemsize:
            return None  # whoever decodes it says so
        room = out[piece.outer]
        if not room.flags.c_contiguous or ref.size != ref.layer.block_size(ref.row):
            return None
        is_cached = (ref.layer.serial, ref.row) in self.session.container.cache
        return None if is_cached else room.reshape(-1).view(np.uint8).data

    def read_chunk(self, coord: Coord) -> Values | None:
        """The values of one chunk inside the array, to be written to; None if there is none."""
        found = self._found(coord)
        return self._decoded_block(found, coord, self.extent(coord)).copy() if isinstance(found, ChunkRef) else found

    def _found(self, coord: Coord) -> Values | ChunkRef | None:
        """Where the layers have a chunk; of one that may change, a copy of its values."""
        stored = coord[: -len(self.inner)] if self.inner else coord
        with self.session.lock:
            self._check_current()
            found = self.array.find(stored)
            if found is None:
                return None
            return found if isinstance(found, ChunkRef) else self._decoded(found, stored).copy()

    def _decoded_block(self, ref: ChunkRef, coord: Coord, extent: Extent) -> Values:
        """The values of a chunk where they lie in the cache: not to be written to."""
        try:
            block = ref.layer.read_block(ref.row, self.session.container.cache)
            return self.elements.decode(block, extent, ref.offset, ref.size)
        except FormatError as error:
            raise self._named(error, ref.layer, coord) from None

    def _named(self, error: FormatError, layer: Layer, coord: Coord) -> FormatError:
        return type(error)(f"{layer.name}: array {self.array.name!r}: chunk {coord}: {error}")

    def _decoded(self, found: Found, stored: Coord) -> Values:
        data = self.array.fetch(found, stored, self.grid, self.session.container.cache)
        return self.elements.decode(data or b"", self.grid.extent(stored) + self.inner)

    # --- writing: the caller holds the lock ---------------------------------------------------------------------------

    def write(self, selection: Selection, values: Values, progress: Progress | None = None) -> None:
        """Put values, of `selection.shape`. progress: chunks."""
        parts, done = Pieces(selection, self.shape, self.chunk_shape), 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None and count:
                progress(done, len(parts))

        through = _Through(self, advance) if self._goes_straight(values, parts) else None
        rows = rows_of(selection, self.shape, self.chunk_shape, values.itemsize)
        pieces = iter(parts)
        if through is not None and rows is not None and values.flags.c_contiguous:
            first, (low, high) = rows.start // rows.chunk, rows.whole_chunks
            through.put_rows(rows, values)
            behind = islice(parts, high - first, None) if high - first < len(parts) else ()
            pieces = chain(islice(parts, low - first), behind)
        for piece in pieces:
            if through is not None and piece.whole:
                through.put(piece.coord, values[piece.outer])
                continue
            if piece.whole:
                self.put(piece.coord, values[piece.outer])
            else:
                self.change(piece.coord, piece.inner, values[piece.outer])
            advance(1)
        if through is not None:
            through.end()

    def _goes_straight(self, values: Values, parts: Pieces) -> bool:
        """Whether whole chunks are packed at once."""
        if not isinstance(self.elements, Numbers) or values.nbytes >= STRAIGHT:
            return isinstance(self.elements, Numbers)
        # A chunk that is a block by itself, and not compressed, is in the file as soon as in the pool. One that is set
        # again and again stays in the pool, or each time would leave a dead block.
        size = math.prod(self.chunk_shape) * values.itemsize
        if size < OWN_BLOCK_SIZE or self.session.container.pool.codec_of(self.array) is not None:
            return False
        return all(self.zarr.stored(piece.coord) not in self.array.changes for piece in parts)

    def put(self, coord: Coord, values: Values) -> None:
        """Set a whole chunk, from values of its extent."""
        own = np.array(values, self.elements.dtype, order="C")
        put_stored(self.session, self.zarr, coord, self.elements.encode(own))

    def change(self, coord: Coord, inner: Slices, values: Values) -> None:
        """Set a part of a chunk."""
        stored = self.zarr.stored(coord)
        found = self.array.find(stored)
        extent = self.grid.extent(stored) + self.inner
        if isinstance(found, memoryview) and not found.readonly and isinstance(self.elements, Numbers):
            # nobody else writes to it, and who reads it does so under the lock
            self.elements.decode(found, extent)[inner] = values
            put_stored(self.session, self.zarr, coord, found)
            return
        whole = filled(self.elements, extent) if found is None else self._decoded(found, stored).copy()
        whole[inner] = values
        put_stored(self.session, self.zarr, coord, self.elements.encode(whole))


class _Through:
    """Whole chunks of a large assignment on their way into blocks, without a copy of the values in the pool."""

    def __init__(self, native: NativeArray, advance: Callable[[int], None]) -> None:
        """advance: called with so many chunks as have come there."""
        self._native, self._advance = native, advance
        self._changes: list[tuple[Coord, Change]] = []
        self._held = 0
        self._mtime_ns = native.session.tree.now()

    def put(self, coord: Coord, values: Values) -> None:
        self._put(coord, self._native.elements.encode(np.ascontiguousarray(values)))

    def put_rows(self, rows: Rows, values: Values) -> None:
        """Those chunks of which all rows are there; values: of the rows, one after another."""
        content, size = values.reshape(-1).view(np.uint8).data, rows.chunk * rows.size
        low, high = rows.whole_chunks
        rest = (0,) * (values.ndim - 1)
        start = (low * rows.chunk - rows.start) * rows.size
        for number in range(low, high):
            self._put((number, *rest), content[start : start + size])
            start += size

    def _put(self, coord: Coord, content: Buffer) -> None:
        native = self._native
        uncover(native.session, native.zarr, coord)
        self._changes.append((native.zarr.stored(coord), Change(content, self._mtime_ns)))
        self._held += len(content)
        if self._held >= PACK_BATCH:
            self.end()

    def end(self) -> None:
        """Pack what is left."""
        changes, self._changes, self._held = self._changes, [], 0
        if changes:
            self._native.session.container.pool.put_through(self._native.array, changes)
        self._advance(len(changes))


def _block_of(job: Job) -> tuple[int, int]:
    ref, _ = job
    return ref.layer.serial, ref.row


def put_stored(session: Session, zarr: ZarrArray, coord: Coord, stored: bytes | memoryview | None) -> None:
    """Set the stored bytes of a chunk, or remove it (None). The caller holds the lock."""
    uncover(session, zarr, coord)
    session.container.put(zarr.array, zarr.stored(coord), stored, session.tree.now())


def uncover(session: Session, zarr: ZarrArray, coord: Coord) -> None:
    """A plain file that has the chunk's name, because it was no chunk by its length, gives way to it."""
    if not zarr.directories and zarr.keys.separator == "/" and zarr.rank:
        return
    *above, name = zarr.keys.components(coord)
    directory = zarr.directories.get(tuple(above)) if above else zarr.root
    found = None if directory is None else directory.children.get(name)
    if isinstance(found, File) and directory is not None:
        session.tree.unlink(directory.ino, name)
