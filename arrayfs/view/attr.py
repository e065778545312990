"""What `stat` says of one node of the tree."""

from __future__ import annotations

from typing import NamedTuple

# What 64 bits of nanoseconds can say: the years 1677 to 2262.
_EARLIEST_NS, _LATEST_NS = -(1 << 63), (1 << 63) - 1


def kept_time(time_ns: int) -> int:
    """The time that is kept for one that a client sets: the nearest that can be said, as file systems do."""
    return max(_EARLIEST_NS, min(time_ns, _LATEST_NS))


class Attr(NamedTuple):
    """Attributes of one inode.

    mode: type bits and permissions; size: bytes; blocks: 512-byte units that the content takes in the container (so
    `du` shows what compression saves); times: ns since 1970-01-01 UTC, ctime_ns 0 meaning "as mtime_ns".
    """

    ino: int
    mode: int
    size: int
    blocks: int
    mtime_ns: int
    nlink: int = 1
    ctime_ns: int = 0
