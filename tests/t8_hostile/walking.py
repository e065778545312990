"""Everything that a tree shows, looked at as the kernel would: listed, looked up, read at the beginning and the end.

What a hostile container must not reach is asserted here: names that leave their directory, numbers that the kernel
cannot hold, listings that fail because of one entry.
"""

from __future__ import annotations

import stat
from contextlib import suppress

from arrayfs.errors import ArrayFSError
from arrayfs.view.attr import Attr
from arrayfs.view.plain import LINK_LIMIT
from arrayfs.view.tree import Tree

PAGE = 4096
READ_LIMIT = 4 << 20  # larger files are not read: a read may cost as much memory as the file has bytes
ENTRY_LIMIT = 2000  # of one tree


def walk(tree: Tree) -> list[str]:
    """Look at everything; returns the errors of reading."""
    errors: list[str] = []
    directories = [1]
    seen = 0
    while directories and seen < ENTRY_LIMIT:
        inode = directories.pop()
        names: set[str] = set()
        listing = tree.opendir(inode)
        for name, attr, _ in listing.entries(0):
            seen += 1
            assert name not in names, name
            names.add(name)
            _check(name, attr)
            found = tree.lookup(inode, name)
            assert found is not None
            assert found.ino == attr.ino, (name, found, attr)
            if stat.S_ISDIR(attr.mode):
                directories.append(attr.ino)
            else:
                _read(tree, attr, errors)
            if seen >= ENTRY_LIMIT:
                break
        listing.release()
    return errors


def _check(name: str, attr: Attr) -> None:
    assert name not in ("", ".", "..", ".arrayfs")
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 255
    assert 0 < attr.ino < 1 << 63
    assert 0 <= attr.size < 1 << 63
    assert 0 <= attr.blocks < 1 << 63
    assert -(1 << 63) <= attr.mtime_ns < 1 << 63
    assert attr.mode & ~0o7777 in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


def _read(tree: Tree, attr: Attr, errors: list[str]) -> None:
    if attr.size > READ_LIMIT:
        return
    if stat.S_ISLNK(attr.mode):
        try:
            assert len(tree.readlink(attr.ino)) == attr.size < LINK_LIMIT
        except ArrayFSError as error:
            errors.append(f"{type(error).__name__}: {error}")
        return
    try:
        handle = tree.open(attr.ino, write=False, truncate=False)
    except ArrayFSError as error:
        errors.append(f"{type(error).__name__}: {error}")
        return
    try:
        first = handle.read(0, PAGE)
        assert len(first) == min(PAGE, attr.size)
        last = handle.read(max(attr.size - PAGE, 0), PAGE)
        assert len(last) == min(PAGE, attr.size)
    except ArrayFSError as error:
        errors.append(f"{type(error).__name__}: {error}")
    finally:
        with suppress(ArrayFSError):
            handle.release()
