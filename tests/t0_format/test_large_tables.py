"""Tables with very many rows: whole columns at a time, in little memory, wherever the bytes of a table lie."""

from __future__ import annotations

import gc
import struct
import sys
import tracemalloc
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

from arrayfs.errors import FormatError
from arrayfs.format.chunk_table import ENTRY_SIZE, TablePlace, decode_small_tables, decode_table
from arrayfs.format.footer import decode_footer, encode_footer
from arrayfs.format.model import ArrayMeta, BlockTable, ChunkTable, DType, Footer

MANY = 200_000


def chunk_table(count: int, rank: int, start: int = 0) -> ChunkTable:
    numbers = np.arange(start, start + count, dtype=np.uint32)
    coords = np.arange(count * rank, dtype=np.uint32).reshape(count, rank)
    return ChunkTable(coords, numbers, numbers + np.uint32(7), numbers * np.uint32(3))


def one_array(count: int, rank: int) -> Footer:
    array = ArrayMeta("a", DType("Int8"), (9,) * rank, (1,) * rank, chunks=chunk_table(count, rank))
    return Footer(5, BlockTable.empty(), (array,))


def blocks(count: int, names: tuple[str | None, ...]) -> Footer:
    numbers = np.arange(count, dtype=np.uint32)
    wide = numbers.astype(np.uint64) << np.uint64(20)
    return Footer(5, BlockTable(numbers, wide, wide + 1, wide + 2, numbers % np.uint32(len(names)), names), ())


def same(left: ChunkTable, right: ChunkTable) -> bool:
    names = ("coords", "block_ids", "offsets", "sizes")
    return all(np.array_equal(getattr(left, name), getattr(right, name)) for name in names)


def python_steps(work: Callable[[], object]) -> int:
    """Return how many lines of Python `work` executes, when what it keeps for the next time is there."""
    work()
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    before = sys.gettrace()
    gc.disable()  # collections have callbacks of other libraries, whose lines are not ours
    sys.settrace(count)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    assert steps > 20
    return steps


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_many_chunks_come_back(rank: int) -> None:
    footer = one_array(MANY, rank)
    assert same(decode_footer(encode_footer(footer)).arrays[0].chunks, footer.arrays[0].chunks)


@pytest.mark.parametrize("make", [lambda count: one_array(count, 3), lambda count: blocks(count, ("zstd", None))])
def test_steps_of_python_do_not_grow_with_the_rows(make: Callable[[int], Footer]) -> None:
    few, many = make(2_000), make(MANY)
    few_bytes, many_bytes = encode_footer(few), encode_footer(many)
    assert python_steps(lambda: encode_footer(many)) == python_steps(lambda: encode_footer(few))
    assert python_steps(lambda: decode_footer(many_bytes)) == python_steps(lambda: decode_footer(few_bytes))


def test_steps_of_python_do_not_grow_with_the_chunks_of_small_arrays() -> None:
    def arrays(count: int) -> Footer:
        table = chunk_table(count, 2)
        return Footer(
            5, BlockTable.empty(), tuple(ArrayMeta("a", DType("Int8"), (9, 9), (1, 1), (), table) for _ in range(9))
        )

    few, many = encode_footer(arrays(1)), encode_footer(arrays(1000))
    assert python_steps(lambda: decode_footer(many)) == python_steps(lambda: decode_footer(few))


def test_a_decoded_table_takes_12_bytes_and_4_for_each_dimension() -> None:
    data = encode_footer(one_array(MANY, 3))
    tracemalloc.start()
    try:
        footer = decode_footer(data)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(footer.arrays[0].chunks) == MANY
    assert kept < 24 * MANY + 20_000
    assert peak < 2 * len(data)


@pytest.mark.parametrize(
    "names", [("zstd",), (None, "lz4"), ("a codec of 21 letters", None, "lz4", "another one of 24 byte")]
)
def test_many_blocks_come_back(names: tuple[str | None, ...]) -> None:
    footer = blocks(5_000, names)
    table = decode_footer(encode_footer(footer)).blocks
    assert [table.codec_names[codec] for codec in table.codecs] == [names[i % len(names)] for i in range(5_000)]
    for name in ("ids", "file_offsets", "compressed_sizes", "uncompressed_sizes"):
        assert np.array_equal(getattr(table, name), getattr(footer.blocks, name))


def test_a_codec_name_for_each_block_takes_one_pass() -> None:
    names = tuple(f"codec {number}" for number in range(5_000))
    table = decode_footer(encode_footer(blocks(5_000, names))).blocks
    assert [table.codec_names[codec] for codec in table.codecs] == list(names)


def test_arrays_small_and_large_and_empty_come_back_in_order() -> None:
    counts = [0, 1, 1500, 7, 0, 999, 1000, 1001, 3] + [60] * 500
    arrays = tuple(
        ArrayMeta(f"a{i}", DType("Int8"), (9,) * (i % 4), (1,) * (i % 4), chunks=chunk_table(count, i % 4, i))
        for i, count in enumerate(counts)
    )
    decoded = decode_footer(encode_footer(Footer(5, BlockTable.empty(), arrays))).arrays
    assert [array.name for array in decoded] == [array.name for array in arrays]
    assert all(same(left.chunks, right.chunks) for left, right in zip(decoded, arrays, strict=True))


def spread_out(count: int, gap: int) -> tuple[bytes, TablePlace]:
    """Return a table whose coordinates of rank 2 lie `gap` bytes apart, then the entries."""
    table = chunk_table(count, 2)
    step = 8 + gap
    start = -(-count * step // 8) * 8
    coords = b"".join(row.tobytes() + bytes(gap) for row in table.coords).ljust(start, b"\0")
    rows = zip(table.block_ids.tolist(), table.offsets.tolist(), table.sizes.tolist(), strict=True)
    entries = [struct.pack("<qQIII4x", i * step - start - ENTRY_SIZE * i, 2, *row) for i, row in enumerate(rows)]
    return coords + b"".join(entries), TablePlace(0, start, count, 2)


@pytest.mark.parametrize("gap", [0, 4, 12])
@pytest.mark.parametrize("count", [1, 2, 1000, 3000])
def test_coordinates_may_lie_apart(count: int, gap: int) -> None:
    data, place = spread_out(count, gap)
    assert same(decode_table(data, place), chunk_table(count, 2))
    (small,) = decode_small_tables(data, [place])
    assert small is None or same(small, chunk_table(count, 2))
    # The coordinates of the first entry may begin where the window does, not before.
    with pytest.raises(FormatError, match="chunk 0 coordinate: pointer to 0, not 8 aligned bytes within 4"):
        decode_table(data, place._replace(low=4))


@pytest.mark.parametrize("pointer", [-(2**63), 2**63 - 1, 2**62, -1, 0, -8 * 3000 + 4, 32])
@pytest.mark.parametrize("index", [0, 1, 700])
@pytest.mark.parametrize("count", [1000, 3000])
def test_a_wild_pointer_is_an_error_in_any_table(pointer: int, index: int, count: int) -> None:
    data, place = spread_out(count, 0)
    at = place.start + ENTRY_SIZE * index
    damaged = data[:at] + struct.pack("<q", pointer) + data[at + 8 :]
    assert decode_small_tables(damaged, [place]) == [None]
    with pytest.raises(FormatError, match=r"chunk .* coordinate: pointer to"):
        decode_table(damaged, place)


def test_equal_differences_cannot_hide_a_wild_start() -> None:
    data, place = spread_out(1000, 0)
    entries = np.frombuffer(data, "<i8").copy()
    entries[place.start // 8 :: 4] += np.int64(2**62)
    assert decode_small_tables(entries.tobytes(), [place]) == [None]
    with pytest.raises(FormatError, match="chunk 0 coordinate"):
        decode_table(entries.tobytes(), place)
