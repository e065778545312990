"""For all tests: a run that leaves a mount or a process behind has failed, and is cleaned up after."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.leftovers import MARK, mounts_below, processes_of, wait_for_end

# For processes that were told to end just before; a killed daemon of ours needs a few milliseconds.
_GRACE_SECONDS = 5.0


# How a test tells how much it tried, which is part of the answer; see `tell`.
Tell = Callable[[str], None]
_TOLD = "told"


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Have a line of what was tried stand at the end of the run, from whichever process."""
    return lambda line: record_property(_TOLD, line)


def pytest_configure() -> None:
    """Have SIGINT mean something, here and in what the tests start: a shell's job in the background ignores it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, [])]
    lines = [
        f"{value} ({report.nodeid})" for report in reports for key, value in report.user_properties if key == _TOLD
    ]
    if lines:
        terminalreporter.section("tried")
        terminalreporter.write("\n".join(lines) + "\n")


@pytest.fixture(scope="session", autouse=True)
def nothing_stays_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fail at the end of the run if a mount below its temporary folder, or a process of it, is left."""
    folder = tmp_path_factory.getbasetemp().resolve()
    mark = uuid.uuid4().hex
    before = os.environ.get(MARK)
    os.environ[MARK] = mark
    yield
    if before is None:
        del os.environ[MARK]
    else:
        os.environ[MARK] = before
    mounts = mounts_below(folder)
    processes = wait_for_end(processes_of(mark), _GRACE_SECONDS)
    for point in mounts:
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    left = [f"mount {point}" for point in mounts] + [f"process {pid}: {name}" for pid, name in processes.items()]
    assert not left, f"left behind: {left}"
