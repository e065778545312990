"""Requests and answers as the kernel writes and reads them: the structs of linux/fuse.h, protocol 7.31 and later.

Only layouts, flags and the packing of attributes are here. All numbers are in the machine's byte order, and no struct
has gaps.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final

from pyfuse3 import EntryAttributes, FileInfo

NS: Final = 1_000_000_000

# fuse_in_header: length, opcode, unique, node, uid, gid, pid, length of extensions, nothing
HEADER: Final = Struct("=IIQQIIIHH")

# What follows it; the comments name the fields that are used. Names come after it, each with a zero byte.
FORGET: Final = Struct("=Q")  # count
FORGET_MANY: Final = Struct("=II")  # how many of the next
FORGET_ONE: Final = Struct("=QQ")  # node, count
SETATTR: Final = Struct("=IIQQQqqqIIIIIIII")  # as requests.py unpacks it; times may lie before 1970
MKNOD: Final = Struct("=IIII")  # mode, device
MKDIR: Final = Struct("=II")  # mode
RENAME: Final = Struct("=Q")  # new directory
RENAME2: Final = Struct("=QII")  # new directory, flags
LINK: Final = Struct("=Q")  # node
OPEN: Final = Struct("=II")  # flags
CREATE: Final = Struct("=IIII")  # flags, mode
HANDLE: Final = Struct("=Q")  # how FLUSH, RELEASE and RELEASEDIR begin
READ: Final = Struct("=QQI")  # handle, offset, size: how READ, READDIRPLUS and WRITE begin
WRITE: Final = READ
WRITE_SIZE: Final = 40  # then come the data
FSYNC: Final = Struct("=QI")  # handle, flags

# SETATTR: what of it is meant
MODE, UID, GID, SIZE, ATIME, MTIME, FH, ATIME_NOW, MTIME_NOW = (1 << bit for bit in range(9))
CTIME: Final = 1 << 10
FSYNC_DATA: Final = 1 << 0
# flags of an answer to OPEN
DIRECT_IO, KEEP_CACHE, NO_FLUSH = 1 << 0, 1 << 1, 1 << 5

# fuse_out_header: length, -errno, unique; each answer begins with it
_HEAD: Final = "=IiQ"
_ATTR: Final = "QQQqqqIIIIIIIIII"
_ENTRY: Final = "QQQQII" + _ATTR
_OPENED: Final = "QII"  # handle, flags
ANSWER: Final = Struct(_HEAD)
ENTRY_ANSWER: Final = Struct(_HEAD + _ENTRY)
ATTR_ANSWER: Final = Struct(_HEAD + "QII" + _ATTR)
OPEN_ANSWER: Final = Struct(_HEAD + _OPENED)
CREATE_ANSWER: Final = Struct(_HEAD + _ENTRY + _OPENED)
WRITE_ANSWER: Final = Struct(_HEAD + "II")  # bytes taken
STATFS_ANSWER: Final = Struct(_HEAD + "QQQQQIIII24x")
# fuse_direntplus: an entry, then number, cookie, length of the name, type; the name comes after it, filled to 8 bytes
DIRENT: Final = Struct("=" + _ENTRY + "QQII")

# Of a node: number, generation, seconds that its name and its attributes are believed, the same in ns, and fuse_attr.
EntryFields = tuple[int, ...]
# What a handler answers of a node: EntryAttributes, which pyfuse3 takes, or EntryFields, which are made faster. To the
# checker anything: for it, handlers are pyfuse3's.
Entry = Any
MODE_AT: Final = 15
# The same of an open file: FileInfo, or its handle and flags.
Opened = Any


def inode_of(entry: Entry) -> int:
    """The number of the node that a handler answered."""
    return int(entry[0] if isinstance(entry, tuple) else entry.st_ino)


def handle_of(opened: Opened) -> int:
    """The handle that a handler answered."""
    return int(opened[0] if isinstance(opened, tuple) else opened.fh)


def timeout(seconds: float) -> tuple[int, int]:
    """Whole seconds, and the rest in nanoseconds."""
    return int(seconds), int(seconds % 1 * NS)


def entry_fields(entry: EntryAttributes) -> EntryFields:
    """The fields of fuse_entry_out."""
    names_for, names_ns = timeout(entry.entry_timeout)
    attributes_for, attributes_ns = timeout(entry.attr_timeout)
    atime, mtime, ctime = entry.st_atime_ns, entry.st_mtime_ns, entry.st_ctime_ns
    return (
        *(entry.st_ino, entry.generation, names_for, attributes_for, names_ns, attributes_ns),
        *(entry.st_ino, entry.st_size, entry.st_blocks, atime // NS, mtime // NS, ctime // NS),
        *(atime % NS, mtime % NS, ctime % NS, entry.st_mode, entry.st_nlink, entry.st_uid, entry.st_gid),
        *(entry.st_rdev, entry.st_blksize, 0),
    )


def opened_fields(info: FileInfo) -> tuple[int, int]:
    """Handle and flags. NO_FLUSH is not among them: pyfuse3 knows no such thing."""
    return info.fh, (KEEP_CACHE if info.keep_cache else 0) | (DIRECT_IO if info.direct_io else 0)
