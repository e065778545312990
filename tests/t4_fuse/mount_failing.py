"""Mount a container whose tree has bugs on demand, for tests: CONTAINER MOUNTPOINT RUNTIME LOG.

A look-up of `break:METHOD:KIND` in the root lets that method of the tree, of open files (`file.METHOD`) or of open
directories (`directory.METHOD`) fail from then on, one of `mend:` ends that.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.view.handles import OpenFile
from arrayfs.view.listing import OpenDirectory
from arrayfs.view.tree import Tree, open_tree


class Panic(BaseException):
    """As extension modules in Rust raise it."""


class MuteError(Exception):
    """An error that cannot be put into words."""

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def recursion() -> None:
    recursion()


def bug() -> None:
    raise ZeroDivisionError("a bug in the tree")


def panic() -> None:
    raise Panic("a bug in a library")


def mute() -> None:
    raise MuteError


def memory() -> None:
    raise MemoryError


def leave() -> None:
    raise SystemExit(3)


KINDS: dict[str, Callable[[], None]] = {
    "bug": bug,
    "panic": panic,
    "mute": mute,
    "memory": memory,
    "recursion": recursion,
    "exit": leave,
}

broken: dict[str, str] = {}

TREE = ["lookup", "getattr", "setattr", "create", "mkdir", "unlink", "rmdir", "rename", "link", "opendir"]
TREE += ["open", "open_for_writing", "statfs", "forget"]
FILE = ["read", "write", "truncate", "flush", "sync", "release", "prefetch"]
DIRECTORY = ["entries", "sync", "release"]


def breakable(kind: type, prefix: str, method: str) -> None:
    whole = getattr(kind, method)

    @functools.wraps(whole)
    def called(*arguments: Any, **named: Any) -> Any:
        if method == "lookup":
            word, _, rest = arguments[2].partition(":")
            if word == "break":
                name, _, what = rest.partition(":")
                broken[name] = what
                return None
            if word == "mend":
                broken.clear()
                return None
        what = broken.get(prefix + method)
        if what is not None:
            KINDS[what]()
        return whole(*arguments, **named)

    setattr(kind, method, called)


def main(container: str, mountpoint: str, runtime: str, log: str) -> None:
    for kind, prefix, methods in (
        (Tree, "", TREE),
        (OpenFile, "file.", FILE),
        (OpenDirectory, "directory.", DIRECTORY),
    ):
        for method in methods:
            breakable(kind, prefix, method)
    request = MountRequest(container, mountpoint, lambda: open_tree(container, mode="a"), runtime=runtime, log=log)  # type: ignore[arg-type]
    mount(request)


if __name__ == "__main__":
    main(*sys.argv[1:])
