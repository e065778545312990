"""A container going on from what others did meanwhile: newer versions, and the files that a compaction exchanged.

The part of `Container` that looks at the store again; what it does with the changes of this writer is `merge.py`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from arrayfs.container import opening
from arrayfs.container.array import Array
from arrayfs.container.cache import BlockCache
from arrayfs.container.exchange import ids_of
from arrayfs.container.layer import Layer
from arrayfs.container.merge import Follower, Merge, OnConflict, in_words
from arrayfs.container.newest import Lookout
from arrayfs.container.pool import Pool
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ConflictError, FormatError, LockedError
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Hold, Store

if TYPE_CHECKING:
    from arrayfs.container.commit import SealedPart
    from arrayfs.container.container import ContainerOptions


class CatchingUp(ABC):
    """See `Container`, which has all of this.

    Invariant: a writer holds the newest layer of its stack (`Store.hold`), so that no compaction merges it away.
    """

    store: Store
    names: ContainerNames
    stack: LayerStack
    pool: Pool
    cache: BlockCache
    lock: threading.RLock
    read_only: bool
    follower: Follower | None
    conflicts: int
    options: ContainerOptions
    _attempt: tuple[SealedPart, list[Array]] | None
    _arrays: dict[str, Array]
    _gone: set[str]
    _lookout: Lookout
    _hold: Hold | None

    @property
    def version(self) -> int:
        """The number of the newest committed version."""
        return opening.version_of(self.stack, len(self.stack.layers) - 1)

    @property
    @abstractmethod
    def dirty(self) -> bool:
        """Whether a commit would write anything."""

    def refresh(self, *, wait: bool = True) -> bool:
        """Show what others committed since; whether there was anything. A writer with changes waits for its commit.

        wait: for whoever has the lock, which may be a compaction that exchanges many files; else it is left for later.
        """
        with self.lock:
            if self._attempt is not None or self.dirty:
                self.follow_files()
                return False
            try:
                return self._catch_up(wait=wait)
            except LockedError:
                return False

    def follow_files(self) -> None:
        """Go on with the files of a compaction, and nothing newer: those that it removed cannot be opened again."""
        with self.lock:
            if self._attempt is not None or self.stack.newest.blob.is_current():
                return
            below, newer = opening.newer_layers(self.store, self.names, self.stack, self._lookout)
            opening.close_all(newer)
            if below is not None:
                self._take_files(below)

    def catch_up_to(self, layer_id: bytes, on_conflict: OnConflict) -> None:
        """Carry the changes over to the version with this id, as a commit would. Raises as `commit` does."""
        with self.lock:
            if layer_id not in [layer.id for layer in self.stack.layers]:
                self._catch_up(layer_id, on_conflict)

    def go_back_to(self, layer_id: bytes) -> None:
        """Look at an older version, on which changes were based. Nothing may have been changed yet.

        A journal has to name it, or a compaction may merge it meanwhile.
        """
        ids = [layer.id for layer in self.stack.layers]
        self._arrays.clear()
        self.stack = LayerStack.of(self.stack.layers[: ids.index(layer_id) + 1])

    def _catch_up(self, last: bytes | None = None, on_conflict: OnConflict | None = None, *, wait: bool = True) -> bool:
        """Go on from the newest version, or from that with the id `last`; whether that is another one than now."""
        while True:
            below, layers = opening.newer_layers(self.store, self.names, self.stack, self._lookout)
            if below is None:
                return self._leave_merged(layers)
            moved = below is not self.stack
            if moved:
                self._take_files(below)
            if last is not None:
                ids = [layer.id for layer in layers]
                if last not in ids:
                    raise FormatError(f"{self.names.base}: no version has the id {last.hex()}")
                layers = layers[: ids.index(last) + 1]
            if not layers and (self.read_only or not moved):
                return False
            try:
                newest = [*below.layers, *layers][-1]
                hold = None if self.read_only else opening.hold(self.store, self.names, newest, wait=wait)
            except LockedError:
                opening.close_all(layers)
                raise
            if self.read_only or hold is not None:
                break
        if layers:
            self._go_on(below.push(*layers), layers, on_conflict)
        self._hold = hold
        return bool(layers)

    def _go_on(self, new: LayerStack, layers: list[Layer], on_conflict: OnConflict | None) -> None:
        old = self.stack
        merge = Merge(self.pool, self.cache, self._arrays, self._gone, old, new)
        merge.plan(self.follower)
        if merge.overlaps and (on_conflict or self.options.on_conflict) == "fail":
            opening.close_all(layers)
            raise ConflictError(
                f"{self.names.base}: version {opening.version_of(new, len(new.layers) - 1)} ({layers[-1].name}) was "
                f"committed since version {self.version}, and both changed: {in_words(merge.overlaps)}"
            )
        self._apply(merge, new)
        self.conflicts += len(merge.overlaps)

    def _apply(self, merge: Merge, new: LayerStack) -> None:
        old = self.stack
        if self.follower is not None:
            self.follower.leaving(new, merge.names)
        merge.apply()
        self.stack = new
        if self.follower is not None:
            self.follower.arrived(old, merge.names)

    def _take_files(self, stack: LayerStack) -> None:
        """Go on with the files that a compaction made, which say the same. Whoever reads in the old ones keeps them."""
        for array in self._arrays.values():
            if array.origin is not None:
                array.rebase(stack.spans[array.origin])
        self.stack = stack

    def _leave_merged(self, layers: list[Layer]) -> bool:
        """A compaction merged the version that this one showed into a later one: show the newest, all of it anew."""
        if self.dirty or not self.read_only:
            name = self.stack.newest.name
            merged = self.stack.newest.id in ids_of(layers)
            was = f"{name} was {'merged into a later one' if merged else 'removed'}"
            opening.close_all(layers)
            raise ConflictError(f"{self.names.base}: version {self.version}, on which the changes are based: {was}")
        new = LayerStack.of(layers)
        if opening.container_id(new) != opening.container_id(self.stack):
            opening.close_all(layers)
            raise ConflictError(f"{self.names.base}: another container has this name since it was opened")
        everything = frozenset(self.stack.spans).union(new.spans)
        self._apply(Merge(self.pool, self.cache, self._arrays, self._gone, self.stack, new, everything), new)
        return True
