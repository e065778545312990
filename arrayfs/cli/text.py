"""How results are written: sizes, times and tables for a person, JSON for a program."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


version_option = click.option(
    "--version", "version", metavar="N|TAG|TIME", help="What an earlier version says; `arrayfs log` lists them."
)


def size(count: int) -> str:
    """A number of bytes: `812 B`, `64.0 KiB`."""
    if count < 1024:
        return f"{count} B"
    # 0.05 less than 1024, which would be rounded to `1024.0 KiB`
    power = next((power for power in (1, 2, 3) if count < 1023.95 * 1024**power), 4)
    return f"{count / 1024**power:.1f} {' KMGT'[power]}iB"


def duration(us: float) -> str:
    """A time that something took, given in µs: `35 µs`, `1.2 ms`, `3.4 s`."""
    for unit, scale in (("µs", 1), ("ms", 1000)):
        if us < 999.5 * scale:
            return f"{us:.0f} {unit}" if scale == 1 else f"{us / scale:.1f} {unit}"
    return f"{us / 1_000_000:.1f} s"


def time(ns: int) -> str:
    """A time in ns since 1970-01-01 UTC: `2026-03-01T12:00:00.000123Z`."""
    moment = datetime.fromtimestamp(ns // 10**9, UTC).replace(microsecond=ns % 10**9 // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def short_time(ns: int) -> str:
    """The same for a person, in local time: `2026-03-01 13:00:00`."""
    return datetime.fromtimestamp(ns / 1e9).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def count(number: int, thing: str) -> str:
    """`1 chunk`, `2 chunks`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def shape(lengths: Sequence[int]) -> str:
    """`128×96×24`; a scalar is `scalar`."""
    return "×".join(map(str, lengths)) if lengths else "scalar"


def echo_json(value: object) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def echo_table(rows: Sequence[Sequence[str]], right: str = "", indent: str = "") -> None:
    """Print rows in columns as wide as they need; the first row is the head. right: one "r" or "l" for each column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = right.ljust(len(widths), "l")
    for row in rows:
        cells = (
            cell.rjust(width) if side == "r" else cell.ljust(width)
            for cell, width, side in zip(row, widths, sides, strict=True)
        )
        click.echo(indent + "  ".join(cells).rstrip())
