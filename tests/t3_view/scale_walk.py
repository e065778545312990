"""Run by test_scale.py in a process of its own: open a container, walk the tree, say what it took.

Says as JSON: entries seen, peak memory in bytes, and how many of the first 100,000 numbers stood twice.
"""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Iterator

from arrayfs.view.tree import Tree, open_tree


def walk(tree: Tree, ino: int) -> Iterator[int]:
    """Give the number of every entry at and below a directory."""
    for _, attr, _ in tree.opendir(ino).entries(0):
        yield attr.ino
        if stat.S_ISDIR(attr.mode):
            yield from walk(tree, attr.ino)


def peak_memory() -> int:
    """Bytes. Not from getrusage: what that says is inherited from the process that started this one."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def main(url: str) -> None:
    tree = open_tree(url)
    seen = distinct = 0
    last: set[int] = set()
    for ino in walk(tree, 1):
        seen += 1
        if len(last) < 100_000:
            last.add(ino)
            distinct += 1
    tree.close()
    peak = peak_memory()
    json.dump({"entries": seen, "peak": peak, "repeated": distinct - len(last)}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
