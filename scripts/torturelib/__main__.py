"""The command: `scripts/torture [--operations N] [--minutes M] [--seed S] [--dir D]`."""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torturelib.rounds import Rounds
from torturelib.site import LossError

# Then the next container is begun: one with more says nothing new.
VERSIONS = 150
FIGURES = (
    "rounds",
    "operations acknowledged",
    "kills of the daemon at work",
    "kills of the daemon in a commit",
    "kills of the daemon in an unmount",
    "kills of the daemon at its start",
    "mounts that ended beside others",
    "kills of clients",
    "clean unmounts",
    "compactions",
    "compactions killed",
    "exchanges of files half done then",
    "versions merged",
    "recoveries",
    "versions read again",
    "conflicts",
    "losses",
    "seconds",
)
PROGRESS = ("operations acknowledged", "rounds", "compactions", "conflicts", "losses")


class Interrupted(BaseException):
    """SIGINT or SIGTERM."""


def main() -> int:
    """Run containers until there were operations enough; 1 if something was lost, 130 if interrupted."""
    wanted = _arguments()
    figures: Counter[str] = Counter()
    interruption = _Interruption()
    rng = random.Random(wanted.seed)
    print(f"seed {wanted.seed}", flush=True)
    began = time.monotonic()
    until = began + 60 * wanted.minutes if wanted.minutes else None
    status = 0
    try:
        while not status and (until is None or time.monotonic() < until):
            left = wanted.operations - figures["operations acknowledged"]
            if until is None and left <= 0:
                break
            rounds_of = partial(Rounds, rng=rng, figures=figures, check=interruption.check)
            status = _container(wanted, rounds_of, rng, figures, left if until is None else None, until)
            counted = ", ".join(f"{figures[name]:,} {name}" for name in PROGRESS)
            print(f"{time.monotonic() - began:7,.0f} s: {counted}", flush=True)
    except Interrupted:
        status = 130
    figures["seconds"] = round(time.monotonic() - began)
    print("\n".join(f"{figures[name]:>9,} {name}" for name in FIGURES), flush=True)
    return status


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/torture", description="See docs/TORTURE.md.")
    parser.add_argument("--operations", type=int, default=5000, help="acknowledged ones, about (5,000)")
    parser.add_argument("--minutes", type=float, default=0, help="instead: for so long")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="of all choices")
    parser.add_argument("--dir", default="/var/tmp", help="where containers and mounts are made (/var/tmp)")
    return parser.parse_args()


class _Interruption:
    """SIGINT and SIGTERM are only noted: an exception out of a signal handler is lost within a fork."""

    def __init__(self) -> None:
        self._came = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, _number: int, _frame: object) -> None:
        self._came = True

    def check(self) -> None:
        """Raise Interrupted if one came."""
        if self._came:
            raise Interrupted


def _container(
    wanted: argparse.Namespace,
    rounds_of: Callable[[Path], Rounds],
    rng: random.Random,
    figures: Counter[str],
    operations: int | None,
    until: float | None,
) -> int:
    """One container, from its making to its end. operations, until: when it is enough. Returns the exit code."""
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=os.path.realpath(wanted.dir)))
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    before = figures["operations acknowledged"]
    rounds = rounds_of(folder)
    keep = False
    try:
        rounds.begin()
        print(f"mounted {folder}", flush=True)
        while rounds.versions < VERSIONS and (until is None or time.monotonic() < until):
            if operations is not None and rounds.acknowledged >= operations:
                break
            rounds.round(rng.choice((30, 200, 600)))
            figures["operations acknowledged"] = before + rounds.acknowledged
        rounds.finish()
    except LossError as error:
        keep = True
        figures["losses"] += 1
        _tell(wanted.seed, rounds, error)
    except BaseException as error:
        keep = not isinstance(error, Interrupted)
        raise
    finally:
        figures["operations acknowledged"] = before + rounds.acknowledged
        rounds.abandon()
        if not keep:
            shutil.rmtree(folder)
    return int(keep)


def _tell(seed: int, rounds: Rounds, error: LossError) -> None:
    print(f"LOSS (seed {seed}): " + "\n  ".join(map(str, error.args)))
    for worker in rounds.workers:
        print(f"\nthe last that {worker.root} did:")
        print("\n".join(line[:300] for line in worker.recent))
    print(
        f"\nthe container is {rounds.container}; beside it: what the daemons left before, said, and were asked for",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
