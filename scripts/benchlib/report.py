"""From seconds to the tables: medians, files and megabytes per second, and the ratios next to their goals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from benchlib.dataset import LARGE, SMALL, ChunkSet
from benchlib.measure import AGAIN, AT_RANDOM, FIND, IN_ORDER, LIST, LIST_COLD
from benchlib.systems import BINDFS, PLAIN, SQUASHFUSE

# (chunk set, measurement, system) -> seconds of each round
Results = dict[tuple[str, str, str], list[float]]


@dataclass(frozen=True, slots=True)
class Goal:
    """`arrayfs` does a measurement at least `factor` times as fast as `peer`."""

    chunks: ChunkSet
    measurement: str
    factor: float
    peer: str


GOALS = (
    Goal(LARGE, IN_ORDER, 1.0, PLAIN),
    Goal(LARGE, IN_ORDER, 1.2, SQUASHFUSE),
    Goal(LARGE, AT_RANDOM, 0.6, PLAIN),
    Goal(LARGE, AGAIN, 0.9, SQUASHFUSE),
    Goal(SMALL, IN_ORDER, 1.5, BINDFS),
    Goal(SMALL, AT_RANDOM, 1.1, BINDFS),
    Goal(SMALL, AGAIN, 2.0, BINDFS),
    Goal(SMALL, LIST_COLD, 1.0, PLAIN),
)

MEASUREMENTS = (IN_ORDER, AT_RANDOM, AGAIN, LIST_COLD, LIST, FIND)


def report(results: Results) -> str:
    """Both tables as text."""
    return "\n".join([*_rates(results), "", *_ratios(results)])


def _rates(results: Results) -> Iterator[str]:
    systems = _systems(results)
    yield f"{'files/s (MB/s)':32}" + "".join(f"{system:>21}" for system in systems)
    for chunks in (LARGE, SMALL):
        for measurement in MEASUREMENTS:
            cells = [results.get((chunks.label, measurement, system), []) for system in systems]
            if any(cells):
                texts = [_rate(chunks, measurement, seconds) for seconds in cells]
                yield f"{chunks.label + ' ' + measurement:32}" + "".join(f"{text:>21}" for text in texts)


def _rate(chunks: ChunkSet, measurement: str, seconds: list[float]) -> str:
    if not seconds:
        return "-"
    files = chunks.count / median(seconds)
    if measurement in (LIST_COLD, LIST, FIND):
        return f"{files:,.0f}"
    return f"{files:,.0f} ({files * chunks.size / 1e6:,.0f})"


def _ratios(results: Results) -> Iterator[str]:
    systems = [system for system in _systems(results) if system.startswith("arrayfs")]
    yield f"{'times as fast as':48}{'goal':>6}" + "".join(f"{system:>24}" for system in systems)
    for goal in GOALS:
        label = f"{goal.chunks.label} {goal.measurement} / {goal.peer}"
        texts = [_ratio(results, goal, system) for system in systems]
        yield f"{label:48}{goal.factor:>6.1f}" + "".join(f"{text:>24}" for text in texts)


def _ratio(results: Results, goal: Goal, system: str) -> str:
    """The median over the rounds of the ratio within each round, with the lowest and the highest."""
    ours = results.get((goal.chunks.label, goal.measurement, system), [])
    peers = results.get((goal.chunks.label, goal.measurement, goal.peer), [])
    ratios = [peer / our for peer, our in zip(peers, ours, strict=True)] if peers and ours else []
    if not ratios:
        return "-"
    met = "ok" if median(ratios) >= goal.factor else "below"
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) {met}"


def _systems(results: Results) -> list[str]:
    return list(dict.fromkeys(system for _, _, system in results))
