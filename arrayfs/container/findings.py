"""What a check of a container says: one thing that is wrong, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Findings of one kind in one array are listed up to this many, then counted.
LISTED = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. severity: "error" (content cannot be had, or may be wrong) or "warning"."""

    severity: str
    file: str
    place: str
    text: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.severity, self.file, self.place, self.text) if part)


def listed(mask: NDArray[np.bool_]) -> list[int]:
    """The first places where a mask is set, as many as are listed."""
    return [int(number) for number in np.flatnonzero(mask)[:LISTED]]


def more(severity: str, file: str, place: str, mask: NDArray[np.bool_]) -> Iterator[Finding]:
    """How many places of a mask were not listed, if any."""
    left = int(np.count_nonzero(mask)) - LISTED
    if left > 0:
        yield Finding(severity, file, place, f"and {left} more chunks like these")


def without(prefix: str, error: Exception) -> str:
    """An error's text without the name that the finding gives by itself."""
    text = str(error.args[0]) if len(error.args) == 1 else str(error)
    return text.removeprefix(f"{prefix}: ")
