"""What a mount was asked: counted for the status, and line by line in the usage log."""

from __future__ import annotations

import errno
import json
import os
import resource
import stat
from collections.abc import Coroutine
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from arrayfs.errors import MountError
from arrayfs.fuse.usage import OperationFigures, Usage
from arrayfs.fuse.usage_log import KEPT, UsageLog


class Few(pyfuse3.Operations):
    """Handlers with the parameters that they have in a mount."""

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> Any:
        if name == b"absent":
            raise pyfuse3.FUSEError(errno.ENOENT)
        return SimpleNamespace(st_ino=7)

    async def open(self, inode: int, flags: int, ctx: Any) -> Any:
        return SimpleNamespace(fh=1)

    async def read(self, fh: int, offset: int, size: int) -> bytes:
        return b"x" * size

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        return len(data)

    async def release(self, fh: int) -> None: ...

    async def forget(self, inode_list: Any) -> None: ...

    async def rename(
        self, parent_inode_old: int, name_old: bytes, parent_inode_new: int, name_new: bytes, flags: int, ctx: Any
    ) -> None: ...


def answer(handler: Coroutine[Any, Any, Any]) -> Any:
    try:
        handler.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")


def some_requests(operations: Few) -> None:
    context = SimpleNamespace(pid=42)
    assert answer(operations.lookup(1, b"a\xff", context)).st_ino == 7
    with pytest.raises(pyfuse3.FUSEError):
        answer(operations.lookup(1, b"absent", context))
    answer(operations.open(7, os.O_RDWR, context))
    assert answer(operations.read(1, 4096, 100)) == b"x" * 100
    assert answer(operations.write(1, 0, b"data")) == 4
    answer(operations.rename(1, b"a", 3, b"b", 0, context))
    answer(operations.release(1))
    answer(operations.forget([(7, 1), (8, 1)]))


def path_of(inode: int) -> str | None:
    return {1: "", 3: "g", 7: "a"}.get(inode)


@pytest.mark.parametrize("logged", [False, True])
def test_operations_are_counted_with_bytes_and_errors(tmp_path: Path, logged: bool) -> None:
    log = UsageLog(str(tmp_path / "log"), path_of) if logged else None
    usage, operations = Usage(log), Few()
    usage.watch(operations)
    some_requests(operations)
    figures = usage.as_json()
    counts = {name: (each["count"], each["errors"], each["bytes"]) for name, each in figures.items()}  # type: ignore[index]
    assert counts == {
        "lookup": (2, 1, 0),
        "open": (1, 0, 0),
        "read": (1, 0, 100),
        "write": (1, 0, 4),
        "rename": (1, 0, 0),
        "release": (1, 0, 0),
        "forget": (1, 0, 0),
    }
    if log is not None:
        log.close()


def test_times_are_in_powers_of_two_of_microseconds() -> None:
    figures = OperationFigures()
    for taken_ns in (0, 999, 1000, 1999, 2000, 5_000_000, 86_400 * 10**9):
        figures.add(taken_ns, 10)
    assert figures.as_json() == {
        "count": 7,
        "errors": 0,
        "bytes": 70,
        "total_us": 86_400_005_005,
        "max_us": 86_400_000_000,
        "us_below": {"1": 2, "2": 2, "4": 1, "8192": 1, "137438953472": 1},
    }


def test_a_line_says_what_was_asked_by_whom_and_how_it_went(tmp_path: Path) -> None:
    log = UsageLog(str(tmp_path / "log"), path_of)
    operations = Few()
    Usage(log).watch(operations)
    some_requests(operations)
    log.close()
    written = (tmp_path / "log").read_bytes()
    assert log.recent() == written
    lines = [json.loads(line) for line in written.splitlines()]
    assert all(line.pop("time") > 1e9 and line.pop("us") >= 0 for line in lines)
    assert lines == [
        {"op": "lookup", "path": "a\udcff", "inode": 7, "pid": 42, "errno": 0},
        {"op": "lookup", "path": "absent", "pid": 42, "errno": errno.ENOENT},
        {"op": "open", "path": "a", "inode": 7, "pid": 42, "errno": 0},
        {"op": "read", "path": "a", "inode": 7, "pid": 42, "offset": 4096, "bytes": 100, "errno": 0},
        {"op": "write", "path": "a", "inode": 7, "pid": 42, "offset": 0, "bytes": 4, "errno": 0},
        {"op": "rename", "path": "a", "to": "g/b", "pid": 42, "errno": 0},
        {"op": "release", "path": "a", "inode": 7, "pid": 42, "errno": 0},
        {"op": "forget", "inodes": 2, "errno": 0},
    ]
    assert stat.S_IMODE((tmp_path / "log").stat().st_mode) == 0o600


def test_only_the_last_lines_are_kept_in_memory(tmp_path: Path) -> None:
    log = UsageLog(str(tmp_path / "log"), path_of)
    for number in range(KEPT + 5):
        log.add("read", {"fh": 1, "offset": number}, b"", 0, 0, 0)
    log.close()
    kept = [json.loads(line)["offset"] for line in log.recent().splitlines()]
    assert kept == list(range(5, KEPT + 5))
    assert len((tmp_path / "log").read_bytes().splitlines()) == KEPT + 5


def test_a_full_disk_costs_lines_and_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = UsageLog(str(tmp_path / "log"), path_of)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (150, before[1]))  # python ignores the signal that comes with it
    try:
        for number in range(50):
            log.add("read", {"fh": 1, "offset": number}, b"", 0, 0, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    log.add("read", {"fh": 1, "offset": 50}, b"", 0, 0, 0)
    log.close()
    assert len(caplog.records) == 1
    assert "usage log: OSError" in caplog.text
    lines = (tmp_path / "log").read_bytes().splitlines()
    assert json.loads(lines[0])["offset"] == 0
    assert json.loads(lines[-1])["offset"] == 50


def test_a_usage_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(MountError, match="usage log /nowhere/log: No such file"):
        UsageLog("/nowhere/log", path_of)
