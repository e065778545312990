"""How fast a container is exported, and in how much memory, against zarr-python copying the same values.

Each export is a process of its own: the peak is that of the whole process (`ru_maxrss`). zarr-python copies array to
array, from a Zarr directory into a new one of the same chunks and codec, which is what a user would do without arrayfs.
By itself: `python -m benchlib.copying_out FOLDER [MEBIBYTES]` in `scripts`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import arrayfs

MIB = 1 << 20
# Name, chunk shape of float32, codec of the chunk files: 1 MiB and 16 KiB.
LAYOUTS = (
    ("1 MiB, none", (1, 512, 512), "none"),
    ("1 MiB, zstd", (1, 512, 512), "zstd"),
    ("16 KiB", (1, 64, 64), "none"),
)
KINDS = ("zarr", "zip", "h5", "npy")

_EXPORT = """
import json, resource, sys, time, arrayfs
container, dest, codec = sys.argv[1:]
start = time.monotonic()
arrayfs.export_to(container, dest, ["t"] if dest.endswith(".npy") else [], codec=codec)
took = time.monotonic() - start
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]))
"""
_ZARR = """
import json, resource, sys, time, zarr
source, dest, _ = sys.argv[1:]
start = time.monotonic()
old = zarr.open_array(source + "/t", mode="r")
zarr.from_array(dest + "/t", data=old)
took = time.monotonic() - start
print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10]))
"""


@dataclass(frozen=True, slots=True)
class Result:
    """One copy: seconds with what the disk needs, MiB of memory."""

    seconds: float
    peak: int


def copying_out(folder: Path, mebibytes: int = 4096, only: str = "") -> str:
    """A table: seconds, speed against zarr-python's own copy, and the peak in MiB, for each layout and kind."""
    lines = [f"{f'{mebibytes} MiB out':24}{'seconds':>10}{'x zarr':>8}{'MiB':>8}"]
    for name, chunks, codec in LAYOUTS:
        if only and name not in only.split("+"):
            continue
        place = folder / "copying_out"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            lines += _layout(place, name, chunks, codec, mebibytes)
        finally:
            shutil.rmtree(place)
    return "\n".join(lines)


def _layout(place: Path, name: str, chunks: tuple[int, int, int], codec: str, mebibytes: int) -> list[str]:
    container, values = place / "c.af", field(mebibytes)
    with arrayfs.open(container, "w") as opened:
        array = opened.create("t", shape=values.shape, chunks=chunks, dtype="f4", codec="lz4")
        for start in range(0, len(values), 64):
            array[start : start + 64] = values[start : start + 64]
    results = {}
    for kind in KINDS:
        if codec == "zstd" and kind not in ("zarr", "zip"):
            continue
        dest = place / f"out.{kind}"
        results[f"arrayfs {kind}"] = _run(_EXPORT, container, dest, codec)
        if kind == "zarr":
            results["zarr-python"] = _run(_ZARR, dest, place / "copy.zarr", codec)
            _check(place, values, dest)
        _remove(dest)
    base = results["zarr-python"].seconds
    return [f"{name}"] + [
        f"  {kind:22}{one.seconds:10.1f}{base / one.seconds:8.2f}{one.peak:8}" for kind, one in results.items()
    ]


def field(mebibytes: int) -> np.ndarray:
    """A field like a forecast's, float32, that lz4 shrinks a little; the steps lie in a file, not in memory."""
    rng = np.random.default_rng(1)
    one = np.cumsum(rng.integers(-8, 9, (512, 512)), axis=1).astype("f4") / 16
    return np.lib.stride_tricks.as_strided(one, (mebibytes, 512, 512), (0, *one.strides), writeable=False)


def _run(program: str, source: Path, dest: Path, codec: str) -> Result:
    os.sync()
    start = time.monotonic()
    command = [sys.executable, "-c", program, str(source), str(dest), codec]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    os.sync()  # an export has synced before it ends; whoever copies otherwise has that before him
    _, peak = json.loads(done.stdout)
    return Result(time.monotonic() - start, peak)


def _check(place: Path, values: np.ndarray, dest: Path) -> None:
    import zarr

    for path in (dest, place / "copy.zarr"):
        array = zarr.open_array(path / "t", mode="r")
        for start in range(0, len(values), max(1, len(values) // 16)):
            if not np.array_equal(array[start], values[start]):
                raise AssertionError(f"{path}: step {start} has other values")


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    print(copying_out(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
