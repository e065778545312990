"""What was asked of a store: figures by operation, and if wanted a line of JSON for each, in a file.

    {"time": 1772366400.123456, "op": "get", "key": "temp/c/0/1", "bytes": 131072, "us": 35, "pid": 4711}

`bytes` is left out where none moved; `missing` is true where a key was read that has no value. Several stores and
processes may share a file: each line is appended by one write.
"""

from __future__ import annotations

import json
import os
import threading
import time
import weakref

Figures = dict[str, dict[str, int]]


class Usage:
    """The figures of one store; safe to use from several threads."""

    def __init__(self, log: str | None = None) -> None:
        """log: a file to append to, made with mode 0600 if need be. Raises OSError."""
        self.log = log
        self._counts: dict[str, list[int]] = {}
        self._lock = threading.Lock()
        self._file = -1
        if log is not None:
            self._file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            weakref.finalize(self, os.close, self._file)

    def add(self, operation: str, key: str, moved: int | None, begin_ns: int) -> None:
        """Note an operation. moved: bytes, None where there was no value; begin_ns: of `time.perf_counter_ns`."""
        with self._lock:
            counts = self._counts.get(operation)
            if counts is None:
                counts = self._counts[operation] = [0, 0, 0]
            counts[0] += 1
            if moved is None:
                counts[2] += 1
            else:
                counts[1] += moved
        if self._file >= 0:
            self._write(operation, key, moved, time.perf_counter_ns() - begin_ns)

    def _write(self, operation: str, key: str, moved: int | None, taken_ns: int) -> None:
        entry: dict[str, object] = {"time": time.time_ns() // 1000 / 1e6, "op": operation, "key": key}
        if moved:
            entry["bytes"] = moved
        if moved is None:
            entry["missing"] = True
        entry |= {"us": taken_ns // 1000, "pid": os.getpid()}
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def figures(self) -> Figures:
        """By operation: how often, bytes moved, and how often there was no value."""
        with self._lock:
            return {
                operation: {"count": count, "bytes": moved, "missing": missing}
                for operation, (count, moved, missing) in self._counts.items()
            }
