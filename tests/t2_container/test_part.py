"""The next sidecar in the making: blocks are readable at once, addressed by row, and never moved."""

from __future__ import annotations

import pytest

from arrayfs.container.cache import BlockCache
from arrayfs.container.part import LayerPart
from arrayfs.errors import ChecksumError
from arrayfs.format.checksums import crc32c
from arrayfs.format.naming import ContainerNames
from arrayfs.store import MemoryStore
from tests.t2_container.making import new_url

NAMES = ContainerNames("t")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore(new_url())


def unpacked(part: LayerPart) -> list[bytes]:
    cache = BlockCache(1 << 20)
    return [bytes(part.read_block(row, cache)) for row in range(len(part))]


def test_no_file_before_there_is_something_to_keep(store: MemoryStore) -> None:
    part = LayerPart(store, NAMES)
    assert store.list() == []
    part.discard()
    assert store.list() == []
    part = LayerPart(store, NAMES)
    part.add_block(None, [b"x"])
    assert store.list() == [part.name]
    assert NAMES.parse_part(part.name)
    part.discard()
    assert store.list() == []


@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_blocks_are_read_back(store: MemoryStore, codec: str | None) -> None:
    part = LayerPart(store, NAMES)
    assert part.add_block(codec, [b"one", b"", b"two"]) == 0
    assert part.add_blocks([(codec, [b"three" * 100]), (None, [b"four", b"five"])]) == range(1, 3)
    assert part.add_block(codec, [b""]) == 3
    want = [b"onetwo", b"three" * 100, b"fourfive", b""]
    assert unpacked(part) == want
    assert [part.block_size(row) for row in range(4)] == list(map(len, want))
    assert [part.codec(row) for row in range(4)] == [codec, codec, None, codec]
    assert sum(part.stored_size(row) for row in range(4)) == part.part.size
    part.discard()


def test_block_table_says_where_everything_lies(store: MemoryStore) -> None:
    part = LayerPart(store, NAMES)
    part.add_block("lz4", [b"abc" * 50])
    part.add_block(None, [b"xyz"])
    table, crcs = part.block_table("arrayfs.ext1", 99)
    assert table.ids.tolist() == [0, 1, 2]
    assert [table.codec_names[code] for code in table.codecs] == ["lz4", None, "arrayfs.ext1"]
    assert table.uncompressed_sizes.tolist() == [150, 3, 99]
    assert table.compressed_sizes.tolist()[1:] == [3, 99]
    assert table.file_offsets.tolist()[-1] == part.part.size
    for row in range(2):
        stored = part.part.read(int(table.file_offsets[row]), int(table.compressed_sizes[row]))
        assert crcs[row] == crc32c(stored)
        assert part.read_stored(row) == stored
    assert crcs[2] == 0
    part.discard()


def test_copied_blocks_are_those_that_were_there(store: MemoryStore) -> None:
    one, other = LayerPart(store, NAMES), LayerPart(store, NAMES)
    one.add_block("zstd", [b"abc" * 50])
    one.add_block(None, [b"xyz"])
    one.copy_to(other)
    assert unpacked(other) == unpacked(one)
    assert [other.codec(row) for row in range(2)] == ["zstd", None]
    assert one.serial != other.serial
    one.discard()
    other.discard()


def test_copy_of_bytes_that_changed_on_the_medium_is_refused(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = LayerPart(store, NAMES), LayerPart(store, NAMES)
    one.add_block(None, [b"xyz"])
    monkeypatch.setattr(type(one.part), "read", lambda *_: b"xyw")
    with pytest.raises(ChecksumError, match=rf"{one.name}: block 0 is not what was written"):
        one.copy_to(other)
    one.discard()
    other.discard()


def test_part_whose_file_was_made_by_a_call_that_failed_is_taken_up(store: MemoryStore) -> None:
    part = LayerPart(store, NAMES)
    store.create_part(part.name)
    part.add_block(None, [b"x"])
    assert unpacked(part) == [b"x"]
    part.discard()
