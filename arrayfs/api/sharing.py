"""Work that several threads do where that is worth it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from arrayfs.api.session import reader_count, readers

# Less than this is read faster by the thread that asks than shared out. scripts/bench --api.
WORTH_SHARING = 1 << 20
T = TypeVar("T")


def shared_out(
    jobs: list[T], sizes: list[int], work: Callable[[list[T]], None], together: Callable[[T], object] = id
) -> Iterator[list[T]]:
    """Have jobs done; gives those that are done, as they are.

    sizes: of what each unpacks, in bytes. together: neighbours for which it is the same are done by one thread.
    """
    size = sum(sizes)
    if size < WORTH_SHARING or reader_count() == 1:
        work(jobs)
        yield jobs
        return
    running: list[Future[None]] = []
    shares = list(_shares(jobs, sizes, together))
    try:
        running += [readers().submit(work, share) for share in shares]
        for one, share in zip(running, shares, strict=True):
            one.result()
            yield share
    finally:
        for one in running:
            one.cancel()


def _shares(jobs: list[T], sizes: list[int], together: Callable[[T], object]) -> Iterator[list[T]]:
    """Jobs in runs of about the same number of bytes."""
    wanted = max(WORTH_SHARING // 2, sum(sizes) // (4 * reader_count()))
    share: list[T] = []
    held = 0
    for job, size in zip(jobs, sizes, strict=True):
        if held >= wanted and together(job) != together(share[-1]):
            yield share
            share, held = [], 0
        share.append(job)
        held += size
    if share:
        yield share
