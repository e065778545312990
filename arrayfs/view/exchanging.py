"""Two entries exchange their names, by way of a name that nobody sees, as the container's lock is held.

Only where no name says what a file means: files and directories (so whole arrays and groups) outside of arrays. There
nothing is read or packed when a name changes, so none of the steps can fail when another was done.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from arrayfs.errors import NoEntryError, RefusedError
from arrayfs.view.documents import NAMES
from arrayfs.view.nodes import Directory

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

Place = tuple[Directory, str]


def exchange(tree: Tree, one: Place, other: Place) -> None:
    """Have two entries, in the same or in two directories, exchange their names.

    Raises NoEntryError if one is missing, RefusedError (EINVAL) if one lies below the other, if one is a document, or
    if one lies in an array's directory; nothing has happened then, as after an OSError.
    """
    found = [_found(tree, place) for place in (one, other)]
    for node, (target, _) in zip(found, (other, one), strict=True):
        if node is not None and any(above is node for above in target.ancestors()):
            raise RefusedError(errno.EINVAL, f"{node.name!r} cannot be exchanged with what is below it")
    if one[0] is other[0] and one[1] == other[1]:
        return
    for node in found:
        if node is not None:  # what is looked at while it moves is known then
            tree.namespace.look_below(node)
            tree.consolidated.touch(node.path(), with_all_below=True)
    between = (one[0], free_name(tree, one[0]))
    for source, target_place in ((one, between), (other, one), (between, other)):
        tree.namespace.rename(*source, *target_place, no_replace=True)


def _found(tree: Tree, place: Place) -> Directory | None:
    """The directory that is to be moved; None if it is a file. Raises as `exchange` does."""
    directory, name = place
    tree.namespace.check(directory, name)
    found = tree.find(directory, name)
    if found is None:
        raise NoEntryError(errno.ENOENT, f"no {name!r}")
    in_array = any(tree.documents.zarr(above) is not None for above in directory.ancestors())
    if in_array or (not isinstance(found, Directory) and name in NAMES):
        raise RefusedError(errno.EINVAL, f"{name!r} is a document, or in an array: rename it, by way of another name")
    return found if isinstance(found, Directory) else None


def free_name(tree: Tree, directory: Directory) -> str:
    """A name that nothing in a directory has."""
    number = 0
    while tree.find(directory, name := f".exchanged-{number}") is not None:
        number += 1
    return name
