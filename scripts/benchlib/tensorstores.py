"""TensorStore, which syncs every file and directory, on a mount against the same on the disk below it, side by side."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchlib.writing import HERE, mounted_empty, timed


@dataclass(frozen=True, slots=True)
class Case:
    """So many chunks of so many bytes. how: as `tensorstore_writer.py` has it; goal: times as fast as on the disk."""

    count: int
    size: int
    how: str
    goal: float

    @property
    def label(self) -> str:
        size = f"{self.size >> 20} MiB" if self.size >= 1 << 20 else f"{self.size >> 10} KiB"
        return f"{self.count} x {size}, {'one by one' if self.how == 'one' else 'many in flight'}"


CASES = (
    Case(1000, 16 << 10, "one", 0.7),
    Case(4000, 16 << 10, "many", 1.0),
    Case(64, 1 << 20, "one", 0.7),
    Case(256, 1 << 20, "many", 1.0),
)


def tensorstores(folder: Path, rounds: int) -> str:
    """A table: chunks per second on the disk and on the mount, and how many times as fast the mount is."""
    if importlib.util.find_spec("tensorstore") is None:
        sys.exit("bench: missing: pip install tensorstore")
    lines = [f"{'TensorStore, zarr3':32}{'disk':>14}{'mount':>14}{'goal':>6}{'times as fast':>24}"]
    for case in CASES:
        pairs = [_pair(case, folder, number) for number in range(rounds)]
        rates = [case.count / median(times) for times in zip(*pairs, strict=True)]
        ratios = [disk / mount for disk, mount in pairs]
        spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        lines.append(f"{case.label:32}{rates[0]:>12,.0f}/s{rates[1]:>12,.0f}/s{case.goal:>6.1f}{spread:>24}")
    return "\n".join(lines)


def _pair(case: Case, folder: Path, number: int) -> tuple[float, float]:
    """Seconds on the disk and on the mount; who comes first takes turns."""
    runs = (_on_the_disk, _on_the_mount) if number % 2 else (_on_the_mount, _on_the_disk)
    seconds = {run: run(case, folder) for run in runs}
    return seconds[_on_the_disk], seconds[_on_the_mount]


def _on_the_disk(case: Case, folder: Path) -> float:
    place = folder / "plain"
    place.mkdir()
    try:
        return _write(case, place)
    finally:
        shutil.rmtree(place)


def _on_the_mount(case: Case, folder: Path) -> float:
    with mounted_empty(folder) as mountpoint:
        return _write(case, mountpoint)


def _write(case: Case, place: Path) -> float:
    os.sync()
    program = HERE / "tensorstore_writer.py"
    return timed(program, str(place / "a"), str(case.count), str(case.size // 4), case.how)
