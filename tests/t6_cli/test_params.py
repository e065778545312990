"""Sizes and durations as they are typed, and as they are shown."""

from __future__ import annotations

import pytest

from arrayfs.cli import text
from arrayfs.cli.params import read_duration, read_size


@pytest.mark.parametrize(
    ("typed", "size"),
    [("512", 512), ("64KiB", 65536), ("64k", 65536), ("64 KB", 64000), ("1.5G", 3 << 29), ("2TiB", 2 << 40), ("7b", 7)],
)
def test_sizes(typed: str, size: int) -> None:
    assert read_size(typed) == size


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [("90", 90), ("0.25", 0.25), ("90s", 90), ("15min", 900), ("15 m", 900), ("2h", 7200), ("1d", 86400)],
)
def test_durations(typed: str, seconds: float) -> None:
    assert read_duration(typed) == seconds


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1048575, "1.0 MiB"),
        (3 << 29, "1.5 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes_as_they_are_shown(size: int, shown: str) -> None:
    assert text.size(size) == shown


def test_times_are_utc_with_microseconds() -> None:
    assert text.time(1_772_366_400_000_123_999) == "2026-03-01T12:00:00.000123Z"
