"""A tree in which an operation has one time, which all that it does is stamped by."""

from __future__ import annotations

import time

from arrayfs.view.tree import Tree


class ClockedTree(Tree):
    """A tree whose times follow from the time of the operation, so that doing it again gives the same."""

    _clocked = False

    def begin(self, time_ns: int | None = None) -> int:
        """An operation begins, at `time_ns` or now; returns its time."""
        self._last_ns = time_ns if time_ns is not None else max(time.time_ns(), self._last_ns + 1)
        self._clocked = True
        return self._last_ns

    def end(self) -> None:
        """The operation has ended; times are the clock's again."""
        self._clocked = False

    def now(self) -> int:
        if not self._clocked:
            return super().now()
        self._last_ns += 1
        return self._last_ns
