"""Errors that wait for the end of what is under way."""

from __future__ import annotations

from types import TracebackType


class Postponing:
    """A context that may be entered again within itself; the first error given to it is raised where it is left.

    Where it is left by another exception, that one says what failed.
    """

    __slots__ = ("_depth", "_first")

    def __init__(self) -> None:
        self._depth = 0
        self._first: OSError | None = None

    def postpones(self, error: OSError) -> bool:
        """Take an error; False outside of the context: it has to be raised now."""
        self._first = self._first or (error if self._depth else None)
        return self._depth > 0

    def __enter__(self) -> None:
        self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if not self._depth and self._first is not None:
            first, self._first = self._first, None
            if kind is None:
                raise first
