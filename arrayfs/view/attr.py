"""What `stat` says of one node of the tree."""

from __future__ import annotations

from typing import NamedTuple


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
