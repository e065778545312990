"""Large reads of rows: blocks that are stretches of the result, beside chunks that are elsewhere, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arrayfs
from arrayfs.api.selection import select
from arrayfs.api.stretches import rows_of, stretches
from tests.profiles import examples
from tests.t2_container.making import new_url

CHANGES = ("write all", "write rows", "write a chunk", "write a part", "erase a chunk", "append", "shrink")


@pytest.fixture(autouse=True, params=[True, False], ids=["past the pool", "through the pool"], scope="module")
def goes_past(request: pytest.FixtureRequest) -> Iterator[bool]:
    """Whether chunks of numbers go to the file as if they were many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arrayfs.api.chunks.STRAIGHT", 1 if request.param else 1 << 30)
        yield request.param


def made_in_steps(url: str, steps: list[tuple[str, int]], chunk: int, codec: str | None) -> np.ndarray:
    """An array of two axes, changed by one commit for each step; returns its values."""
    rng = np.random.default_rng(len(steps))
    values = np.zeros((9, 6), "i4")
    with arrayfs.open(url, "x", codec=codec, block_size=200) as c:
        array = c.create("t", shape=values.shape, chunks=(chunk, 6), dtype="i4", fill_value=7)
        values[:] = 7
        for step, where in steps:
            row = where % len(values)
            number, rows = row // chunk, slice(row // chunk * chunk, (row // chunk + 1) * chunk)
            if step == "write all":
                array[...] = values[:] = rng.integers(0, 99, values.shape)
            elif step == "write rows":
                some = slice(row // 2, row + 1)
                array[some] = values[some] = rng.integers(0, 99, values[some].shape)
            elif step == "write a chunk":
                array[rows] = values[rows] = where
            elif step == "write a part":
                array[row, 1:4] = values[row, 1:4] = where
            elif step == "erase a chunk":
                array.erase_chunk((number, 0))
                values[rows] = 7
            elif step == "append":
                more = rng.integers(0, 99, (where % 7, 6)).astype("i4")
                array.append(more)
                values = np.concatenate((values, more))
            else:
                values = values[: row + 1]
                array.resize(values.shape)
            c.commit()
    return values


@given(
    steps=st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 40)), min_size=1, max_size=6),
    chunk=st.integers(1, 4),
    codec=st.sampled_from((None, "lz4")),
    data=st.data(),
)
@examples(150)
def test_what_is_read_is_what_was_written(
    steps: list[tuple[str, int]], chunk: int, codec: str | None, data: st.DataObject
) -> None:
    url = new_url()
    values = made_in_steps(url, steps, chunk, codec)
    with arrayfs.open(url, cache_size=0) as c:
        array, done = c["t"], list[int]()
        assert np.array_equal(array[...], values)
        for _ in range(3):
            key = data.draw(st.slices(len(values)))
            done.clear()
            found = array.retrieve_array_subset(key, lambda count, of: done.append(count - of))
            assert np.array_equal(found, values[key])
            assert done == sorted(done)
            assert not done or done[-1] == 0


def test_blocks_in_order_are_stretches(goes_past: bool) -> None:
    url = new_url()
    values = made_in_steps(url, [("write all", 0), ("write a chunk", 4), ("append", 5)], 1, "lz4")
    with arrayfs.open(url) as c:
        array = c._session.container.get("t")
        rows = rows_of(select(slice(1, None), values.shape), values.shape, (1, 6), 4)
        assert rows is not None
        assert rows.whole_chunks == (1, len(values))
        found = [(one.layer.number, one.start, one.size, one.first, one.chunks) for one in stretches(array, rows)]
    # A block of up to 200 bytes has 8 chunks of 24 at most. The first has a dead chunk, and before it a document if all
    # went through the pool.
    after_it = (1, 7 * 24, 24, 8, 1) if goes_past else (1, 4 * 24, 4 * 24, 5, 4)
    assert found == [after_it, (2, 3 * 24, 24, 4, 1), (3, 8 * 24, 5 * 24, 9, 5)]


@pytest.mark.parametrize("shape", [(4, 0), (0, 4), (2, 0, 3), (0,)])
def test_nothing_is_nowhere(shape: tuple[int, ...]) -> None:
    with arrayfs.open(new_url(), "x", cache_size=0) as c:
        array = c.create("t", shape=shape, chunks=(2,) * len(shape), dtype="i4")
        array[...] = np.ones(shape, "i4")
        assert array[...].shape == shape
        assert list(array.list_chunks()) == []
        c.commit()
        assert array[...].shape == shape
