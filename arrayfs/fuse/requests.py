"""Each request of the kernel's protocol as a call of a handler of pyfuse3's, and its answer back.

What is not in the table is answered with ENOSYS, as libfuse does: the kernel then mostly does without. Answers go out
with one system call each. Every step here counts, for small files by the thousand: so a handler that answers at once
is called as it was written, without what `request` puts around it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import time_ns
from types import CoroutineType, SimpleNamespace
from typing import Any, Final, NamedTuple

import pyfuse3
from pyfuse3 import EntryAttributes, StatvfsData

from arrayfs.fuse import wire
from arrayfs.fuse.answer import at_once, operation_of
from arrayfs.fuse.errnos import explain

HEAD: Final = wire.HEADER.size
# of the most frequent requests
_header: Final = wire.HEADER.unpack_from
_open_flags: Final = wire.OPEN.unpack_from
_handle: Final = wire.HANDLE.unpack_from
_answer, _ANSWER_SIZE = wire.ANSWER.pack, wire.ANSWER.size
_entry_answer, _ENTRY_ANSWER_SIZE = wire.ENTRY_ANSWER.pack, wire.ENTRY_ANSWER.size
_open_answer, _OPEN_ANSWER_SIZE = wire.OPEN_ANSWER.pack, wire.OPEN_ANSWER.size
_pack_dirent: Final = wire.DIRENT.pack
_PADDING: Final = tuple(bytes(-size % 8) for size in range(8))
HANDLERS: Final = (
    "lookup", "forget", "getattr", "setattr", "readlink", "symlink", "mknod", "mkdir", "unlink", "rmdir", "rename",
    "link", "open", "read", "write", "statfs", "release", "fsync", "flush", "opendir", "readdir", "releasedir",
    "fsyncdir", "create",
)  # fmt: skip

Answer = Callable[[int, Any], None]
Handler = Coroutine[Any, Any, Any]
Finish = Callable[[int, Handler, Answer], None]


class Caller(NamedTuple):
    """Who asks: what handlers look at in pyfuse3's RequestContext."""

    uid: int
    gid: int
    pid: int


class Listing:
    """The answer to one READDIRPLUS in the making: what the handler gets as its token."""

    __slots__ = ("_pieces", "_room")

    def __init__(self, room: int) -> None:
        self._pieces: list[bytes] = []
        self._room = room

    def add(self, name: bytes, entry: wire.Entry, cookie: int) -> bool:
        """One more entry; False: it does not fit."""
        fields = entry if type(entry) is tuple else wire.entry_fields(entry)
        size = len(name)
        piece = _pack_dirent(*fields, fields[0], cookie, size, fields[wire.MODE_AT] >> 12) + name + _PADDING[size % 8]
        self._room -= len(piece)
        if self._room < 0:
            return False
        self._pieces.append(piece)
        return True

    def whole(self) -> bytes:
        """All of them."""
        return b"".join(self._pieces)


class Requests:
    """The table of requests.

    buffer: where a request is when `answer` is called. finish: runs a handler that may park, and passes on what it
    returns. device: where answers are written to, set before the first one.
    """

    def __init__(self, operations: pyfuse3.Operations, buffer: bytearray, finish: Finish) -> None:
        self.device = -1
        self._ops: Any = SimpleNamespace(**{name: at_once(getattr(operations, name)) for name in HANDLERS})
        self._buffer = buffer
        self._finish = finish
        self._caller: Any = Caller(0, 0, 0)  # to the checker a RequestContext, which only pyfuse3 can make
        self._table: dict[int, Callable[[int, int, int], None]] = {
            1: self._lookup, 2: self._forget, 3: self._getattr, 4: self._setattr, 5: self._readlink, 6: self._symlink,
            8: self._mknod, 9: self._mkdir, 10: self._unlink, 11: self._rmdir, 12: self._rename, 13: self._link,
            14: self._open, 15: self._read, 16: self._write, 17: self._statfs, 18: self._release, 20: self._fsync,
            25: self._flush, 27: self._opendir, 29: self._releasedir, 30: self._fsyncdir, 35: self._create,
            36: self._interrupt, 38: self._destroy, 42: self._forget_many, 44: self._readdir_plus, 45: self._rename_2,
        }  # fmt: skip

    def answer(self) -> None:
        """Answer the request in the buffer."""
        size, opcode, unique, node, uid, gid, pid, _, _ = _header(self._buffer)
        if self._caller != (uid, gid, pid):
            self._caller = Caller(uid, gid, pid)
        method = self._table.get(opcode, self._unknown)
        try:
            method(unique, node, size)
        except pyfuse3.FUSEError as error:
            self.refuse(unique, error.errno)
        except BaseException as error:  # noqa: BLE001  as in answer.py, and for what was not understood
            self.refuse(unique, explain(operation_of(method), error))

    def refuse(self, unique: int, number: int) -> None:
        """Answer with an errno."""
        self._send(wire.ANSWER.pack(wire.ANSWER.size, -number, unique))

    def _complete(self, unique: int, result: Any, answer: Answer) -> None:
        """Answer with what a handler returned, or with what its coroutine will."""
        if type(result) is CoroutineType:
            self._finish(unique, result, answer)
        else:
            answer(unique, result)

    # --- names --------------------------------------------------------------------------------------------------------

    def _lookup(self, unique: int, node: int, size: int) -> None:
        name = bytes(self._buffer[HEAD : size - 1])
        self._complete(unique, self._ops.lookup(node, name, self._caller), self._entry)

    def _names(self, begin: int, size: int) -> list[bytes]:
        """The names that a request ends with."""
        return bytes(self._buffer[begin : size - 1]).split(b"\0")

    def _mkdir(self, unique: int, node: int, size: int) -> None:
        mode, _ = wire.MKDIR.unpack_from(self._buffer, HEAD)
        (name,) = self._names(HEAD + wire.MKDIR.size, size)
        self._complete(unique, self._ops.mkdir(node, name, mode, self._caller), self._entry)

    def _mknod(self, unique: int, node: int, size: int) -> None:
        mode, device, _, _ = wire.MKNOD.unpack_from(self._buffer, HEAD)
        (name,) = self._names(HEAD + wire.MKNOD.size, size)
        self._complete(unique, self._ops.mknod(node, name, mode, device, self._caller), self._entry)

    def _symlink(self, unique: int, node: int, size: int) -> None:
        name, target = self._names(HEAD, size)
        self._complete(unique, self._ops.symlink(node, name, target, self._caller), self._entry)

    def _readlink(self, unique: int, node: int, _size: int) -> None:
        self._complete(unique, self._ops.readlink(node, self._caller), self._bytes)

    def _unlink(self, unique: int, node: int, size: int) -> None:
        (name,) = self._names(HEAD, size)
        self._complete(unique, self._ops.unlink(node, name, self._caller), self._nothing)

    def _rmdir(self, unique: int, node: int, size: int) -> None:
        (name,) = self._names(HEAD, size)
        self._complete(unique, self._ops.rmdir(node, name, self._caller), self._nothing)

    def _rename(self, unique: int, node: int, size: int) -> None:
        (target,) = wire.RENAME.unpack_from(self._buffer, HEAD)
        name, new_name = self._names(HEAD + wire.RENAME.size, size)
        self._complete(unique, self._ops.rename(node, name, target, new_name, 0, self._caller), self._nothing)

    def _rename_2(self, unique: int, node: int, size: int) -> None:
        target, flags, _ = wire.RENAME2.unpack_from(self._buffer, HEAD)
        name, new_name = self._names(HEAD + wire.RENAME2.size, size)
        self._complete(unique, self._ops.rename(node, name, target, new_name, flags, self._caller), self._nothing)

    def _link(self, unique: int, node: int, size: int) -> None:
        (old,) = wire.LINK.unpack_from(self._buffer, HEAD)
        (name,) = self._names(HEAD + wire.LINK.size, size)
        self._complete(unique, self._ops.link(old, node, name, self._caller), self._entry)

    def _forget(self, _unique: int, node: int, _size: int) -> None:
        (count,) = wire.FORGET.unpack_from(self._buffer, HEAD)
        self._run(self._ops.forget([(node, count)]))

    def _forget_many(self, _unique: int, _node: int, _size: int) -> None:
        count, _ = wire.FORGET_MANY.unpack_from(self._buffer, HEAD)
        begin = HEAD + wire.FORGET_MANY.size
        end = begin + count * wire.FORGET_ONE.size
        self._run(self._ops.forget(list(wire.FORGET_ONE.iter_unpack(self._buffer[begin:end]))))

    def _run(self, result: Any) -> None:
        """Let a handler come to its end whose request has no answer."""
        self._complete(0, result, _ignore)

    # --- attributes ---------------------------------------------------------------------------------------------------

    def _getattr(self, unique: int, node: int, _size: int) -> None:
        self._complete(unique, self._ops.getattr(node, self._caller), self._attr)

    def _setattr(self, unique: int, node: int, _size: int) -> None:
        asked = wire.SETATTR.unpack_from(self._buffer, HEAD)
        valid, _, handle, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = asked
        now = time_ns()
        attr: Any = SimpleNamespace(
            st_size=size,
            st_mode=mode,
            st_uid=uid,
            st_gid=gid,
            st_atime_ns=now if valid & wire.ATIME_NOW else atime * wire.NS + atime_ns,
            st_mtime_ns=now if valid & wire.MTIME_NOW else mtime * wire.NS + mtime_ns,
        )
        fields: Any = SimpleNamespace(
            update_size=bool(valid & wire.SIZE),
            update_mode=bool(valid & wire.MODE),
            update_uid=bool(valid & wire.UID),
            update_gid=bool(valid & wire.GID),
            update_atime=bool(valid & (wire.ATIME | wire.ATIME_NOW)),
            update_mtime=bool(valid & (wire.MTIME | wire.MTIME_NOW)),
            update_ctime=bool(valid & wire.CTIME),
        )
        of_handle = handle if valid & wire.FH else None
        self._complete(unique, self._ops.setattr(node, attr, fields, of_handle, self._caller), self._attr)

    def _statfs(self, unique: int, _node: int, _size: int) -> None:
        self._complete(unique, self._ops.statfs(self._caller), self._space)

    # --- files --------------------------------------------------------------------------------------------------------

    def _open(self, unique: int, node: int, _size: int) -> None:
        flags, _ = _open_flags(self._buffer, HEAD)
        self._complete(unique, self._ops.open(node, flags, self._caller), self._opened)

    def _create(self, unique: int, node: int, size: int) -> None:
        flags, mode, _, _ = wire.CREATE.unpack_from(self._buffer, HEAD)
        (name,) = self._names(HEAD + wire.CREATE.size, size)
        self._complete(unique, self._ops.create(node, name, mode, flags, self._caller), self._created)

    def _read(self, unique: int, _node: int, _size: int) -> None:
        handle, offset, size = wire.READ.unpack_from(self._buffer, HEAD)
        self._complete(unique, self._ops.read(handle, offset, size), self._bytes)

    def _write(self, unique: int, _node: int, _size: int) -> None:
        handle, offset, size = wire.WRITE.unpack_from(self._buffer, HEAD)
        begin = HEAD + wire.WRITE_SIZE
        with memoryview(self._buffer) as view:
            data = bytes(view[begin : begin + size])
        self._complete(unique, self._ops.write(handle, offset, data), self._written)

    def _flush(self, unique: int, _node: int, _size: int) -> None:
        (handle,) = wire.HANDLE.unpack_from(self._buffer, HEAD)
        self._complete(unique, self._ops.flush(handle), self._nothing)

    def _release(self, unique: int, _node: int, _size: int) -> None:
        (handle,) = _handle(self._buffer, HEAD)
        self._complete(unique, self._ops.release(handle), self._nothing)

    def _fsync(self, unique: int, _node: int, _size: int) -> None:
        handle, flags = wire.FSYNC.unpack_from(self._buffer, HEAD)
        self._complete(unique, self._ops.fsync(handle, bool(flags & wire.FSYNC_DATA)), self._nothing)

    # --- directories --------------------------------------------------------------------------------------------------

    def _opendir(self, unique: int, node: int, _size: int) -> None:
        self._complete(unique, self._ops.opendir(node, self._caller), self._opened_directory)

    def _readdir_plus(self, unique: int, _node: int, _size: int) -> None:
        handle, offset, size = wire.READ.unpack_from(self._buffer, HEAD)
        listing: Any = Listing(size)
        handler = self._ops.readdir(handle, offset, listing)
        self._complete(unique, handler, lambda unique, _: self._bytes(unique, listing.whole()))

    def _releasedir(self, unique: int, _node: int, _size: int) -> None:
        (handle,) = wire.HANDLE.unpack_from(self._buffer, HEAD)
        self._complete(unique, self._ops.releasedir(handle), self._nothing)

    def _fsyncdir(self, unique: int, _node: int, _size: int) -> None:
        handle, flags = wire.FSYNC.unpack_from(self._buffer, HEAD)
        self._complete(unique, self._ops.fsyncdir(handle, bool(flags & wire.FSYNC_DATA)), self._nothing)

    # --- others -------------------------------------------------------------------------------------------------------

    def _interrupt(self, _unique: int, _node: int, _size: int) -> None:
        """No answer: what is under way is finished, and a program that was killed does not wait for it."""

    def _destroy(self, unique: int, _node: int, _size: int) -> None:
        self._nothing(unique)

    def _unknown(self, unique: int, _node: int, _size: int) -> None:
        self.refuse(unique, errno.ENOSYS)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _send(self, *pieces: bytes | memoryview) -> bool:
        """False: nobody takes the answer, since the program that asked was killed meanwhile."""
        try:
            os.writev(self.device, pieces)
        except FileNotFoundError:
            return False
        except OSError as error:  # the kernel has no memory, or does not understand us: the others must be answered
            _, _, unique = wire.ANSWER.unpack_from(pieces[0])
            with suppress(OSError):
                os.write(self.device, wire.ANSWER.pack(wire.ANSWER.size, -explain("answer", error), unique))
            return False
        return True

    def _nothing(self, unique: int, _none: object = None) -> None:
        self._send(_answer(_ANSWER_SIZE, 0, unique))

    def _bytes(self, unique: int, data: bytes | memoryview) -> None:
        self._send(_answer(_ANSWER_SIZE + len(data), 0, unique), data)

    def _entry(self, unique: int, entry: wire.Entry) -> None:
        fields = entry if type(entry) is tuple else wire.entry_fields(entry)
        self._send(_entry_answer(_ENTRY_ANSWER_SIZE, 0, unique, *fields))

    def _attr(self, unique: int, entry: wire.Entry) -> None:
        _, _, _, seconds, _, rest, *attributes = _fields(entry)
        self._send(wire.ATTR_ANSWER.pack(wire.ATTR_ANSWER.size, 0, unique, seconds, rest, 0, *attributes))

    def _opened(self, unique: int, opened: wire.Opened) -> None:
        handle, flags = opened if type(opened) is tuple else wire.opened_fields(opened)
        if not self._send(_open_answer(_OPEN_ANSWER_SIZE, 0, unique, handle, flags, 0)):
            self._run(self._ops.release(handle))  # the kernel does not know the handle

    def _opened_directory(self, unique: int, handle: int) -> None:
        if not self._send(_open_answer(_OPEN_ANSWER_SIZE, 0, unique, handle, 0, 0)):
            self._run(self._ops.releasedir(handle))

    def _created(self, unique: int, made: tuple[wire.Opened, wire.Entry]) -> None:
        opened, entry = made
        handle, flags = opened if type(opened) is tuple else wire.opened_fields(opened)
        fields = (*_fields(entry), handle, flags, 0)
        if not self._send(wire.CREATE_ANSWER.pack(wire.CREATE_ANSWER.size, 0, unique, *fields)):
            self._run(self._ops.release(handle))

    def _written(self, unique: int, size: int) -> None:
        self._send(wire.WRITE_ANSWER.pack(wire.WRITE_ANSWER.size, 0, unique, size, 0))

    def _space(self, unique: int, space: StatvfsData) -> None:
        counts = (space.f_blocks, space.f_bfree, space.f_bavail, space.f_files, space.f_ffree)
        sizes = (space.f_bsize, space.f_namemax, space.f_frsize, 0)
        self._send(wire.STATFS_ANSWER.pack(wire.STATFS_ANSWER.size, 0, unique, *counts, *sizes))


def _fields(entry: wire.Entry) -> wire.EntryFields:
    return wire.entry_fields(entry) if isinstance(entry, EntryAttributes) else entry


def _ignore(_unique: int, _nothing: object) -> None:
    pass
