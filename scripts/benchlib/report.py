"""From seconds to the tables: medians, files and megabytes per second, the ratios next to their goals, and how much of
the time was stolen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchlib.dataset import LARGE, SMALL, ChunkSet
from benchlib.measure import AGAIN, AT_RANDOM, FIND, IN_ORDER, LIST, LIST_COLD
from benchlib.steal import MOST, TRIES, Measured
from benchlib.systems import BINDFS, PLAIN, SQUASHFUSE

# (chunk set, measurement, system) -> each round's
Results = dict[tuple[str, str, str], list[Measured]]


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
LABEL_WIDTH = 44


def report(
    results: Results,
    goals: Sequence[Goal] = GOALS,
    sets: Sequence[ChunkSet] = (LARGE, SMALL),
    measurements: Sequence[str] = MEASUREMENTS,
) -> str:
    """The tables as text."""
    rates = _rates(results, sets, measurements)
    return "\n".join([*rates, "", *_ratios(results, goals), "", *_stolen(results)])


def _rates(results: Results, sets: Sequence[ChunkSet], measurements: Sequence[str]) -> Iterator[str]:
    systems = _systems(results)
    yield f"{'files/s (MB/s)':{LABEL_WIDTH}}" + "".join(f"{system:>21}" for system in systems)
    for chunks in sets:
        for measurement in measurements:
            cells = [results.get((chunks.label, measurement, system), []) for system in systems]
            if any(cells):
                texts = [_rate(chunks, measurement, rounds) for rounds in cells]
                yield f"{chunks.label + ' ' + measurement:{LABEL_WIDTH}}" + "".join(f"{text:>21}" for text in texts)


def _rate(chunks: ChunkSet, measurement: str, rounds: list[Measured]) -> str:
    if not rounds:
        return "-"
    files = chunks.count / median(found.seconds for found in rounds)
    if measurement in (LIST_COLD, LIST, FIND):
        return f"{files:,.0f}"
    return f"{files:,.0f} ({files * chunks.size / 1e6:,.0f})"


def _ratios(results: Results, goals: Sequence[Goal]) -> Iterator[str]:
    systems = [system for system in _systems(results) if system.startswith("arrayfs")]
    yield f"{'times as fast as':56}{'goal':>6}" + "".join(f"{system:>24}" for system in systems)
    for goal in goals:
        label = f"{goal.chunks.label} {goal.measurement} / {goal.peer}"
        texts = [_ratio(results, goal, system) for system in systems]
        yield f"{label:56}{goal.factor:>6.2f}" + "".join(f"{text:>24}" for text in texts)


def _ratio(results: Results, goal: Goal, system: str) -> str:
    """The median over the rounds of the ratio within each round, with the lowest and the highest; rounds with a spoiled
    measurement are left out.
    """
    ours = results.get((goal.chunks.label, goal.measurement, system), [])
    peers = results.get((goal.chunks.label, goal.measurement, goal.peer), [])
    pairs = list(zip(peers, ours, strict=True)) if peers and ours else []
    ratios = [peer.seconds / our.seconds for peer, our in pairs if not peer.spoiled and not our.spoiled]
    if not ratios:
        return "stolen" if pairs else "-"
    met = "ok" if median(ratios) >= goal.factor else "below"
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) {met}"


def _stolen(results: Results) -> Iterator[str]:
    """The shares of stolen time, and each round's where it stayed too much."""
    shares = sorted(found.stolen for rounds in results.values() for found in rounds)
    spoiled = sum(found.spoiled for rounds in results.values() for found in rounds)
    yield (
        f"stolen by the host: {median(shares):.1%} of a measurement's time, {shares[-1]:.1%} at most; "
        f"more than {MOST:.0%} at each of {TRIES} tries: {spoiled} of {len(shares)} measurements"
    )
    for (label, measurement, system), rounds in results.items():
        if any(found.spoiled for found in rounds):
            texts = " ".join(f"{found.stolen:.0%}" for found in rounds)
            yield f"  {label} {measurement}, {system}: {texts}"


def _systems(results: Results) -> list[str]:
    return list(dict.fromkeys(system for _, _, system in results))
