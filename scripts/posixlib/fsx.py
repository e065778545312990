"""The command: `scripts/fsx [--operations N] [--rounds R] [--target NAME]... [--seed S] [--dir D]`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from posixlib.mounting import LossError, Mount
from posixlib.rounds import Round
from posixlib.targets import TARGETS


def main() -> int:
    """1 if a round failed, 2 if there is no fsx."""
    wanted = _arguments()
    program = os.environ.get("ARRAYFS_FSX") or shutil.which("fsx")
    if program is None:
        print("fsx: not found; `cargo install fsx`, or name it in ARRAYFS_FSX", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="fsx-", dir=wanted.dir))
    mount = Mount(folder, "--dirty-limit", wanted.dirty_limit)
    try:
        mount.start()
        for name in wanted.target or TARGETS:
            _exercise(mount, program, name, wanted)
        mount.end()
        mount.verify()
    except LossError as error:
        print(f"{error}\nthe folder is kept: {folder}", file=sys.stderr)
        return 1
    finally:
        mount.take_away()
    shutil.rmtree(folder)
    return 0


def _exercise(mount: Mount, program: str, name: str, wanted: argparse.Namespace) -> None:
    """All rounds on one target, each on a mount of its own: what one left must be there when the next begins."""
    for number in range(wanted.rounds):
        began = time.monotonic()
        one = Round(
            program, TARGETS[name], wanted.seed + number, wanted.operations // wanted.rounds, wanted.commit_every
        )
        commits = one.run(mount)
        before = one.state(mount)
        mount.end()
        mount.start()
        after = one.state(mount)
        if after != before:
            raise LossError(
                f"{name}, seed {one.seed}: (size, mtime, digest) {before} before the remount, {after} after"
            )
        seconds = time.monotonic() - began
        did = f"{one.operations} operations, {commits} commits, one remount"
        print(f"{name}: seed {one.seed}, {did}: clean, {seconds:.0f} s", flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fsx", description="fsx on files of a mount")
    parser.add_argument("--operations", type=int, default=100_000, help="for each target")
    parser.add_argument("--rounds", type=int, default=4, help="a remount after each")
    parser.add_argument("--commit-every", type=int, default=5000, metavar="OPERATIONS")
    parser.add_argument("--dirty-limit", default="1MiB")
    parser.add_argument("--target", action="append", choices=list(TARGETS))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dir", help="where the container and the mount are")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
