"""The statistics file <-> model: minimum, maximum and counts of each array.

Written since its version 1 with the version in front, before that without; the array list is the last field in both
forms, so it is read first and tells which one it is. (docs/FORMAT.md, "Statistics file")
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.rkyv import VEC, ArchiveReader, ArchiveWriter, encode_text, string_form

STATS_MAGIC = b"ARST"
STATS_TRAILER = struct.Struct("<Q4s")  # archive's size in bytes, magic
STATS_VERSION = 1
STAT_KINDS = ("Int", "UInt", "Float", "Bytes", "TimestampNs")

_VERSION = struct.Struct("<I4x")
_ENTRY = struct.Struct("<16s32s32sQQ")
_MIN, _MAX = 16, 48  # where in the entry they stand; each is an option tag, at +8 a kind tag, at +16 the payload
_OPTION = struct.Struct("<B7xB7x16s")


@dataclass(frozen=True, slots=True)
class StatValue:
    """kind: one of STAT_KINDS; payload: 8 little-endian bytes, or any number of them for Bytes."""

    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ArrayStats:
    """What is known of one array: places without a value count as null; None where no value was seen."""

    name: str
    minimum: StatValue | None
    maximum: StatValue | None
    null_count: int
    row_count: int


@dataclass(frozen=True, slots=True)
class StatsFile:
    """The whole file. version None: the old form, which has none."""

    version: int | None
    arrays: tuple[ArrayStats, ...]


def decode_stats(data: bytes | memoryview) -> StatsFile:
    """Return what the file says. data: the whole file. Raises FormatError on anything the format does not allow."""
    try:
        return _decode_root(_archive(bytes(data)))
    except FormatError as error:
        raise FormatError(f"statistics: {error}") from None


def encode_stats(stats: StatsFile) -> bytes:
    """Return the whole file's bytes. Raises LimitError if a value does not fit."""
    if stats.version not in (None, STATS_VERSION):
        raise LimitError(f"statistics: version {stats.version} is not written")
    writer = ArchiveWriter()
    outsides = [_put_outside(writer, array) for array in stats.arrays]
    start = writer.align(8)
    places = range(start, start + _ENTRY.size * len(outsides), _ENTRY.size)
    writer.put_bytes(b"".join(map(_pack_entry, stats.arrays, outsides, places)))
    if stats.version is not None:
        writer.put_bytes(_VERSION.pack(stats.version))
    writer.put_bytes(VEC.pack(start - writer.position, len(outsides)))
    return writer.getvalue() + STATS_TRAILER.pack(writer.position, STATS_MAGIC)


def _archive(data: bytes) -> bytes:
    if len(data) < STATS_TRAILER.size:
        raise FormatError(f"a file of {len(data)} bytes has no room for the trailer")
    end = len(data) - STATS_TRAILER.size
    size, magic = STATS_TRAILER.unpack_from(data, end)
    if magic != STATS_MAGIC:
        raise FormatError(f"magic is {magic!r}, not {STATS_MAGIC!r}")
    if size > end:
        raise FormatError(f"archive of {size} bytes in a file of {len(data)}")
    return data[end - size : end]


def _decode_root(archive: bytes) -> StatsFile:
    place = len(archive) - VEC.size
    version: int | None = None
    if place >= _VERSION.size:
        pointer, count = VEC.unpack_from(archive, place)
        # In the old form the word before the list is the last entry's row count, which is inside the entries.
        is_new = archive[place - 8 : place] == _VERSION.pack(STATS_VERSION)
        version = STATS_VERSION if is_new and place + pointer + _ENTRY.size * count <= place - 8 else None
    reader = ArchiveReader(archive, VEC.size + (_VERSION.size if version else 0))
    return StatsFile(version, _decode_entries(reader, place, *VEC.unpack_from(archive, place)))


def _decode_entries(reader: ArchiveReader, position: int, pointer: int, count: int) -> tuple[ArrayStats, ...]:
    start = reader.target(position, pointer, _ENTRY.size * count, 8, "arrays")
    end = start + _ENTRY.size * count
    outer = reader.descend(start)
    arrays: list[ArrayStats] = []
    for place in range(start, end, _ENTRY.size):
        form, minimum, maximum, null_count, row_count = _ENTRY.unpack_from(reader.data, place)
        name = reader.string(form, place, f"array {len(arrays)} name")
        lowest = _decode_value(reader, place + _MIN, minimum, f"array {len(arrays)} minimum")
        highest = _decode_value(reader, place + _MAX, maximum, f"array {len(arrays)} maximum")
        arrays.append(ArrayStats(name, lowest, highest, null_count, row_count))
    reader.ascend(outer, end)
    return tuple(arrays)


def _decode_value(reader: ArchiveReader, position: int, option: bytes, what: str) -> StatValue | None:
    is_some, tag, payload = _OPTION.unpack(option)
    if not is_some:
        return None
    if is_some > 1 or tag >= len(STAT_KINDS):
        raise FormatError(f"{what}: option tag {is_some} and tag {tag}, not 1 and 0 to {len(STAT_KINDS) - 1}")
    if STAT_KINDS[tag] != "Bytes":
        return StatValue(STAT_KINDS[tag], payload[:8])
    pointer, size = VEC.unpack(payload)
    return StatValue("Bytes", reader.leaf(position + 16, pointer, size, 1, what))


def _put_outside(writer: ArchiveWriter, array: ArrayStats) -> tuple[bytes, int, int, int]:
    """Append name, minimum and maximum if they lie outside the entry; return the name's bytes and the places."""
    name = encode_text(array.name, "name")
    return name, writer.put_text(name), _put_value(writer, array.minimum), _put_value(writer, array.maximum)


def _put_value(writer: ArchiveWriter, value: StatValue | None) -> int:
    return writer.put_bytes(value.payload) if value and value.kind == "Bytes" else 0


def _pack_entry(array: ArrayStats, outside: tuple[bytes, int, int, int], place: int) -> bytes:
    name, name_text, minimum, maximum = outside
    try:
        return _ENTRY.pack(
            string_form(name, place, name_text),
            _pack_value(array.minimum, place + _MIN, minimum),
            _pack_value(array.maximum, place + _MAX, maximum),
            array.null_count,
            array.row_count,
        )
    except struct.error as error:
        raise LimitError(f"statistics of {array.name[:80]!r}: {error}") from None


def _pack_value(value: StatValue | None, position: int, target: int) -> bytes:
    if value is None:
        return bytes(_OPTION.size)
    is_bytes = value.kind == "Bytes"
    payload = VEC.pack(target - position - 16, len(value.payload)) if is_bytes else value.payload
    return _OPTION.pack(1, STAT_KINDS.index(value.kind), payload)
