"""One input, one measurement: processor time and the most memory that was allocated on the way.

Processor time, not the clock: other programs of the machine must not make a test fail. A decoder that goes on for
longer than LONGEST is interrupted. Memory is what Python and numpy allocated (tracemalloc), the input not counted.
"""

from __future__ import annotations

import signal
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LONGEST = 1.0  # seconds for one input


class HangError(AssertionError):
    """One input took longer than LONGEST."""


@dataclass(frozen=True, slots=True)
class Cost:
    """seconds: of the processor; peak: bytes."""

    seconds: float
    peak: int


def _too_long(signum: int, frame: object) -> None:
    raise HangError(f"more than {LONGEST} s for one input")


@contextmanager
def watching() -> Iterator[None]:
    """Measurements can be made within."""
    before = signal.signal(signal.SIGPROF, _too_long)
    try:
        yield
    finally:
        signal.signal(signal.SIGPROF, before)


def measure(action: Callable[[], object]) -> Cost:
    """Run `action` within `watching`. Raises HangError, or what the action raises."""
    # started for each input: what makes the inputs would be slowed down tenfold
    tracemalloc.start(1)
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        action()
        seconds = time.process_time() - began
        _, peak = tracemalloc.get_traced_memory()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        tracemalloc.stop()
    if seconds > LONGEST:
        raise HangError(f"{seconds:.2f} s for one input")
    return Cost(seconds, peak)
