"""Where a mount's log goes: nowhere, a file, standard error, or syslog; and its last warnings, kept for the status.

A line has the time (with the zone), the level, the container's name and the process: `2026-03-01T12:00:00.123+01:00
ERROR weather.af[4711]: read: ...`. In syslog, which has its own time and level, it begins with `arrayfs[4711]: `.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from datetime import datetime
from logging.handlers import SysLogHandler
from socket import MSG_DONTWAIT, SocketType
from typing import Final

from arrayfs.errors import MountError

STDERR: Final = "stderr"
SYSLOG: Final = "syslog"
DEVICE: Final = "/dev/log"
KEPT: Final = 100  # lines of the status

LINE: Final = "%(asctime)s %(levelname)s %(container)s[%(process)d]: %(message)s"
SYSLOG_LINE: Final = "%(container)s: %(message)s"


class RecentWarnings(logging.Handler):
    """The last lines of level WARNING and above."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record).partition("\n")[0])  # a traceback stands in the log

    def lines(self) -> list[str]:
        return list(self._lines)


class Syslog(SysLogHandler):
    """Sends to syslog and never waits for it: what it does not take at once is dropped, the mount goes on."""

    socket: SocketType  # of the class above

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level = self.encodePriority(self.facility, self.mapPriority(record.levelname))
            message = f"<{level}>{self.ident}{self.format(record)}".encode("utf-8", "replace")
            try:
                self.socket.send(message, MSG_DONTWAIT)
            except BlockingIOError:
                return
            except OSError:  # syslogd was started anew
                self.socket.close()
                self.createSocket()
                self.socket.send(message, MSG_DONTWAIT)
        except Exception:  # noqa: BLE001  as logging's own handlers do
            self.handleError(record)


class _Lines(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  logging's name
        return datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")


def begin_log(target: str, level: str, container: str, *, device: str = DEVICE) -> RecentWarnings:
    """Send everything that is logged in this process to `target` from now on: "" or `stderr` for standard error,
    `syslog`, else the name of a file, which is appended to and made with mode 0600.

    level: debug, info, warning or error. container: what the lines call it. device: the socket of syslog. Raises
    MountError if the target cannot be written.
    """
    recent = RecentWarnings()
    handler = _handler(target, device)
    names = {"container": os.path.basename(container.rstrip("/"))}
    lines = _Lines(LINE, defaults=names)
    handler.setFormatter(logging.Formatter(SYSLOG_LINE, defaults=names) if isinstance(handler, Syslog) else lines)
    recent.setFormatter(lines)
    logging.basicConfig(level=level.upper(), handlers=[handler, recent], force=True)
    threading.excepthook = _log_thread
    return recent


def open_output(target: str) -> int:
    """Open what takes the place of a daemon's standard output and error: what C libraries say goes to the log's file,
    or stays with the caller's standard error if that is the log, or is dropped. Returns the descriptor.
    """
    if target == STDERR:
        return os.dup(2)
    path = os.devnull if target in ("", SYSLOG) else target
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def _handler(target: str, device: str) -> logging.Handler:
    if target in ("", STDERR):
        return logging.StreamHandler()
    try:
        if target == SYSLOG:
            os.stat(device)  # the handler would wait for it to come
            handler = Syslog(device, SysLogHandler.LOG_DAEMON)
            handler.ident = f"arrayfs[{os.getpid()}]: "
            return handler
        os.close(open_output(target))
        return logging.FileHandler(target, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        name = f"{SYSLOG} ({device})" if target == SYSLOG else target
        raise MountError(f"log {name}: {error.strerror}") from None


def _log_thread(failed: threading.ExceptHookArgs) -> None:
    """A thread that ends by an exception says so in the log, not on a standard error that nobody reads."""
    with contextlib.suppress(Exception):
        name = failed.thread.name if failed.thread is not None else "?"
        error = failed.exc_value
        shown = error is not None and (type(error), error, failed.exc_traceback)
        logging.getLogger("arrayfs.fuse").error("thread %s ended by an exception", name, exc_info=shown or None)
