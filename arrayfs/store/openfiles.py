"""How many files of one process may be open at once: a container can have more layers than a process descriptors.

The oldest give theirs back when there are too many; who then needs one opens its file anew and has to see that it is
the same one still. `_guard` protects `_open`.
"""

from __future__ import annotations

import resource
import threading
from collections import deque
from contextlib import suppress
from typing import Protocol
from weakref import ref

# Of the descriptors that a process may have; the rest is for all that is no layer.
_SHARE = 2
_LEAST = 16
# The part of all open files that is given back at once.
_AT_ONCE = 8
# As far as the soft limit is raised by itself: more than any honest container has layers.
_ENOUGH = 1 << 16


class Lender(Protocol):
    """Something that has a file open and can do without."""

    def lend(self) -> None:
        """Let go of the descriptor; whoever reads just now still finishes."""


class OpenFiles:
    """Who has a file open, the one that opened first coming first, and some that are gone."""

    def __init__(self) -> None:
        self._open: deque[ref[Lender]] = deque()
        self._guard = threading.Lock()

    def opened(self, lender: Lender) -> None:
        """`lender` has opened its file: if these are too many now, others give theirs back."""
        with self._guard:
            self._open.append(ref(lender))
            if len(self._open) <= _limit():
                return
            self._open = deque(one for one in self._open if one() is not None)
            if len(self._open) <= _limit():
                return
            _raise_limit()
            limit = _limit()
            if len(self._open) <= limit:
                return
            # some more than there are too many: not each time that a file is opened
            for _ in range(len(self._open) - limit + limit // _AT_ONCE):
                other = self._open.popleft()()
                if other is not None:
                    other.lend()


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else max(soft // _SHARE, _LEAST)


def _raise_limit() -> None:
    """Let this process have as many descriptors as it may, within reason."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


OPEN_FILES = OpenFiles()
