"""What a mount was asked: how often, how much and how fast; and line by line where a usage log is wanted.

Nothing here is paid for by a mount that did not ask for it: `watch` puts a measuring handler in front of each handler
of one mount. Measured is the time from the handler's begin to its answer, parking included; not the kernel's share.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

import pyfuse3

Handler = Callable[..., Coroutine[Any, Any, Any]]

# Handlers that are asked for often or matter to a user. The kernel stops asking for the others after one ENOSYS.
WATCHED: Final = (
    *("lookup", "forget", "getattr", "setattr", "statfs"),
    *("mkdir", "mknod", "symlink", "unlink", "rmdir", "rename", "link"),
    *("create", "open", "read", "write", "flush", "release", "fsync"),
    *("opendir", "readdir", "releasedir", "fsyncdir"),
)

CLASSES: Final = 40  # of the histogram: the last begins at 6 days


class Lines(Protocol):
    """Takes one operation at a time; `usage_log.UsageLog` is one."""

    def add(
        self, operation: str, arguments: dict[str, Any], answer: Any, taken_ns: int, moved: int, number: int
    ) -> None: ...


class OperationFigures:
    """Of one operation. below: how many took less than 2^i µs, and not less than half of that."""

    __slots__ = ("below", "count", "errors", "max_ns", "moved", "total_ns")

    def __init__(self) -> None:
        self.count = self.errors = self.moved = self.total_ns = self.max_ns = 0
        self.below = [0] * CLASSES

    def add(self, taken_ns: int, moved: int) -> None:
        self.count += 1
        self.moved += moved
        self.total_ns += taken_ns
        if taken_ns > self.max_ns:
            self.max_ns = taken_ns
        self.below[(taken_ns // 1000).bit_length()] += 1

    def as_json(self) -> dict[str, object]:
        """bytes: read or written; us_below: number of operations by the power of two that their time stays under."""
        return {
            "count": self.count,
            "errors": self.errors,
            "bytes": self.moved,
            "total_us": self.total_ns // 1000,
            "max_us": self.max_ns // 1000,
            "us_below": {str(1 << power): count for power, count in enumerate(self.below) if count},
        }


class Usage:
    """The figures of one mount, by the name of the operation. An operation that fails with ENOENT is an error too."""

    def __init__(self, lines: Lines | None = None) -> None:
        self._figures = {name: OperationFigures() for name in WATCHED}
        self._lines = lines

    def watch(self, operations: pyfuse3.Operations) -> None:
        """Measure the handlers of `operations` from now on. pyfuse3 looks each of them up on the object."""
        for name in WATCHED:
            measured = self._counted if self._lines is None else self._logged
            setattr(operations, name, measured(name, getattr(operations, name)))

    def as_json(self) -> dict[str, object]:
        """Return the figures of the operations that were asked for."""
        return {name: figures.as_json() for name, figures in self._figures.items() if figures.count}

    def _counted(self, name: str, handler: Handler) -> Handler:
        figures, now, moved = self._figures[name], time.perf_counter_ns, _MOVED.get(name)

        async def counted(*arguments: Any) -> Any:
            begin = now()
            try:
                answer = await handler(*arguments)
            except pyfuse3.FUSEError:
                figures.errors += 1
                figures.add(now() - begin, 0)
                raise
            figures.add(now() - begin, 0 if moved is None else moved(answer))
            return answer

        return counted

    def _logged(self, name: str, handler: Handler) -> Handler:
        figures, lines, now, moved = self._figures[name], self._lines, time.perf_counter_ns, _MOVED.get(name)
        names = list(inspect.signature(handler).parameters)
        assert lines is not None

        async def logged(*arguments: Any) -> Any:
            begin, answer, number, size = now(), None, 0, 0
            try:
                answer = await handler(*arguments)
                size = 0 if moved is None else moved(answer)
                return answer
            except pyfuse3.FUSEError as error:
                figures.errors += 1
                number = error.errno
                raise
            finally:
                taken = now() - begin
                figures.add(taken, size)
                lines.add(name, dict(zip(names, arguments, strict=False)), answer, taken, size, number)

        return logged


_MOVED: Final[dict[str, Callable[[Any], int]]] = {"read": len, "write": int}
