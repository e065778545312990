"""Errors to errno: the one table, and what is logged on the way."""

from __future__ import annotations

import errno
import logging
from typing import Final

from arrayfs import errors

log = logging.getLogger("arrayfs.fuse")

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

_logged: set[tuple[str, str]] = set()


def errno_of(error: Exception) -> int:
    """Return the errno that the program gets for an error of the tree; EIO for one that nobody expected."""
    if isinstance(error, errors.RefusedError):
        return error.errno or errno.EIO
    for kind, number in ERRNO:
        if isinstance(error, kind):
            return number
    if isinstance(error, OSError) and error.errno in FROM_BELOW:
        return error.errno
    return errno.EIO


def explain(operation: str, error: Exception) -> int:
    """Return `errno_of(error)`; when that says little, write down what happened, each thing once.

    Damage is named in one line (the message says file, block, array and chunk), what nobody expected with its
    traceback.
    """
    number = errno_of(error)
    if number not in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM):
        return number
    key = (operation, repr(error))
    if key not in _logged and len(_logged) < 10_000:
        _logged.add(key)
        expected = isinstance(error, errors.ArrayFSError | OSError)
        log.error("%s: %s: %s", operation, type(error).__name__, error, exc_info=None if expected else error)
    return number
