"""Loads read side by side by several threads, and taken in order by one: bounded in bytes, whatever there is.

The order in which values are taken is that of the source, so an import is the same each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from arrayfs.copying.source import Entry, Large, Load, Source, Value

# Bytes that are read and not yet taken.
IN_FLIGHT = 48 << 20

Take = Callable[[str, Value | Large | None], None]


def flow(source: Source, take: Take, in_flight: int = IN_FLIGHT) -> None:
    """Have `take` called with every entry of a source, in order, by this thread.

    Raises what reading and taking raise; loads that were not begun are not read then.
    """
    waiting: deque[tuple[int, Future[list[Entry]]]] = deque()
    held = 0
    pool = ThreadPoolExecutor(source.threads, "arrayfs-import")
    try:
        for load in source.loads():
            while waiting and (load.alone or held + load.size > in_flight):
                held -= _take_first(waiting, take)
            if load.alone:
                for entry in load.read():
                    take(*entry)
                continue
            waiting.append((load.size, pool.submit(_read, load)))
            held += load.size
        while waiting:
            _take_first(waiting, take)
    finally:
        pool.shutdown(cancel_futures=True)


def _read(load: Load) -> list[Entry]:
    return list(load.read())


def _take_first(waiting: deque[tuple[int, Future[list[Entry]]]], take: Take) -> int:
    """Take the oldest load; returns the bytes that it held."""
    size, future = waiting.popleft()
    for entry in future.result():
        take(*entry)
    return size
