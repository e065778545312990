"""What went wrong in requests, as the log tells it: each thing when it first happens and then now and then, no flood.

Two errors are the same thing if they come from the same place in the code (one that nobody expected) or say the same
words (damage, a full disk). Nothing here raises: a request's answer must not depend on the log.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from arrayfs.errors import ArrayFSError

log = logging.getLogger("arrayfs.fuse")

Key = tuple[str, ...]

INTERVAL: Final = 600.0  # seconds for which the same thing is only counted
LIMIT: Final = 1000  # things that are told apart; what comes beyond counts as one
DEPTH: Final = 30  # calls of a traceback that are shown, the innermost: endless recursion has a thousand
OTHERS: Final[Key] = ("others",)


@dataclass(slots=True)
class _Seen:
    told: float
    silent: int = 0


class Incidents:
    """Remembers what the log was told; belongs to one thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[Key, _Seen] = {}

    def tell(self, operation: str, error: BaseException) -> None:
        """Log what happened in `operation`, with the traceback if nobody expected it, unless it was told just now."""
        try:
            self._tell(operation, error)
        except Exception:  # noqa: BLE001  no memory to say it, or an error that cannot be put into words
            return

    def _tell(self, operation: str, error: BaseException) -> None:
        expected = isinstance(error, ArrayFSError | OSError)
        now = self._clock()
        seen = self._look_up((operation, repr(error)) if expected else (operation, *_place(error)), now)
        if seen is None:
            return
        again = f" ({seen.silent} times more since this was last said)" if seen.silent else ""
        seen.told, seen.silent = now, 0
        if expected:
            log.error("%s: %s: %s%s", operation, type(error).__name__, error, again)
        else:
            shown = "".join(traceback.format_exception(error, limit=-DEPTH)).rstrip()
            log.error("%s: nobody expected this%s\n%s", operation, again, shown)

    def _look_up(self, key: Key, now: float) -> _Seen | None:
        """Return the entry if it is to be told now; else count it."""
        if key not in self._seen and len(self._seen) >= LIMIT:
            self._seen = {key: seen for key, seen in self._seen.items() if now - seen.told < INTERVAL}
            if len(self._seen) >= LIMIT:
                key = OTHERS
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(now)
            return seen
        if now - seen.told >= INTERVAL:
            return seen
        seen.silent += 1
        return None


def _place(error: BaseException) -> Key:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    where = "" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"
    return type(error).__name__, where
