"""Changes not yet committed: bounded in memory, packed with their neighbours, dropped where they change nothing."""

from __future__ import annotations

import errno

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayfs.container import pool as pool_module
from arrayfs.container.array import Change, PackedRef
from arrayfs.container.cache import BlockCache
from arrayfs.container.container import Container
from arrayfs.container.large import OWN_BLOCK_SIZE
from arrayfs.container.layer import Layer
from arrayfs.errors import LimitError
from arrayfs.format.model import DType
from tests.profiles import examples
from tests.t2_container.faults import Fault, FaultStore, use
from tests.t2_container.making import chunks_of, filled, i32, new_container, new_url, open_container, spec, state_at
from tests.t2_container.test_crash import objects_of

BYTES = DType("UInt8")


def blocks(container: Container) -> list[tuple[int, int]]:
    """Per block of the newest layer that is not the extension: bytes unpacked, and how many chunks point into it."""
    layer = container.stack.newest
    used = [int(row) for meta in layer.footer.arrays for row in layer.block_rows(meta.chunks.block_ids)]
    sizes = layer.footer.blocks.uncompressed_sizes.tolist()
    return [(sizes[row], used.count(row)) for row in range(len(sizes) - 1)]


@given(
    limit=st.integers(0, 100),
    sizes=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60), st.booleans()), max_size=30),
)
@examples(40)
def test_raw_bytes_are_never_above_the_limit_after_a_call(limit: int, sizes: list[tuple[int, int, bool]]) -> None:
    container = new_container(dirty_limit=limit, codec=None)
    array = container.define("a", spec((6,), (1,), dtype=DType("Binary")))
    want = {}
    for place, size, gone in sizes:
        content = None if gone else np.array([0, size], "<u4").tobytes() + bytes([place]) * size
        container.put(array, (place,), content, 1)
        want[place,] = content
        assert container.pool.raw_size <= limit
        assert container.pool.raw_size == sum(container.pool.raw.values())
    assert chunks_of(container, array) == {place: content for place, content in want.items() if content is not None}
    container.commit()
    assert chunks_of(container, array) == {place: content for place, content in want.items() if content is not None}
    container.close()


def test_reshape_that_cuts_many_chunks_stays_below_the_limit() -> None:
    container = new_container(dirty_limit=100)
    array = container.define("a", spec((100, 4), (1, 4)))
    for row in range(100):
        container.put(array, (row, 0), i32(row, row, row, row), 1)
    container.respec(array, spec((100, 3), (1, 4)), 2)
    assert container.pool.raw_size <= 100
    assert chunks_of(container, array) == {(row, 0): i32(row, row, row) for row in range(100)}
    container.close()


def test_large_chunks_are_blocks_of_their_own_and_small_ones_lie_with_their_neighbours() -> None:
    large, small = OWN_BLOCK_SIZE, 16 * 1024
    container = new_container(codec=None, block_size=64 * 1024)
    one = container.define("large", spec((2, large), (1, large), dtype=BYTES))
    other = container.define("small", spec((9, small), (1, small), dtype=BYTES))
    for number in (1, 0):
        container.put(one, (number, 0), bytes([number]) * large, 1)
    for number in (8, 3, 0, 1, 2, 7, 6, 5, 4):
        container.put(other, (number, 0), bytes([number]) * small, 1)
    container.commit()
    assert blocks(container) == [(large, 1), (large, 1), (4 * small, 4), (4 * small, 4), (small, 1)]
    table = container.stack.newest.footer.arrays[1].chunks
    rows = zip(table.coords[:, 0].tolist(), table.block_ids.tolist(), table.offsets.tolist(), strict=True)
    places = {coord: (block, offset) for coord, block, offset in rows}
    assert places == {number: (2 + number // 4, number % 4 * small) for number in range(9)}
    container.close()


def test_chunk_just_below_the_size_for_a_block_of_its_own_is_packed_alone_where_it_fills_one() -> None:
    size = OWN_BLOCK_SIZE - 1
    container = new_container(codec=None)
    array = container.define("a", spec((3, size), (1, size), dtype=BYTES))
    for number in range(3):
        container.put(array, (number, 0), bytes(size), 1)
    container.commit()
    assert blocks(container) == [(size, 1)] * 3
    container.close()


def test_equal_content_is_no_change() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    for number in range(4):
        container.put(array, (number,), i32(number, number), 9999)
    assert container.commit() is None
    assert array.mtime_ns((0,)) == 1000
    assert len(container.stack.layers) == 2
    container.put(array, (0,), i32(0, 0), 9999)
    container.put(array, (1,), i32(5, 5), 9999)
    assert container.commit() is not None
    assert container.stack.newest.footer.arrays[0].chunks.coords.tolist() == [[1]]
    container.close()


def test_equal_content_is_judged_when_blocks_are_packed_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    read: list[int] = []
    layer = type(container.stack.newest)
    original = layer.read_block

    def noted(self: Layer, row: int, cache: BlockCache) -> memoryview:
        read.append(row)
        return original(self, row, cache)

    monkeypatch.setattr(layer, "read_block", noted)
    container.put(array, (0,), i32(0, 0), 9999)
    assert read == []
    container.commit()
    assert read
    container.close()


def test_damaged_chunk_can_be_replaced() -> None:
    container = new_container(codec=None)
    url = f"{container.store.url}/t.af"
    array = filled(container)
    container.commit()
    container.close()
    store = container.store
    blob = store.open("t.1.af")
    store.put("t.1.af", b"\xff" + blob.read(1, blob.size - 1), replace=True)
    container = open_container(url)
    array = container.get("a")
    for number in range(4):
        container.put(array, (number,), i32(number, number), 9999)
    container.commit()
    container.close()
    assert state_at(url)["a"][2] == {(n,): i32(n, n) for n in range(4)}


def test_packed_chunk_is_read_back_before_and_after_the_commit() -> None:
    container = new_container(dirty_limit=0)
    array = filled(container)
    assert all(isinstance(change.content, PackedRef) for change in array.changes.values())
    want = {(n,): i32(n, n) for n in range(4)}
    assert chunks_of(container, array) == want
    container.commit()
    assert not array.changes
    assert chunks_of(container, array) == want
    container.close()


def test_chunk_of_4_gib_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CHUNK_LIMIT", 8)
    container = new_container()
    array = container.define("a", spec((4,), (2,)))
    with pytest.raises(LimitError, match=r"array 'a': chunk \(0,\) has 8 bytes, 7 is the limit"):
        container.put(array, (0,), bytes(8), 1)
    assert not array.has((0,))
    container.close()


def test_nothing_is_left_of_changes_that_were_taken_back() -> None:
    url = new_url()
    container = new_container(url, dirty_limit=0)
    filled(container)
    assert any("part-" in name for name in container.store.list())
    container.discard()
    assert list(container.names_of_arrays()) == []
    assert container.commit() is None
    array = filled(container)
    container.remove(array)
    container.close()
    assert container.store.list() == ["t.af", "t.lock"]


def test_chunks_of_a_removed_array_count_no_more() -> None:
    container = new_container()
    array = filled(container)
    assert container.pool.raw_size == 32
    container.remove(array)
    assert container.pool.raw_size == 0
    other = filled(container, "b")
    container.respec(other, spec((4,), (2,), -1), 5)
    assert container.pool.raw_size == 16
    assert container.commit() is not None
    container.close()


@pytest.mark.parametrize("committed", [False, True], ids=["new array", "committed array"])
def test_what_cannot_be_packed_at_once_is_kept(monkeypatch: pytest.MonkeyPatch, committed: bool) -> None:
    base = new_container()
    store = FaultStore(objects_of(f"{base.store.url}/t.af"))
    base.close()
    container = Container.open(use(monkeypatch, store), "a")
    array = filled(container) if committed else container.define("a", spec((8,), (2,)))
    if committed:
        container.commit()
    given = bytearray(i32(1, 2, 3, 4))
    changes = [((place,), Change(memoryview(given)[8 * place : 8 * place + 8], 5)) for place in range(2)]
    store.fault = Fault(at=1, code=errno.ENOSPC, last=1 << 20)
    with pytest.raises(OSError, match="No space"):
        container.pool.put_through(array, changes)
    store.fault = Fault()
    given[:] = bytes(16)  # the caller's again
    expected = {(place,): i32(place, place) for place in range(4) if committed} | {(0,): i32(1, 2), (1,): i32(3, 4)}
    assert chunks_of(container, array) == expected
    container.commit()
    container.close()
    assert state_at(f"{store.url}/t.af")["a"][2] == expected
