"""All that a container's tree shows, in order: each directory before what is in it.

The tree's lock is held for a batch of names at a time, and nothing is kept of what was given out.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from arrayfs.errors import ArrayNotFoundError
from arrayfs.view.attr import Attr
from arrayfs.view.documents import NAMES
from arrayfs.view.keys import Keys
from arrayfs.view.tree import Tree

BATCH = 1024


class Entry(NamedTuple):
    """A file, link or directory. path: names with `/` between them, the root's is empty."""

    path: str
    attr: Attr

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return stat.S_ISDIR(self.attr.mode)

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.attr.mode)

    @property
    def is_document(self) -> bool:
        """Whether it is a metadata document by its name."""
        return self.name in NAMES and not self.is_directory


class Chosen:
    """Which paths are asked for: all of them, or arrays and groups with what is below, and the documents above.

    names: paths of the arrays and groups; none: everything.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(name.strip("/") for name in names)
        self.everything = not self.names or "" in self.names

    def has(self, path: str) -> bool:
        """Whether a path is one of these, or below one."""
        return self.everything or any(path == name or path.startswith(f"{name}/") for name in self.names)

    def leads_to(self, path: str) -> bool:
        """Whether one of these is below a path, which is a directory."""
        return not path or any(name.startswith(f"{path}/") for name in self.names)

    def takes(self, entry: Entry) -> bool:
        """Whether an entry is exported."""
        above = entry.path.rpartition("/")[0]
        return self.has(entry.path) or (self.leads_to(above) and entry.is_document)


def walk(tree: Tree, chosen: Chosen, wanted: Callable[[Entry], bool] = lambda entry: True) -> Iterator[Entry]:
    """The entries that were chosen, and are wanted, without the root itself. Raises ArrayNotFoundError for a name that
    nothing has.
    """
    keys = Keys(tree)
    for name in chosen.names:
        if not keys.leads_anywhere(name):
            raise ArrayNotFoundError(f"{tree.container.names.base}: no array or group {name!r}")
    stack = [_entries(tree, "", tree.root.ino)]
    while stack:
        entry = next(stack[-1], None)
        if entry is None:
            stack.pop()
        elif entry.is_directory:
            if chosen.has(entry.path) or chosen.leads_to(entry.path):
                if wanted(entry):
                    yield entry
                stack.append(_entries(tree, entry.path, entry.attr.ino))
        elif chosen.takes(entry) and wanted(entry):
            yield entry


def is_array(tree: Tree, entry: Entry) -> bool:
    """Whether a directory is that of an array."""
    with tree.container.lock:
        directory = tree.directory(entry.attr.ino)
        zarr = tree.documents.zarr(directory) if directory.owner is None else None
        return zarr is not None and not zarr.gone


def _entries(tree: Tree, path: str, ino: int) -> Iterator[Entry]:
    """What is in a directory."""
    listing = tree.opendir(ino)
    start = f"{path}/" if path else ""
    cookie = 0
    while True:
        entries = listing.entries(cookie)
        batch = list(islice(entries, BATCH))
        del entries  # lets go of the lock
        for name, attr, _ in batch:
            yield Entry(start + name, attr)
        if len(batch) < BATCH:
            return
        cookie = batch[-1][2]
