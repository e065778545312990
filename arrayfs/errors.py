"""Every exception of the package; nothing of ours is imported here.

A name stands for one thing that a caller can act on, and is also the builtin that fits. Messages say which file, array,
block or chunk, what was found and what was expected. `fuse/errnos.py` maps them to errno in one table.
"""


class ArrayFSError(Exception):
    """The root of all errors that arrayfs raises on purpose."""


class FormatError(ArrayFSError, ValueError):
    """The bytes are not what the format promises: damage, a foreign file, or a version that is not read."""


class ChecksumError(FormatError):
    """The bytes were read whole, but are not the ones that were written."""


class ChunkFileError(FormatError):
    """A chunk file whose length or structure is not what its array's metadata promises."""


class LimitError(ArrayFSError, OverflowError):
    """A value beyond what the format can hold (u32 extents, 4 GiB chunks, …)."""


class MissingObjectError(ArrayFSError, FileNotFoundError):
    """A store has no object of this name."""


class ObjectExistsError(ArrayFSError, FileExistsError):
    """A store already has an object of this name, and the call must not replace it."""


class ShortReadError(ArrayFSError, EOFError):
    """An object ends before the bytes that were asked for."""


class StoreURLError(ArrayFSError, ValueError):
    """A path or URL that no store here can open."""


class LockedError(ArrayFSError, BlockingIOError):
    """Another writer holds the lock."""


class ConflictError(ArrayFSError):
    """Another writer changed the container since this writer read it."""


class ReadOnlyError(ArrayFSError, PermissionError):
    """A change was asked of something opened for reading only."""


class ArrayNotFoundError(ArrayFSError, KeyError):
    """The container has no array of this name."""


class OpaqueArrayError(ArrayFSError, TypeError):
    """The values were asked of an array whose chunks are kept as a client encoded them."""


class VersionError(ArrayFSError, LookupError):
    """A version or tag that is not there, that can no longer be read by itself, or that cannot be named so."""


class NoEntryError(ArrayFSError, FileNotFoundError):
    """No file or directory of this name (ENOENT)."""


class EntryExistsError(ArrayFSError, FileExistsError):
    """A file or directory of this name is there already (EEXIST)."""


class IsDirectoryError(ArrayFSError, IsADirectoryError):
    """A file operation on a directory (EISDIR)."""


class NotDirectoryError(ArrayFSError, NotADirectoryError):
    """A directory operation on a file (ENOTDIR)."""


class NotEmptyError(ArrayFSError, OSError):
    """A directory that still has entries (ENOTEMPTY)."""


class StaleError(ArrayFSError, OSError):
    """The bytes that an open file showed are no longer to be had (ESTALE)."""


class RefusedError(ArrayFSError, OSError):
    """An operation that the tree has no meaning for (EPERM, EINVAL, EOPNOTSUPP: `errno` says which)."""

    def __init__(self, errno: int, message: str) -> None:
        super().__init__(errno, message)


class UnconvertibleError(ArrayFSError, ValueError):
    """An opaque array that cannot be a native one with exactly the same values; the message says why."""


class SourceError(ArrayFSError, ValueError):
    """Something to be imported that cannot be read, or has no form in a container; the message names it."""


class TargetError(ArrayFSError, ValueError):
    """Something that cannot be exported, or a place that cannot be exported to; the message names it."""


class MountError(ArrayFSError, RuntimeError):
    """A mount that could not be made, reached or ended."""


class MountOptionError(MountError, ValueError):
    """A mount option that is not known, or whose value makes no sense."""


class DaemonDiedError(MountError):
    """The process that serves a mount was killed or crashed, and could not say why."""
