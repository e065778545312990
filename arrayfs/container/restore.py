"""An older version's content as changes of the newest: what a commit then makes a new version of.

Only what differs is touched: arrays for which other entries speak, and of their chunks those at another address. The
pool compares these with what is there (`Pool._unchanged`), so equal content is no change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.changes import addresses, changed_names
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.container.large import Spilled, Stretch
from arrayfs.errors import FormatError


def restore(container: Container, older: Container, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Have `container`, open for writing and without changes, hold what `older` (`Container.at`) does; no commit yet.

    wanted: which arrays, by their names in the container. Returns the names of those that other entries spoke for.
    Raises FormatError if a chunk of the older version is damaged; discard the changes then.
    """
    names = [name for name in changed_names(older.stack, container.stack) if wanted(name)]
    # all that goes first, so that no array is in the way of another
    for name in names:
        if name not in older:
            container.remove(container.get(name))
    for name in names:
        if name in older:
            _restore(container, older, older.get(name))
    return names


def _restore(container: Container, older: Container, source: Array) -> None:
    array = _adapted(container, source)
    if array is None:
        array = container.define(source.name, source.spec, dict(source.attributes))
        places = np.arange(len(source.index))
    else:
        if array.attributes != source.attributes:
            container.set_attributes(array, dict(source.attributes))
        for coord in _surplus(array, source):
            container.put(array, coord, None, container.stack.newest.time_ns)
        places = _moved(array, source)
    index = source.index
    for place, coord in zip(places.tolist(), index.grid.coords(index.keys[places]).tolist(), strict=True):
        container.put(array, tuple(coord), _content(source, tuple(coord), older), index.mtime_ns(place))


def _content(source: Array, coord: Coord, older: Container) -> bytes | memoryview | Spilled | None:
    found = source.find(coord)
    read = source.ranges(found, coord, older.cache)
    if read is None:
        return source.fetch(found, coord, source.grid, older.cache)
    return Spilled(b"", Stretch(read, 0, source.stored_size(coord) or 0))


def _adapted(container: Container, source: Array) -> Array | None:
    """The array of this name with the older spec; None where it has to be made anew."""
    if source.name not in container:
        return None
    array = container.get(source.name)
    if array.spec.continues(source.spec):
        try:
            if array.spec != source.spec:
                container.respec(array, source.spec, container.stack.newest.time_ns)
            return array
        except FormatError:
            pass  # what is there now is damaged: no reason not to have the older one back
    container.remove(array)
    return None


def _surplus(array: Array, source: Array) -> Iterator[Coord]:
    """Chunks that the older version does not have."""
    old, new = source.index.keys, array.grid.keys(array.coords())
    yield from map(tuple, array.grid.coords(np.setdiff1d(new, old, assume_unique=True)).tolist())


def _moved(array: Array, source: Array) -> NDArray[np.intp]:
    """Places in the older index of chunks that are not at the same address now, or were changed."""
    index, now = source.index, array.index
    _, old_places, new_places = np.intersect1d(index.keys, now.keys, assume_unique=True, return_indices=True)
    same = (addresses(index)[old_places] == addresses(now)[new_places]).all(axis=1)
    untouched = np.zeros(len(index), np.bool_)
    untouched[old_places[same]] = True
    changed = np.array([array.grid.key(coord) for coord in array.changes], np.uint64)
    untouched &= ~np.isin(index.keys, changed)
    return np.flatnonzero(~untouched)
