"""Whole stores into containers and out of them, against zarr-python's own copy of an array into a new LocalStore.

Each copy is a process of its own, which says how long it took, what of the processor, and how much memory at the most;
the ways take turns. The seconds end when the program's own work does: an import has its data safe on the disk then,
zarr-python's copy has it in the kernel's memory; `synced` is when everything is on the disk.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchlib.dataset import ChunkSet

MIB = 1 << 20
PEER = "zarr-python's copy"
# Name, bytes of a chunk, zarr-python's compressor.
SETS = (("1 MiB, none", MIB, None), ("1 MiB, zstd", MIB, "zstd"), ("16 KiB, none", 16 << 10, None))
# At the most, MiB.
MEMORY_GOAL = 1024

_HEAD = """
import ctypes, json, os, sys, time, warnings
warnings.simplefilter("ignore")
{imports}
start, used = time.perf_counter(), time.process_time()
{work}
told = {{"seconds": time.perf_counter() - start, "processor": time.process_time() - used}}
ctypes.CDLL(None).syncfs(os.open(sys.argv[2].removesuffix("/t.af"), os.O_RDONLY))
told["synced"] = time.perf_counter() - start
lines = open("/proc/self/status").read().splitlines()
told["peak"] = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10
print(json.dumps(told))
"""
_COPY = 'zarr.from_array(sys.argv[2] + "/a", data=zarr.open_array(sys.argv[1] + "/a", mode="r"))'


@dataclass(frozen=True, slots=True)
class Way:
    """How something is copied: statements in which argv[1] is the source and argv[2] the target.

    takes: the name of the way whose target is the source; None: the store that zarr-python wrote.
    """

    imports: str
    work: str
    takes: str | None = None


WAYS: dict[str, Way] = {
    PEER: Way("import zarr", _COPY),
    "import": Way("import arrayfs", "arrayfs.import_from(sys.argv[1], sys.argv[2])"),
    "import --codec none": Way("import arrayfs", "arrayfs.import_from(sys.argv[1], sys.argv[2], codec=None)"),
    "import --native": Way("import arrayfs", "arrayfs.import_from(sys.argv[1], sys.argv[2], native=True)"),
}


def copying(folder: Path, mebibytes: int, rounds: int) -> str:
    """A table: seconds of each way, how many times as fast as zarr-python, its peak of memory. Values are checked."""
    lines = [
        f"{f'{mebibytes} MiB':36}{'seconds':>9}{'synced':>9}{'processor':>11}{'as fast':>9}{'synced':>8}{'MiB':>7}"
    ]
    place = folder / "copying"
    for label, size, compressor in SETS:
        place.mkdir()
        store = place / "store"
        _write(store, ChunkSet(label, mebibytes * MIB // size, size), compressor)
        found: dict[str, list[dict[str, Any]]] = {}
        for number in range(rounds):
            _round(place, store, number, found)
        lines += _lines(label, found)
        print(*lines[-len(WAYS) :], sep="\n", flush=True)
        shutil.rmtree(place)
    return "\n".join(["", *lines, f"goals: faster than zarr-python's copy, below {MEMORY_GOAL} MiB"])


def _write(store: Path, chunks: ChunkSet, compressor: str | None) -> None:
    import zarr

    codecs = {"compressors": None} if compressor is None else {}
    array = zarr.create_group(str(store)).create_array(
        "a", shape=(chunks.count, chunks.size // 4), chunks=(1, chunks.size // 4), dtype="f4", **codecs
    )
    step = max(1, 16 * MIB // chunks.size)
    some = np.frombuffer(b"".join(map(chunks.content, range(min(step, chunks.count)))), "<f4").reshape(
        -1, chunks.size // 4
    )
    for first in range(0, chunks.count, step):
        # no two chunks are the same
        array[first : first + step] = (some + np.float32(first / step / 8))[: chunks.count - first]


def _round(place: Path, store: Path, number: int, found: dict[str, list[dict[str, Any]]]) -> None:
    targets: dict[str, Path] = {}
    ways = list(WAYS)
    first = number % len(ways)
    for name in sorted(ways[first:] + ways[:first], key=lambda name: WAYS[name].takes is not None):
        way = WAYS[name]
        source = store if way.takes is None else targets[way.takes]
        targets[name] = place / f"{len(targets)}.d" / "t.af"
        targets[name].parent.mkdir()
        os.sync()
        program = _HEAD.format(imports=way.imports, work=way.work)
        target = targets[name] if "arrayfs" in way.imports else targets[name].parent
        command = [sys.executable, "-c", program, str(source), str(target)]
        told = subprocess.run(command, check=True, capture_output=True, text=True)
        found.setdefault(name, []).append(json.loads(told.stdout))
        _check(store, target, name)
        if not any(other.takes == name for other in WAYS.values()):
            shutil.rmtree(targets[name].parent)
    for path in targets.values():
        shutil.rmtree(path.parent, ignore_errors=True)


def _check(store: Path, target: Path, name: str) -> None:
    """Exit unless chunks all over the array have the same values."""
    import zarr

    import arrayfs

    copied = arrayfs.ZarrStore(target, read_only=True) if target.suffix == ".af" and target.is_file() else target
    one, other = (zarr.open_array(each, path="a", mode="r") for each in (store, copied))
    for row in range(0, one.shape[0], max(1, one.shape[0] // 97)):
        if not np.array_equal(one[row], other[row]):
            sys.exit(f"bench: {name}: row {row} is not the same")


def _lines(label: str, found: dict[str, list[dict[str, Any]]]) -> list[str]:
    def middle(name: str, what: str) -> float:
        return median(one[what] for one in found[name])

    lines = []
    for name, rounds in found.items():
        seconds, synced, used = (middle(name, what) for what in ("seconds", "synced", "processor"))
        fast, fast_synced = middle(PEER, "seconds") / seconds, middle(PEER, "synced") / synced
        peak = max(one["peak"] for one in rounds)
        columns = f"{seconds:>9.2f}{synced:>9.2f}{used:>11.2f}{fast:>9.2f}{fast_synced:>8.2f}{peak:>7}"
        lines.append(f"{f'{label}: {name}':36}{columns}")
    return lines
