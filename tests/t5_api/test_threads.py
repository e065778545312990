"""Several threads on one container: nobody loses what another wrote, and nobody reads a mixture."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import arrayfs
from tests.t4_fuse.promises import keeps

WORKERS = 4


def run(*works: object) -> None:
    with ThreadPoolExecutor(len(works)) as pool:
        for future in [pool.submit(work) for work in works]:  # type: ignore[arg-type]
            future.result()


@keeps("writes to parts of one chunk merge")
def test_parts_of_one_chunk(container: arrayfs.Container) -> None:
    array = container.create("t", shape=(WORKERS, 300), chunks=(WORKERS, 150), dtype="i4")

    def write(row: int) -> None:
        for column in range(300):
            array[row, column] = row * 1000 + column

    run(*[lambda row=row: write(row) for row in range(WORKERS)])
    np.testing.assert_array_equal(array[...], np.arange(WORKERS)[:, None] * 1000 + np.arange(300))


@keeps("a read sees each chunk as it was before or after a write")
def test_readers_see_whole_chunks_whatever_is_written_and_committed(path: str) -> None:
    with arrayfs.open(path, "x", block_size=1 << 12, dirty_limit=1 << 14) as container:
        array = container.create("t", shape=(40, 1000), chunks=(1, 1000), dtype="i4")
        array[...] = 0

        def write() -> None:
            for number in range(1, 30):
                array[number % 40] = number
                if not number % 5:
                    container.commit()

        def read() -> None:
            for _ in range(40):
                rows = array[...]
                assert (rows == rows[:, :1]).all()
                row = array.retrieve_chunk((3, 0))
                assert (row == row[0, 0]).all()

        run(write, read, read)
        assert container.version == 5
        np.testing.assert_array_equal(array[:30, 7], np.arange(30))


def test_arrays_that_grow_while_they_are_read(container: arrayfs.Container) -> None:
    array = container.create("t", shape=(1,), chunks=(3,), dtype="i4")
    array[0] = 1

    def grow() -> None:
        for _ in range(60):
            array.append([1])

    def read() -> None:
        for _ in range(100):
            assert (array[...] == 1).all()

    run(grow, read, read)
    assert array.shape == (61,)


def test_a_large_read_is_shared_out_and_damage_named(path: str) -> None:
    values = np.random.default_rng(1).integers(0, 99, (64, 65536), np.uint8)
    with arrayfs.open(path, "x") as container:
        container.create("t", shape=values.shape, chunks=(1, 16384), dtype="u1")[...] = values
        told: list[tuple[int, int]] = []
        container.commit()
        np.testing.assert_array_equal(
            container["t"].retrieve_array_subset(np.s_[::-2, 5:], lambda *done: told.append(done)), values[::-2, 5:]
        )
        assert told[-1] == (128, 128)
        assert [done for done, _ in told] == sorted({done for done, _ in told})
    layer = Path(path).with_name("c.1.af")
    content = bytearray(layer.read_bytes())
    content[len(content) // 2] ^= 1
    layer.write_bytes(content)
    with arrayfs.open(path) as container, pytest.raises(arrayfs.ChecksumError, match=r"c\.1\.af: array 't': chunk \("):
        container["t"][...]
