"""`.arrayfs/versions`: every version as a whole tree of files, read only, and every tag as a link to one.

Listing it, and looking up a version's name, opens nothing. A tree is built when something in it is asked for, and a few
are kept; an open file keeps its tree. All inode numbers here are from `FIRST_LENT` on, so the tree above tells by the
number who is to be asked. `Container.lock` of that tree protects what is here.
"""

from __future__ import annotations

import errno
import weakref
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from arrayfs.container.stack import LayerStack
from arrayfs.container.versions import Version, VersionTable
from arrayfs.errors import LimitError, StaleError
from arrayfs.view.attr import Attr
from arrayfs.view.nodes import DIRECTORY_LINKS, DIRECTORY_MODE, LINK_MODE, Directory
from arrayfs.view.numbers import FIRST_LENT, LAST_LENT, LentNumbers

if TYPE_CHECKING:
    from arrayfs.view.tree import PastTree, Tree

NAME = "versions"
# Trees that nobody has open files of; each has an object for every directory and stored file of its version.
KEPT = 8
# Numbers of this directory, of the versions' roots and of links lie below, those of what is in the trees above.
FIRST_RUN = FIRST_LENT + (1 << 32)


class _Lender:
    """Whose the numbers are that were lent to one tree, as long as there is one."""

    def __init__(self, versions: Versions) -> None:
        self._versions = versions
        self.tree: weakref.ref[PastTree] | None = None

    def lend(self, count: int) -> int:
        return self._versions.lend(self, count)


class Versions:
    """The directory and the trees in it.

    `_entries`: number of each root (by layer id) and link (by tag and target), for good. `_versions`, `_links`: what
    has a number: a layer id, or a target and what stat says.
    `_starts`, `_lenders`: who has the numbers from each start on.
    """

    def __init__(self, tree: Tree, control: Directory) -> None:
        self._tree = tree
        self.directory = Directory(FIRST_LENT, control, NAME, tree.now())
        control.children[NAME] = self.directory
        self._entries: dict[bytes | tuple[str, str], int] = {}
        self._versions: dict[int, bytes] = {}
        self._links: dict[int, tuple[str, Attr]] = {}
        self._open: OrderedDict[bytes, PastTree] = OrderedDict()
        self._next = FIRST_RUN
        self._starts: list[int] = []
        self._lenders: list[_Lender] = []
        self._known: tuple[LayerStack | None, VersionTable] = (None, VersionTable((), {}, {}))

    # --- the directory itself -----------------------------------------------------------------------------------------

    def lookup(self, parent: int, name: str) -> Attr | None:
        """An entry of this directory, or of one in a version."""
        with self._tree.container.lock:
            if parent != FIRST_LENT:
                return self.tree(parent).lookup(parent, name)
            table = self._table()
            place = table.by_tag.get(name)
            if place is not None and table.versions[place].merged_into is None:
                return self._link(name, table.versions[place])
            place = table.by_number.get(int(name)) if name.isascii() and name.isdecimal() and len(name) < 21 else None
            if place is None or table.versions[place].merged_into is not None or str(int(name)) != name:
                return None
            return self._root(table.versions[place])

    def getattr(self, ino: int) -> Attr:
        """Attributes of whatever has a number here."""
        with self._tree.container.lock:
            if ino == FIRST_LENT:
                return self._tree.attr(self.directory)
            if ino in self._links:
                return self._links[ino][1]
            if ino in self._versions:
                return self._root(self._version(ino))
            return self.tree(ino).getattr(ino)

    def readlink(self, ino: int) -> bytes:
        """What a tag, or a link in a version, leads to."""
        with self._tree.container.lock:
            return self._links[ino][0].encode() if ino in self._links else self.tree(ino).readlink(ino)

    def names(self) -> Iterator[tuple[str, Attr]]:
        """The versions that can be read, oldest first, and the tags."""
        table = self._table()
        for number, place in table.by_number.items():
            if table.versions[place].merged_into is None:
                yield str(number), self._root(table.versions[place])
        for tag, place in sorted(table.by_tag.items()):
            if table.versions[place].merged_into is None:
                yield tag, self._link(tag, table.versions[place])

    def listing(self) -> VersionListing:
        """A listing of this directory, as it is now."""
        with self._tree.container.lock:
            return VersionListing(self._tree, list(self.names()))

    def path_of(self, ino: int) -> str | None:
        """Where an inode is, from the root of the tree above down; None if that is not known any more."""
        here = "/".join(self.directory.path())
        if ino == FIRST_LENT or ino in self._links:
            return here
        tree = self.tree(ino)
        below = tree.control.path_of(ino)
        return None if below is None else f"{here}/{tree.container.version}/{below}".rstrip("/")

    def _table(self) -> VersionTable:
        container = self._tree.container
        if self._known[0] is not container.stack:
            self._known = container.stack, container.versions()
        return self._known[1]

    def _number(self, entry: bytes | tuple[str, str]) -> int:
        return self._entries.setdefault(entry, FIRST_LENT + 1 + len(self._entries))

    def _root(self, version: Version) -> Attr:
        number = self._number(version.id)
        self._versions[number] = version.id
        return Attr(number, DIRECTORY_MODE, 0, 0, version.time_ns, DIRECTORY_LINKS)

    def _link(self, tag: str, version: Version) -> Attr:
        target = str(version.number)
        number = self._number((tag, target))  # a tag that moved is another inode: nothing old is believed of it
        attr = Attr(number, LINK_MODE, len(target), 0, version.time_ns)
        self._links[number] = target, attr
        return attr

    def _version(self, root: int) -> Version:
        wanted = self._versions[root]
        for version in self._table():
            if version.id == wanted and version.merged_into is None:
                return version
        raise StaleError(errno.ESTALE, f"inode {root}: the version is gone")

    # --- the trees ----------------------------------------------------------------------------------------------------

    def tree(self, ino: int) -> PastTree:
        """The tree that an inode is in; a version's is built if need be. Raises StaleError if it is gone."""
        with self._tree.container.lock:
            if ino in self._versions:
                key = self._versions[ino]
                tree = self._open.get(key) or self._build(ino)
            else:
                tree = self._tree_of(ino)
                key = tree.container.stack.newest.id
            if self._open.get(key, tree) is tree:
                self._open[key] = tree
                self._open.move_to_end(key)
            while len(self._open) > KEPT:
                self._open.popitem(last=False)
            return tree

    def _build(self, root: int) -> PastTree:
        lender = _Lender(self)
        tree = self._tree.past(self._tree.container.at(self._version(root)), LentNumbers(root, lender.lend))
        lender.tree = weakref.ref(tree)
        return tree

    def _tree_of(self, ino: int) -> PastTree:
        place = bisect_right(self._starts, ino) - 1
        lender = self._lenders[place] if place >= 0 else None
        tree = lender.tree() if lender is not None and lender.tree is not None else None
        if tree is None:
            raise StaleError(errno.ESTALE, f"inode {ino}: its version was closed meanwhile")
        return tree

    def lend(self, lender: _Lender, count: int) -> int:
        """The first of `count` numbers that only this lender's tree uses. Raises LimitError when there are no more."""
        start = self._next
        if start + count > LAST_LENT:
            raise LimitError("no inode numbers are left for earlier versions; they come back with the next mount")
        self._next += count
        self._starts.append(start)
        self._lenders.append(lender)
        return start


class VersionListing:
    """A listing of the directory under way."""

    def __init__(self, tree: Tree, names: list[tuple[str, Attr]]) -> None:
        self._tree = tree
        self._names = names

    def dots(self) -> tuple[Attr, Attr]:
        """What `.` and `..` are."""
        control = self._tree.control
        with self._tree.container.lock:
            return self._tree.attr(control.versions.directory), self._tree.attr(control.directory)

    def entries(self, start: int) -> Iterator[tuple[str, Attr, int]]:
        """Entries from cookie `start` (0: the first): name, attributes, cookie of the one after it."""
        for position in range(start, len(self._names)):
            name, attr = self._names[position]
            yield name, attr, position + 1

    def sync(self) -> None:
        """Fsync of the directory, as of any other."""
        self._tree.sync()

    def release(self) -> None:
        """The listing ends."""
        self._names = []
