"""Changes that are not yet committed, bounded in bytes: raw in memory first, then packed into the next sidecar.

The pool holds what was closed. When the raw bytes exceed the limit, the oldest are packed into blocks and appended to
the part, so writing any amount needs the same memory. Large chunks come and stay on disk, within a limit of their own.
 Single-threaded: the container's lock is held by its callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from arrayfs.container.array import Array, Change, PackedRef
from arrayfs.container.cache import BlockCache
from arrayfs.container.copies import BlockCopies
from arrayfs.container.figures import meaning_of, runs_of
from arrayfs.container.grid import Coord
from arrayfs.container.index import ChunkRef
from arrayfs.container.large import OWN_BLOCK_SIZE, STEP, ReadRange, Spilled, steps
from arrayfs.container.measure import Measured, measure_parts
from arrayfs.container.part import LayerPart
from arrayfs.container.postponing import Postponing
from arrayfs.errors import FormatError, LimitError
from arrayfs.format.codecs import compress
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Store

# Chunk sizes and offsets in a block are u32 (format chapter 9).
CHUNK_LIMIT = 1 << 32
# Bytes to which smaller ones are packed, unless told otherwise.
BLOCK_SIZE = 64 * 1024
# How much is packed at a time: enough to keep neighbours together, little enough to keep memory flat.
PACK_BATCH = 32 << 20
# Large chunks on disk that are not packed: one of any size, so one that is rewritten again and again is packed once.
SPILLED_LIMIT = CHUNK_LIMIT
# Larger ones are stored as they are: what compresses them has all of it in memory, and so has whoever reads a part.
COMPRESSED_LIMIT = 128 << 20
# A sample of a large chunk has to shrink below this part of its size, or the chunk is stored as it is.
_WORTH_IT = 7 / 8
_SAMPLE = 1 << 20


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """codec: name or None; block_size: bytes that small chunks are packed to; dirty_limit: raw bytes kept in memory.

    chunk_stats: whether chunks are measured when they are packed; None: as it was when the newest layer was written.
    """

    codec: str | None = "lz4"
    block_size: int = BLOCK_SIZE
    dirty_limit: int = 256 << 20
    chunk_stats: bool | None = None


Pending = tuple[Array, Coord]


class Pool:
    """The changed arrays, and the chunks of theirs that are still raw.

    Invariants
    - `raw[(array, coord)]` is the size of a change of `array` whose content is bytes; `raw_size` is their sum, and at
      most the limit when a call returns. `spilled` and `spilled_size` are the same for those that are `Spilled`.
    - `arrays` holds every array that a commit has to look at, in the order in which they were first changed.
    """

    def __init__(
        self, store: Store, names: ContainerNames, options: PoolOptions, cache: BlockCache, were_measured: bool = False
    ) -> None:
        """were_measured: whether chunks were, by the newest layer's word."""
        self.options = options
        self.arrays: dict[Array, None] = {}
        # of arrays that have a codec of their own
        self.codecs: WeakKeyDictionary[Array, str | None] = WeakKeyDictionary()
        self.raw: dict[Pending, int] = {}
        self.raw_size = 0
        self.spilled: dict[Pending, int] = {}
        self.spilled_size = 0
        # whether chunks are measured
        self.measures = were_measured if options.chunk_stats is None else options.chunk_stats
        self._cache = cache
        self._store, self._names = store, names
        self._part: LayerPart | None = None
        # of renamed arrays, in the part
        self.copies = BlockCopies()
        # a publication failed: whether the part can still be made durable is to be seen before the next
        self.doubtful = False
        # what is done within it is done whole: where `bound` fails meanwhile, that is raised at the end
        self.whole = Postponing()

    @property
    def part(self) -> LayerPart:
        """The next sidecar in the making."""
        if self._part is None:
            self._part = LayerPart(self._store, self._names)
        return self._part

    def begin(self, layer_id: bytes) -> None:
        """Have the next layer get this id. Nothing may have been packed yet."""
        self._part = LayerPart(self._store, self._names, layer_id)

    @property
    def packed_size(self) -> int:
        """Bytes of the next sidecar so far."""
        return self._part.part.size if self._part is not None and len(self._part) else 0

    def unsynced(self, worth: int) -> LayerPart | None:
        """The next sidecar, if at least `worth` bytes of it may not survive a loss of power, and can be synced."""
        part = self._part
        if part is None or self.doubtful or not len(part) or part.part.size - part.synced_size < worth:
            return None
        return part

    def cut_back(self, mark: tuple[int, int]) -> None:
        """Drop what was appended to the part since `mark`, a commit's: no change lies there."""
        self.part.cut_back(mark)
        self.copies.cut_back(len(self.part))

    def touch(self, array: Array) -> None:
        """Have the next commit look at `array`."""
        self.arrays.setdefault(array)

    def forget(self, array: Array) -> None:
        """The array is gone: drop what was changed in it."""
        self.release(array, array.changes)
        self.arrays.pop(array, None)

    def put(self, array: Array, coord: Coord, content: bytes | memoryview | Spilled | None, mtime_ns: int) -> None:
        """Set a chunk's stored bytes, or remove it (None). Raises LimitError at 4 GiB, OSError if packing fails."""
        if content is not None and len(content) >= CHUNK_LIMIT:
            raise LimitError(
                f"array {array.name!r}: chunk {coord} has {len(content)} bytes, {CHUNK_LIMIT - 1} is the limit"
            )
        array.edited(mtime_ns)
        self._set(array, coord, Change(content, mtime_ns))
        self.bound()

    def put_through(self, array: Array, changes: list[tuple[Coord, Change]]) -> None:
        """Set several chunks and pack them at once: their bytes are the caller's again when this returns.

        Raises OSError if packing fails; no change is lost then.
        """
        if not array.span:
            try:
                packed = self._append([(array, _raw(change.content)) for _, change in changes])
            except BaseException:
                self.put_all(array, _owned(changes))
                raise
            self.put_all(array, [(changes[place][0], changes[place][1]._replace(content=ref)) for place, ref in packed])
            return
        self.put_all(array, changes)  # some may be what they were
        try:
            self._pack_batch([(array, coord) for coord, _ in changes])
        except BaseException:
            for coord, change in _owned((coord, one) for coord, one in changes if array.changes.get(coord) is one):
                self._set(array, coord, change)
            raise

    def put_packed(self, array: Array, coord: Coord, codec: str | None, stored: bytes, change: tuple[int, int]) -> None:
        """Set a chunk that is compressed already, as a block of its own. change: its size unpacked, and its time.

        Raises OSError if the medium fails; nothing has changed then.
        """
        size, mtime_ns = change
        row = self.part.copy_block(codec, stored, size)
        array.edited(mtime_ns)
        self._set(array, coord, Change(PackedRef(self.part, row, 0, size), mtime_ns))

    def codec_of(self, array: Array) -> str | None:
        """The codec of an array's new blocks."""
        return self.codecs.get(array, self.options.codec)

    def bound(self) -> None:
        """Pack where more is raw than the limit allows; whatever happens, no change is lost."""
        try:
            if self.raw_size > self.options.dirty_limit:
                self.pack(self.raw_size - self.options.dirty_limit // 2)
            while self.spilled_size > SPILLED_LIMIT:
                self.pack_spilled()
        except OSError as error:
            if not self.whole.postpones(error):
                raise

    def put_all(self, array: Array, changes: Iterable[tuple[Coord, Change]]) -> None:
        """Set several chunks of one array, all of them, then `bound` is due: packing may fail and must come behind."""
        for coord, change in changes:
            array.edited(change.mtime_ns)
            self._set(array, coord, change)
        self.touch(array)

    def _set(self, array: Array, coord: Coord, change: Change) -> None:
        self.release(array, (coord,))
        array.put(coord, change)
        if isinstance(change.content, bytes | memoryview):
            size = len(change.content)
            self.raw[array, coord] = size
            self.raw_size += size
        elif isinstance(change.content, Spilled):
            self.spilled[array, coord] = len(change.content)
            self.spilled_size += len(change.content)
        self.arrays.setdefault(array)

    def pack(self, wanted: int | None = None) -> None:
        """Pack at least `wanted` raw bytes, the oldest first (None: all that is not packed), a batch at a time."""
        goal = 0 if wanted is None else max(0, self.raw_size - wanted)
        while self.raw_size > goal or (wanted is None and self.raw):
            self._pack_batch(self._next_batch(PACK_BATCH if wanted is None else min(PACK_BATCH, self.raw_size - goal)))
        while wanted is None and self.spilled:
            self.pack_spilled()

    def pack_array(self, array: Array) -> None:
        """Pack what is raw of one array, which somebody goes on reading when it is forgotten."""
        self._pack_batch([(array, coord) for coord in array.changes if (array, coord) in self.raw])

    def pack_spilled(self) -> None:
        """Pack the oldest chunk that is spilled, if there is one."""
        if not self.spilled:
            return
        pending = array, coord = next(iter(self.spilled))
        content, mtime_ns = array.changes[coord]
        if not isinstance(content, Spilled):
            raise TypeError(f"chunk {coord} of {array.name!r} is not spilled")
        old, size = _old_ref(pending), len(content)
        if old is not None and old.size == size and self._is_equal(array, coord, old, content):
            self.release(array, (coord,))
            del array.changes[coord]
        elif size <= COMPRESSED_LIMIT and _shrinks(self.options.codec, content.read, size):
            runs = runs_of([(array, size)]) if self.measures else ()
            (row,) = self.part.add_blocks([(self.options.codec, [content.whole()])], [runs])
            self._set(array, coord, Change(PackedRef(self.part, row, 0, size), mtime_ns))
        else:
            row = self._add_large(array, content, size)
            self._set(array, coord, Change(PackedRef(self.part, row, 0, size), mtime_ns))

    def _add_large(self, array: Array, content: Spilled, size: int) -> int:
        runs, found = runs_of([(array, size)]) if self.measures else (), list[Measured]()
        parts = steps(content.read, size)
        row = self.part.add_large(None, measure_parts(parts, meaning_of(array.spec), found) if runs else parts, size)
        if found:
            self.part.figures.add(row, runs, found)
        return row

    def _is_equal(self, array: Array, coord: Coord, old: ChunkRef, content: Spilled) -> bool:
        try:
            read = array.ranges(old, coord, self._cache)
            if read is None:
                block = old.layer.read_block(old.row, self._cache)[old.offset : old.offset + old.size]
                return all(block[i : i + STEP] == content.read(i, STEP) for i in range(0, old.size, STEP))
            return all(bytes(read(i, STEP)) == content.read(i, STEP) for i in range(0, old.size, STEP))
        except FormatError:
            return False  # what cannot be read is replaced, whatever it was

    def _next_batch(self, wanted: int) -> list[Pending]:
        batch, size = [], 0
        for pending, length in self.raw.items():
            batch.append(pending)
            size += length
            if size >= wanted:
                break
        return batch

    def _pack_batch(self, batch: list[Pending]) -> None:
        olds = [(old, pending) for pending in batch if (old := _old_ref(pending)) is not None]
        # in the order of the blocks that the old chunks lie in, so that each is unpacked once
        olds.sort(key=lambda one: (one[0].layer.serial, one[0].row, one[0].offset))
        unchanged = {pending for old, pending in olds if self._unchanged(pending, old)}
        batch = [pending for pending in batch if pending not in unchanged] if unchanged else list(batch)
        batch.sort(key=lambda pending: (pending[0].name, pending[1]))
        for place, ref in self._append([(array, _raw(array.changes[coord].content)) for array, coord in batch]):
            array, coord = batch[place]
            self._set(array, coord, Change(ref, array.changes[coord].mtime_ns))

    def _append(self, chunks: Sequence[tuple[Array, bytes | memoryview]]) -> list[tuple[int, PackedRef]]:
        """Put chunks into blocks of the part; returns where each, by its place in the list, has come to lie."""
        groups = list(self._blocks(chunks))
        blocks = [(self.codec_of(chunks[group[0]][0]), [chunks[place][1] for place in group]) for group in groups]
        runs = None
        if self.measures:
            runs = [runs_of([(chunks[place][0], len(chunks[place][1])) for place in group]) for group in groups]
        rows = self.part.add_blocks(blocks, runs) if groups else ()
        part, packed = self.part, list[tuple[int, PackedRef]]()
        for row, group, (_, contents) in zip(rows, groups, blocks, strict=True):
            offset = 0
            for place, content in zip(group, contents, strict=True):
                packed.append((place, PackedRef(part, row, offset, len(content))))
                offset += len(content)
        return packed

    def _blocks(self, chunks: Sequence[tuple[Array, bytes | memoryview]]) -> Iterator[list[int]]:
        """Chunks, by place, that become a block: large ones alone, small ones with neighbours of the same codec."""
        group: list[int] = []
        size, last, codec, owner = 0, None, None, None
        for place, (array, content) in enumerate(chunks):
            length = len(content)
            if length >= OWN_BLOCK_SIZE:
                yield [place]
                continue
            if array is not owner:
                owner, codec = array, self.codec_of(array)
            if group and (size + length > self.options.block_size or codec != last):
                yield group
                group, size = [], 0
            group.append(place)
            size, last = size + length, codec
        if group:
            yield group

    def _unchanged(self, pending: Pending, old: ChunkRef) -> bool:
        """Whether the chunk equals the committed one, `old`: then there is no change, and it is dropped."""
        array, coord = pending
        raw = _raw(array.changes[coord].content)
        if old.size != len(raw):
            return False
        try:
            block = old.layer.read_block(old.row, self._cache)
        except FormatError:
            return False  # what cannot be read is replaced, whatever it was
        if block[old.offset : old.offset + old.size] != raw:
            return False
        self.raw_size -= self.raw.pop(pending)
        del array.changes[coord]
        return True

    def renew(self) -> None:
        """Write the part anew if it cannot be made durable any more: a sync that failed fails for good.

        Raises ChecksumError if the failed one's bytes are not what was written, OSError if the medium fails again.
        """
        old = self._part
        if old is not None and len(old) and not old.can_sync():
            new = LayerPart(self._store, self._names, old.id)
            try:
                old.copy_to(new)
            except BaseException:
                with suppress(OSError):
                    new.discard()
                raise
            for array in self.arrays:
                for coord, change in array.changes.items():
                    if isinstance(change.content, PackedRef):
                        array.changes[coord] = change._replace(content=change.content._replace(part=new))
            self._part = new
            with suppress(OSError):  # a left-over is removed by the next writer
                old.discard()
        self.doubtful = False

    def release(self, array: Array, coords: Iterable[Coord]) -> None:
        """What is raw or spilled of these chunks counts no more."""
        for coord in coords:
            self.raw_size -= self.raw.pop((array, coord), 0)
            if self.spilled:
                self.spilled_size -= self.spilled.pop((array, coord), 0)

    def committed(self) -> None:
        """What was held here is the layers' word now; the next change begins a new part."""
        self.arrays, self.raw, self.raw_size = {}, {}, 0
        self.spilled, self.spilled_size = {}, 0
        self._part, self.doubtful = None, False
        self.copies = BlockCopies()

    def discard(self) -> None:
        """Give up all changes, and the part."""
        part = self._part
        self.committed()
        if part is not None:
            part.discard()

    def close(self) -> None:
        """Let go of the part; where one was begun and not committed, its file stays."""
        if self._part is not None:
            self._part.keep()
            self._part = None


def _shrinks(codec: str | None, read: ReadRange, size: int) -> bool:
    """Whether compressing is likely to be worth it, by three pieces."""
    if codec is None:
        return False
    samples = [bytes(read(start, _SAMPLE)) for start in (0, (size - _SAMPLE) // 2, size - _SAMPLE)]
    return sum(len(compress(codec, sample)) for sample in samples) < _WORTH_IT * len(samples) * _SAMPLE


def _owned(changes: Iterable[tuple[Coord, Change]]) -> Iterator[tuple[Coord, Change]]:
    """The same with bytes of their own."""
    return ((coord, change._replace(content=bytes(_raw(change.content)))) for coord, change in changes)


def _raw(content: object) -> bytes | memoryview:
    if not isinstance(content, bytes | memoryview):
        raise TypeError(f"{content!r} is not raw")
    return content


def _old_ref(pending: Pending) -> ChunkRef | None:
    array, coord = pending
    if not array.span:
        return None
    try:
        return array.index.find(coord)
    except FormatError:
        return None
