"""Figures of chunks built by hand from the table in docs/FORMAT.md, and what can be wrong with them."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from arrayfs.errors import FormatError
from arrayfs.format.figures import UNKNOWN, Figures, decode_figures, encode_figures, join_figures


def figures(*rows: tuple[int, int, int]) -> Figures:
    lows, highs, nulls = np.array(rows, np.uint64).reshape(-1, 3).T
    return Figures(lows, highs, nulls.astype(np.uint32))


def plain(found: dict[int, Figures]) -> dict[int, list[list[int]]]:
    columns = {place: (one.lows, one.highs, one.nulls) for place, one in found.items()}
    return {place: [column.tolist() for column in three] for place, three in columns.items()}


TABLE = {
    b"empty": ({}, struct.pack("<II", 0, 0)),
    b"two": (
        {1: figures((10, 2**64 - 1, 3), (0, 0, UNKNOWN)), 4: figures((5, 6, 0))},
        struct.pack("<6I", 2, 0, 1, 2, 4, 1)
        + struct.pack("<3Q", 10, 0, 5)
        + struct.pack("<3Q", 2**64 - 1, 0, 6)
        + struct.pack("<3I", 3, UNKNOWN, 0),
    ),
    b"of no chunks": ({7: figures()}, struct.pack("<4I", 1, 0, 7, 0)),
}


@pytest.mark.parametrize(("by_array", "data"), TABLE.values(), ids=[name.decode() for name in TABLE])
def test_they_are_what_the_table_says_both_ways(by_array: dict[int, Figures], data: bytes) -> None:
    assert encode_figures(by_array) == data
    assert plain(decode_figures(data)) == plain(by_array)
    for size in range(len(data)):
        with pytest.raises(FormatError, match=r"^figures of chunks: \d+ bytes"):
            decode_figures(data[:size])
    with pytest.raises(FormatError, match=r"^figures of chunks: \d+ bytes"):
        decode_figures(data + b"\0")


def test_an_array_has_them_once() -> None:
    with pytest.raises(FormatError, match="the same array is named twice"):
        decode_figures(struct.pack("<6I", 2, 0, 1, 0, 1, 0))


def test_counts_that_no_file_has_room_for_are_refused() -> None:
    many = [number for place in range(5) for number in (place, 2**32 - 1)]
    with pytest.raises(FormatError, match=f"48 bytes for 5 arrays with {5 * (2**32 - 1)} chunks"):
        decode_figures(struct.pack("<II10I", 5, 0, *many))


def test_of_parts_of_an_array_one_after_another() -> None:
    both = join_figures([figures((1, 2, 0)), Figures.unknown(1), figures((3, 4, 5))])
    assert plain({0: both}) == {0: [[1, 0, 3], [2, 0, 4], [0, UNKNOWN, 5]]}
    assert both.known.tolist() == [True, False, True]
    assert len(join_figures([])) == 0
