"""The cache of unpacked blocks is bounded in bytes, and forgets what was not asked for lately."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayfs.container.cache import BlockCache
from tests.profiles import examples


@given(
    limit=st.integers(0, 200),
    calls=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60)), max_size=60),
)
@examples(60)
def test_size_is_what_is_kept_and_never_above_the_limit(limit: int, calls: list[tuple[int, int]]) -> None:
    cache = BlockCache(limit)
    kept: dict[int, int] = {}
    for number, size in calls:
        if number not in kept and size * 4 <= limit:
            kept[number] = size
        found = cache.load((number, 0), lambda number=number, size=size: bytes([number]) * size)  # type: ignore[misc]
        assert set(found) <= {number}
        assert cache.size <= limit
        kept = {number: size for number, size in kept.items() if (number, 0) in cache}
        assert cache.size == sum(kept.values())
    assert cache.hits + cache.misses == len(calls)


def test_least_recently_used_go_first() -> None:
    cache = BlockCache(40)
    for number in range(4):
        cache.put((number, 0), memoryview(bytes(10)))
    assert len(cache.load((0, 0), bytes)) == 10
    cache.put((4, 0), memoryview(bytes(10)))
    assert [(number, 0) in cache for number in range(5)] == [True, False, True, True, True]


def test_large_block_is_handed_through_and_pushes_nothing_out() -> None:
    cache = BlockCache(40)
    cache.put((0, 0), memoryview(bytes(10)))
    assert len(cache.load((1, 0), lambda: bytes(11))) == 11
    assert (1, 0) not in cache
    assert (0, 0) in cache


def test_block_put_again_counts_once() -> None:
    cache = BlockCache(40)
    for size in (10, 4, 8):
        cache.put((0, 0), memoryview(bytes(size)))
        assert cache.size == size


def test_threads_may_share_it() -> None:
    cache = BlockCache(400)

    def work(seed: int) -> None:
        for step in range(300):
            number = (seed * 7 + step * 13) % 50
            assert bytes(cache.load((number, 0), lambda number=number: bytes([number]) * 20)) == bytes([number]) * 20  # type: ignore[misc]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert cache.size <= 400


def test_who_wants_a_block_that_is_being_read_waits_for_it() -> None:
    cache = BlockCache(400)
    begun, go_on = Event(), Event()
    reads = []

    def read() -> bytes:
        reads.append(1)
        begun.set()
        go_on.wait()
        return b"block"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.load, (0, 0), read)
        begun.wait()
        assert (0, 0) in cache
        second = pool.submit(cache.load, (0, 0), read)
        go_on.set()
        assert bytes(first.result()) == bytes(second.result()) == b"block"
    assert len(reads) == 1


def test_whoever_waited_for_a_read_that_failed_reads_itself() -> None:
    cache = BlockCache(400)
    begun, go_on = Event(), Event()

    def fail() -> bytes:
        begun.set()
        go_on.wait()
        raise OSError("no")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(cache.load, (0, 0), fail)
        begun.wait()
        second = pool.submit(cache.load, (0, 0), lambda: b"block")
        go_on.set()
        assert bytes(second.result()) == b"block"
    with pytest.raises(OSError, match="no"):
        first.result()
    assert bytes(cache.load((0, 0), fail)) == b"block"
