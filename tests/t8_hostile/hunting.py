"""How long is hunted: a few hundred inputs in every run, and for ARRAYFS_FUZZ_SECONDS per decoder on demand.

Both are deterministic: the long hunt goes through the seeds 0, 1, 2, … of hypothesis and names the one at which
something was found. ARRAYFS_FUZZ_KEEP is a folder in which the smallest input of each outcome is put.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.profiles import examples
from tests.t8_hostile.measured import measure, watching

SECONDS = float(os.environ.get("ARRAYFS_FUZZ_SECONDS", "0"))
KEEP = os.environ.get("ARRAYFS_FUZZ_KEEP", "")
ROUND = 300  # inputs for each seed of the long hunt
LARGEST_KEPT = 4096  # bytes; the corpus is part of the repository
MOST_KEPT = 40  # outcomes of one decoder


@dataclass
class Hunt:
    """What a hunt saw: inputs, how many were decoded, the kinds of refusals, the worst costs."""

    name: str
    run: Callable[[bytes], str | None]
    bound: Callable[[int], int]
    inputs: int = 0
    decoded: int = 0
    slowest: float = 0.0
    highest: int = 0
    smallest: dict[str, bytes] = field(default_factory=dict)

    def try_one(self, data: bytes) -> None:
        """Give one input to the decoder. Raises if it costs too much, or fails otherwise than a decoder may."""
        said: list[str | None] = []
        cost = measure(lambda: said.append(self.run(data)))
        limit = self.bound(len(data))
        if cost.peak > limit:  # once more: what the process makes once, or another thread, is not this input's doing
            cost = measure(lambda: said.append(self.run(data)))
        assert cost.peak <= limit, f"{self.name}: {cost.peak} bytes for an input of {len(data)}, {limit} is the bound"
        self.inputs += 1
        self.decoded += said[0] is None
        self.slowest, self.highest = max(self.slowest, cost.seconds), max(self.highest, cost.peak)
        kind = kind_of(said[0])
        if len(data) < len(self.smallest.get(kind, data + b"\0")):
            self.smallest[kind] = data

    def report(self) -> str:
        return (
            f"{self.name}: {self.inputs} inputs, {self.decoded} decoded, {len(self.smallest)} outcomes, "
            f"slowest {self.slowest * 1000:.0f} ms, highest {self.highest / 1024:.0f} KiB"
        )


def kind_of(message: str | None) -> str:
    """A refusal without its numbers, names and bytes, so that equal refusals are equal texts."""
    if message is None:
        return "decoded"
    short = re.sub(r"b?'(?:[^'\\]|\\.)*'|b?\"(?:[^\"\\]|\\.)*\"", "…", message)
    short = re.sub(r"\b(?:0x[0-9a-f]+|[0-9a-f]{8,})\b|-?\d+(?:\.\d+)?", "#", short)
    return re.sub(r"#(?:, #)*,?", "#", short)


def hunt(found: Hunt, inputs: st.SearchStrategy[bytes], count: int) -> None:
    """Try inputs, `count` of them or for SECONDS."""

    def one(data: bytes) -> None:
        found.try_one(data)

    with watching():
        if not SECONDS:
            examples(count)(given(inputs)(one))()
            return
        end = time.monotonic() + SECONDS
        number = 0
        quick = settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        while time.monotonic() < end:
            try:
                hypothesis.seed(number)(quick(again(inputs, one)))()
            except BaseException as error:
                error.add_note(f"{found.name}: seed {number}")
                raise
            number += 1
    print(found.report())  # noqa: T201  the figures of a long hunt
    if KEEP:
        keep(found, Path(KEEP))


def again(inputs: st.SearchStrategy[bytes], one: Callable[[bytes], None]) -> Callable[[], None]:
    """A property of its own for each round: one function takes one seed only."""

    def another(data: bytes) -> None:
        one(data)

    return given(inputs)(another)


def file_name(outcome: str) -> str:
    """What the smallest input of an outcome is called."""
    return re.sub(r"[^a-z0-9#]+", "-", outcome.lower()).strip("-").replace("#", "n")[:80] + ".bin"


def keep(found: Hunt, folder: Path) -> None:
    """Write the smallest input of each outcome."""
    place = folder / found.name
    place.mkdir(parents=True, exist_ok=True)
    for outcome, data in found.smallest.items():
        path = place / file_name(outcome)
        is_better = len(data) < path.stat().st_size if path.exists() else len(list(place.iterdir())) < MOST_KEPT
        if len(data) <= LARGEST_KEPT and is_better:
            path.write_bytes(data)
