"""A container: open, read, change, commit, close. Ties stack, pool and store together.

`lock` protects everything that changes here (stack, pool, arrays); what reads or writes takes it. Stores and
codecs know nothing of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType

from arrayfs.container import opening
from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.builder import LayerBuilder
from arrayfs.container.cache import BlockCache
from arrayfs.container.catchingup import CatchingUp
from arrayfs.container.commit import CommitReport, SealedPart, appeared, author, next_time_ns, publish, seal
from arrayfs.container.figures import are_kept
from arrayfs.container.grid import Coord
from arrayfs.container.large import Spilled
from arrayfs.container.layer import Layer
from arrayfs.container.merge import Follower, OnConflict
from arrayfs.container.newest import Lookout
from arrayfs.container.pool import Pool, PoolOptions
from arrayfs.container.stack import LayerStack
from arrayfs.container.versions import Version, VersionTable, check_tag
from arrayfs.errors import (
    ArrayFSError,
    ArrayNotFoundError,
    ConflictError,
    EntryExistsError,
    ReadOnlyError,
)
from arrayfs.format.extension_model import Extension, TagChange
from arrayfs.format.model import AttributeValue
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store
from arrayfs.store.protocol import Hold, Store


@dataclass(frozen=True, slots=True)
class ContainerOptions:
    """pool: how changes are kept and packed; cache_size: bytes of unpacked blocks kept in memory.

    on_conflict: what a commit does where another writer changed the same meanwhile: "fail", or "ours" wins.
    """

    pool: PoolOptions = field(default_factory=PoolOptions)
    cache_size: int = 128 << 20
    on_conflict: OnConflict = "fail"


class Container(CatchingUp):
    """The arrays of one container, with the changes of this writer on top.

    Invariants
    - `stack` is what is committed; it is replaced whole, never changed.
    - While `_attempt` is set nothing changes: a commit may or may not have happened.
    - An array is live if it is in `_arrays`, or in `stack.spans` and not in `_gone`.
    """

    def __init__(
        self,
        store: Store,
        names: ContainerNames,
        stack: LayerStack,
        options: ContainerOptions,
        *,
        read_only: bool,
    ) -> None:
        self.store, self.names, self.stack = store, names, stack
        self.options = options
        self.read_only = read_only
        self.cache = BlockCache(options.cache_size)
        self.pool = Pool(store, names, options.pool, self.cache, are_kept(stack.layers))
        self.lock = threading.RLock()
        self.warnings: list[str] = []
        self.follower: Follower | None = None
        # what a commit tried to publish, while it is not known whether it did
        self._attempt: tuple[SealedPart, list[Array]] | None = None
        self._arrays: dict[str, Array] = {}
        self._gone: set[str] = set()
        self._tags: list[TagChange] = []
        self._lookout = Lookout(store, names)
        self.closed = False
        self._borrowed = False
        # tells compactions that changes are based on the newest layer; None for a reader
        self._hold: Hold | None = None
        # overlaps with other writers' commits in which this writer's word held
        self.conflicts = 0

    @staticmethod
    def open(
        url: str, mode: str = "r", options: ContainerOptions | None = None, version: str | int | None = None
    ) -> Container:
        """Open a container at a path or URL. mode: "r" to read, "a" to change.

        version: what to read instead of the newest: a number, a tag or a time (`VersionTable.resolve`).
        Any number may have it open, also for writing. Raises MissingObjectError, FormatError (naming file and place),
        VersionError, ReadOnlyError for a version to change.
        """
        store, base = open_store(url)
        names = ContainerNames.from_base(base)
        opening.check_whose_base(store, names)
        if mode != "r":
            if version is not None:
                raise ReadOnlyError(f"{base}: version {version} can be read, not changed; `restore` brings it back")
            opening.prepare_writing(store, names)
            stack, hold = opening.open_for_writing(store, names)
        else:
            stack, hold = opening.open_stack(store, names, version), None
        container = Container(store, names, stack, options or ContainerOptions(), read_only=mode == "r")
        container._hold = hold
        if mode != "r":
            container.warnings += opening.clear_abandoned(store, names, stack)
        return container

    @staticmethod
    def create(url: str, *, chunk_stats: bool = False) -> None:
        """Make an empty container. Raises ObjectExistsError, or FormatError for a name that is another's sidecar."""
        store, base = open_store(url)
        opening.create(store, ContainerNames.from_base(base), chunk_stats=chunk_stats)

    # --- arrays -------------------------------------------------------------------------------------------------------

    def names_of_arrays(self) -> Iterator[str]:
        """The names of all live arrays: the committed ones first, then those that came since."""
        yield from (name for name in self.stack.spans if name not in self._gone)
        yield from (name for name in self._arrays if name not in self.stack.spans or name in self._gone)

    def get(self, name: str) -> Array:
        """The array of this name. Raises ArrayNotFoundError."""
        array = self._arrays.get(name)
        if array is None:
            span = self.stack.spans.get(name)
            if span is None or name in self._gone:
                raise ArrayNotFoundError(f"{self.names.base}: no array {name!r}")
            array = self._arrays[name] = Array.committed(name, span)
        return array

    def __contains__(self, name: str) -> bool:
        return name in self._arrays or (name in self.stack.spans and name not in self._gone)

    def define(self, name: str, spec: ArraySpec, attributes: dict[str, AttributeValue] | None = None) -> Array:
        """Add an array without chunks. Raises EntryExistsError."""
        self.check_writable()
        if name in self:
            raise EntryExistsError(f"{self.names.base}: there is an array {name!r} already")
        array = self._arrays[name] = Array(name, spec, attributes=attributes)
        if name in self.stack.spans:
            self._gone.add(name)
        self.pool.touch(array)
        return array

    def remove(self, array: Array) -> None:
        """Drop an array and all its chunks."""
        self.check_writable()
        self.pool.forget(array)
        del self._arrays[array.name]
        if array.name in self.stack.spans:
            self._gone.add(array.name)

    def rename(self, array: Array, name: str) -> None:
        """Give an array another name; its blocks are copied at commit. Raises EntryExistsError."""
        self.check_writable()
        if name in self:
            raise EntryExistsError(f"{self.names.base}: there is an array {name!r} already")
        del self._arrays[array.name]
        if array.name in self.stack.spans:
            self._gone.add(array.name)
        array.name = name
        self._arrays[name] = array
        if array.origin == name:
            self._gone.discard(name)
        elif name in self.stack.spans:
            self._gone.add(name)
        self.pool.touch(array)

    def read(self, array: Array, coord: Coord) -> bytes | memoryview | None:
        """The stored bytes of a chunk, None if there is none."""
        return array.read(coord, self.cache)

    def put(self, array: Array, coord: Coord, content: bytes | memoryview | Spilled | None, mtime_ns: int) -> None:
        """Set the stored bytes of a chunk, or remove it (None)."""
        self.check_writable()
        # an array that the container had lost (its document was left) is one of its own again with its first chunk
        if array.name not in self:
            self._arrays[array.name] = array
        self.pool.put(array, coord, content, mtime_ns)

    def respec(self, array: Array, spec: ArraySpec, mtime_ns: int) -> None:
        """Change shape, fill value or dimension names; element type, rank and chunk shape stay."""
        self.check_writable()
        with_edges = array.reshape(spec, mtime_ns, self.cache)
        dropped = set(array.changes)
        self.pool.put_all(array, with_edges)
        self.pool.release(array, dropped - set(array.changes))
        self.pool.bound()

    def set_attributes(self, array: Array, attributes: dict[str, AttributeValue]) -> None:
        """Replace an array's attributes."""
        self.check_writable()
        array.set_attributes(attributes)
        self.pool.touch(array)

    def check_writable(self) -> None:
        """Raise ReadOnlyError unless the container was opened for writing."""
        if self.read_only:
            raise ReadOnlyError(f"{self.names.base} is open for reading only")
        self._look_back()

    # --- versions -----------------------------------------------------------------------------------------------------

    def versions(self) -> VersionTable:
        """All committed versions."""
        return VersionTable.of(self.stack.layers)

    def at(self, version: Version) -> Container:
        """An earlier version, to read. It shares files and cache with this container and ends with it."""
        return self._with(self.stack.layers[: version.place + 1])

    def empty(self) -> Container:
        """What was there before the first version: no layer, hence no array, and nothing else that can be asked."""
        return self._with(())

    def _with(self, layers: tuple[Layer, ...]) -> Container:
        older = Container(self.store, self.names, LayerStack.of(layers), self.options, read_only=True)
        older.cache, older._borrowed = self.cache, True
        return older

    def tag(self, name: str, number: int | None) -> None:
        """Have a tag name the version of this number, or nothing (None), from the next commit on.

        Raises VersionError for a name that no tag can have, a version that is not there, or a tag that is not.
        """
        self.check_writable()
        table = self.versions()
        if number is None:
            table.tagged(name)
        else:
            check_tag(name)
            table.numbered(number)
        self._tags.append(TagChange(name, number))

    @property
    def dirty(self) -> bool:
        """Whether a commit would write anything."""
        gone = any(True for _ in self._tombstones())  # the root's name is empty
        return gone or bool(self._tags) or any(array.dirty for array in self.pool.arrays)

    def commit(self, message: str = "") -> CommitReport | None:
        """Make all changes a new version, durably (steps and crash cases: `commit.py`). None: nothing had changed.

        What others committed meanwhile comes below it (`merge.py`). Raises ConflictError where both changed the same
        and `options.on_conflict` is "fail", OSError if the medium fails; the changes are kept then.
        """
        with self.lock, opening.nothing_collected():
            self.check_writable()
            refused = False
            while True:
                before = self.stack
                self._catch_up()
                if refused and self.stack is before:
                    name = self.names.sidecar(self.stack.newest.number + 1)
                    raise ConflictError(f"{name} was committed by another writer, but it is no file of a layer")
                if self.pool.doubtful:
                    self.pool.renew()
                self.pool.pack()
                tombstones = list(self._tombstones())
                changed = [array for array in self.pool.arrays if array.dirty]
                if not changed and not tombstones and not self._tags:
                    return None
                report = self._try_to_commit(tombstones, changed, message)
                if report is not None:
                    return report
                # what lies above may only repeat what is here: then a compaction ended half way
                refused = not opening.finish_exchange(self.store, self.names)

    def _try_to_commit(self, tombstones: list[str], changed: list[Array], message: str) -> CommitReport | None:
        """None if another was first: then nothing has happened."""
        mark = self.pool.part.mark()
        if self.follower is not None:
            self.follower.publishing()
        sealed = self._seal(tombstones, changed, message)
        layer = self._publish(sealed, changed)
        if layer is None:
            self.pool.cut_back(mark)
            return None
        chunks = sum(len(meta.chunks) for meta in sealed.footer.arrays)
        return CommitReport(layer.name, sealed.extension.version, layer.blob.size, len(sealed.footer.arrays), chunks)

    def _tombstones(self) -> Iterator[str]:
        return (name for name in self._gone if name in self.stack.spans and name not in self._arrays)

    def _seal(self, tombstones: list[str], changed: list[Array], message: str) -> SealedPart:
        pool, part = self.pool, self.pool.part
        builder = LayerBuilder(self.stack, part, pool.options.codec, copies=pool.copies, with_figures=pool.measures)
        for name in tombstones:
            builder.add_tombstone(name)
        for array in changed:
            builder.add_array(array)
        newest = self.stack.newest
        identity = Extension(
            layer_id=part.id,
            parent_id=newest.id,
            container_id=opening.container_id(self.stack),
            version=opening.version_of(self.stack, len(self.stack.layers) - 1) + 1,
            time_ns=next_time_ns(self.stack),
            message=message,
            author=author(),
            tag_changes=tuple(self._tags),
        )
        return seal(part, builder, identity, newest.footer.version, self.names.base, newest.number + 1)

    def _publish(self, sealed: SealedPart, changed: list[Array]) -> Layer | None:
        """None if another was first.

        A failure leaves footer and extension behind in the part as dead bytes; the next try appends new ones.
        """
        self._attempt = (sealed, changed)
        try:
            published = publish(self.store, self.names, sealed, self.stack.newest, self._lookout)
        except OSError:
            with suppress(OSError, ArrayFSError):
                self._look_back()
            raise
        self._attempt = None
        if published is None:
            return None
        layer, self._hold = published
        self._adopt(layer, changed)
        return layer

    def _look_back(self) -> None:
        """After a commit that failed: if its layer appeared all the same, it is committed.

        Raises OSError if that cannot be seen; nothing may change before it is.
        """
        if self._attempt is None:
            return
        sealed, changed = self._attempt
        found = appeared(self.store, self.names, sealed, self.stack, self._lookout)
        self._attempt = None
        if found is not None:
            below, layer, self._hold = found
            if below is not self.stack:
                self._take_files(below)
            self._adopt(layer, changed)
        else:
            self.pool.doubtful = True

    def _adopt(self, layer: Layer, changed: list[Array]) -> None:
        self.stack = self.stack.push(layer)
        for array in changed:
            array.settle(array.name, self.stack.spans[array.name])
        self._gone.clear()
        self._tags.clear()
        self.pool.committed()

    # --- end ----------------------------------------------------------------------------------------------------------

    def discard(self) -> None:
        """Give up all uncommitted changes. The arrays handed out before mean nothing any more."""
        self._look_back()
        self.pool.discard()
        self._arrays.clear()
        self._gone.clear()
        self._tags.clear()

    def close(self) -> None:
        """Let go of files and locks. What is not committed is kept as `{stem}.part-ID`, without a promise."""
        if self.closed:
            return
        self.closed = True
        with suppress(OSError, ArrayFSError):  # a left-over is removed by the next writer
            self._look_back()
            if not self.dirty:
                self.pool.discard()
        self.pool.close()
        self._hold = None
        if self._borrowed:
            return
        opening.close_all(self.stack.layers)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaving normally commits, leaving by an exception discards."""
        try:
            if not self.read_only:
                if kind is None:
                    self.commit()
                else:
                    self.discard()
        finally:
            self.close()
