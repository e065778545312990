"""A user's work on a tree of which nobody knows who made it: everything is renamed, resized, written to and removed.

Each call may be refused with an error of the project; what was committed reads again.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable

from arrayfs.errors import ArrayFSError
from arrayfs.view.attr import Attr
from arrayfs.view.tree import Tree
from tests.t8_hostile.containers import OPAQUE, write

MOST = 60  # entries that are changed; the rest of a tree is left as it is
SMALL = 1 << 16  # bytes of files that are written to


def change(tree: Tree, errors: list[str]) -> None:
    """Change everything and commit."""

    def attempt(action: Callable[[], object]) -> None:
        try:
            action()
        except ArrayFSError as error:
            errors.append(f"{type(error).__name__}: {error}")

    places = _places(tree)
    for number, (parent, name, attr) in enumerate(places):
        if stat.S_ISDIR(attr.mode):
            attempt(lambda parent=parent, name=name: _resize(tree, parent, name))  # type: ignore[misc]
        elif attr.size <= SMALL:
            attempt(lambda parent=parent, name=name: write(tree, parent, name, b"x"))  # type: ignore[misc]
        if number % 3 == 0:
            attempt(lambda parent=parent, name=name: _rename(tree, parent, name))  # type: ignore[misc]
    attempt(lambda: tree.commit("changed"))
    attempt(lambda: write(tree, tree.mkdir(1, "another", 0o755).ino, "zarr.json", OPAQUE))
    for parent, name, attr in reversed(_places(tree)):
        remove = tree.rmdir if stat.S_ISDIR(attr.mode) else tree.unlink
        attempt(lambda remove=remove, parent=parent, name=name: remove(parent, name))  # type: ignore[misc]
    attempt(lambda: tree.commit("removed"))


def _places(tree: Tree) -> list[tuple[int, str, Attr]]:
    """Directory, name and attributes of entries, those above before those below."""
    found: list[tuple[int, str, Attr]] = []
    directories = [1]
    while directories and len(found) < MOST:
        parent = directories.pop(0)
        for name, attr, _ in tree.opendir(parent).entries(0):
            found.append((parent, name, attr))
            if stat.S_ISDIR(attr.mode):
                directories.append(attr.ino)
            if len(found) >= MOST:
                break
    return found


def _rename(tree: Tree, parent: int, name: str) -> None:
    tree.rename(parent, name, 1, f"renamed-{name}"[:80], no_replace=False)


def _resize(tree: Tree, parent: int, name: str) -> None:
    """Write the array's document back with other lengths."""
    directory = tree.lookup(parent, name)
    document = None if directory is None else tree.lookup(directory.ino, "zarr.json")
    if directory is None or document is None or document.size > SMALL:
        return
    handle = tree.open(document.ino, write=False, truncate=False)
    try:
        said = json.loads(bytes(handle.read(0, document.size)))
    except ValueError:
        return
    finally:
        handle.release()
    if isinstance(said, dict) and isinstance(said.get("shape"), list) and all(type(n) is int for n in said["shape"]):
        said["shape"] = [length // 2 + 1 for length in said["shape"]]
        write(tree, directory.ino, "zarr.json", json.dumps(said).encode())
