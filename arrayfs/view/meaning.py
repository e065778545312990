"""What an array of the container is to someone who sees files: an array, a plain file, a directory.

Its name alone says it (docs/FORMAT.md, "Reserved names").
"""

from __future__ import annotations

from typing import NamedTuple

from arrayfs.view import plain
from arrayfs.view.documents import FILE_ARRAY

NATIVE, OPAQUE, FILE, DIRECTORY, HIDDEN, OTHER = "native", "opaque", "file", "directory", "hidden", "other"


class Meaning(NamedTuple):
    """kind: one of the words above; path: below the root of the tree, for a native array its name."""

    kind: str
    path: str


def meaning(name: str) -> Meaning:
    """What the array of this name is."""
    if name == FILE_ARRAY:
        return Meaning(OTHER, name)
    if not name.startswith(plain.RESERVED):
        return Meaning(NATIVE, name)
    if name.startswith(plain.CHUNKS):
        return Meaning(OPAQUE, name.removeprefix(plain.CHUNKS))
    if name.startswith(plain.FILES):
        path = name.removeprefix(plain.FILES)
        return Meaning(DIRECTORY, path.rstrip("/")) if path.endswith("/") or not path else Meaning(FILE, path)
    if name.startswith(plain.HIDDEN):
        return Meaning(HIDDEN, name.removeprefix(plain.HIDDEN))
    return Meaning(OTHER, name)


def belongs(name: str, wanted: str) -> bool:
    """Whether the container's array `name` is part of what a user calls `wanted`: an array with its documents, a group
    with all that is in it, a file.
    """
    path, wanted = meaning(name).path, wanted.strip("/")
    return not wanted or path == wanted or path.startswith(f"{wanted}/")
