"""The statistics file in both forms: by hand, from the golden files, damaged."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.model import FillValue
from arrayfs.format.stats import ArrayStats, StatsFile, StatValue, decode_stats, encode_stats
from tests.t0_format.golden import CASES, VECTORS, described_fill, expected

ARRAYS = (
    ArrayStats("temp", StatValue("Float", struct.pack("<d", -1.5)), StatValue("Bytes", b"abc"), 2, 1),
    ArrayStats("none", None, None, 2**64 - 1, 7),
)
ENTRIES = b"".join(
    [
        b"abc".ljust(8, b"\0"),  # 0
        b"temp".ljust(16, b"\xff"),  # 8
        struct.pack("<B7xB7xd8x", 1, 2, -1.5),
        struct.pack("<B7xB7xqQ", 1, 3, -72, 3),
        struct.pack("<QQ", 2, 1),
        b"none".ljust(16, b"\xff") + bytes(64) + struct.pack("<QQ", 2**64 - 1, 7),  # 104
    ]
)
NEW_BYTES = ENTRIES + struct.pack("<I4xqQ", 1, 8 - 208, 2) + struct.pack("<Q4s", 224, b"ARST")
OLD_BYTES = ENTRIES + struct.pack("<qQ", 8 - 200, 2) + struct.pack("<Q4s", 216, b"ARST")

WITH_STATS = [case for case in CASES if (VECTORS / case / "t.stats").exists()]


@pytest.mark.parametrize(
    ("stats", "data"),
    [
        (StatsFile(1, ARRAYS), NEW_BYTES),
        (StatsFile(None, ARRAYS), OLD_BYTES),
        (StatsFile(1, ()), struct.pack("<I4xqQQ4s", 1, -8, 0, 24, b"ARST")),
        (StatsFile(None, ()), struct.pack("<qQQ4s", 0, 0, 16, b"ARST")),
    ],
)
def test_both_forms_both_ways(stats: StatsFile, data: bytes) -> None:
    assert encode_stats(stats) == data
    assert decode_stats(data) == stats


def test_a_row_count_of_one_at_the_end_does_not_make_the_old_form_new() -> None:
    old = StatsFile(None, ARRAYS[:1])
    assert encode_stats(old)[-36:-28] == struct.pack("<Q", 1)
    assert decode_stats(encode_stats(old)) == old


@pytest.mark.parametrize("case", WITH_STATS)
def test_golden_files_say_what_was_meant_and_come_back(case: str) -> None:
    data = (VECTORS / case / "t.stats").read_bytes()
    stats, wanted = decode_stats(data), expected(case)["stats_file"]
    assert encode_stats(stats) == data
    assert (stats.version, len(data)) == (wanted["version"], wanted["size"])
    assert [_described(array) for array in stats.arrays] == wanted["arrays"]


@pytest.mark.parametrize("name", ["stats_bad_magic", "stats_bad_magic_v4"])
def test_a_bad_magic_is_refused(name: str) -> None:
    with pytest.raises(FormatError, match=r"^statistics: magic is"):
        decode_stats((VECTORS / "corrupt" / name / "t.stats").read_bytes())


@pytest.mark.parametrize("data", [NEW_BYTES, OLD_BYTES])
def test_every_truncation_and_flipped_byte_is_an_error_or_a_file(data: bytes) -> None:
    decoded = 0
    for place in range(len(data)):
        for damaged in (
            data[:place],
            data[place + 1 :],
            data[:place] + bytes((data[place] ^ 0x81,)) + data[place + 1 :],
        ):
            try:
                decoded += isinstance(decode_stats(damaged), StatsFile)
            except FormatError:
                continue
    assert 0 < decoded < 2 * len(data)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(LimitError, match="statistics of 'a'"):
        encode_stats(StatsFile(1, (ArrayStats("a", None, None, -1, 0),)))
    with pytest.raises(LimitError, match="version 2"):
        encode_stats(StatsFile(2, ()))


def _described(array: ArrayStats) -> dict[str, Any]:
    return {
        "name": array.name,
        "min": _value(array.minimum),
        "max": _value(array.maximum),
        "null_count": array.null_count,
        "row_count": array.row_count,
    }


def _value(value: StatValue | None) -> dict[str, Any] | None:
    if value and value.kind == "Bytes":
        return {"type": "Bytes", "hex": value.payload.hex()}
    return described_fill(FillValue(value.kind, value.payload) if value else None)
