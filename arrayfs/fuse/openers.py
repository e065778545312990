"""Which process opened each handle that writes, and whether it is being killed.

The kernel closes the files of a process that dies as if it had closed them itself. While it waits for our answer to
that FLUSH, the process's line in /proc says that it is exiting (a flag) and how (its exit code, whose low seven bits
are the signal). FLUSH itself does not say who sends it: what counts is that the opener is in the middle of dying, not
gone.

Nothing can be told of a process that the daemon does not see (another process namespace, `hidepid`), whose exit code it
may not read (another user's, for a daemon that is not root's), or that has ended before: then nothing is said.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Final, NamedTuple

PF_EXITING: Final = 0x4  # include/linux/sched.h
SIGNAL_BITS: Final = 0x7F  # of an exit code, as in wait(2)
GONE: Final = (b"Z", b"X")  # has closed everything
TICKS: Final = os.sysconf("SC_CLK_TCK")
# For so long (seconds) a thread is taken to belong to the process that it was found to belong to: finding out takes
# 4 to 20 us, and identifiers are not given anew within such a time.
KNOWN_FOR: Final = 1.0


class Opener(NamedTuple):
    """pid: the process, not the thread; 0 if it cannot be seen. since: when it opened, in seconds since boot."""

    pid: int
    since: float


class _Line(NamedTuple):
    """Of a process or thread that is exiting: state, number of the signal that it dies of or 0, start in ticks."""

    state: bytes
    signal: int
    start: int


class Openers:
    """The openers of handles that write.

    flushed: the handles of which a descriptor was closed at least once; what is written to them later may come from a
    mapping, whose last pages no FLUSH follows.
    """

    def __init__(self) -> None:
        self._openers: dict[int, Opener] = {}
        self._sees = _proc_is_ours()
        self.flushed: set[int] = set()
        self._processes: dict[int, int] = {}  # by thread
        self._known_since = 0.0

    def __contains__(self, handle: int) -> bool:
        return handle in self._openers

    def opened(self, handle: int, thread: int) -> None:
        """Note who opened a handle. thread: the kernel's word, which is a thread; it may end before the process."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if now - self._known_since > KNOWN_FOR:
            self._processes.clear()
            self._known_since = now
        process = self._processes.get(thread)
        if process is None:
            process = self._processes[thread] = process_of(thread) if thread and self._sees else 0
        self._openers[handle] = Opener(process, now)

    def released(self, handle: int) -> None:
        """The handle is gone."""
        self._openers.pop(handle, None)
        self.flushed.discard(handle)

    def dying_of(self, handle: int) -> int:
        """The signal of which the opener is dying at this moment; 0: it lives, ended by itself, or is not to be seen.

        Right for a FLUSH or WRITE, whose sender waits for the answer: a process that is quite dead sent neither.
        """
        if _runs(self._openers[handle].pid):
            return 0
        return next((line.signal for line in self._lines(handle) if line.state not in GONE and line.signal), 0)

    def died_of(self, handle: int) -> int:
        """The same if it may be dead by now, for RELEASE, for whose answer nobody waits."""
        if _runs(self._openers[handle].pid):
            return 0
        return next((line.signal for line in self._lines(handle) if line.signal), 0)

    def _lines(self, handle: int) -> Iterator[_Line]:
        """The opener's first thread if it is exiting; if it has ended, also the others."""
        opener = self._openers[handle]
        first = _read(f"/proc/{opener.pid}/stat")
        if first is None or first.start > (opener.since + 1) * TICKS:  # a second: the two clocks are read apart
            return  # it is gone, and another has its number
        yield first
        if first.state in GONE:
            folder = f"/proc/{opener.pid}/task"
            with contextlib.suppress(OSError):
                for thread in os.listdir(folder):
                    line = _read(f"{folder}/{thread}/stat")
                    if line is not None:
                        yield line


def _proc_is_ours() -> bool:
    """Whether /proc counts processes as the kernel does when it talks to us: it may be that of another namespace."""
    try:
        return os.readlink("/proc/self") == str(os.getpid())
    except OSError:
        return False


def process_of(thread: int) -> int:
    """The process of a thread; the thread's own number where it is gone already or cannot be seen."""
    try:
        os.close(os.pidfd_open(thread))  # refused for a thread that is not its process's first: 4 us, reading takes 15
    except OSError:
        with contextlib.suppress(OSError, IndexError), open(f"/proc/{thread}/status", "rb") as status:
            return int(status.read().split(b"\nTgid:", 1)[1].split(None, 1)[0])
    return thread


def _runs(pid: int) -> bool:
    """Whether a process has a program: it gives its memory up before its files. True of none (0), False of who is gone.

    2 us, the stat line takes 8.
    """
    try:
        return not pid or bool(os.readlink(f"/proc/{pid}/exe"))
    except OSError:
        return False


def _read(path: str) -> _Line | None:
    """Parse the stat line (proc_pid_stat(5)) of a process or thread that is exiting; None of any other."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        line = os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    rest = line[line.rfind(b")") + 1 :]  # a name may have brackets and blanks
    flags = rest.split(None, 7)[6:7]
    if not flags or not int(flags[0]) & PF_EXITING:
        return None
    fields = rest.split()
    return _Line(fields[0], int(fields[49]) & SIGNAL_BITS, int(fields[19]))
