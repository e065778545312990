"""A directory listing under way: a cursor over what is there when it begins, never a list of a million names.

Objects and documents come first, then the chunks in the order of the index. Entries that go while the listing runs are
left out when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrayfs.view.arrays import ZarrArray
from arrayfs.view.attr import Attr
from arrayfs.view.nodes import DIRECTORY_LINKS, FILE_MODE, Components, Directory
from arrayfs.view.numbers import Prefix

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

# How many entries are made at a time: the columns of a slice are turned into Python numbers together.
BATCH = 1024
# A directory may hold chunks of two arrays (its own, and one that it lies in); cookies of the second begin here.
SPAN = 1 << 48


class OpenDirectory:
    """One listing. Cookies are positions in what was there at the beginning, so they stay right."""

    def __init__(self, tree: Tree, directory: Directory) -> None:
        self._tree = tree
        self._directory = directory
        self._names: list[str] | None = None
        self._chunks: list[ChunkListing | PrefixListing] = []

    def _begin(self) -> list[str]:
        tree, directory = self._tree, self._directory
        names = [
            *tree.documents.synthetic_names(directory),
            *directory.children,
            *tree.control.arrays.names(directory),
        ]
        listings = [list_chunks(self._tree, self._directory, *place) for place in self._tree.arrays_of(self._directory)]
        self._chunks = [listing for listing in listings if listing is not None]
        self._names = names
        return names

    def dots(self) -> tuple[Attr, Attr]:
        """What `.` and `..` are; there is nothing above the root."""
        with self._tree.container.lock:
            directory = self._directory
            return self._tree.attr(directory), self._tree.attr(directory.parent or directory)

    def entries(self, start: int) -> Iterator[tuple[str, Attr, int]]:
        """Entries from cookie `start` (0: the first): name, attributes, cookie of the one after it."""
        with self._tree.container.lock:
            names = self._names if self._names is not None and start else self._begin()
            for position in range(start, len(names)):
                node = self._tree.find(self._directory, names[position])
                if node is not None:
                    yield names[position], self._tree.attr(node), position + 1
            for number, chunks in enumerate(self._chunks):
                first = len(names) + number * SPAN
                if start < first + SPAN:
                    for name, attr, position in chunks.entries(max(0, start - first)):
                        yield name, attr, first + position

    def sync(self) -> None:
        """Fsync of the directory; what it promises stands in docs/SEMANTICS.md."""
        self._tree.sync()

    def release(self) -> None:
        """The listing ends."""
        self._names, self._chunks = [], []


class ChunkListing:
    """The chunks, or chunk directories, directly below one directory.

    steps: the next coordinate of each, (n,), in order; (n, rank) where one name spells whole coordinates.
    """

    def __init__(
        self, tree: Tree, directory: Directory, zarr: ZarrArray, prefix: Prefix, components: Components
    ) -> None:
        self._tree, self._directory, self._zarr = tree, directory, zarr
        self._prefix, self._components = prefix, components
        coords = zarr.listed_coords(prefix)
        stored_rank = len(zarr.array.spec.shape)
        self._flat = zarr.keys.separator != "/" or zarr.rank == 0
        self._leaf = self._flat or len(prefix) == zarr.rank - 1
        self._columns = zarr.listed_sizes(prefix) if self._leaf else None
        if self._flat:
            self._steps: NDArray[np.uint32] = coords
        elif len(prefix) < stored_rank:
            steps = coords[:, len(prefix)]
            self._steps = steps if len(prefix) == stored_rank - 1 else _distinct(steps)
        else:
            self._steps = np.zeros(1 if len(coords) else 0, np.uint32)

    def entries(self, start: int) -> Iterator[tuple[str, Attr, int]]:
        """As `OpenDirectory.entries`."""
        for low in range(start, len(self._steps), BATCH):
            batch = self._steps[low : low + BATCH].tolist()
            if self._flat:
                yield from self._flat_entries(low, batch)
            elif self._columns is not None and not self._zarr.array.changes:
                yield from self._fast_entries(low, batch)
            else:
                yield from self._slow_entries(low, batch)

    def _fast_entries(self, low: int, batch: list[int]) -> Iterator[tuple[str, Attr, int]]:
        """Chunks that nobody changed: from the columns, and where one is an object from that."""
        zarr, files = self._zarr, self._zarr.files
        sizes, blocks, times = self._columns or ([], [], [])
        base = zarr.number((*self._prefix, 0))
        children = self._directory.children
        for position, step in enumerate(batch, low):
            name = str(step)
            if name in children:
                continue
            if files and (*self._prefix, step) in files:
                yield name, self._tree.attr(files[(*self._prefix, step)]), position + 1
            else:
                yield (
                    name,
                    Attr(base + step, FILE_MODE, sizes[position], blocks[position], times[position]),
                    position + 1,
                )

    def _slow_entries(self, low: int, batch: list[int]) -> Iterator[tuple[str, Attr, int]]:
        for position, step in enumerate(batch, low):
            name = str(step)
            if name in self._directory.children:
                continue
            node = self._tree.find(self._directory, name) if self._leaf else self._below(name)
            if node is not None:
                yield name, self._tree.attr(node), position + 1

    def _below(self, name: str) -> Directory:
        return self._tree.chunk_directory(self._zarr, (*self._components, name))

    def _flat_entries(self, low: int, batch: list[list[int]]) -> Iterator[tuple[str, Attr, int]]:
        inner = (0,) * len(self._zarr.inner)
        for position, coord in enumerate(batch, low):
            name = self._zarr.keys.components((*coord, *inner))[-1]
            if name not in self._directory.children:
                node = self._tree.find(self._directory, name)
                if node is not None:
                    yield name, self._tree.attr(node), position + 1


class PrefixListing:
    """The one directory `c` that all chunks of an array are below."""

    def __init__(self, tree: Tree, zarr: ZarrArray) -> None:
        self._tree, self._zarr = tree, zarr

    def entries(self, start: int) -> Iterator[tuple[str, Attr, int]]:
        """As `OpenDirectory.entries`."""
        name = self._zarr.keys.prefix
        if not start and name not in self._zarr.root.children and self._zarr.has_below(()):
            directory = self._tree.chunk_directory(self._zarr, (name,))
            yield name, Attr(directory.ino, directory.mode, 0, 0, directory.mtime_ns, DIRECTORY_LINKS), 1


def list_chunks(
    tree: Tree, directory: Directory, zarr: ZarrArray, components: Components
) -> ChunkListing | PrefixListing | None:
    """What of an array's chunks a directory lists; None where it can hold none."""
    keys = zarr.keys
    if not components and (keys.separator != "/" or zarr.rank == 0):
        return ChunkListing(tree, directory, zarr, (), components)
    if not components and keys.prefix:
        return PrefixListing(tree, zarr)
    prefix = zarr.prefix_of(components) if components else ()
    return None if prefix is None else ChunkListing(tree, directory, zarr, prefix, components)


def _distinct(steps: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The values of a column that is sorted, each once."""
    if not len(steps):
        return steps
    return steps[np.concatenate(([True], steps[1:] != steps[:-1]))]
