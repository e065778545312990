"""What a test run must not leave behind: mounts below its folder, and processes that it started.

Processes are known by their parent, or by a variable in their environment, which daemons still carry.
"""

from __future__ import annotations

import os
import re
import select
import time
from pathlib import Path

MARK = "ARRAYFS_TEST_RUN"

# proc(5): space, tab, newline and backslash in a mount point are written as octal numbers.
_ESCAPE = re.compile(rb"\\([0-7]{3})")

# Python's own helpers of multiprocessing, which live as long as the interpreter by design.
_ALLOWED = (b"multiprocessing.resource_tracker", b"multiprocessing.forkserver")


def mounts_below(folder: Path) -> list[str]:
    """Return the mount points below `folder`, innermost first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = os.fsdecode(_ESCAPE.sub(lambda code: bytes([int(code[1], 8)]), line.split(b" ")[4]))
        if point.startswith(f"{folder}/"):
            found.append(point)
    return sorted(found, key=len, reverse=True)


def processes_of(mark: str) -> dict[int, str]:
    """Return this process's children and all whose environment has `MARK=mark`: command line by process id."""
    wanted = f"{MARK}={mark}".encode()
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        try:
            # A zombie has neither: it has ended, and only its parent can remove it.
            environment = Path("/proc", entry, "environ").read_bytes()
            command = Path("/proc", entry, "cmdline").read_bytes()
            # A forked child still shows the environment with which this process began.
            parent = int(Path("/proc", entry, "stat").read_bytes().rpartition(b")")[2].split()[1])
        except OSError:  # ended meanwhile, or another user's
            continue
        is_ours = wanted in environment.split(b"\0") or (parent == os.getpid() and command)
        if is_ours and not any(name in command for name in _ALLOWED):
            found[int(entry)] = command.replace(b"\0", b" ").decode(errors="replace").strip()
    return found


def wait_for_end(processes: dict[int, str], seconds: float) -> dict[int, str]:
    """Wait for processes to end, `seconds` in all, and return those that did not."""
    deadline = time.monotonic() + seconds
    alive = {}
    for pid, command in processes.items():
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                alive[pid] = command
        finally:
            os.close(fd)
    return alive
