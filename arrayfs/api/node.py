"""What arrays and groups have in common: a place in the tree, a name, attributes."""

from __future__ import annotations

from arrayfs.api.attributes import Attributes
from arrayfs.api.session import Life
from arrayfs.errors import ArrayNotFoundError
from arrayfs.view.nodes import Directory


class Node:
    """A directory of the tree that is an array or a group. It follows a rename; after `discard` it is found by name."""

    __slots__ = ("__weakref__", "_attrs", "_found", "_life", "_path", "_session", "_tree")

    def __init__(self, life: Life, directory: Directory) -> None:
        self._life = life
        self._session = life.session
        self._tree = life.session.tree
        self._found = directory
        self._path = "/".join(directory.path())
        self._attrs: Attributes | None = None
        self._init()

    def _init(self) -> None:
        """For those who come after."""

    def _directory(self) -> Directory:
        found = self._found
        if found.removed or self._session.tree is not self._tree:
            with self._session.lock:
                self._session.check_open()
                # a rename that was committed holds, one that was not is undone
                for path in ("/".join(found.path()), self._path):
                    again = self._session.find(path)
                    if isinstance(again, Directory):
                        self._tree, self._found = self._session.tree, again
                        return again
                raise ArrayNotFoundError(f"{self._session.container.names.base}: no {self._path!r} any more")
        return found

    @property
    def path(self) -> str:
        """Its name from the root of the container down, with `/` between the parts; the root's is empty."""
        return "/".join(self._found.path())

    name = path

    @property
    def attrs(self) -> Attributes:
        """Its attributes."""
        if self._attrs is None:
            self._attrs = Attributes(self._session, self._directory)
        return self._attrs
