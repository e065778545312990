"""The price of the journal on writes: the same files written into a mount with it and into one without, side by side.

The clock runs while a program creates (and renames) files; the commit comes after it. Both mounts are new ones, of
containers that have the array and no chunk.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.model import DType
from arrayfs.fuse.unmount import umount
from benchlib.dataset import ARRAY, ChunkSet, Stored

HERE = Path(__file__).parent
WAYS = ("create", "rename")


def journal(sets: list[Stored], folder: Path, rounds: int) -> str:
    """A table: files per second without and with the journal, and how many times as long writing takes with it."""
    lines = [f"{'writing all files':32}{'without':>14}{'with':>14}{'times as long':>24}"]
    for stored in sets:
        for way in WAYS:
            pairs = [_pair(stored, folder, way, number) for number in range(rounds)]
            rates = [stored.chunks.count / median(times) for times in zip(*pairs, strict=True)]
            ratios = [kept / bare for bare, kept in pairs]
            spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            label = f"{stored.chunks.label} {way}"
            lines.append(f"{label:32}{rates[0]:>12,.0f}/s{rates[1]:>12,.0f}/s{spread:>24}")
    return "\n".join(lines)


def _pair(stored: Stored, folder: Path, way: str, number: int) -> tuple[float, float]:
    """Seconds without and with the journal; who comes first takes turns."""
    order = (False, True) if number % 2 else (True, False)
    seconds = {journaled: _write_all(stored, folder, way, journaled=journaled) for journaled in order}
    return seconds[False], seconds[True]


def _write_all(stored: Stored, folder: Path, way: str, *, journaled: bool) -> float:
    with mounted_empty(folder, journaled=journaled, array=stored.chunks) as mountpoint:
        chunks = mountpoint / ARRAY / "c"
        chunks.mkdir(exist_ok=True)
        os.sync()
        arguments = [str(stored.plain / ARRAY / "c"), str(chunks), str(stored.chunks.count), way]
        return timed(HERE / "writer.py", *arguments)


@contextlib.contextmanager
def mounted_empty(folder: Path, *, journaled: bool = True, array: ChunkSet | None = None) -> Iterator[Path]:
    """The mount point of a new container, which has one array of the chunks of `array`, none of them written."""
    place, mountpoint = folder / "written", folder / "m"
    place.mkdir()
    container = place / "w.af"
    Container.create(str(container))
    if array is not None:
        length = array.size // 4
        with Container.open(str(container), "a") as opened:
            opened.define(ARRAY, ArraySpec(DType("Float32"), (array.count * length,), (length,), ("x",)))
    mount(container, mountpoint, "with" if journaled else "without")
    try:
        yield mountpoint
    finally:
        umount(str(mountpoint))
        shutil.rmtree(place)


def mount(container: Path, mountpoint: Path, journal: str = "with") -> None:
    """Mount a container for writing in a process of its own; "without": without a journal."""
    command = [sys.executable, str(HERE / "serve_writing.py"), str(container), str(mountpoint), journal]
    subprocess.run(command, check=True)


def timed(program: Path, *arguments: str) -> float:
    """Start a program, let it begin when it is ready, and return the seconds that it prints."""
    command = [sys.executable, str(program), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise RuntimeError(f"{program.name} ended instead of beginning")
        answer, _ = process.communicate("go\n")
    return float(answer)
