"""The Python API beside h5py without compression: the same values, chunk by chunk and as a whole, in one process.

The kernel has all files in memory. Writing ends when the values would survive a loss of power, in both. Seconds of the
processor are shown too: on a busy machine they say more than those of the clock, but two threads count twice.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import arrayfs
from benchlib.dataset import ChunkSet

CHUNKS = (ChunkSet("16 KiB", 4000, 16 << 10), ChunkSet("1 MiB", 64, 1 << 20))
CODECS: dict[str, str | None] = {"arrayfs none": None, "arrayfs lz4": "lz4"}
PEER = "h5py"
# The fast codec that every h5py has, beside lz4: with it both compress.
PACKED_PEER = "h5py lzf"
REMOVED = 20_000
# How many times as fast as h5py each is to be.
GOALS = {
    ("16 KiB", "read, chunk by chunk", "arrayfs none"): 0.5,
    ("16 KiB", "read, chunk by chunk", "arrayfs lz4"): 0.3,
    ("16 KiB", "read, whole", "arrayfs lz4"): 1.0,
    ("1 MiB", "read, whole", "arrayfs lz4"): 1.0,
    **{
        (size, way, system): 1.0
        for size in ("16 KiB", "1 MiB")
        for way in ("write, chunk by chunk", "write, whole")
        for system in CODECS
    },
}


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of the clock and of the processor."""

    clock: float
    processor: float


Measurements = dict[tuple[str, str], list[Spent]]


def apis(folder: Path, rounds: int) -> str:
    """A table: time for a chunk, and how many times as fast as h5py."""
    if importlib.util.find_spec("h5py") is None:
        sys.exit("bench: missing: pip install h5py")
    lines = [f"{'chunks':8}{'':24}{'':14}{'a chunk':>12}{'processor':>12}{'as fast':>9}{'by processor':>14}{'goal':>6}"]
    for chunks in CHUNKS:
        values = np.frombuffer(b"".join(map(chunks.content, range(chunks.count))), "<f4").reshape(chunks.count, -1)
        found: Measurements = {}
        for number in range(rounds):
            _round(folder, values, number, found)
        lines += _lines(chunks, found)
    found = {}
    for _ in range(rounds):
        _remove(folder, found)
    lines.append(f"removing an array of {REMOVED:,} chunks and committing, goal 0.1 s:")
    lines += [f"  {system:16}{median(one.clock for one in spent):.4f} s" for (_, system), spent in found.items()]
    return "\n".join(lines)


def _round(folder: Path, values: np.ndarray, number: int, found: Measurements) -> None:
    systems = [PEER, PACKED_PEER, *CODECS]
    first = number % len(systems)
    for system in systems[first:] + systems[:first]:
        place = folder / "api"
        place.mkdir()
        for way in ("chunk by chunk", "whole"):
            file = place / f"{way[0]}.af"
            write = _write_arrayfs if system in CODECS else _write_h5py
            _note(found, f"write, {way}", system, lambda w=write, f=file, s=system, y=way: w(f, values, s, y))
        for way in ("chunk by chunk", "whole"):
            with _opened(place / "w.af", system) as opened:
                array = opened["t"]
                _note(found, f"read, {way}", system, lambda a=array, y=way: _read(a, len(values), y))
        shutil.rmtree(place)


def _note(found: Measurements, what: str, system: str, measure: Callable[[], object]) -> None:
    clock, processor = time.perf_counter(), time.process_time()
    measure()
    spent = Spent(time.perf_counter() - clock, time.process_time() - processor)
    found.setdefault((what, system), []).append(spent)


def _opened(file: Path, system: str) -> Any:
    if system in CODECS:
        return arrayfs.open(file)
    import h5py

    return h5py.File(file, "r")


def _read(array: Any, count: int, way: str) -> None:
    if way == "whole":
        array[...]
        return
    for number in range(count):
        array[number]


def _put(array: Any, values: np.ndarray, way: str) -> None:
    if way == "whole":
        array[...] = values
        return
    for number in range(len(values)):
        array[number] = values[number]


def _write_arrayfs(file: Path, values: np.ndarray, system: str, way: str) -> None:
    with arrayfs.open(file, "x", codec=CODECS[system]) as container:
        _put(container.create("t", shape=values.shape, chunks=(1, values.shape[1]), dtype="f4"), values, way)


def _write_h5py(file: Path, values: np.ndarray, system: str, way: str) -> None:
    import h5py

    codec = "lzf" if system == PACKED_PEER else None
    with h5py.File(file, "w") as opened:
        made = opened.create_dataset(
            "t", shape=values.shape, chunks=(1, values.shape[1]), dtype="f4", compression=codec
        )
        _put(made, values, way)
    written = os.open(file, os.O_RDONLY)
    os.fsync(written)
    os.close(written)


def _remove(folder: Path, found: Measurements) -> None:
    place = folder / "api"
    place.mkdir()
    with arrayfs.open(place / "r.af", "x") as container:
        container.create("t", shape=(REMOVED, 64), chunks=(1, 64), dtype="u1")[...] = 1
    with arrayfs.open(place / "r.af", "a") as container:

        def remove() -> None:
            del container["t"]
            container.commit()

        _note(found, "", "arrayfs", remove)
    shutil.rmtree(place)


def _lines(chunks: ChunkSet, found: Measurements) -> list[str]:
    lines = []
    for (what, system), spent in sorted(found.items(), key=lambda one: one[0][0]):
        clock, processor = (median(getattr(one, side) for one in spent) for side in ("clock", "processor"))
        peer = found[what, PEER]
        as_fast = median(other.clock / one.clock for other, one in zip(peer, spent, strict=True))
        by_processor = median(other.processor / one.processor for other, one in zip(peer, spent, strict=True))
        goal = GOALS.get((chunks.label, what, system))
        lines.append(
            f"{chunks.label:8}{what:24}{system:14}{clock / chunks.count * 1e6:>9.1f} µs"
            f"{processor / chunks.count * 1e6:>9.1f} µs{as_fast:>9.2f}{by_processor:>14.2f}"
            f"{'' if goal is None else goal:>6}"
        )
    return lines
