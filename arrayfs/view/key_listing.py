"""The keys below a directory: the paths of all files, those of an array's chunks from its index."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

from arrayfs.view.arrays import ZarrArray
from arrayfs.view.listing import OpenDirectory
from arrayfs.view.nodes import Directory, File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


def keys_in(tree: Tree, directory: Directory) -> Iterator[str]:
    """The keys below a directory, relative to it. The lock is held while a directory is looked at, not in between."""
    if directory.owner is not None:
        yield from chunk_keys(tree, directory.owner, directory)
    yield from _walk(tree, directory)


def names_in(tree: Tree, directory: Directory) -> list[str]:
    """The first parts of these keys. The caller has the lock."""
    return [
        name
        for name, attr, _ in OpenDirectory(tree, directory).entries(0)
        if not stat.S_ISDIR(attr.mode) or _has_any(tree, directory, name)
    ]


def _has_any(tree: Tree, directory: Directory, name: str) -> bool:
    below = tree.find(directory, name)
    return isinstance(below, Directory) and next(keys_in(tree, below), None) is not None


def _walk(tree: Tree, directory: Directory) -> Iterator[str]:
    """The same without the chunks of an array that the directory lies in: they are listed at its root."""
    names, directories, zarr = _look(tree, directory)
    yield from names
    taken = set(names)
    for name, child in directories:
        for key in _walk(tree, child):
            if zarr is not None:
                taken.add(f"{name}/{key}")
            yield f"{name}/{key}"
    if zarr is not None:
        yield from (key for key in chunk_keys(tree, zarr, directory) if key not in taken)


def _look(tree: Tree, directory: Directory) -> tuple[list[str], list[tuple[str, Directory]], ZarrArray | None]:
    """Of a directory: files that are objects or made from the container, directories, and the array here if any."""
    with tree.container.lock:
        names = list(tree.documents.synthetic_names(directory))
        directories = []
        for name, child in directory.children.items():
            if isinstance(child, File):
                names.append(name)
            elif child is not tree.control.directory:
                directories.append((name, child))
        return names, directories, tree.documents.zarr(directory)


def chunk_keys(tree: Tree, zarr: ZarrArray, directory: Directory) -> Iterator[str]:
    """The paths of an array's chunks below its root, or below one of its chunk directories."""
    components = () if directory is zarr.root else directory.components
    with tree.container.lock:
        coords = zarr.listed_coords(zarr.prefix_of(components) or () if components else ()).tolist()
    inner = (0,) * len(zarr.inner)
    for stored in coords:
        yield "/".join(zarr.keys.components((*stored, *inner))[len(components) :])
