"""Compaction beside `cp`: a container of ten versions, no block of which needs a change, merged into one.

What `cp` alone does is not all that has to be done: the copy has to survive a loss of power, and the originals go. Both
are shown. Each measurement has files of its own, which the kernel has in memory.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.format.model import DType
from benchlib.steal import MOST, watched

CHUNK = 1 << 20
COMMITS = 10
# Says how much memory it took: what the kernel tells a parent counts what the parent had when it forked.
COMPACT = """
import sys
from arrayfs.container.compact import compact
compact(sys.argv[1])
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


def compacting(folder: Path, rounds: int, mebibytes: int = 2048) -> str:
    """A table: seconds of each, how many times as fast as `cp`, and the memory that it took."""
    original = folder / "original"
    _make(original, mebibytes)
    peaks: list[int] = []
    runs: dict[str, Callable[[Path], float]] = {
        "cp": _cp, "cp, sync and rm": _cp_sync_rm, "arrayfs compact": partial(_compact, peaks),
    }  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in sorted(runs, key=lambda name: (list(runs).index(name) + number) % len(runs)):
            copy = folder / "copy"
            shutil.copytree(original, copy)
            os.sync()
            found = watched(lambda run=runs[name], copy=copy: run(copy))  # type: ignore[misc]
            seconds[name].append(found.seconds)
            if found.spoiled:
                print(f"{name}: the host took {found.stolen:.0%} of the time, more than {MOST:.0%}")
            shutil.rmtree(copy)
    lines = [f"{f'{mebibytes} MiB of {COMMITS} versions':32}{'seconds':>12}{'times as fast as cp':>24}"]
    lines += [
        f"{name:32}{median(times):>12.1f}{median(seconds['cp']) / median(times):>24.2f}"
        for name, times in seconds.items()
    ]
    ratio = median(seconds["cp, sync and rm"]) / median(seconds["arrayfs compact"])
    return "\n".join([*lines, f"against cp, sync and rm: {ratio:.2f}; memory at most {max(peaks)} MiB"])


def _make(folder: Path, mebibytes: int) -> None:
    folder.mkdir()
    url = str(folder / "t.af")
    Container.create(url)
    rng = np.random.default_rng(1)
    with Container.open(url, "a", ContainerOptions(PoolOptions(codec=None))) as container:
        array = container.define("a", ArraySpec(DType("UInt8"), (mebibytes * CHUNK,), (CHUNK,), ()))
        for number in range(mebibytes):
            container.put(array, (number,), rng.bytes(CHUNK), number)
            if (number + 1) % (mebibytes // COMMITS) == 0:
                container.commit()


def _cp(folder: Path) -> float:
    return _seconds(["cp", *map(str, sorted(folder.glob("*.af"))), str(_elsewhere(folder))])


def _cp_sync_rm(folder: Path) -> float:
    there = _elsewhere(folder)
    return _seconds(["sh", "-c", f"cp {folder}/*.af {there} && sync {there}/*.af && rm {folder}/*.af"])


def _compact(peaks: list[int], folder: Path) -> float:
    """peaks: gets the MiB that it took."""
    start = time.monotonic()
    command = [sys.executable, "-c", COMPACT, str(folder / "t.af")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = time.monotonic() - start
    peaks.append(int(done.stdout) // 1024)
    return seconds


def _elsewhere(folder: Path) -> Path:
    there = folder / "elsewhere"
    there.mkdir()
    return there


def _seconds(command: list[str]) -> float:
    start = time.monotonic()
    subprocess.run(command, check=True)
    return time.monotonic() - start
