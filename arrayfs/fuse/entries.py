"""What the kernel is told of an entry: the attributes that the tree gives, in the form that the runtime takes.

pyfuse3 takes EntryAttributes; `direct.py` also takes the fields of the kernel's own struct, which are cheaper to make.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pyfuse3 import EntryAttributes

from arrayfs.fuse.ahead import READ_SIZE
from arrayfs.fuse.masks import Masks
from arrayfs.fuse.wire import NS, Entry
from arrayfs.view.attr import Attr

# Seconds for which the kernel believes names and attributes. Its own changes it knows; all others are sent by
# notify.py. Without it, small files are read again at a third of the speed, and every stat is a request.
KNOWN_FOR: Final = 3600


class Entries:
    """Makes the answers of one mount. What it returns is good until it is asked for the next: pyfuse3 copies it.

    uid, gid: of all entries. masks: for the modes shown, but for those of the inodes `unmasked`. as_fields: for a
    runtime that takes them.
    """

    def __init__(self, uid: int, gid: int, *, masks: Masks | None, unmasked: frozenset[int], as_fields: bool) -> None:
        self._uid, self._gid = uid, gid
        self._entry, self._asked_anew = _blank(uid, gid, KNOWN_FOR), _blank(uid, gid, 0)
        self._masks, self._unmasked = masks, unmasked
        self._plain = self._fields if as_fields else partial(_fill, self._entry)
        self.known = self._plain if masks is None else self._masked

    def asked_anew(self, attr: Attr) -> Entry:
        """Of a file that says something new each time, where `known` is of one whose changes the kernel is told."""
        return _fill(self._asked_anew, attr)

    def _masked(self, attr: Attr) -> Entry:
        assert self._masks is not None
        return self._plain(attr if attr.ino in self._unmasked else self._masks.shown(attr))

    def _fields(self, attr: Attr) -> Entry:
        ino, mode, size, blocks, mtime_ns, nlink, ctime_ns = attr
        mtime, mtime_rest = divmod(mtime_ns, NS)
        ctime, ctime_rest = divmod(ctime_ns, NS) if ctime_ns else (mtime, mtime_rest)
        return (
            ino, 0, KNOWN_FOR, KNOWN_FOR, 0, 0, ino, size, blocks, mtime, mtime, ctime, mtime_rest, mtime_rest,
            ctime_rest, mode, nlink, self._uid, self._gid, 0, READ_SIZE, 0,
        )  # fmt: skip


def _blank(uid: int, gid: int, known_for: int) -> EntryAttributes:
    entry = EntryAttributes()
    entry.st_uid, entry.st_gid = uid, gid
    entry.entry_timeout = entry.attr_timeout = known_for
    entry.st_blksize = READ_SIZE  # buffered writers collect this much for one WRITE
    return entry


def _fill(entry: EntryAttributes, attr: Attr) -> EntryAttributes:
    entry.st_ino, entry.st_mode, entry.st_size, entry.st_blocks, mtime_ns, entry.st_nlink, ctime_ns = attr
    entry.st_mtime_ns = entry.st_atime_ns = mtime_ns
    entry.st_ctime_ns = ctime_ns or mtime_ns
    return entry
