"""Who may read a file that joins others: whoever may read the one that it belongs to, and nobody else.

A sidecar with other permissions than its base would hide a version from those who share the container, or show one to
those who do not.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress

_READ_WRITE = 0o666
_GROUP = 0o070


def take_after(fd: int, model: os.stat_result) -> None:
    """Give the open file `fd` owner, group and mode of `model`, as far as the process may.

    A file cannot be given to a group that its maker is not in. The bits of `model`'s group would then be another
    group's, so it gets only what everybody has.
    """
    with suppress(OSError):
        os.fchown(fd, model.st_uid, model.st_gid)  # root writes into another user's container
    if os.fstat(fd).st_gid != model.st_gid:
        with suppress(OSError):
            os.fchown(fd, -1, model.st_gid)
    mode = stat.S_IMODE(model.st_mode) & _READ_WRITE
    if os.fstat(fd).st_gid != model.st_gid:
        mode &= ~_GROUP | (mode & 0o007) << 3
    os.fchmod(fd, mode)
