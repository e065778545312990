"""The command: `scripts/bench [--quick] [--rounds N] [--dir D] [--json FILE] [--install]
[--profile | --steps | --checksums | --journal | --tensorstore | --store | --api | --compact |
--memory [--mebibytes N] | --copying [--mebibytes N] | --versions [--commits N] | --clients [--files N]]`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchlib.apis import apis
from benchlib.checksums import checksums
from benchlib.clients import clients
from benchlib.compacting import compacting
from benchlib.copying import copying
from benchlib.copying_out import copying_out
from benchlib.dataset import LARGE, SMALL, Stored, store
from benchlib.measure import Place
from benchlib.memory import memory
from benchlib.profiling import profile
from benchlib.report import Results, report
from benchlib.steps import steps
from benchlib.stores import stores
from benchlib.systems import SQUASHFUSE, SYSTEMS, System
from benchlib.tensorstores import tensorstores
from benchlib.versions import versions
from benchlib.writing import journal

PACKAGES = {"bindfs": "bindfs", "squashfuse": "squashfuse", "mksquashfs": "squashfs-tools", "fusermount3": "fuse3"}

# Benchmarks of something else than reading beside the peers, each an option.
INSTEAD = (
    "steps",
    "checksums",
    "journal",
    "tensorstore",
    "compact",
    "memory",
    "versions",
    "clients",
    "store",
    "api",
    "copying",
)


def main() -> int:
    """Prepare, measure, and print the report after each round."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if wanted.install:
        _install()
    if wanted.clients:
        _refuse(wanted.dir)
    if any(getattr(wanted, name) for name in INSTEAD):
        with _folder(wanted.dir) as folder:
            print(_instead(wanted, folder, 2 if wanted.quick else wanted.rounds))
        return 0
    systems = [system for system in SYSTEMS if not wanted.systems or system.name in wanted.systems.split(",")]
    _refuse(wanted.dir)
    results: Results = {}
    with _folder(wanted.dir) as folder:
        sets = _store(folder, systems)
        if wanted.profile:
            _profile(sets, systems, folder)
            return 0
        _check(sets, systems, folder / "m")
        for number in range(2 if wanted.quick else wanted.rounds):
            _measure(sets, systems, folder / "m", number, results)
            print(f"\nafter round {number + 1}\n\n{report(results)}\n", flush=True)
    if wanted.json:
        Path(wanted.json).write_text(json.dumps(_rows(results), indent=1) + "\n")
    return 0


def _instead(wanted: argparse.Namespace, folder: Path, rounds: int) -> str:
    """One of the benchmarks that are not about reading beside the peers."""
    if wanted.steps:
        return steps(folder)
    if wanted.memory:
        return memory(folder, wanted.mebibytes, wanted.systems)
    if wanted.versions:
        return versions(folder, wanted.commits, rounds)
    if wanted.clients:
        return clients(folder, wanted.files, rounds)
    if wanted.store:
        return stores(folder, rounds)
    if wanted.tensorstore:
        return tensorstores(folder, rounds)
    if wanted.copying:
        return f"{copying(folder, wanted.mebibytes, rounds)}\n\n{copying_out(folder, wanted.mebibytes)}"
    if wanted.api:
        return apis(folder, rounds)
    if wanted.compact:
        return compacting(folder, rounds)
    sets = _store(folder, [])
    return journal(sets, folder, rounds) if wanted.journal else checksums(sets, rounds if wanted.quick else 3 * rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="See docs/BENCHMARK.md.")
    parser.add_argument("--rounds", type=int, default=5, help="each measurement's median is over so many (5)")
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--dir", default="/var/tmp", help="where the data go for the time, on a real disk (/var/tmp)")
    parser.add_argument("--systems", default="", help="a comma list of names as in the report; all by default")
    parser.add_argument("--profile", action="store_true", help="instead: where the daemon's time goes")
    parser.add_argument("--steps", action="store_true", help="instead: bytecodes that a request takes")
    parser.add_argument("--checksums", action="store_true", help="instead: what verifying checksums costs on reads")
    parser.add_argument("--journal", action="store_true", help="instead: what the journal costs on writes")
    parser.add_argument("--tensorstore", action="store_true", help="instead: TensorStore on a mount and on the disk")
    parser.add_argument("--store", action="store_true", help="instead: ZarrStore against zarr-python's stores")
    parser.add_argument("--api", action="store_true", help="instead: the Python API against h5py")
    parser.add_argument("--versions", action="store_true", help="instead: what thousands of versions cost")
    parser.add_argument("--commits", type=int, default=10_000, help="with --versions: so many (10000)")
    parser.add_argument("--clients", action="store_true", help="instead: zarr-python, cp, rm and renames on a mount")
    parser.add_argument("--files", type=int, default=20_000, help="with --clients: so many chunks of 16 KiB (20000)")
    parser.add_argument("--compact", action="store_true", help="instead: compaction against cp")
    parser.add_argument("--memory", action="store_true", help="instead: the memory that writing much needs")
    parser.add_argument("--copying", action="store_true", help="instead: import and export against zarr-python's copy")
    parser.add_argument(
        "--mebibytes", type=int, default=4096, help="with --memory and --copying: how much each part writes (4096)"
    )
    parser.add_argument("--json", default="", help="write the seconds and stolen shares of all rounds here")
    parser.add_argument("--install", action="store_true", help="first install the peers with apt-get")
    return parser.parse_args()


def _install() -> None:
    subprocess.run(["apt-get", "install", "-y", "-q", *PACKAGES.values()], check=True)


def _refuse(folder: str) -> None:
    """Exit where numbers would mean nothing."""
    missing = [package for program, package in PACKAGES.items() if shutil.which(program) is None]
    if missing:
        sys.exit(f"bench: missing: apt-get install {' '.join(missing)} (or --install)")
    if os.geteuid() != 0:
        sys.exit("bench: only root may drop the kernel's caches")
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, capture_output=True, text=True).stdout.strip()
    if kind == "tmpfs":
        sys.exit(f"bench: {folder} is a {kind}: choose a folder on a disk with --dir")


@contextlib.contextmanager
def _folder(where: str) -> Iterator[Path]:
    """A folder for everything, the daemons' state files too; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="arrayfs-bench-", dir=where))
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    (folder / "m").mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _store(folder: Path, systems: list[System]) -> list[Stored]:
    with_image = any(system.name == SQUASHFUSE for system in systems)
    sets = []
    for chunks in (LARGE, SMALL):
        place = folder / chunks.label.replace(" ", "")
        place.mkdir()
        sets.append(store(chunks, place, with_image=with_image))
        print(f"{chunks.count} chunks of {chunks.label}; lz4 packs them {sets[-1].ratio:.2f} times")
    return sets


def _check(sets: list[Stored], systems: list[System], mountpoint: Path) -> None:
    for stored in sets:
        for system in systems:
            Place(system, stored, mountpoint).check()


def _measure(sets: list[Stored], systems: list[System], mountpoint: Path, number: int, results: Results) -> None:
    """One round: every measurement of every system, another system first each time."""
    first = number % len(systems)
    print(f"load before the round: {Path('/proc/loadavg').read_text().strip()}", flush=True)
    for stored in sets:
        for system in systems[first:] + systems[:first]:
            for measurement, found in Place(system, stored, mountpoint).measure(number).items():
                results.setdefault((stored.chunks.label, measurement, system.name), []).append(found)


def _rows(results: Results) -> list[dict[str, object]]:
    """What --json writes. stolen: which share of each round's time the host gave to others."""
    return [
        {
            "chunks": chunks,
            "measurement": measurement,
            "system": system,
            "seconds": [found.seconds for found in rounds],
            "stolen": [round(found.stolen, 4) for found in rounds],
        }
        for (chunks, measurement, system), rounds in results.items()
    ]


def _profile(sets: list[Stored], systems: list[System], folder: Path) -> None:
    for stored in sets:
        for system in systems:
            name, _, codec = system.name.partition(" ")
            if name == "arrayfs":
                print(profile(system, stored, codec, folder / "m", folder), end="\n\n")


if __name__ == "__main__":
    sys.exit(main())
