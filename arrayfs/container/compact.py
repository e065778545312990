"""Compaction: runs of layers become one layer each, without stopping whoever reads or writes.

Merged layers are written beside the others without any lock; exchanging the files for them is `exchange.py`. Nothing is
merged that somebody builds on: the newest version, those that writers hold, and those that journals go on from. All
others are kept only if they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from arrayfs.container import opening
from arrayfs.container.commit import SealedPart
from arrayfs.container.container import Container
from arrayfs.container.exchange import announce, finish, odd_names
from arrayfs.container.figures import own_rows
from arrayfs.container.journal import versions_needed
from arrayfs.container.layer import Layer, mark_of, open_layer
from arrayfs.container.merged import Run, write_merged
from arrayfs.container.part import LayerPart
from arrayfs.container.repack import PackOptions
from arrayfs.container.versions import Version, VersionTable
from arrayfs.errors import ConflictError, FormatError
from arrayfs.store.protocol import ATOMIC_RENAME, Store

# Called with bytes of blocks that were dealt with, and of all files that are merged.
Progress = Callable[[int, int], None]
# A layer alone in its run is written anew if at least this part of its blocks is no chunk of it any more.
GARBAGE = 0.05
# Bytes that an entry of a chunk table takes beside its coordinates, and its time, and its extension block's checksum.
_ENTRY_SIZE = 24


@dataclass(frozen=True, slots=True)
class Keep:
    """Which versions stay readable beside the newest. last: that many of the newest, counting it; since_ns: what was
    there at that moment, in ns since 1970, and all later ones; tags: those that have a tag.
    """

    last: int = 1
    since_ns: int | None = None
    tags: bool = False

    def places(self, versions: Sequence[Version]) -> set[int]:
        """Their places in the stack. versions: those of all layers, by place."""
        kept = {one.place for one in versions[-max(self.last, 1) :]}
        if self.tags:
            kept.update(one.place for one in versions if one.tags)
        if self.since_ns is not None:
            then = [one.place for one in versions if one.time_ns <= self.since_ns][-1:]
            kept.update([*then, *(one.place for one in versions if one.time_ns > self.since_ns)])
        return kept


@dataclass(frozen=True, slots=True)
class CompactReport:
    """What a compaction did, or would do. layers, size: how many files and bytes the container has; before and after.

    merged: numbers of versions that can no longer be read by themselves. kept: of those that were not asked for, and
    are kept because somebody builds on them.
    """

    layers_before: int
    layers_after: int
    size_before: int
    size_after: int
    merged: tuple[int, ...]
    kept: tuple[int, ...]


class Compaction:
    """The merging of the layers that a container has now.

    Invariant: the runs are in order, do not overlap, and each ends with a version that stays.
    """

    def __init__(
        self, container: Container, keep: Keep, options: PackOptions | None = None, journals: Sequence[Store] = ()
    ) -> None:
        """container: open for writing, without changes. journals: other stores that its journals may lie in.

        Raises FormatError if the names of its files allow no exchange, ValueError if the store can rename nothing.
        """
        self._options = options or PackOptions()
        self._store, self._names, self._stack = container.store, container.names, container.stack
        self._journals = [self._store, *journals]
        if ATOMIC_RENAME not in self._store.supports:
            raise ValueError(f"{self._store.url}: compaction needs a store that can rename")
        odd = odd_names(self._names, self._stack.layers)
        if odd:
            number = self._names.parse_sidecar(odd[0]) or 0
            raise FormatError(f"{odd[0]}: rename it to {self._names.sidecar(number)} first, it could not be moved")
        table = VersionTable.of(self._stack.layers)
        self._versions = [one for one in table if one.merged_into is None]
        asked = keep.places(self._versions)
        needed = self._needed()
        self._kept = needed - asked
        self._runs = list(self._planned(asked | needed))

    def _planned(self, kept: set[int]) -> Iterator[Run]:
        first = 0
        for last in sorted(kept):
            if last > first or self._is_worth_it(self._stack.layers[last]):
                yield Run(self._stack, first, last)
            first = last + 1

    def _is_worth_it(self, layer: Layer) -> bool:
        """Whether a layer alone is to be written anew."""
        if self._options != PackOptions():
            return True
        whole = int(np.delete(layer.footer.blocks.uncompressed_sizes, list(own_rows(layer))).sum())
        used = sum(int(meta.chunks.sizes.sum(dtype=np.uint64)) for meta in layer.footer.arrays)
        return whole - used > GARBAGE * whole

    def _needed(self) -> set[int]:
        """Places of versions that somebody builds on at this moment."""
        ids = set[bytes]().union(*(versions_needed(store, self._names) for store in self._journals))
        newest = len(self._stack.layers) - 1
        older = enumerate(self._stack.layers[:-1])
        return {newest, *(place for place, layer in older if layer.id in ids or self._store.is_held(mark_of(layer.id)))}

    # --- what it would do ---------------------------------------------------------------------------------------------

    def estimate(self) -> CompactReport:
        """What `run` would do. The size is what the chunks take now, so it does not know of the same ones twice, nor of
        another codec.
        """
        return self._report([(run, _estimate(run)) for run in self._runs])

    def _report(self, done: Sequence[tuple[Run, int]]) -> CompactReport:
        """done: runs, and the bytes of the layer that each becomes."""
        runs, size = [run for run, _ in done], sum(layer.blob.size for layer in self._stack.layers)
        merged = [self._versions[place].number for run in runs for place in range(run.first, run.last)]
        return CompactReport(
            layers_before=len(self._stack.layers),
            layers_after=len(self._stack.layers) - len(merged),
            size_before=size,
            size_after=size + sum(size_of_merged - run.size for run, size_of_merged in done),
            merged=tuple(merged),
            kept=tuple(self._versions[place].number for place in sorted(self._kept)),
        )

    # --- doing it -----------------------------------------------------------------------------------------------------

    def run(self, progress: Progress = lambda *_: None) -> CompactReport:
        """Merge. What others commit meanwhile comes on top.

        Raises FormatError where a layer is damaged, ConflictError if another compaction was first, OSError if the
        medium fails: the content is as before then, in whichever files.
        """
        done, total = 0, sum(run.size for run in self._runs)

        def advance(size: int) -> None:
            nonlocal done
            done += size
            progress(done, total)

        sealed: list[SealedPart] = []
        try:
            for run in self._runs:
                part = LayerPart(self._store, self._names, run.layers[-1].id)
                try:
                    one = write_merged(run, self._stack, self._versions, part, self._options, advance)
                    part.part.sync()
                except BaseException:
                    _give_up(part)
                    raise
                sealed.append(one)
            exchanged = self._exchange(sealed)
        finally:
            for one in sealed:
                _give_up(one.part)
        progress(total, total)
        return self._report(exchanged)

    def _exchange(self, sealed: list[SealedPart]) -> list[tuple[Run, int]]:
        """Have the merged layers take the places of the others; returns the runs of which none was needed meanwhile,
        with the bytes of the layer that each has become.
        """
        with self._store.lock(self._names.lock):
            if not self._stack.is_current():
                raise ConflictError(f"{self._names.base}: another compaction was faster")
            needed = self._needed()
            self._kept |= {place for run in self._runs for place in range(run.first, run.last) if place in needed}
            chosen = [
                (run, one) for run, one in zip(self._runs, sealed, strict=True)
                if needed.isdisjoint(range(run.first, run.last))
            ]  # fmt: skip
            layers = list(self._stack.layers)
            if not chosen:
                return []
            opened = opening.open_above(self._store, self._names, layers)
            newer = list(opened)
            try:
                announce(self._store, self._names, [*layers, *newer])
                for run, one in chosen:
                    name = layers[run.first].name
                    one.part.part.replace(name)
                    one.part.retire()
                    sealed.remove(one)
                    layers[run.first] = open_layer(layers[run.first].number, self._store.open(name))
                    opened.append(layers[run.first])
                finish(self._store, self._names, [*layers, *newer])
            finally:
                opening.close_all(opened)
        return [(run, layers[run.first].blob.size) for run, _ in chosen]


def _give_up(part: LayerPart) -> None:
    """Remove it, or leave it to the next open for writing."""
    with suppress(OSError):
        part.discard()
    part.keep()


def _estimate(run: Run) -> int:
    """Bytes of a merged layer, about."""
    live = entries = 0
    for name in run.names():
        array, places, _ = run.chunks(name)
        live += int(array.index.stored_shares(0, len(array.index))[places].sum())
        entries += len(places) * (_ENTRY_SIZE + 4 * len(array.spec.shape))
    return min(run.size, live + entries)


def compact(
    url: str,
    keep: Keep | None = None,
    options: PackOptions | None = None,
    *,
    progress: Progress = lambda *_: None,
    journals: Sequence[Store] = (),
    dry_run: bool = False,
) -> CompactReport:
    """Compact the container at a path or URL, by default to one layer. Raises as `Compaction` does."""
    container = Container.open(url, "a")
    try:
        compaction = Compaction(container, keep or Keep(), options, journals)
        return compaction.estimate() if dry_run else compaction.run(progress)
    finally:
        opening.close_together(container.stack.layers)
        container.close()
