"""What ten thousand versions cost: opening, reading against the same array in one layer, and each further commit.

Each commit writes one chunk of 16 KiB that does not pack, and changes one of three attributes. Every opening is a new
process that may have 1024 files open, fewer than there are layers.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import AttributeValue, DType
from benchlib.dataset import ARRAY, WRITTEN_AT_NS

HERE = Path(__file__).parent
CHUNK = 16 << 10
ROWS = 10
READS = 1000
# Goals: seconds of an opening with 10,000 layers, bytes of a commit beside its chunk.
OPEN, BESIDE = 2.0, 4 << 10


@dataclass(frozen=True, slots=True)
class Commit:
    """seconds: by the clock and by the processor; size: bytes added to the container."""

    seconds: float
    processor: float
    size: int


def versions(folder: Path, count: int, rounds: int) -> str:
    """The tables as text. count: commits; rounds: openings of each container."""
    many, one = folder / "many" / "v.af", folder / "one" / "v.af"
    commits = _commit_one_by_one(many, count)
    _commit_at_once(one, count)
    reads = min(READS, count)
    # in turns, so that a busy moment meets both
    pairs = [(_read(one, reads, seed), _read(many, reads, seed)) for seed in range(rounds)]
    return "\n".join([*_curve(commits), "", *_readings(count, *zip(*pairs, strict=True))])


def _commit_one_by_one(path: Path, count: int) -> list[Commit]:
    commits = []
    with _created(path, count) as container:
        array = container.get(ARRAY)
        for number in range(count):
            container.put(array, (number,), _content(number), WRITTEN_AT_NS)
            container.set_attributes(array, _attributes(number))
            start, processor = time.perf_counter(), time.process_time()
            report = container.commit(f"step {number}")
            if report is None:
                raise RuntimeError(f"commit {number} found nothing to commit")
            passed = time.perf_counter() - start, time.process_time() - processor
            commits.append(Commit(*passed, report.size))
    return commits


def _commit_at_once(path: Path, count: int) -> None:
    with _created(path, count) as container:
        for number in range(count):
            container.put(container.get(ARRAY), (number,), _content(number), WRITTEN_AT_NS)


def _created(path: Path, count: int) -> Container:
    path.parent.mkdir()
    Container.create(str(path))
    container = Container.open(str(path), "a")
    length = CHUNK // 4
    container.define(ARRAY, ArraySpec(DType("Float32"), (count * length,), (length,), ("x",)), _attributes(-1))
    return container


def _content(number: int) -> bytes:
    return np.random.default_rng(number).bytes(CHUNK)


def _attributes(step: int) -> dict[str, AttributeValue]:
    return {
        "units": attribute_from_python("String", "K"),
        "long_name": attribute_from_python("String", "air temperature at two metres"),
        "step": attribute_from_python("Int64", step),
    }


def _read(path: Path, count: int, seed: int) -> dict[str, float]:
    command = [sys.executable, str(HERE / "version_reader.py"), str(path), str(count), str(seed)]
    os.sync()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    took: dict[str, float] = json.loads(done.stdout)
    return took


def _curve(commits: list[Commit]) -> Iterator[str]:
    """Medians of so many commits at a time, and the largest one's bytes."""
    yield f"{'commits':>16}{'ms':>10}{'ms, processor':>16}{'bytes':>10}{'most bytes':>12}"
    step = max(len(commits) // ROWS, 1)
    for first in range(0, len(commits), step):
        some = commits[first : first + step]
        seconds, processor = (median(getattr(one, name) for one in some) * 1e3 for name in ("seconds", "processor"))
        size = median(one.size for one in some)
        label = f"{first + 1}-{first + len(some)}"
        yield f"{label:>16}{seconds:>10.2f}{processor:>16.2f}{size:>10,.0f}{max(one.size for one in some):>12,}"
    most = max(one.size for one in commits) - CHUNK
    yield f"beside the chunk: {most:,} bytes at most; goal {BESIDE:,}: {'ok' if most <= BESIDE else 'not reached'}"


def _readings(count: int, one: tuple[dict[str, float], ...], many: tuple[dict[str, float], ...]) -> Iterator[str]:
    yield f"{'':24}{'one layer':>14}{f'{count:,} layers':>16}{'times as long':>24}"
    for label, unit, factor in (
        ("open", "s", 1),
        ("open, processor", "s", 1),
        ("first chunk", "ms", 1e3),
        ("cold", "µs", 1e6),
        ("again", "µs", 1e6),
    ):
        old, new = [took[label] for took in one], [took[label] for took in many]
        ratios = [after / before for before, after in zip(old, new, strict=True)]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        shown = [f"{median(times) * factor:.3f} {unit}" for times in (old, new)]
        yield f"{label:24}{shown[0]:>14}{shown[1]:>16}{spread:>24}"
    opened = median(took["open"] for took in many)
    yield f"open: goal {OPEN} s for 10,000 layers: {'ok' if opened <= OPEN else 'not reached'}"
