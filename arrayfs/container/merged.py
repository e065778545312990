"""One layer that says what a run of layers says: the content of a compacted layer, before it takes their place.

On top of what lies below the run it reads as the run did, here and in the crate: overwritten chunks, removed arrays and
holes over nothing are gone; where something below has to be hidden, it is hidden as a commit would (`builder.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.builder import Entries, LayerBuilder
from arrayfs.container.changes import addresses
from arrayfs.container.commit import SealedPart, seal
from arrayfs.container.dictionary import AttributeDictionary
from arrayfs.container.figures import are_kept, completed, figures_at
from arrayfs.container.grid import Coord
from arrayfs.container.layer import Layer
from arrayfs.container.merge import goes_on
from arrayfs.container.opening import container_id
from arrayfs.container.part import LayerPart
from arrayfs.container.pool import PoolOptions
from arrayfs.container.repack import KEEP, Addresses, PackOptions, Progress, Repacker
from arrayfs.container.stack import LayerStack
from arrayfs.container.versions import Version, tags_said
from arrayfs.format.extension_model import NO_PARENT, Extension, MergedVersion, TagChange
from arrayfs.format.figures import Figures
from arrayfs.format.model import ChunkTable


@dataclass(frozen=True, slots=True, eq=False)
class _Entry:
    """An array whose chunks [low, high) of all that are moved are its own. gone: None for one made anew in the run."""

    array: Array
    coords: NDArray[np.uint32]
    times: NDArray[np.int64]
    figures: Figures | None
    gone: list[Coord] | None
    low: int
    high: int


class Run:
    """The layers at places first to last of a stack.

    Invariant: `before` and `after` are the stacks that end below the run, and with it, of the same layers.
    """

    def __init__(self, stack: LayerStack, first: int, last: int) -> None:
        self.first, self.last = first, last
        self.layers = stack.layers[first : last + 1]
        self.before = LayerStack.of(stack.layers[:first])
        self.after = self.before.push(*self.layers)
        self._places = {layer.serial: place for place, layer in enumerate(self.layers)}

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(layer.blob.size for layer in self.layers)

    def names(self) -> Iterator[str]:
        """Arrays that it leaves, and says anything of, in the order of the stack."""
        said = {meta.name for layer in self.layers for meta in layer.footer.arrays}
        return (name for name in self.after.spans if name in said)

    def removed(self) -> Iterator[str]:
        """Arrays that were there below it, and are not any more."""
        return (name for name in self.before.spans if name not in self.after.spans)

    def chunks(self, name: str) -> tuple[Array, NDArray[np.intp], Addresses]:
        """Which chunks of an array lie in the run: the array, their places in its index, their addresses.

        Raises FormatError if a chunk is said to be in a block that is not there.
        """
        array = Array.committed(name, self.after.spans[name])
        index = array.index
        places = np.flatnonzero(index.entries >= self.depth(name))
        serials, rows, offsets, sizes = addresses(index, places).T
        for place in places[rows < 0].tolist():
            index.ref(place)  # says so
        # serials are given in order of opening, and a run's layers are a small part of them
        known, which = np.unique(serials, return_inverse=True)
        layers = np.array([self._places[serial] for serial in known.tolist()], np.uint32)[which]
        return array, places, Addresses(layers, *(column.astype(np.uint32) for column in (rows, offsets, sizes)))

    def depth(self, name: str) -> int:
        """How many entries of an array's span lie below the run and count on."""
        below = self.before.spans.get(name, ())
        return len(below) if goes_on(self.after.spans[name], below) else 0

    def gone(self, array: Array) -> list[Coord] | None:
        """Coordinates of which something below has to be hidden; None if that is the whole array."""
        depth = self.depth(array.name)
        if not depth:
            return None
        below, said = array.span[:depth], array.span[depth:]
        named = [entry.meta.chunks.coords for entry in said]
        base = below[-1].meta
        if any(one.meta.shape != base.shape or one.meta.fill_value != base.fill_value for one in said):
            # chunks below were cut, also without a word, or holes have to have another extent or value
            buried = self.before.buried.get(array.name, ())
            named += [one.meta.chunks.coords for one in (*below, *buried) if len(one.meta.shape) == len(base.shape)]
        coords = np.unique(np.concatenate(named), axis=0)
        inside = (coords < np.array(array.grid.counts, np.int64)).all(axis=1)
        there = np.zeros(len(coords), np.bool_)
        there[inside] = np.isin(array.grid.keys(coords[inside]), array.index.keys)
        return list(map(tuple, coords[~there].tolist()))

    def origin(self, array: Array) -> str | None:
        """What an array that was made anew in the run was called below it, if it was renamed."""
        layer, position = array.span[0]
        name = None if layer.extension is None else layer.extension.renamed_from.get(position)
        return name if name in self.before.spans and name not in self.after.spans else None


def write_merged(
    run: Run, stack: LayerStack, versions: Sequence[Version], part: LayerPart, options: PackOptions, progress: Progress
) -> SealedPart:
    """Write what takes a run's place into a part that has its newest layer's id. versions: of all layers, by place.

    Raises FormatError, naming file and block, where the run is damaged; OSError if the medium fails.
    """
    kept = are_kept(run.after.layers) if options.chunk_stats is None else options.chunk_stats
    entries, moved = _entries(run, with_figures=kept)
    rows, offsets = Repacker(part, run.layers, moved, options).run(progress)
    codec = PoolOptions().codec if options.codec == KEEP else options.codec
    dictionary = AttributeDictionary(run.layers[-1].footer)
    builder = LayerBuilder(run.before, part, codec, dictionary, with_figures=kept)
    for name in run.removed():
        builder.add_tombstone(name)
    for entry in entries:
        mine = slice(entry.low, entry.high)
        table = ChunkTable(entry.coords, rows[mine], offsets[mine], moved.sizes[mine])
        figures = completed(part, table, entry.figures, entry.array.spec) if options.chunk_stats else entry.figures
        origin = run.origin(entry.array) if entry.gone is None else None
        builder.add_entry(entry.array, [Entries(table, entry.times, figures)], entry.gone, origin)
    hint = "" if run.first == 0 else stack.layers[0].name
    return seal(part, builder, _identity(run, stack, versions), stack.newest.footer.version, hint, run.first)


def _entries(run: Run, *, with_figures: bool) -> tuple[list[_Entry], Addresses]:
    entries: list[_Entry] = []
    parts: list[Addresses] = []
    low = 0
    for name in run.names():
        array, places, addresses = run.chunks(name)
        index = array.index
        coords, times = index.grid.coords(index.keys[places]), index.mtimes(0, len(index))[places]
        figures = figures_at(index, places, array.spec) if with_figures else None
        entries.append(_Entry(array, coords, times, figures, run.gone(array), low, low + len(addresses)))
        parts.append(addresses)
        low += len(addresses)
    return entries, Addresses.join(parts)


def _identity(run: Run, stack: LayerStack, versions: Sequence[Version]) -> Extension:
    """The run's newest version, which also stands for the others."""
    own = versions[run.last]
    merged = tuple(_merged(run.layers, versions[run.first : run.last]))
    said = tags_said(run.layers)
    numbers = {own.number, *(one.number for one in merged)}
    return Extension(
        layer_id=own.id,
        parent_id=_parent(run),
        container_id=container_id(stack),
        version=own.number,
        time_ns=run.layers[-1].time_ns,  # by which it is known, not what is told of it
        message=own.message,
        author=own.author,
        tags=_tags_of(own.number, said),
        merged=tuple(replace(one, tags=_tags_of(one.number, said)) for one in merged),
        tag_changes=tuple(TagChange(tag, number) for tag, number in said.items() if number not in numbers),
    )


def _parent(run: Run) -> bytes:
    oldest = run.layers[0].extension
    if oldest is not None:
        return oldest.parent_id
    return run.before.newest.id if run.before.layers else NO_PARENT


def _merged(layers: Sequence[Layer], older: Sequence[Version]) -> Iterator[MergedVersion]:
    """What the layers of a run stand for, less its newest; older: their versions, less the newest."""
    for place, layer in enumerate(layers):
        if layer.extension is not None:
            yield from layer.extension.merged
        if place < len(older):
            one = older[place]
            yield MergedVersion(one.number, one.id, layer.time_ns, one.message, one.author)


def _tags_of(number: int, said: dict[str, int | None]) -> tuple[str, ...]:
    return tuple(tag for tag, named in said.items() if named == number)
