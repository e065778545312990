"""A ZIP archive written from its beginning to its end: stored members, of any number and size.

The standard library's keeps an object for each member; here the directory lies in a file until it is written. (PKWARE
APPNOTE 6.3.10: 4.3 records, 4.5.3 Zip64; Info-ZIP's extra field "UT" for the time in seconds)
"""

from __future__ import annotations

import shutil
import stat
import struct
import time
import zlib
from tempfile import TemporaryFile
from typing import IO, Final, NamedTuple

from arrayfs.copying.positioned import STEP, Buffer, read_all, write_all

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s4B4H3L5H2L")
_END_64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64: Final = struct.Struct("<4sLQL")
_END: Final = struct.Struct("<4s4H2LH")
_LIMIT: Final = 0xFFFFFFFF
_COUNT_LIMIT: Final = 0xFFFF
_UTF8: Final = 0x800
_UNIX: Final = 3
_VERSION: Final = 45
# Copying so much costs less than one more call.
_TOGETHER: Final = 64 << 10


class ZipWriter:
    """Members one after another: `add`, or `begin`, writes at will into the room that it gives, and `end`."""

    def __init__(self, fd: int) -> None:
        """fd: an empty file, open for reading and writing; it stays open."""
        self._fd = fd
        self._size = 0
        self._count = 0
        self._directory: IO[bytes] = TemporaryFile()  # noqa: SIM115  closed with the writer
        self._begun: _Member | None = None

    def add(self, name: str, content: Buffer, mode: int, mtime_ns: int) -> None:
        """A member whose content is in memory. mode: with the type bits."""
        self._begun = _Member(name.encode(), mode, mtime_ns, self._size, len(content) >= _LIMIT)
        local = self._note(self._begun, len(content), zlib.crc32(content))
        if len(content) <= _TOGETHER:
            write_all(self._fd, self._size, b"".join((local, content)))
        else:
            write_all(self._fd, self._size, local)
            write_all(self._fd, self._size + len(local), content)
        self._size += len(local) + len(content)

    def begin(self, name: str, size: int | None, mode: int, mtime_ns: int) -> int:
        """Room for a member, of `size` bytes if that is known: where in the file it is to be written."""
        self._begun = _Member(name.encode(), mode, mtime_ns, self._size, size is None or size >= _LIMIT)
        return self._size + len(_local(self._begun, 0, 0))

    def end(self, size: int) -> None:
        """All of the member was written, `size` bytes."""
        assert self._begun is not None
        start, crc = self._size + len(_local(self._begun, 0, 0)), 0
        for offset in range(0, size, STEP):
            crc = zlib.crc32(read_all(self._fd, start + offset, min(STEP, size - offset)), crc)
        write_all(self._fd, self._size, self._note(self._begun, size, crc))
        self._size = start + size

    def close(self) -> None:
        """Write the directory of the members."""
        start, size = self._size, self._directory.tell()
        self._directory.seek(0)
        with open(self._fd, "r+b", closefd=False) as file:
            file.seek(start)
            shutil.copyfileobj(self._directory, file)
            if start + size >= _LIMIT or self._count >= _COUNT_LIMIT:
                count = (self._count, self._count)
                file.write(_END_64.pack(b"PK\6\6", _END_64.size - 12, _VERSION, _VERSION, 0, 0, *count, size, start))
                file.write(_LOCATOR_64.pack(b"PK\6\7", 0, start + size, 1))
            few = min(self._count, _COUNT_LIMIT)
            file.write(_END.pack(b"PK\5\6", 0, 0, few, few, min(size, _LIMIT), min(start, _LIMIT), 0))
        self._directory.close()

    def discard(self) -> None:
        """Let go of what is kept; nothing more is written."""
        self._directory.close()

    def _note(self, member: _Member, size: int, crc: int) -> bytes:
        """Put a member into the directory; returns its local header."""
        name, mode, mtime_ns, start, _ = member
        day, clock = _dos_time(mtime_ns)
        large = [size, size] if size >= _LIMIT else []
        large += [start] if start >= _LIMIT else []
        extra = _seconds(mtime_ns)
        if large:
            extra += struct.pack(f"<2H{len(large)}Q", 1, 8 * len(large), *large)
        shown, place = min(size, _LIMIT), min(start, _LIMIT)
        attributes = mode << 16 | (0x10 if stat.S_ISDIR(mode) else 0)
        head = (b"PK\1\2", _VERSION, _UNIX, _VERSION, 0, _UTF8, 0, clock, day, crc, shown, shown)
        tail = (len(name), len(extra), 0, 0, 0, attributes, place)
        self._directory.write(_CENTRAL.pack(*head, *tail) + name + extra)
        self._count += 1
        return _local(member, size, crc)


class _Member(NamedTuple):
    """large: its local header has sizes of 64 bits."""

    name: bytes
    mode: int
    mtime_ns: int
    start: int
    large: bool


def _local(member: _Member, size: int, crc: int) -> bytes:
    day, clock = _dos_time(member.mtime_ns)
    extra = _seconds(member.mtime_ns)
    if member.large:
        extra += struct.pack("<2H2Q", 1, 16, size, size)
    shown = _LIMIT if member.large else size
    head = (b"PK\3\4", _VERSION, _UTF8, 0, clock, day, crc, shown, shown, len(member.name), len(extra))
    return _LOCAL.pack(*head) + member.name + extra


def read_member(fd: int, offset: int) -> tuple[str, int, int]:
    """The member whose header begins at `offset`: its name, where its content begins, and its size."""
    fields = _LOCAL.unpack(read_all(fd, offset, _LOCAL.size))
    size, name_size, extra_size = fields[8], fields[9], fields[10]
    rest = read_all(fd, offset + _LOCAL.size, name_size + extra_size)
    if size == _LIMIT:
        size = struct.unpack_from("<Q", rest, len(rest) - 8)[0]
    return rest[:name_size].decode(), offset + _LOCAL.size + len(rest), size


def _seconds(mtime_ns: int) -> bytes:
    seconds = max(-(1 << 31), min(mtime_ns // 10**9, (1 << 31) - 1))
    return struct.pack("<2HBl", 0x5455, 5, 1, seconds)


def _dos_time(mtime_ns: int) -> tuple[int, int]:
    """Day and time of day, in local time, as DOS has them: from 1980 to 2107, in steps of two seconds."""
    moment = time.localtime(mtime_ns // 10**9)
    if not 1980 <= moment.tm_year <= 2107:
        return (1 << 5 | 1, 0) if moment.tm_year < 1980 else (127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29)
    day = moment.tm_year - 1980 << 9 | moment.tm_mon << 5 | moment.tm_mday
    return day, moment.tm_hour << 11 | moment.tm_min << 5 | moment.tm_sec // 2
