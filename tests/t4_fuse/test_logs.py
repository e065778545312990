"""Where the log goes, and what a line of it looks like."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from arrayfs.errors import MountError
from arrayfs.fuse.logs import KEPT, begin_log, open_output

log = logging.getLogger("arrayfs.fuse")


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers, hook = root.level, root.handlers[:], threading.excepthook
    root.handlers = []  # what begin_log does not find it does not close
    yield
    for handler in root.handlers:
        handler.close()
    root.handlers, threading.excepthook = handlers, hook
    root.setLevel(level)


@contextlib.contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        yield listener
    path.unlink()


def test_a_line_has_time_level_container_and_process(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    begin_log(str(path), "info", "/data/we%ather.af")
    log.debug("hidden")
    log.warning("100 %% of %s", "é\udcff")
    before, line = path.read_text().splitlines()
    assert before == "before"
    wanted = (
        rf"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}[+-]\d\d:\d\d WARNING we%ather\.af\[{os.getpid()}\]: 100 % of é"
    )
    assert re.match(wanted, line)


def test_a_new_log_is_for_its_owner_only(tmp_path: Path) -> None:
    begin_log(str(tmp_path / "log"), "debug", "v.af")
    log.debug("shown")
    assert "DEBUG" in (tmp_path / "log").read_text()
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_syslog_gets_level_process_and_container(tmp_path: Path) -> None:
    with listening(tmp_path / "dev-log") as listener:
        begin_log("syslog", "info", "/data/v.af", device=str(tmp_path / "dev-log"))
        log.error("read: damaged")
        # facility daemon is 3, error is 3, warning is 4 (syslog(3))
        assert listener.recv(1000).rstrip(b"\0").decode() == f"<27>arrayfs[{os.getpid()}]: v.af: read: damaged"
        log.warning("odd")
        assert listener.recv(1000).startswith(b"<28>")


def test_a_syslog_that_is_started_anew_is_found_again(tmp_path: Path) -> None:
    with listening(tmp_path / "dev-log"):
        begin_log("syslog", "info", "v.af", device=str(tmp_path / "dev-log"))
    with listening(tmp_path / "dev-log") as listener:
        log.error("again")
        assert listener.recv(1000).endswith(b"again")


def test_a_syslog_that_takes_nothing_does_not_hold_up_the_mount(tmp_path: Path) -> None:
    with listening(tmp_path / "dev-log") as listener:
        begin_log("syslog", "info", "v.af", device=str(tmp_path / "dev-log"))
        for number in range(10_000):  # more than a socket takes
            log.error("line %d", number)
        assert listener.recv(1000).endswith(b"line 0")


def test_a_target_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MountError, match=rf"syslog \({tmp_path}/none\): No such file"):
        begin_log("syslog", "info", "v.af", device=str(tmp_path / "none"))
    with pytest.raises(MountError, match="log /nowhere/log: No such file"):
        begin_log("/nowhere/log", "info", "v.af")


def test_the_last_warnings_are_kept_whatever_the_target(capfd: pytest.CaptureFixture[str]) -> None:
    recent = begin_log("", "info", "v.af")
    log.info("not kept")
    for number in range(KEPT + 3):
        log.warning("warning %d\nwith more", number)
    lines = recent.lines()
    assert len(lines) == KEPT
    assert lines[-1].endswith(f"WARNING v.af[{os.getpid()}]: warning {KEPT + 2}")
    assert "not kept" in capfd.readouterr().err


def test_a_thread_that_ends_by_an_exception_says_so_in_the_log(tmp_path: Path) -> None:
    begin_log(str(tmp_path / "log"), "info", "v.af")
    thread = threading.Thread(target=lambda: 1 // 0, name="arrayfs-notify")
    thread.start()
    thread.join()
    said = (tmp_path / "log").read_text()
    assert "thread arrayfs-notify ended" in said
    assert "ZeroDivisionError" in said


def test_what_c_libraries_say_goes_where_the_log_goes(tmp_path: Path) -> None:
    for target, name in [("", os.devnull), ("syslog", os.devnull), (str(tmp_path / "log"), str(tmp_path / "log"))]:
        output = open_output(target)
        assert os.readlink(f"/proc/self/fd/{output}") == name
        os.close(output)
    output = open_output("stderr")
    assert os.path.sameopenfile(output, 2)
    os.close(output)
