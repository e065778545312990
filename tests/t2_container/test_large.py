"""Large chunks: stored in parts, read by ranges, every range checked, and never in memory as a whole on the way."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from arrayfs.container.array import Array
from arrayfs.container.compact import compact
from arrayfs.container.container import Container
from arrayfs.container.large import LARGE, Spilled, Stretch
from arrayfs.container.layer import Layer
from arrayfs.container.pool import COMPRESSED_LIMIT, SPILLED_LIMIT, Pool
from arrayfs.container.restore import restore
from arrayfs.container.seen import Seen
from arrayfs.container.verify import verify
from arrayfs.errors import ChecksumError, FormatError
from arrayfs.format.model import DType
from tests.t2_container.making import new_container, open_container, spec

MIB = 1 << 20
SIZE = LARGE + 3 * MIB + 5
NOISE = random.Random(1).randbytes(SIZE)
BYTES = spec((3 * SIZE,), (SIZE,), dtype=DType("UInt8"))


class Watched:
    """A body of `NOISE`, of which at most 8 MiB may be asked for at once."""

    size = SIZE

    def __init__(self, content: bytes = NOISE) -> None:
        self.content = content

    def read(self, offset: int, size: int) -> bytes:
        assert size <= 8 * MIB
        return self.content[offset : offset + size]


def spilled(content: bytes = NOISE, head: bytes = b"") -> Spilled:
    return Spilled(head, Watched(content))


def ranges_of(container: Container, array: Array, number: int) -> Stretch:
    read = array.ranges(array.find((number,)), (number,), container.cache)
    assert read is not None
    return Stretch(read, 0, SIZE)


def same_ranges(container: Container, array: Array, number: int) -> bool:
    """Whether a chunk reads right, by ranges across all edges."""
    chunk = ranges_of(container, array, number)
    ranges = ((0, 8), (MIB - 3, 6), (MIB, MIB), (5 * MIB + 1, 3 * MIB), (SIZE - 5, 100), (SIZE + 4, 9))
    return all(bytes(chunk.read(start, size)) == NOISE[start : start + size] for start, size in ranges)


def same(container: Container, array: Array, number: int) -> bool:
    """Also as a whole."""
    return same_ranges(container, array, number) and container.read(array, (number,)) == NOISE


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return new_container(str(tmp_path / "t.af"))


def test_a_head_goes_before_the_body() -> None:
    chunk = spilled(head=b"12345678")
    assert len(chunk) == SIZE + 8
    assert bytes(chunk.read(6, 4)) == b"78" + NOISE[:2]
    assert bytes(chunk.read(2, 3)) == b"345"
    assert bytes(chunk.read(SIZE + 4, 50)) == NOISE[-4:]


def test_a_large_chunk_reads_the_same_before_and_after_it_is_packed_committed_and_opened_again(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = container.define("a", BYTES)
    monkeypatch.setattr(Layer, "read_block", None)
    container.put(array, (1,), spilled(), 7)
    assert (container.pool.raw_size, container.pool.spilled_size) == (0, SIZE)
    assert ranges_of(container, array, 1).read(9, 4) == NOISE[9:13]
    container.pool.pack()
    assert container.pool.spilled_size == 0
    before = ranges_of(container, array, 1)
    container.commit()
    for chunk in (before, ranges_of(container, array, 1)):
        assert bytes(chunk.read(3 * MIB - 1, 5)) == NOISE[3 * MIB - 1 : 3 * MIB + 4]
    monkeypatch.undo()
    assert same(container, array, 1)
    container.put(array, (1,), spilled(), 8)
    assert container.commit() is None  # equal content is no change
    container.close()
    container = open_container(f"{container.store.url}/t.af")
    assert same(container, container.get("a"), 1)
    assert not list(verify(f"{container.store.url}/t.af"))


def test_what_does_not_shrink_is_stored_as_it_is(container: Container) -> None:
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.put(array, (1,), spilled(bytes(SIZE)), 1)
    container.commit()
    blocks = container.stack.newest.footer.blocks
    codecs = [blocks.codec_names[number] for number in blocks.codecs.tolist()[:2]]
    assert sorted(codecs, key=str) == [None, "lz4"]
    assert container.read(array, (1,)) == bytes(SIZE)
    assert COMPRESSED_LIMIT > SIZE


def test_the_oldest_is_packed_when_too_much_lies_on_disk(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    array = container.define("a", BYTES)
    monkeypatch.setattr("arrayfs.container.pool.SPILLED_LIMIT", 2 * SIZE)
    for number in (2, 0, 0, 0, 1):
        container.put(array, (number,), spilled(), 1)
    assert [coord for _, coord in container.pool.spilled] == [(0,), (1,)]
    assert container.pool.packed_size == SIZE  # what was rewritten was not packed each time
    container.pool.forget(array)
    assert container.pool.spilled_size == 0
    assert SPILLED_LIMIT >= 1 << 32


def damaged(path: Path, piece: int) -> None:
    """Change one byte in a piece of the large block at the file's beginning."""
    data = bytearray(path.read_bytes())
    data[piece * MIB + 77] ^= 1
    path.write_bytes(data)


def test_damage_is_found_in_the_piece_that_it_is_in_and_nowhere_else(container: Container, tmp_path: Path) -> None:
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.commit()
    container.close()
    damaged(tmp_path / "t.1.af", 5)
    container = open_container(str(tmp_path / "t.af"))
    chunk = ranges_of(container, container.get("a"), 0)
    assert bytes(chunk.read(4 * MIB, MIB)) == NOISE[4 * MIB : 5 * MIB]
    with pytest.raises(
        ChecksumError, match=r"t\.1\.af: array 'a': chunk \(0,\): .*block 0: checksum of bytes 5242880 to 6291456 is"
    ):
        chunk.read(5 * MIB - 1, 2)
    with pytest.raises(ChecksumError, match=r"t\.1\.af: array 'a': chunk \(0,\)"):
        container.read(container.get("a"), (0,))
    assert [finding.place for finding in verify(str(tmp_path / "t.af"))][:1] == ["block 0"]
    container.put(container.get("a"), (0,), spilled(), 2)  # what cannot be read is replaced
    container.commit()
    assert same(container, container.get("a"), 0)


@pytest.mark.parametrize("crcs", [{}, {0: np.zeros(1, np.uint32)}], ids=["none", "too few"])
def test_without_checksums_of_pieces_the_whole_block_is_looked_at_once(
    container: Container, tmp_path: Path, crcs: dict[int, np.ndarray]
) -> None:
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.commit()
    layer = container.stack.newest
    assert layer.extension is not None
    layer.extension = replace(layer.extension, piece_crcs=crcs)
    layer.__dict__.pop("_piece_crcs", None)
    container.cache.limit = 0
    assert same(container, array, 0)
    damaged(tmp_path / "t.1.af", 9)
    assert ranges_of(container, array, 0).read(0, 4) == NOISE[:4]  # it was looked at before
    layer._gone_through.clear()
    with pytest.raises(ChecksumError, match="block 0: checksum is"):
        ranges_of(container, array, 0).read(0, 4)


def test_a_range_of_a_block_that_ends_too_early_is_refused(container: Container) -> None:
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.commit()
    container.stack.newest.footer_start = SIZE - 1
    with pytest.raises(FormatError, match=r"block 0: bytes 0 to \d+ are outside the data region"):
        ranges_of(container, array, 0).read(0, 4)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads a whole block of the kind fails."""

    def refuse(layer: Layer, row: int) -> bytes:
        assert layer.stored_size(row) < SIZE, "a large block was read as a whole"
        return layer._checked(row, lambda: layer._stored_block(row))

    monkeypatch.setattr(Layer, "read_stored", refuse)


@pytest.mark.usefixtures("in_parts")
def test_renaming_restoring_and_compacting_copy_it_in_parts(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arrayfs.container.repack.TOO_LARGE", LARGE)
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.commit()
    container.rename(array, "b")
    container.commit()
    assert same_ranges(container, array, 0)
    container.put(array, (0,), spilled(NOISE[::-1]), 2)
    container.commit()
    restore(container, container.at(container.versions().numbered(2)))
    container.commit()
    assert same_ranges(container, container.get("b"), 0)
    container.close()
    url = str(tmp_path / "t.af")
    assert compact(url).layers_after == 1
    assert not list(verify(url))
    container = open_container(url)
    assert same_ranges(container, container.get("b"), 0)
    layer = container.stack.newest
    assert layer.extension is not None
    assert [len(crcs) for crcs in layer.extension.piece_crcs.values()] == [-(-SIZE // MIB)]


def test_a_part_that_lost_its_sync_goes_on_in_another(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.pool.pack()
    chunk = ranges_of(container, array, 0)
    monkeypatch.setattr(type(container.pool.part), "can_sync", lambda _: False)
    container.pool.renew()
    monkeypatch.undo()
    container.commit()
    assert bytes(chunk.read(MIB - 1, 2)) == NOISE[MIB - 1 : MIB + 1]
    assert same(container, array, 0)


def test_a_packed_array_is_read_on_after_it_was_dropped(container: Container) -> None:
    array = container.define("a", spec((4,), (2,)))
    container.put(array, (1,), b"12345678", 1)
    container.pool.pack_array(array)
    assert container.pool.raw_size == 0
    container.remove(array)
    container.define("b", BYTES)
    container.commit()
    assert array.read((1,), container.cache) == b"12345678"


def test_seen_is_a_dict_by_checksum_and_size() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(0, 4, 2000).astype(np.uint32)
    checksums = rng.integers(0, 300, 2000) << rng.integers(0, 24, 2000)
    seen, model = Seen(sizes), dict[tuple[int, int], int]()
    for number, (checksum, size) in enumerate(zip(checksums.tolist(), sizes.tolist(), strict=True)):
        assert seen.first(checksum, number) == model.setdefault((checksum, size), number)


def test_pool_counts_what_lies_on_disk(container: Container) -> None:
    pool: Pool = container.pool
    array = container.define("a", BYTES)
    container.put(array, (0,), spilled(), 1)
    container.put(array, (1,), spilled(), 1)
    container.put(array, (0,), b"x" * SIZE, 1)
    assert (pool.spilled_size, pool.raw_size) == (SIZE, SIZE)
    container.put(array, (1,), None, 1)
    container.respec(array, replace(BYTES, shape=(0,)), 2)
    assert (pool.spilled_size, pool.raw_size, pool.spilled) == (0, 0, {})
