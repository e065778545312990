"""The chunk entries of arrays <-> bytes, in large tables without a Python step per chunk.

A writer lays all coordinates of an array side by side in entry order; then the table is two flat arrays and is taken as
such, the tables of many small arrays together. Any other legal place of the coordinates is followed too, by a gather.
(docs/FORMAT.md, "Chunk entry")
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.model import ChunkTable
from arrayfs.format.rkyv import ArchiveReader, ArchiveWriter

_ENTRY = np.dtype(
    [("pointer", "<i8"), ("count", "<i8"), ("block_id", "<u4"), ("offset", "<u4"), ("size", "<u4"), ("padding", "<u4")]
)
ENTRY_SIZE = _ENTRY.itemsize
_HEAD = struct.Struct("<qq16x")  # of an entry: its pointer, and how many numbers it leads to
# With up to so many entries in a footer, numpy's calls cost more than a Python step for each entry.
_FEW = 8
# Tables up to this length are decoded together: one table by itself costs numpy calls worth some thousand entries.
_SMALL = 1000
_GROUP = 10_000  # entries decoded together: numpy's temporaries stay in the processor's cache


class TablePlace(NamedTuple):
    """Where an array's entries lie: `length` of them from `start`, their coordinates between `low` and `start`."""

    low: int
    start: int
    length: int
    rank: int


def locate_chunks(reader: ArchiveReader, position: int, pointer: int, count: int, rank: int) -> TablePlace:
    """Check where the Vec<ChunkEntry> whose pointer stands at `position` lies, and move the window past it."""
    start = reader.target(position, pointer, ENTRY_SIZE * count, 8, "chunks")
    place = TablePlace(reader.low, start, count, rank)
    reader.low = start + ENTRY_SIZE * count
    return place


def decode_table(data: bytes, place: TablePlace) -> ChunkTable:
    """Return one table, wherever its coordinates are; the columns are copies.

    Raises FormatError if a coordinate has not `rank` numbers or lies where it must not.
    """
    _, start, count, rank = place
    if not count:
        return _empty(rank)
    entries = np.frombuffer(data, _ENTRY, count, start)
    odd = entries["count"] != rank
    if odd.any():
        index = int(odd.argmax())
        found = int(entries["count"][index])
        raise FormatError(f"chunk {index}: coordinate of {found} numbers in an array of {rank} dimensions")
    coords = _decode_coords(data, entries["pointer"], place)
    return ChunkTable(coords, entries["block_id"].copy(), entries["offset"].copy(), entries["size"].copy())


def decode_small_tables(data: bytes, places: list[TablePlace]) -> list[ChunkTable | None]:
    """Return those tables that are small and laid out as writers do; None stands where `decode_table` is wanted."""
    if sum([place.length for place in places]) <= _FEW:
        return [_decode_few(data, place) for place in places]
    tables: list[ChunkTable | None] = [None] * len(places)
    group: list[int] = []
    entries = 0
    for index, place in enumerate(places):
        if 0 < place.length <= _SMALL:
            group.append(index)
            entries += place.length
        if entries > _GROUP:
            _decode_group(data, places, group, tables)
            group, entries = [], 0
    if group:
        _decode_group(data, places, group, tables)
    return tables


def _decode_few(data: bytes, place: TablePlace) -> ChunkTable | None:
    """One table, if it is laid out as writers do."""
    low, start, count, rank = place
    if not count:
        return _empty(rank)
    raw = data[start : start + ENTRY_SIZE * count]
    step, wanted = 4 * rank - ENTRY_SIZE, None
    for pointer, numbers in _HEAD.iter_unpack(raw):
        if numbers != rank or (wanted is not None and pointer != wanted):
            return None
        wanted = pointer + step
    first = start + pointer - step * (count - 1)
    if not low <= first <= start - 4 * rank * count or first % 4:
        return None
    coords = np.frombuffer(data[first : first + 4 * rank * count], "<u4").reshape(count, rank)
    columns = np.frombuffer(raw, "<u4").reshape(count, ENTRY_SIZE // 4).T
    return ChunkTable(coords, columns[4], columns[5], columns[6])


def _decode_group(data: bytes, places: list[TablePlace], group: list[int], tables: list[ChunkTable | None]) -> None:
    """Put the regular ones of the tables in `group` into `tables`; their columns are slices of common ones."""
    chosen = [places[index] for index in group]
    lows, starts, counts, ranks = np.array(chosen, np.int64).T
    entries = np.frombuffer(b"".join([data[p.start : p.start + ENTRY_SIZE * p.length] for p in chosen]), _ENTRY)
    ends = np.cumsum(counts)
    begins = ends - counts
    pointers = entries["pointer"]
    steps = 4 * ranks - ENTRY_SIZE
    expected = np.repeat(pointers[begins] - begins * steps, counts) + np.arange(len(entries)) * np.repeat(steps, counts)
    irregular = np.logical_or.reduceat((pointers != expected) | (entries["count"] != np.repeat(ranks, counts)), begins)
    # A first pointer so wild that the sum wraps leads out of its window all the same.
    firsts = starts + pointers[begins]
    good = ~irregular & (firsts >= lows) & (firsts % 4 == 0) & (firsts <= starts - 4 * ranks * counts)
    block_ids, offsets, sizes = entries["block_id"].copy(), entries["offset"].copy(), entries["size"].copy()
    rows = zip(group, chosen, good.tolist(), begins.tolist(), ends.tolist(), firsts.tolist(), strict=True)
    for index, (_, _, count, rank), is_good, begin, end, first in rows:
        if is_good:
            coords = np.frombuffer(data[first : first + 4 * rank * count], "<u4").reshape(count, rank)
            tables[index] = ChunkTable(coords, block_ids[begin:end], offsets[begin:end], sizes[begin:end])


def encode_chunks(writer: ArchiveWriter, table: ChunkTable, rank: int) -> int:
    """Append the table; return the position of its first entry. Raises LimitError if it is not of this rank."""
    count = len(table)
    if not count:
        return writer.align(8)
    if table.coords.shape != (count, rank):
        raise LimitError(f"chunks: coordinates of shape {table.coords.shape} for {count} chunks of rank {rank}")
    first = writer.put_bytes(table.coords.astype("<u4", casting="safe", copy=False).tobytes(), 4)
    start = writer.align(8)
    entries = np.empty(count, _ENTRY)
    entries["pointer"] = _regular_pointers(first - start, count, rank)
    entries["count"] = rank
    # Safe: a column of a wider type is an error of the caller, not something to cut down.
    np.copyto(entries["block_id"], table.block_ids, casting="safe")
    np.copyto(entries["offset"], table.offsets, casting="safe")
    np.copyto(entries["size"], table.sizes, casting="safe")
    entries["padding"] = 0
    return writer.put_bytes(entries.tobytes(), 8)


@lru_cache(maxsize=64)
def _empty(rank: int) -> ChunkTable:
    return ChunkTable.empty(rank)


def _regular_pointers(first: int, count: int, rank: int) -> NDArray[np.int64]:
    """Return the pointers of entries whose coordinates lie side by side, the first one being `first`."""
    return np.arange(count, dtype=np.int64) * (4 * rank - ENTRY_SIZE) + first


def _decode_coords(data: bytes, pointers: NDArray[np.int64], place: TablePlace) -> NDArray[np.uint32]:
    """Follow the entries' pointers; return (n, rank) coordinates."""
    low, start, count, rank = place
    step = 4 * rank
    first = start + int(pointers[0])
    # In the window the first pointer is small, so nothing wraps in what is compared next.
    regular = low <= first <= start - step * count and first % 4 == 0
    if regular and (pointers == _regular_pointers(first - start, count, rank)).all():
        return np.frombuffer(data[first : first + step * count], "<u4").reshape(count, rank)
    limit = len(data)
    wild = (pointers < -limit) | (pointers > limit)
    starts = np.where(wild, -1, np.arange(count, dtype=np.int64) * ENTRY_SIZE + start + pointers)
    lows = np.concatenate([[low], starts[:-1] + step])
    wrong = (starts < lows) | (starts % 4 != 0) | (starts > start - step)
    if wrong.any():
        index = int(wrong.argmax())
        target = start + ENTRY_SIZE * index + int(pointers[index])
        allowed = f"within {int(lows[index])} to {start}"
        raise FormatError(f"chunk {index} coordinate: pointer to {target}, not {step} aligned bytes {allowed}")
    numbers = np.frombuffer(data, "<u4", limit // 4)
    return numbers[(starts // 4)[:, None] + np.arange(rank)]
