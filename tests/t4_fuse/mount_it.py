"""Mount a container in the background, for tests: CONTAINER MOUNTPOINT [OPTIONS [RUNTIME [LOG]]].

The tree is the real one with handles for a test on it: a look-up of `tell:WORD:NAME` in the root does what WORD says,
and some names make an operation fail in ways that the tree does not have.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

from arrayfs.errors import ArrayFSError, ChecksumError
from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.fuse.options import parse_options, split_options
from arrayfs.view.attr import Attr
from arrayfs.view.handles import OpenFile
from arrayfs.view.tree import open_tree

COUNTED = ("lookup", "getattr", "open", "create", "mkdir")


class Watched:
    """A tree that counts calls and can be told to fail. `__setattr__` too goes to the tree: it has `on_invalidate`."""

    def __init__(self, tree: Any) -> None:
        self.__dict__.update(tree=tree, calls=Counter(), gate=threading.Event())
        for method in (OpenFile.read, OpenFile.sync):
            setattr(OpenFile, method.__name__, self.watch(method))

    def watch(self, method: Any) -> Any:
        def watched(*arguments: Any) -> Any:
            self.calls[method.__name__] += 1
            if method.__name__ == "sync":
                self.gate.wait()
            return method(*arguments)

        return watched

    def __getattr__(self, name: str) -> Any:
        if name in COUNTED:
            self.calls[name] += 1
        return getattr(self.tree, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.tree, name, value)

    def lookup(self, parent: int, name: str) -> Attr | None:
        if name.startswith("tell:"):
            return self.told(*name.split(":")[1:])
        self.calls["lookup"] += 1
        return self.tree.lookup(parent, name)

    def told(self, word: str, name: str) -> Attr | None:
        if word == "count":  # the answer is the size; never kept by the kernel, because each question has another name
            return Attr(1 << 60, 0o100444, self.calls[name.partition("-")[0]], 0, 0)
        if word == "invalidate":
            self.tree.on_invalidate([self.tree.lookup(1, name).ino], [(1, name)])
        if word == "go":
            self.gate.set()
        return None

    def mkdir(self, parent: int, name: str, mode: int) -> Attr:
        if name == "bug":
            raise ZeroDivisionError("a bug in the tree")
        if name == "damage":
            raise ChecksumError("weather.af: block 3 of array 'temp' is damaged")
        return self.tree.mkdir(parent, name, mode)

    def close(self) -> Any:
        if self.calls["fail"] or self.tree.lookup(1, "make the commit fail"):
            self.tree.close()
            raise OSError(28, "No space left on device")
        if self.tree.lookup(1, "make the commit crash"):
            self.tree.close()
            raise ZeroDivisionError("a bug in the commit")
        return self.tree.close()


def main(container: str, mountpoint: str, options: str = "", runtime: str = "direct", log: str = "") -> int:
    chosen = parse_options(split_options(options))
    mode = "r" if chosen.read_only else "a"
    request = MountRequest(
        container, mountpoint, lambda: Watched(open_tree(container, mode=mode)), chosen, runtime, log
    )
    try:
        mount(request)
    except ArrayFSError as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
