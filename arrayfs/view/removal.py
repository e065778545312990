"""Removing a directory with all that is below it in one step: an array costs the same however many chunks it has.

Handles that are open below keep what they show, as after an unlink. (`rm -r` in a mount comes as many calls, which
`namespace.py` answers.)
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from arrayfs.container.grid import Coord
from arrayfs.errors import NotEmptyError
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.documents import FILE_ARRAY
from arrayfs.view.nodes import Directory
from arrayfs.view.numbers import Prefix
from arrayfs.view.reshaping import let_go

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


def clear(tree: Tree, directory: Directory) -> None:
    """Remove all that is at and below a directory; it is empty then. Raises NotEmptyError, and nothing was removed."""
    _check_below(tree, directory)
    tree.consolidated.touch(directory.path(), with_all_below=True)
    _clear_below(tree, directory)
    if directory.parent is None:
        _clear_root(tree)


def _check_below(tree: Tree, directory: Directory) -> None:
    if tree.documents.zarr(directory) is None and directory.array_name is not None:
        raise NotEmptyError(errno.ENOTEMPTY, f"{'/'.join(directory.path())} is an array that cannot be shown")
    for child in directory.children.values():
        if isinstance(child, Directory):
            _check_below(tree, child)


def _clear_below(tree: Tree, directory: Directory) -> None:
    owner = directory.owner
    if owner is not None:
        _remove_chunks(tree, owner, owner.prefix_of(directory.components) or ())
    zarr = tree.documents.zarr(directory)
    if zarr is not None:
        _let_go_of_chunks(tree, zarr)
        tree.documents.drop(directory)
    for name, child in list(directory.children.items()):
        if isinstance(child, Directory):
            if child is not tree.control.directory:
                _clear_below(tree, child)
                tree.namespace.detach(child)
            continue
        del directory.children[name]
        for binding in [one for one in child.bindings if one.directory is directory and one.name == name]:
            tree.files.drop(child, binding)
    for key in [key for key in tree.synthetic if key[0] == directory.ino]:
        tree.synthetic.pop(key).bindings.clear()


def _clear_root(tree: Tree) -> None:
    """What the root has besides its entries: hidden documents, and attributes that the crate sees as the file's."""
    tree.namespace.uncover(tree.root)
    tree.root.hidden.clear()
    if FILE_ARRAY in tree.container:
        tree.container.remove(tree.container.get(FILE_ARRAY))


def _remove_chunks(tree: Tree, zarr: ZarrArray, prefix: Prefix) -> None:
    """Of an array that stays, the chunks below one of its directories."""
    inner = (0,) * len(zarr.inner)
    for coord in [(*stored, *inner) for stored in zarr.listed_coords(prefix).tolist()]:
        _let_go_of(tree, zarr, coord)
        zarr.remove(coord, tree.now())


def _let_go_of(tree: Tree, zarr: ZarrArray, coord: Coord) -> None:
    reader, file = zarr.readers.get(coord), zarr.files.get(coord)
    if reader is not None:
        tree.nameless(reader)
    if file is not None:
        if file.opens and file.draft is None:
            tree.files.keep(file)
        let_go(tree, zarr, coord)


def _let_go_of_chunks(tree: Tree, zarr: ZarrArray) -> None:
    for coord in {**zarr.readers, **zarr.files}:
        _let_go_of(tree, zarr, coord)
    for child in zarr.directories.values():
        child.owner, child.components = None, ()
        tree.nodes[child.ino] = child  # its number was the array's
    zarr.directories.clear()
    zarr.passing.clear()
