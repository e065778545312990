"""Which version wrote each chunk of an array: what the index says already, a chunk's layer, read as a version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array
from arrayfs.container.versions import VersionTable

NO_CHUNK = -1


def writers(array: Array, table: VersionTable) -> NDArray[np.int64]:
    """Of each committed chunk, in the order of the index, the place in `table` of the version that wrote it, (n,)."""
    places = {version.file: place for place, version in enumerate(table) if version.merged_into is None}
    index = array.index
    of_entry = np.array([places[entry.layer.name] for entry in index.span], np.int64)
    found: NDArray[np.int64] = of_entry[index.entries] if len(index) else np.zeros(0, np.int64)
    return found


def writer_grid(array: Array, table: VersionTable, leading: tuple[int, ...]) -> NDArray[np.int64]:
    """The same as a picture: one plane of the chunk grid, the last two axes under the `leading` coordinates.

    (rows, columns); `NO_CHUNK` where there is none. An array of one axis has one row, a scalar one place.
    """
    rank, counts = len(array.spec.shape), array.grid.counts
    low, high = array.index.slice(leading)
    coords = array.index.grid.coords(array.index.keys[low:high])
    columns = counts[-1] if rank else 1
    rows = counts[-2] if rank > 1 else 1
    plane = np.full((rows, columns), NO_CHUNK, np.int64)
    row = coords[:, rank - 2] if rank > 1 else np.zeros(len(coords), np.intp)
    column = coords[:, rank - 1] if rank else np.zeros(len(coords), np.intp)
    plane[row, column] = writers(array, table)[low:high]
    return plane
