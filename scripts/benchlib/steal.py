"""How much of a measurement's time the host of a virtual machine gave to others, and measuring again where it was much.

Linux counts it in /proc/stat ("steal"): moments in which a processor of this machine had work and did not run. A peer
that mostly waits for its disk loses little by them, a program that is bound by the processor much, so ratios of runs
with different shares mean nothing. On a machine of its own it is always 0.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

# A share of more is too much: ratios of runs with less were seen to agree within their usual spread.
MOST: Final = 0.05
TRIES: Final = 3
# Fields of the first line: user, nice, system, idle, iowait, irq, softirq, steal; guests' time is part of user's.
FIELDS: Final = 8
STOLEN: Final = 7


class Measured(NamedTuple):
    """Seconds of one measurement, and which share of all processors' time was stolen meanwhile (0 to 1)."""

    seconds: float
    stolen: float

    @property
    def spoiled(self) -> bool:
        """Whether too much was stolen for the seconds to mean anything."""
        return self.stolen > MOST


def watched(measure: Callable[[], float]) -> Measured:
    """Run a measurement, which returns its seconds."""
    before = _ticks()
    seconds = measure()
    passed = [after - start for start, after in zip(before, _ticks(), strict=True)]
    return Measured(seconds, passed[STOLEN] / max(sum(passed), 1))


def least_stolen(measure: Callable[[], dict[str, Measured]]) -> dict[str, Measured]:
    """Measure until nothing is spoiled, at most TRIES times; of each measurement the run with the least stolen."""
    best = measure()
    for _ in range(TRIES - 1):
        if not any(found.spoiled for found in best.values()):
            break
        best = {name: min(best[name], found, key=_share) for name, found in measure().items()}
    return best


def _share(found: Measured) -> float:
    return found.stolen


def _ticks() -> list[int]:
    first, _, _ = Path("/proc/stat").read_text().partition("\n")
    return [int(field) for field in first.split()[1 : FIELDS + 1]]
