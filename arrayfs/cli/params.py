"""Sizes and durations as they are typed: `64KiB`, `1.5G`, `90`, `15min`."""

from __future__ import annotations

import re

import click

# As GNU tools have it: K and KiB are 1024, KB is 1000.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(?:([kmgt])(i?b)?|b)?", re.IGNORECASE | re.ASCII)
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(s|sec|m|min|h|d)?", re.IGNORECASE | re.ASCII)
_SECONDS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def read_size(typed: str) -> int:
    """Return a number of bytes. Raises click.BadParameter."""
    match = _SIZE.fullmatch(typed.strip())
    if match is None:
        raise click.BadParameter(f"{typed!r} is no size; wanted bytes or something like 64KiB, 256MiB, 1.5G")
    base = 1000 if (match[3] or "").lower() == "b" else 1024
    return int(float(match[1]) * base ** " kmgt".index((match[2] or " ").lower()))


def read_duration(typed: str) -> float:
    """Return a number of seconds above 0. Raises click.BadParameter."""
    match = _DURATION.fullmatch(typed.strip())
    seconds = float(match[1]) * _SECONDS[(match[2] or "s").lower()] if match else 0.0
    if not seconds:
        raise click.BadParameter(f"{typed!r} is no duration; wanted seconds or something like 90s, 15min, 2h")
    return seconds
