"""Carrying a writer's changes over to versions that others committed since: the change is retried, not the layer.

What counts as a change: a chunk set or removed, an attribute by its key, the length of an axis, a file, an array made
or removed. Where both sides changed the same to different ends, they *overlap*, and only a rule can say whose word it
is. Growing overlaps with nothing: the longer axis holds. Chunks that only a changed shape has cut again are no change.

`Merge` first looks at everything (`plan`) and changes nothing; what it then does (`apply`) cannot conflict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array, ArraySpec, Change
from arrayfs.container.cache import BlockCache
from arrayfs.container.grid import Coord, Grid
from arrayfs.container.pool import Pool
from arrayfs.container.stack import LayerStack, Span
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import recut
from arrayfs.format.model import AttributeValue

OnConflict = Literal["fail", "ours"]
T = TypeVar("T")
# Arrays of these names stand for files (docs/FORMAT.md), whose pieces mean nothing without each other.
FILES = ".arrayfs/files/"
# How many overlaps an error names.
NAMED = 8


def in_words(overlaps: list[str]) -> str:
    """The first overlaps, and how many there are."""
    more = f"; and {len(overlaps) - NAMED} more" if len(overlaps) > NAMED else ""
    return "; ".join(overlaps[:NAMED]) + more


class Follower(Protocol):
    """Whoever shows a container's arrays in another way: asked before they change under it, and told when they have."""

    def busy(self) -> Iterable[tuple[str, Coord | None]]:
        """Arrays and stored coordinates (None: all of the array) that somebody is writing to at this moment."""

    def merge_file(self, name: str, base: Array | None, ours: Array, theirs: Array) -> Callable[[], None] | None:
        """What puts the content that both sides want into `ours`; None if there is no such content.

        Called for arrays that stand for a file. It finds `ours` as `theirs` is, without changes.
        """

    def is_file(self, name: str) -> bool:
        """Whether an array of this name stands for a file as a whole."""

    def clashes(self, ours: Names, theirs: Names) -> list[str]:
        """What both sides cannot have at once, though it has different names here."""

    def leaving(self, stack: LayerStack, names: frozenset[str]) -> None:
        """The arrays of these names are about to be what `stack` says."""

    def arrived(self, old: LayerStack, names: frozenset[str]) -> None:
        """They are. old: the stack until now."""

    def publishing(self) -> None:
        """The changes are about to be a version, if no other writer is first. Raises OSError: then they are not."""


class Names(Protocol):
    """What one side did, by names of arrays."""

    @property
    def changed(self) -> frozenset[str]:
        """Made or changed."""

    @property
    def removed(self) -> frozenset[str]:
        """Removed, or made anew."""


class Side:
    """One side's `Names`."""

    def __init__(self, changed: Iterable[str], removed: Iterable[str]) -> None:
        self.changed, self.removed = frozenset(changed), frozenset(removed)


def names_in(old: LayerStack, new: LayerStack) -> frozenset[str]:
    """The arrays that the layers above `old` say anything of."""
    return frozenset(meta.name for layer in new.layers[len(old.layers) :] for meta in layer.footer.arrays)


def coords_since(old: Span, new: Span) -> NDArray[np.uint32]:
    """Coordinates, (n, rank), of what was set or removed in a span that goes on from an older one."""
    return np.concatenate([entry.meta.chunks.coords for entry in new[len(old) :]])


def goes_on(new: Span, old: Span) -> bool:
    """Whether a span is an older one with something on top: the array was neither removed nor made anew."""
    return len(new) >= len(old) and all(
        a.layer is b.layer and a.position == b.position for a, b in zip(new, old, strict=False)
    )


class Merge:
    """One writer's changes, and the newer stack that they are to lie on.

    overlaps: what both sides changed, after `plan`; with "ours" the writer's word holds in all of it.
    """

    def __init__(
        self,
        pool: Pool,
        cache: BlockCache,
        arrays: dict[str, Array],
        gone: set[str],
        old: LayerStack,
        new: LayerStack,
        names: frozenset[str] | None = None,
    ) -> None:
        """arrays: those that are loaded, by name. gone: names whose committed array the writer removed or covered.

        names: what may be another in the newer stack; by default what its newer layers say anything of.
        """
        self._pool, self._cache = pool, cache
        self._arrays, self._gone = arrays, gone
        self._old, self._new = old, new
        self.names = names_in(old, new) if names is None else names
        self.overlaps: list[str] = []
        self._steps: list[Callable[[], None]] = []

    # --- looking ------------------------------------------------------------------------------------------------------

    def plan(self, follower: Follower | None) -> None:
        """See what is to be done, and what overlaps."""
        changed = [array for array in self._pool.arrays if array.dirty]
        tombstones = [name for name in self._gone if name in self._old.spans and name not in self._arrays]
        for name in sorted(self.names.intersection(tombstones)):
            if name in self._new.spans:
                self.overlaps.append(f"{name!r}: removed here, changed there")
        for array in changed:
            self._plan_array(array, follower)
        if follower is None:
            return
        for name, coord in follower.busy():
            if name in self.names and self._was_touched(name, coord):
                self.overlaps.append(f"{name!r}{_at(coord)}: being written here, changed there")
        made_anew = (name for name in self.names if name in self._old.spans and not self._continues(name))
        ours = Side((array.name for array in changed), tombstones)
        self.overlaps += follower.clashes(ours, Side(self.names.intersection(self._new.spans), made_anew))

    def _continues(self, name: str) -> bool:
        return goes_on(self._new.spans.get(name, ()), self._old.spans[name])

    def _was_touched(self, name: str, coord: Coord | None) -> bool:
        old = self._old.spans.get(name)
        if coord is None or old is None or not self._continues(name):
            return True
        return bool((coords_since(old, self._new.spans[name]) == np.array(coord, np.uint32)).all(axis=1).any())

    def _plan_array(self, array: Array, follower: Follower | None) -> None:
        name, origin = array.name, array.origin
        if origin is not None and origin != name and origin in self.names:
            self.overlaps.append(f"{origin!r}: renamed to {name!r} here, changed there")
        if name not in self.names:
            return
        span = self._new.spans.get(name)
        is_file = name.startswith(FILES) if follower is None else follower.is_file(name)
        if origin == name and (span is None or not self._continues(name)):
            if not (is_file and span is not None and self._plan_file(array, span, follower)):
                self.overlaps.append(f"{name!r}: changed here, {'removed' if span is None else 'made anew'} there")
                self._steps.append(lambda: self._make_anew(array))
        elif span is None:
            return  # made anew here, removed there
        elif is_file:
            if not self._plan_file(array, span, follower):
                self.overlaps.append(f"{name!r}: changed here and there")
                self._steps.append(lambda: self._make_anew(array))
        elif origin == name:
            self._plan_change(array, span)
        elif self._is_same(array, Array.committed(name, span)):
            self._steps.append(lambda: self._take_theirs(array, span))
        else:
            self.overlaps.append(f"{name!r}: made here and there")

    def _plan_file(self, array: Array, span: Span, follower: Follower | None) -> bool:
        """Whether there is a content of a file that both sides agree on."""
        below = self._old.spans.get(array.name)
        base = None if below is None else Array.committed(array.name, below)
        merged = follower and follower.merge_file(array.name, base, array, Array.committed(array.name, span))
        if not merged:
            return False
        self._steps += [lambda: self._take_theirs(array, span), merged]
        return True

    def _is_same(self, ours: Array, theirs: Array) -> bool:
        if ours.spec != theirs.spec or ours.attributes != theirs.attributes:
            return False
        coords = ours.coords()
        return np.array_equal(coords, theirs.coords()) and all(
            ours.read(coord, self._cache) == theirs.read(coord, self._cache) for coord in map(tuple, coords.tolist())
        )

    def _plan_change(self, array: Array, span: Span) -> None:
        """Both sides changed an array that goes on."""
        name = array.name
        base, theirs = Array.committed(name, self._old.spans[name]), Array.committed(name, span)
        before = len(self.overlaps)
        spec = self._merged_spec(name, base.spec, array.spec, theirs.spec)
        shapes_overlap = len(self.overlaps) > before
        changes, outside = self._kept_changes(array, base, theirs, Grid(spec.shape, spec.chunk_shape))
        self.overlaps += outside
        if shapes_overlap or outside:  # there is no shape that has room for both
            self._steps.append(lambda: self._make_anew(array))
            return
        attributes = self._merged_attributes(name, base.attributes, array.attributes, theirs.attributes)
        self._steps.append(lambda: self._change(array, span, spec, attributes, changes))

    def _merged_spec(self, name: str, base: ArraySpec, ours: ArraySpec, theirs: ArraySpec) -> ArraySpec:
        lengths = zip(base.shape, ours.shape, theirs.shape, strict=True)
        return replace(
            ours,
            shape=tuple(
                max(o, t) if min(o, t) > b else self._pick(f"{name!r}: length of axis {axis}", b, o, t)
                for axis, (b, o, t) in enumerate(lengths)
            ),
            dimension_names=self._pick(
                f"{name!r}: dimension names", base.dimension_names, ours.dimension_names, theirs.dimension_names
            ),
            fill_value=self._pick(f"{name!r}: fill value", base.fill_value, ours.fill_value, theirs.fill_value),
        )

    def _merged_attributes(
        self,
        name: str,
        base: dict[str, AttributeValue],
        ours: dict[str, AttributeValue],
        theirs: dict[str, AttributeValue],
    ) -> dict[str, AttributeValue]:
        merged = {
            key: self._pick(f"{name!r}: attribute {key!r}", base.get(key), ours.get(key), theirs.get(key))
            for key in {**theirs, **ours}
        }
        return {key: value for key, value in merged.items() if value is not None}

    def _pick(self, what: str, base: T, ours: T, theirs: T) -> T:
        """The side that changed; where both did, ours, and it is noted."""
        if ours == base:
            return theirs
        if theirs not in (base, ours):
            self.overlaps.append(what)
        return ours

    def _kept_changes(
        self, array: Array, base: Array, theirs: Array, grid: Grid
    ) -> tuple[list[tuple[Coord, Change]], list[str]]:
        """Our changes of chunks as they are to lie on theirs, under the merged grid; and what one side cut off though
        the other wrote it.
        """
        touched = coords_since(base.span, theirs.span)
        common = self._common(list(array.changes), touched, array.grid, theirs.grid)
        kept: list[tuple[Coord, Change]] = []
        outside: list[str] = []
        for coord, change in array.changes.items():
            if self._is_recut(array, base, coord):
                continue  # what theirs, or nobody, has there is cut again
            if coord not in grid:
                if change.content is not None:
                    outside.append(f"{array.name!r}{_at(coord)}: written here, cut off there")
                continue
            same_extent = array.grid.extent(coord) == grid.extent(coord)
            fitted = None if same_extent and coord not in common else self._fitted(array, coord, grid)
            if coord in common and not self._is_recut(theirs, base, coord):
                if fitted == self._fitted(theirs, coord, grid):
                    continue
                self.overlaps.append(f"{array.name!r}{_at(coord)}")
            kept.append((coord, change if same_extent else change._replace(content=fitted)))
        if array.cut:
            for coord in map(tuple, touched.tolist()):
                if coord not in grid and theirs.has(coord) and not self._is_recut(theirs, base, coord):
                    outside.append(f"{array.name!r}{_at(coord)}: cut off here, written there")
        return kept, outside

    @staticmethod
    def _common(ours: list[Coord], theirs: NDArray[np.uint32], one: Grid, other: Grid) -> set[Coord]:
        """The coordinates that are in both; theirs may lie outside of any grid."""
        union = Grid(tuple(map(max, one.shape, other.shape)), one.chunk_shape)
        inside = theirs[(theirs < np.array(union.counts, np.int64)).all(axis=1)]
        keys = np.array([union.key(coord) for coord in ours], np.uint64)
        return {ours[place] for place in np.flatnonzero(np.isin(keys, union.keys(inside))).tolist()}

    def _is_recut(self, side: Array, base: Array, coord: Coord) -> bool:
        """Whether a side has at a coordinate what a change of shape alone has made of the base's chunk."""
        if side.spec == base.spec or coord not in side.grid:
            return False
        if coord not in base.grid:
            return not side.has(coord)
        before, after = base.grid.extent(coord), side.grid.extent(coord)
        if before == after and side.spec.fill_value == base.spec.fill_value:
            return False
        try:
            now, old = side.read(coord, self._cache), base.read(coord, self._cache)
        except FormatError:
            return False  # what cannot be read is no such chunk
        if now is None or old is None:
            return now is old
        return now == recut(side.spec.dtype, side.spec.fill_value, old, before, after)

    def _fitted(self, side: Array, coord: Coord, grid: Grid) -> bytes | memoryview | None:
        """A chunk of one side, cut for the merged grid. What cannot be read is like nothing else."""
        try:
            stored = side.read(coord, self._cache) if coord in side.grid else None
        except FormatError as error:
            return str(error).encode()
        if stored is None:
            return None
        return recut(side.spec.dtype, side.spec.fill_value, stored, side.grid.extent(coord), grid.extent(coord))

    # --- doing --------------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Have the arrays, and the pool's changes, go on from the newer stack."""
        for step in self._steps:
            step()
        for name, array in list(self._arrays.items()):
            if name in self.names and not array.dirty:
                span = self._new.spans.get(name)
                self._pool.forget(array)
                if span is None:
                    del self._arrays[name]
                elif array.span is not span:
                    array.follow(span)
        self._gone.intersection_update(self._new.spans)
        self._gone.update(a.name for a in self._arrays.values() if a.origin != a.name and a.name in self._new.spans)

    def _take_theirs(self, array: Array, span: Span) -> None:
        self._pool.forget(array)
        array.follow(span)

    def _change(
        self,
        array: Array,
        span: Span,
        spec: ArraySpec,
        attributes: dict[str, AttributeValue],
        changes: list[tuple[Coord, Change]],
    ) -> None:
        self._take_theirs(array, span)
        edges = list(array.reshape(spec, self._new.newest.time_ns, self._cache))
        self._pool.put_all(array, [*edges, *changes])
        array.set_attributes(attributes)

    def _make_anew(self, array: Array) -> None:
        """Ours wins over what was removed or made anew: the next layer gets all of the array."""
        array.origin = None
        array.meta_changed = True


def _at(coord: Coord | None) -> str:
    return "" if coord is None else f" chunk {coord}"
