"""ZarrStore against the other stores of zarr-python: the same arrays through each, in one process, in turns.

It takes the processor's time, of all threads, so that other programs count for nothing; only removing is by the clock.
zarr-python's own work is in every figure: MemoryStore, which does nothing beside it, shows how much that is.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.core.buffer import cpu
from zarr.core.sync import sync
from zarr.storage import LocalStore, MemoryStore, ZipStore

from arrayfs import ZarrStore
from benchlib.dataset import ChunkSet

READ_ONE, READ_SLICE, READ_AGAIN = "read chunk by chunk", "read in one slice", "read again, in one slice"
WRITE_ONE, WRITE_SLICE = "write chunk by chunk", "write in one slice"
MEASUREMENTS = (READ_ONE, READ_SLICE, READ_AGAIN, WRITE_ONE, WRITE_SLICE)
# As fast as MemoryStore, when reading.
GOAL = 0.8
SETS = (ChunkSet("1 MiB", 32, 1 << 20), ChunkSet("16 KiB", 1000, 16 << 10))
REMOVED, REMOVE_GOAL = 20_000, 0.1

Results = dict[tuple[str, str, str], list[float]]


class Kind:
    """A store as it is written, and as somebody opens it later to read."""

    def __init__(self, name: str, write: Callable[[Path], Store], read: Callable[[Path, Store], Store]) -> None:
        self.name = name
        self.write = write
        self.read = read

    def finish(self, store: Store) -> None:
        """Have all of it where a reader finds it."""
        if self.name == "Icechunk":
            store.session.commit("written")  # type: ignore[attr-defined]
        elif self.name != "MemoryStore":
            store.close()


def kinds() -> Iterator[Kind]:
    """The stores, Icechunk where it is installed."""
    yield Kind("MemoryStore", lambda folder: MemoryStore({}), lambda folder, store: store)
    for name, codec in (("ZarrStore none", None), ("ZarrStore lz4", "lz4")):
        yield Kind(
            name,
            lambda folder, codec=codec: ZarrStore(folder / "s.af", codec=codec),  # type: ignore[misc]
            lambda folder, store: ZarrStore(folder / "s.af", read_only=True),
        )
    yield Kind("LocalStore", LocalStore, lambda folder, store: LocalStore(folder))
    yield Kind(
        "ZipStore",
        lambda folder: ZipStore(folder / "s.zip", mode="w"),
        lambda folder, store: ZipStore(folder / "s.zip", mode="r"),
    )
    if importlib.util.find_spec("icechunk") is not None:
        yield Kind("Icechunk", _icechunk, _icechunk_again)


def _icechunk(folder: Path) -> Store:
    return _repository(folder).writable_session("main").store


def _icechunk_again(folder: Path, store: Store) -> Store:
    return _repository(folder).readonly_session("main").store


def _repository(folder: Path) -> Any:
    import icechunk

    return icechunk.Repository.open_or_create(icechunk.local_filesystem_storage(str(folder / "ice")))


def stores(folder: Path, rounds: int) -> str:
    """The tables as text."""
    results: Results = {}
    known = list(kinds())
    for number in range(rounds):
        for chunks in SETS:
            first = number % len(known)
            for kind in known[first:] + known[:first]:
                place = folder / "store"
                place.mkdir()
                for measurement, seconds in Case(kind, chunks, place).measure().items():
                    results.setdefault((chunks.label, measurement, kind.name), []).append(seconds)
                shutil.rmtree(place)
    return "\n".join([*_table(results, [kind.name for kind in known]), "", _removing(folder)])


@dataclass(frozen=True, slots=True)
class Case:
    """One set of chunks in one store."""

    kind: Kind
    chunks: ChunkSet
    folder: Path

    def measure(self) -> dict[str, float]:
        """Processor seconds of each measurement. Raises RuntimeError if other values are read than were written."""
        step, count = self.chunks.size // 4, self.chunks.count
        values = np.concatenate([np.frombuffer(self.chunks.content(number), "f4") for number in range(count)])
        parts = [slice(number * step, (number + 1) * step) for number in range(count)]
        store = self.kind.write(self.folder)
        arrays = [self._array(store, name, len(values), step) for name in ("a", "b")]
        found = {
            WRITE_ONE: _time_of(lambda: [arrays[0].__setitem__(part, values[part]) for part in parts]),
            WRITE_SLICE: _time_of(lambda: arrays[1].__setitem__(slice(None), values)),
        }
        self.kind.finish(store)
        store = self.kind.read(self.folder, store)
        one, other = (zarr.open_array(store, path=name, mode="r") for name in ("a", "b"))
        found[READ_ONE] = _time_of(lambda: [one[part] for part in parts])
        found[READ_SLICE] = _time_of(lambda: other[:])
        found[READ_AGAIN] = _time_of(lambda: other[:])
        if not (np.array_equal(one[:], values) and np.array_equal(other[:], values)):
            raise RuntimeError(f"{self.kind.name}: other values were read than were written")
        store.close()
        return found

    @staticmethod
    def _array(store: Store, name: str, size: int, step: int) -> zarr.Array[Any]:
        return zarr.create_array(store, name=name, shape=(size,), chunks=(step,), dtype="f4", compressors=None)


def _time_of(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _table(results: Results, names: list[str]) -> Iterator[str]:
    yield f"{'processor time for a chunk, µs':36}" + "".join(f"{name:>22}" for name in names)
    for chunks in SETS:
        for measurement in MEASUREMENTS:
            base = results[chunks.label, measurement, names[0]]
            cells = []
            for name in names:
                seconds = results[chunks.label, measurement, name]
                ratios = [one / other for one, other in zip(base, seconds, strict=True)]
                cells.append(f"{median(seconds) / chunks.count * 1e6:>13,.0f} ({median(ratios):>5.2f})")
            yield f"{chunks.label + ', ' + measurement:36}" + "".join(f"{cell:>22}" for cell in cells)
    yield f"In brackets: times as fast as MemoryStore; goal of ZarrStore: {GOAL}"


def _removing(folder: Path) -> str:
    """Removing an array of many small chunks, and how many files it was."""
    place = folder / "remove"
    place.mkdir()
    store = ZarrStore(place / "s.af")
    zarr.create_array(store, name="a", shape=(REMOVED,), chunks=(1,), dtype="u1", compressors=None)
    one = cpu.Buffer.from_bytes(b"1")
    for number in range(REMOVED):
        store.set_sync(f"a/c/{number}", one)
    store.commit()
    files = len([name for name in os.listdir(place) if name.endswith(".af")])
    start = time.perf_counter()
    sync(store.delete_dir("a"))
    seconds = time.perf_counter() - start
    store.close()
    return f"{REMOVED} chunks: {files} files; removed in {seconds * 1e3:.1f} ms (goal: {REMOVE_GOAL * 1e3:.0f} ms)"
