"""Blocks that are unpacked where their values are wanted, and chunks that go to the file past the pool."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import arrayfs
from arrayfs.container.layer import Layer
from arrayfs.container.pool import Pool

KIB = 1 << 10
# shape, chunks, block size in bytes, whether whole blocks lie in the result as they are stored
GRIDS = [
    ((64, 256), (1, 256), 16 * KIB, True),
    ((64, 256), (3, 256), 16 * KIB, True),
    ((63, 256), (4, 256), 16 * KIB, True),
    ((64, 256), (2, 128), 16 * KIB, False),  # two chunks fill rows that each of them has half of
    ((4, 256, 256), (1, 256, 256), 16 * KIB, True),
    ((1, 4, 256, 256), (1, 1, 256, 256), 16 * KIB, True),
    ((4, 600, 600), (1, 300, 600), 16 * KIB, True),
    ((4, 600, 600), (1, 600, 300), 16 * KIB, False),
    ((40_000,), (100,), 16 * KIB, True),
    ((300, 300), (300, 300), 16 * KIB, True),
]


@pytest.fixture
def straight(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of blocks that were unpacked into a result."""
    sizes: list[int] = []
    read_into = Layer.read_into

    def note(self: Layer, row: int, out: memoryview) -> None:
        sizes.append(len(out))
        read_into(self, row, out)

    monkeypatch.setattr(Layer, "read_into", note)
    return sizes


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize(("shape", "chunks", "block_size", "is_straight"), GRIDS)
def test_whole_and_part(
    tmp_path: Path,
    straight: list[int],
    codec: str | None,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    block_size: int,
    is_straight: bool,
) -> None:
    values = np.arange(np.prod(shape), dtype="f4").reshape(shape)
    with arrayfs.open(tmp_path / "w.af", "x", codec=codec, block_size=block_size) as c:
        c.create("t", shape=shape, chunks=chunks, dtype="f4")[...] = values
    with arrayfs.open(tmp_path / "w.af", cache_size=0) as c:
        array = c["t"]
        assert np.array_equal(array[...], values)
        assert bool(straight) == is_straight
        for part in (np.s_[1:], np.s_[:-1], np.s_[::-1], np.s_[..., 1:], np.s_[..., ::2]):
            assert np.array_equal(array[part], values[part])


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
@pytest.mark.parametrize("chunks", [(1, 1 << 15), (1, 1 << 18)])
def test_damage_is_named(tmp_path: Path, codec: str | None, chunks: tuple[int, ...]) -> None:
    values = np.random.default_rng(3).integers(0, 99, (3, chunks[1])).astype("i2")
    with arrayfs.open(tmp_path / "w.af", "x", codec=codec) as c:
        c.create("t", shape=values.shape, chunks=chunks, dtype="i2")[...] = values
    with open(tmp_path / "w.1.af", "r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        os.pwrite(file.fileno(), bytes((byte[0] ^ 1,)), 1000)
    for cache_size in (0, 128 << 20):
        with arrayfs.open(tmp_path / "w.af", cache_size=cache_size) as c:
            array = c["t"]
            for read in (lambda a=array: a[...], lambda a=array: a[0]):
                with pytest.raises(arrayfs.ChecksumError, match=r"w\.1\.af: array 't': chunk \(0, 0\): .*checksum"):
                    read()
            assert np.array_equal(array[2], values[2])


def test_a_chunk_that_is_a_block_goes_past_the_pool_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    went: list[int] = []
    put_through = Pool.put_through
    monkeypatch.setattr(Pool, "put_through", lambda *given: (went.append(len(given[2])), put_through(*given))[1])
    with arrayfs.open(tmp_path / "w.af", "x", codec=None) as c:
        array = c.create("t", shape=(4, 1 << 16), chunks=(1, 1 << 16), dtype="i4")
        small = c.create("s", shape=(1 << 16,), chunks=(1 << 12,), dtype="i4")
        given = np.ones(1 << 16, "i4")
        array[0] = given
        assert went == [1]
        given[:] = 5
        assert (array[0] == 1).all()
        for value in range(3):
            array[0] = value  # a dead block each time, if it went there again
        array[1, 5:] = 2
        small[...] = 3
        assert went == [1]
        array[2:] = 4
        assert went == [1, 2]
    with arrayfs.open(tmp_path / "w.af") as c:
        assert [int(row.sum()) for row in c["t"][...]] == [2 << 16, 2 * ((1 << 16) - 5), 4 << 16, 4 << 16]
        assert (c["s"][...] == 3).all()


def test_a_plain_chunk_that_is_read_whole_takes_no_room_in_the_cache(tmp_path: Path) -> None:
    values = np.arange(1 << 18, dtype="i4").reshape(4, 1 << 16)
    for codec, kept in ((None, False), ("lz4", True)):
        path = tmp_path / f"{codec}.af"
        with arrayfs.open(path, "x", codec=codec) as c:
            c.create("t", shape=values.shape, chunks=(1, 1 << 16), dtype="i4")[...] = values
        with arrayfs.open(path) as c:
            cache = c._session.container.cache
            assert np.array_equal(c["t"][1], values[1])
            assert (cache.size >= values[1].nbytes) == kept
            assert np.array_equal(c["t"][2, 7:9], values[2, 7:9])
            assert cache.size >= values[2].nbytes
            assert np.array_equal(c["t"][...], values)
