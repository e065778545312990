"""`arrayfs compact` as a process of its own that may be killed, with a second one that watches it and kills it.

Most of a compaction is reading and writing beside the others; files are exchanged within milliseconds at its end. So
the instant is chosen by what the compaction has locked: its first part, or the container after that.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from arrayfs.cli.main import commands
from arrayfs.container import opening
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store

POLL = 0.0005  # seconds
# What the watcher ends with if it has killed; else with what the compaction has ended with.
KILLED, HALF_DONE = 100, 101


@dataclass(frozen=True, slots=True)
class Kill:
    """When to kill: so many seconds after the start, or after a lock is held. parts, exchange: which lock."""

    delay: float
    parts: bool
    exchange: bool

    @staticmethod
    def any(rng: random.Random) -> Kill | None:
        """An instant by chance; None: not at all."""
        kind = rng.choices(("none", "start", "parts", "exchange"), (6, 2, 3, 9))[0]
        longest = {"none": (0.0,), "start": (0.1,), "parts": (0.01, 0.05), "exchange": (0.01, 0.03, 0.1)}[kind]
        delay = rng.random() * rng.choice(longest)
        return None if kind == "none" else Kill(delay, kind != "start", kind == "exchange")


def arguments(rng: random.Random) -> list[str]:
    """How many versions are kept, and now and then how the blocks are packed."""
    chosen = ["--keep-last", str(rng.randint(1, 5))]
    if rng.random() < 0.3:
        chosen += ["--codec", rng.choice(("none", "lz4", "zstd"))]
    if rng.random() < 0.3:
        chosen += ["--block-size", rng.choice(("1KiB", "4KiB", "64KiB"))]
    return chosen


class Compaction:
    """One compaction, from its start to its end. log: for what it says; seed: of its choices."""

    def __init__(self, container: Path, log: Path, seed: int) -> None:
        self._log, rng = log, random.Random(seed)
        command = ["compact", str(container), "--json", *arguments(rng)]
        # a commit of another writer: then the mount's journal goes on from a version that is not the newest
        before = ["tag", str(container), f"tag{rng.randint(1, 5)}"] if rng.random() < 0.5 else None
        kill = Kill.any(rng)
        self._said_before = log.stat().st_size if log.exists() else 0
        self._pid = os.fork()
        if not self._pid:
            _watch(container, before, command, log, kill)

    def has_ended(self) -> bool:
        """Whether it has, by itself or killed."""
        return os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait(self) -> int:
        """Returns its exit code, KILLED, or HALF_DONE if files were being exchanged."""
        return _ended(self._pid)

    def said(self) -> list[str]:
        """Its lines on standard error and output."""
        with self._log.open("rb") as file:
            file.seek(self._said_before)
            return file.read().decode(errors="replace").splitlines()

    def abandon(self) -> None:
        """Leave no process behind."""
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        with suppress(ProcessLookupError):  # it was not in its group yet
            os.kill(self._pid, signal.SIGKILL)
        self.wait()


def _watch(container: Path, before: list[str] | None, command: list[str], log: Path, kill: Kill | None) -> None:
    """In the child; never returns. before: a command to be run to its end first."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        code = _ended(_started(before)) if before is not None else 0
        if code:
            return
        pid = _started(command)
        if kill is not None:
            _kill(pid, Locks(pid, container), kill)
        code = _ended(pid)
        if kill is not None and code == -signal.SIGKILL:
            code = HALF_DONE if _is_half_exchanged(container) else KILLED
    except BaseException:  # noqa: BLE001  the process ends here, this is its last word
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _started(command: list[str]) -> int:
    """Run a command in a process of its own; returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code: object = 1
    try:
        commands(command, prog_name="arrayfs")
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001  the process ends here, this is its last word
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _ended(pid: int) -> int:
    """Wait for a process; returns its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill(pid: int, locks: Locks, kill: Kill) -> None:
    """Unless it ends before."""
    for wanted, held in ((kill.parts, locks.part), (kill.exchange, locks.container)):
        while wanted and not held():
            if _has_ended(pid):
                return
            time.sleep(POLL)
    time.sleep(kill.delay)
    os.kill(pid, signal.SIGKILL)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _is_half_exchanged(container: Path) -> bool:
    """Whether there are files that repeat what others say: the next open for writing will remove them."""
    store, base = open_store(str(container))
    names = ContainerNames.from_base(base)
    before = opening.sidecars(store, names)
    stack = opening.open_stack(store, names)
    opening.close_all(stack.layers)
    return len(stack.layers) <= len(before) and before == opening.sidecars(store, names)


class Locks:
    """What a process has locked, as the kernel tells it."""

    def __init__(self, pid: int, container: Path) -> None:
        self._pid, self._folder = pid, container.parent
        self._names = ContainerNames.from_base(container.name)

    def part(self) -> bool:
        """Whether it writes a part of its own: it takes up no journal."""
        held = self._held()
        parse_part, parse_log = self._names.parse_part, self._names.parse_log
        return any(map(parse_part, held)) and not any(map(parse_log, held))

    def container(self) -> bool:
        """Whether others cannot publish."""
        return self._names.lock in self._held()

    def _held(self) -> set[str]:
        inodes = set()
        for line in Path("/proc/locks").read_text().splitlines():
            words = line.split()
            if words[1] == "FLOCK" and words[4] == str(self._pid):
                inodes.add(int(words[5].rpartition(":")[2]))
        if not inodes:
            return set()
        with os.scandir(self._folder) as entries:
            return {entry.name for entry in entries if entry.inode() in inodes}
