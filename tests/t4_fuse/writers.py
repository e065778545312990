"""Programs that write to a mount and are killed at a known moment, as processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PRELUDE = """
import ctypes, mmap, os, signal, sys, threading
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_DFL)
path = sys.argv[1]

def say(word="ready"):
    os.write(1, word.encode() + b"\\n")

def wait():
    say()
    sys.stdin.readline()

"""


class Writer:
    """A Python program that runs until it says `ready`; it goes on when told to, or is killed."""

    def __init__(self, program: str, path: Path) -> None:
        command = [sys.executable, "-c", PRELUDE + program, str(path)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
        self.hear("ready")

    def hear(self, word: str) -> None:
        assert self.process.stdout is not None
        heard = self.process.stdout.readline()
        assert heard == word + "\n", f"{heard!r}, not {word!r}"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def killed(self, number: int = signal.SIGKILL) -> None:
        """Kill it; returns when it is quite dead."""
        self.process.send_signal(number)
        assert self.process.wait(30) == -number
        self.process.communicate()

    def ended(self, code: int = 0) -> None:
        """Let it end by itself."""
        self.process.communicate("\n", 30)
        assert self.process.returncode == code


def killed_after(program: str, path: Path, number: int = signal.SIGKILL) -> None:
    """Run a program up to its end, where it waits and is killed."""
    Writer(program + "\nwait()", path).killed(number)


def eventually(there: Callable[[], bool]) -> None:
    """The kernel is told from a thread of the daemon, moments after the answer."""
    deadline = time.monotonic() + 30
    while not there():
        assert time.monotonic() < deadline
        os.sched_yield()
