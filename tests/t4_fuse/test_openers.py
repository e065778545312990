"""What /proc tells of the processes that opened handles, without a mount."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from arrayfs.fuse import openers
from arrayfs.fuse.openers import Opener, Openers, process_of

HANDLE = 7
NOBODY = 2**22 + 1  # beyond the highest number that a process can have


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits; it has a name that is hard to parse."""
    program = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b') R (x y', 0, 0, 0); print(flush=True); input()"
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def opened(pid: int) -> Openers:
    known = Openers()
    known.opened(HANDLE, pid)
    return known


def dead(process: subprocess.Popen[bytes], number: int) -> None:
    """Let it die, but not go: its line in /proc stays."""
    process.send_signal(number)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def test_who_lives_is_not_dying(sleeper: subprocess.Popen[bytes]) -> None:
    known = opened(sleeper.pid)
    assert (known.dying_of(HANDLE), known.died_of(HANDLE)) == (0, 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_who_is_dead_sends_nothing_more(sleeper: subprocess.Popen[bytes], number: int) -> None:
    known = opened(sleeper.pid)
    dead(sleeper, number)
    assert (known.dying_of(HANDLE), known.died_of(HANDLE)) == (0, number)
    sleeper.wait()
    assert (known.dying_of(HANDLE), known.died_of(HANDLE)) == (0, 0)


def test_another_process_with_the_same_number(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It began after the handle was opened."""
    known = opened(sleeper.pid)
    monkeypatch.setitem(known._openers, HANDLE, Opener(sleeper.pid, known._openers[HANDLE].since - 3600))
    dead(sleeper, signal.SIGKILL)
    assert known.died_of(HANDLE) == 0


def test_a_thread_belongs_to_its_process() -> None:
    found: list[int] = []

    def ask() -> None:
        found.append(threading.get_native_id())
        found.append(process_of(found[0]))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert found[0] != os.getpid()
    assert found[1] == process_of(os.getpid()) == os.getpid()
    assert process_of(NOBODY) == NOBODY


@pytest.mark.parametrize("line", ["", "1 (x) S", None])
def test_what_cannot_be_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, line: str | None) -> None:
    """No process (the kernel says 0 of one in another namespace), no line, half a line."""
    assert opened(0).dying_of(HANDLE) == 0
    assert opened(NOBODY).dying_of(HANDLE) == 0
    path = tmp_path / "stat"
    if line is not None:
        path.write_text(line)
    assert openers._read(str(path)) is None


def test_a_proc_of_another_namespace_is_not_believed(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    known = opened(sleeper.pid)
    dead(sleeper, signal.SIGKILL)
    assert known.died_of(HANDLE) == 0


def test_a_handle_that_was_released_is_forgotten() -> None:
    known = opened(os.getpid())
    known.flushed.add(HANDLE)
    assert HANDLE in known
    known.released(HANDLE)
    assert HANDLE not in known
    assert HANDLE not in known.flushed
