"""How much memory one block or one chunk file may take: a container of a few bytes can ask for gigabytes.

The format allows blocks of 8 GiB, and 256 KiB of zstd can really hold as much; a machine that has less memory would
begin to kill programs. What no memory here could hold is refused before anything of it is allocated.
"""

from __future__ import annotations

import os

from arrayfs.errors import FormatError

# Half of the machine's memory: the other half is for what came of it and for all other programs.
ROOM = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def check_room(size: int, what: str) -> None:
    """Raise FormatError if `size` bytes are more than one request may take. what: begins the message."""
    if size > ROOM:
        raise FormatError(f"{what} takes {size} bytes of memory, {ROOM} are the most on this machine")
