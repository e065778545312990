"""The one reader of all systems: a process of its own, `reader.py FOLDER ORDER...`, that imports nothing of ours.

It says "ready", waits for a line, reads every file of the folder once in the given order ("sorted" or a seed), and
prints seconds and bytes. A file costs open, fstat, one read of a byte more than its size, and close.
"""

from __future__ import annotations

import os
import random
import sys
import time


def read_all(names: list[str]) -> int:
    """Read every file; returns the sum of their sizes in bytes."""
    total = 0
    opened, status, read, close = os.open, os.fstat, os.read, os.close
    for name in names:
        fd = opened(name, os.O_RDONLY)
        total += len(read(fd, status(fd).st_size + 1))
        close(fd)
    return total


def main(folder: str, count: str, order: str) -> None:
    """Say "ready", wait for a line, read, print what it took."""
    names = [str(number) for number in range(int(count))]
    if order != "sorted":
        random.Random(order).shuffle(names)
    print("ready", flush=True)
    sys.stdin.readline()
    os.chdir(folder)
    start = time.perf_counter()
    total = read_all(names)
    print(time.perf_counter() - start, total, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
