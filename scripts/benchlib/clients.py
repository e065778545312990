"""What clients do all day, on a mount, on the disk below it and through bindfs: zarr-python's LocalStore writing and
reading chunks, files written under another name and renamed, `cp -r` in and out, `rm -r`.

The mount is as `arrayfs mount` makes it, journal and all. What is read, copied out or removed was committed, mounted
anew, and is in none of the kernel's caches.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from arrayfs.container.container import Container
from arrayfs.fuse.unmount import umount
from benchlib.dataset import ARRAY, ChunkSet
from benchlib.measure import SETTLE, drop_caches
from benchlib.report import Goal, Results, report
from benchlib.steal import Measured, watched
from benchlib.systems import BINDFS
from benchlib.writing import HERE, timed

DISK = "disk"
MOUNT = "arrayfs"
WRITE_ONE = "zarr-python writes, chunk by chunk"
WRITE_SLICES = "zarr-python writes, slices"
READ_ONE = "zarr-python reads, chunk by chunk"
READ_SLICES = "zarr-python reads, slices"
RENAME = "temporary name, rename"
COPY_IN = "cp -r in"
COPY_OUT = "cp -r out"
REMOVE = "rm -r"
MEASUREMENTS = (WRITE_ONE, WRITE_SLICES, READ_ONE, READ_SLICES, RENAME, COPY_IN, COPY_OUT, REMOVE)


def clients(folder: Path, count: int, rounds: int) -> str:
    """The report on `count` chunks of 16 KiB. Exits where zarr-python or bindfs is missing."""
    if importlib.util.find_spec("zarr") is None:
        sys.exit("bench: missing: pip install zarr")
    chunks = ChunkSet("16 KiB", count, 16 << 10)
    source = folder / "source"
    source.mkdir()
    for number in range(count):
        (source / str(number)).write_bytes(chunks.content(number))
    results: Results = {}
    for number in range(rounds):
        print(f"load before the round: {Path('/proc/loadavg').read_text().strip()}", flush=True)
        for system in _in_turn(number):
            for measurement, found in _measure(system, folder, source, chunks).items():
                results.setdefault((chunks.label, measurement, system), []).append(found)
        print(f"\nafter round {number + 1}\n\n{_report(results, chunks)}\n", flush=True)
    return _report(results, chunks)


def _in_turn(number: int) -> list[str]:
    systems = [DISK, BINDFS, MOUNT]
    first = number % len(systems)
    return systems[first:] + systems[:first]


def _report(results: Results, chunks: ChunkSet) -> str:
    goals = [
        *(Goal(chunks, which, factor, DISK) for which, factor in ((WRITE_ONE, 0.75), (WRITE_SLICES, 0.9))),
        *(Goal(chunks, which, factor, DISK) for which, factor in ((READ_ONE, 0.7), (READ_SLICES, 0.9))),
        *(Goal(chunks, which, 1.1, BINDFS) for which in (WRITE_ONE, WRITE_SLICES, READ_ONE, READ_SLICES)),
        Goal(chunks, RENAME, 1.5, BINDFS),
        *(Goal(chunks, which, 1.0, BINDFS) for which in (REMOVE, COPY_IN, COPY_OUT)),
    ]
    return report(results, goals, (chunks,), MEASUREMENTS)


def _measure(system: str, folder: Path, source: Path, chunks: ChunkSet) -> dict[str, Measured]:
    """All measurements of one system; each kind of writing into a folder of its own."""
    found = {}
    with _shown(system, folder) as shown:
        found[WRITE_ONE] = watched(lambda: _zarr(shown.path, chunks, "write", "one"))
        shown.again()
        found[READ_ONE] = watched(lambda: _zarr(shown.path, chunks, "read", "one"))
        shown.again()
        found[READ_SLICES] = watched(lambda: _zarr(shown.path, chunks, "read", "slices"))
        shown.again()
        found[REMOVE] = watched(lambda: _run("rm", "-r", str(shown.path / ARRAY)))
    with _shown(system, folder) as shown:
        found[WRITE_SLICES] = watched(lambda: _zarr(shown.path, chunks, "write", "slices"))
    with _shown(system, folder) as shown:
        found[RENAME] = watched(
            lambda: timed(HERE / "writer.py", str(source), str(shown.path), str(chunks.count), "rename")
        )
    with _shown(system, folder) as shown:
        found[COPY_IN] = watched(lambda: _run("cp", "-r", str(source), str(shown.path / "copy")))
        shown.again()
        found[COPY_OUT] = watched(lambda: _run("cp", "-r", str(shown.path / "copy"), str(folder / "out")))
        shutil.rmtree(folder / "out")
    return found


class _Shown:
    """A folder of one of the systems."""

    def __init__(self, path: Path, mount: Callable[[], object], unmount: Callable[[], object]) -> None:
        self.path = path
        self._mount = mount
        self.end = unmount

    def begin(self) -> None:
        """Mount, with everything else written out first."""
        os.sync()
        self._mount()

    def again(self) -> None:
        """Unmount (which commits), have the kernel forget what it knows, mount."""
        self.end()
        drop_caches()
        self._mount()
        time.sleep(SETTLE)


@contextlib.contextmanager
def _shown(system: str, folder: Path) -> Iterator[_Shown]:
    below, mountpoint = folder / "below", folder / "m"
    below.mkdir()
    shown = _systems(below, mountpoint)[system]
    shown.begin()
    try:
        yield shown
    finally:
        shown.end()
        shutil.rmtree(below)


def _systems(below: Path, mountpoint: Path) -> dict[str, _Shown]:
    container = below / "c.af"

    def serve() -> None:
        if not container.exists():
            Container.create(str(container))
        _run(sys.executable, str(HERE / "serve_writing.py"), str(container), str(mountpoint))

    def pass_through() -> None:
        _run("bindfs", str(below), str(mountpoint))

    return {
        DISK: _Shown(below, lambda: None, lambda: None),
        BINDFS: _Shown(mountpoint, pass_through, lambda: _run("fusermount3", "-u", str(mountpoint))),
        MOUNT: _Shown(mountpoint, serve, lambda: umount(str(mountpoint))),
    }


def _zarr(folder: Path, chunks: ChunkSet, what: str, how: str) -> float:
    return timed(HERE / "zarr_client.py", str(folder / ARRAY), str(chunks.count), str(chunks.size // 4), what, how)


def _run(*command: str) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - start
