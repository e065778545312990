"""Errors to errno: the one table, and which of them the log is told of."""

from __future__ import annotations

import errno
from typing import Final

from arrayfs import errors
from arrayfs.fuse.incidents import Incidents

ERRNO: Final[list[tuple[type[Exception], int]]] = [  # first match wins
    (errors.NoEntryError, errno.ENOENT),
    (errors.ArrayNotFoundError, errno.ENOENT),
    (errors.EntryExistsError, errno.EEXIST),
    (errors.IsDirectoryError, errno.EISDIR),
    (errors.NotDirectoryError, errno.ENOTDIR),
    (errors.NotEmptyError, errno.ENOTEMPTY),
    (errors.StaleError, errno.ESTALE),
    (errors.ReadOnlyError, errno.EROFS),
    (errors.LimitError, errno.EFBIG),
    (errors.LockedError, errno.EBUSY),  # not EAGAIN: programs would try again for ever
    (errors.ConflictError, errno.EBUSY),
    (errors.ArrayFSError, errno.EIO),  # damage, a lost object, a failed commit
    (MemoryError, errno.ENOMEM),
]

# What the medium below says and the user can act on; any other errno from below would be taken for a word about the
# tree.
FROM_BELOW: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

# An errno that says little: what happened stands in the log.
LOGGED: Final = frozenset({errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM})

_incidents = Incidents()


def errno_of(error: BaseException) -> int:
    """Return the errno that the program gets for an error of the tree; EIO for one that nobody expected."""
    if isinstance(error, errors.RefusedError):
        return error.errno or errno.EIO
    for kind, number in ERRNO:
        if isinstance(error, kind):
            return number
    if isinstance(error, OSError) and error.errno in FROM_BELOW:
        return error.errno
    return errno.EIO


def explain(operation: str, error: BaseException) -> int:
    """Return `errno_of(error)`; when that says little, write down what happened. Raises nothing.

    Damage is named in one line (the message says file, block, array and chunk), what nobody expected with its
    traceback.
    """
    number = errno_of(error)
    if number in LOGGED:
        _incidents.tell(operation, error)
    return number
