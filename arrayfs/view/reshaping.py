"""What a new shape or fill value means for chunk files that a reader, or the kernel, may know already.

A chunk that was cut off is no file any more. One whose padding changed is another file under the same name, with an
inode number of its own, so that no page that the kernel kept of the old one is ever shown; only where somebody is
writing to it the number stays. Names are then looked up anew: opening an inode that is gone is ESTALE, on which the
kernel asks again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.container.grid import Coord
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.nodes import Binding, Components, File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

Coords = NDArray[np.uint32]


def changed_chunks(coords: Coords, old: ArraySpec, new: ArraySpec) -> tuple[list[Coord], list[Coord]]:
    """Which of these chunks the new shape cuts off, and of which others the file reads otherwise now."""
    first = coords.astype(np.int64) * np.array(new.chunk_shape, np.int64)
    before, after = (np.minimum(new.chunk_shape, np.array(spec.shape, np.int64) - first) for spec in (old, new))
    cut = (first >= np.array(new.shape, np.int64)).any(axis=1)
    moved = (before != after).any(axis=1)
    if old.fill_value != new.fill_value:
        moved |= (after < np.array(new.chunk_shape, np.int64)).any(axis=1)
    return [tuple(c) for c in coords[cut].tolist()], [tuple(c) for c in coords[moved & ~cut].tolist()]


def follow_spec(tree: Tree, zarr: ZarrArray, coords: Coords, old: ArraySpec) -> set[Components]:
    """Bring the tree's files in line; returns the directories that lost chunks.

    coords: the chunks that there were; old: the spec that they were under.
    """
    inner = (0,) * len(zarr.inner)
    cut, moved = changed_chunks(coords, old, zarr.array.spec)
    names: set[tuple[int, str]] = set()
    pages = []
    for stored in cut:
        coord = (*stored, *inner)
        names.update(names_of(tree, zarr, coord))
        let_go(tree, zarr, coord)
    for stored in moved:
        coord = (*stored, *inner)
        names.add(names_of(tree, zarr, coord)[0])
        file = zarr.files.get(coord)
        if file is not None and file.writers:
            pages.append(file.ino)
        else:
            let_go(tree, zarr, coord)
            renew(tree, zarr, coord)
    if tree.on_invalidate is not None:
        tree.on_invalidate(pages, names)
    return {zarr.keys.components((*stored, *inner))[:-1] for stored in cut}


def names_of(tree: Tree, zarr: ZarrArray, coord: Coord) -> list[tuple[int, str]]:
    """The chunk's name in its directory, and the names of directories above it that have no chunks any more."""
    components = zarr.keys.components(coord)
    found = []
    while components:
        *above, name = components
        found.append((tree.chunk_directory(zarr, tuple(above)).ino, name))
        components = tuple(above)
        prefix = zarr.prefix_of(components)
        if components in zarr.directories or prefix is None or zarr.has_below(prefix):
            break
    return found


def stay(tree: Tree, zarr: ZarrArray, components: Components) -> None:
    """A directory that lost chunks stays, even when nothing implies it any more: nobody has removed it."""
    known = components in zarr.directories
    prefix = zarr.prefix_of(components)
    if components and not known and prefix is not None and zarr.has_below(prefix):
        return
    for length in range(1, len(components)):
        stay(tree, zarr, components[:length])
    directory = tree.materialise(tree.chunk_directory(zarr, components))
    if components and not known:
        # its computed number may be that of another place in the smaller grid
        directory.ino = tree.numbers.take()
        tree.nodes[directory.ino] = directory
    directory.explicit = True
    tree.watch(directory)


def let_go(tree: Tree, zarr: ZarrArray, coord: Coord) -> None:
    """A chunk's file object has this name no more; open handles keep it."""
    file = zarr.files.pop(coord, None)
    if file is None:
        return
    file.bindings = [binding for binding in file.bindings if binding.zarr is not zarr or binding.coord != coord]
    if file.opens:
        tree.nodes[file.ino] = file
    elif not file.bindings:
        tree.nodes.pop(file.ino, None)


def renew(tree: Tree, zarr: ZarrArray, coord: Coord) -> None:
    """Give a chunk an inode number that it never had."""
    *above, name = zarr.keys.components(coord)
    file = File(tree.numbers.take(), zarr.array.mtime_ns(zarr.stored(coord)))
    binding = Binding(tree.chunk_directory(zarr, tuple(above)), name)
    binding.zarr, binding.coord = zarr, coord
    file.bindings.append(binding)
    zarr.files[coord] = tree.nodes[file.ino] = file
