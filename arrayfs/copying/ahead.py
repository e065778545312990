"""Work that several threads do ahead of the one who takes what comes of it, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(work: Callable[[T], R], items: Iterable[T], threads: int, most: int) -> Generator[R, None, None]:
    """What becomes of each item; at most so many are under way, or done and not taken. Raises what `work` raises.

    Nothing is begun any more when the iterator is closed.
    """
    pool = ThreadPoolExecutor(threads, "arrayfs-export")
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
