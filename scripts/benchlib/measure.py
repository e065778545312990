"""One measurement each: seconds that a program needs for all files of one directory, caches as cold as it says."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchlib.dataset import SMALL, Stored
from benchlib.steal import Measured, least_stolen, watched
from benchlib.systems import System

CHECKED = 64
# Seconds after dropping the caches in which other programs may read back what they need.
SETTLE = 1.0
READER = Path(__file__).parent / "reader.py"

IN_ORDER: Final = "cold, in order"
AT_RANDOM: Final = "cold, random order"
AGAIN: Final = "again, random order"
LIST_COLD: Final = "ls -l, cold"
LIST: Final = "ls -l, disk known"
FIND: Final = "find, disk known"


@dataclass(frozen=True, slots=True)
class Place:
    """One chunk set in one system."""

    system: System
    stored: Stored
    mountpoint: Path

    def measure(self, seed: int) -> dict[str, Measured]:
        """Every measurement; those of which too much time was stolen are repeated."""
        found = least_stolen(self._read_in_order) | least_stolen(lambda: self._read_at_random(seed))
        if self.stored.chunks is SMALL:
            found |= least_stolen(self._list_cold) | least_stolen(self._list) | least_stolen(self._find)
        return found

    def _read_in_order(self) -> dict[str, Measured]:
        with self._shown_cold() as folder:
            return {IN_ORDER: watched(lambda: self.read(folder, "sorted"))}

    def _read_at_random(self, seed: int) -> dict[str, Measured]:
        with self._shown_cold() as folder:
            return {
                AT_RANDOM: watched(lambda: self.read(folder, f"{seed} cold")),
                AGAIN: watched(lambda: self.read(folder, f"{seed} again")),
            }

    def _list_cold(self) -> dict[str, Measured]:
        with self._shown_cold() as folder:
            return {LIST_COLD: _time_of(["ls", "-l"], folder)}

    def _list(self) -> dict[str, Measured]:
        with self.system.shown(self.stored, self.mountpoint) as folder:
            return {LIST: _time_of(["ls", "-l"], folder)}

    def _find(self) -> dict[str, Measured]:
        with self.system.shown(self.stored, self.mountpoint) as folder:
            return {FIND: _time_of(["find"], folder)}

    @contextlib.contextmanager
    def _shown_cold(self) -> Iterator[Path]:
        """The files, freshly mounted, none of their bytes, names or inodes known to the kernel."""
        drop_caches()
        with self.system.shown(self.stored, self.mountpoint) as folder:
            time.sleep(SETTLE)
            yield folder

    def read(self, folder: Path, order: str) -> float:
        """Have the reader read everything; its seconds. Raises RuntimeError if bytes are missing."""
        count = self.stored.chunks.count
        command = [sys.executable, "-S", "-E", str(READER), str(folder), str(count), order]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdin is not None
            assert reader.stdout is not None
            reader.stdout.readline()
            answer, _ = reader.communicate("go\n")
        seconds, total = answer.split()
        if int(total) != count * self.stored.chunks.size:
            raise RuntimeError(f"{self.system.name}: {total} bytes read, {count * self.stored.chunks.size} expected")
        return float(seconds)

    def check(self) -> None:
        """Compare CHECKED files, spread over all, with what was stored. Raises RuntimeError."""
        chunks = self.stored.chunks
        with self.system.shown(self.stored, self.mountpoint) as folder:
            for number in range(0, chunks.count, max(1, chunks.count // CHECKED)):
                if (folder / str(number)).read_bytes() != chunks.content(number):
                    raise RuntimeError(f"{self.system.name}: chunk {number} reads wrongly")


def drop_caches() -> None:
    """Have the kernel forget file contents, names and inodes that nobody uses."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def _time_of(command: list[str], folder: Path) -> Measured:
    _run([*command, "/proc/self/ns"])  # has the program itself in memory
    return watched(lambda: _run([*command, str(folder)]))


def _run(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start
