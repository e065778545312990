"""The kernel's protocol, struct by struct: a request's bytes in, the answer's bytes out, handlers in between."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pyfuse3
import pytest

from arrayfs.fuse import wire
from arrayfs.fuse.answer import request
from arrayfs.fuse.requests import Listing, Requests

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, WRITE, GETXATTR, FLUSH, FORGET_MANY, RENAME2 = (
    1,
    2,
    3,
    4,
    14,
    16,
    22,
    25,
    42,
    45,
)
# Sizes that linux/fuse.h gives the structs after fuse_out_header (16 bytes).
SIZES = {
    wire.ENTRY_ANSWER: 16 + 128,
    wire.ATTR_ANSWER: 16 + 104,
    wire.OPEN_ANSWER: 16 + 16,
    wire.CREATE_ANSWER: 16 + 128 + 16,
    wire.WRITE_ANSWER: 16 + 8,
    wire.STATFS_ANSWER: 16 + 80,
    wire.DIRENT: 128 + 24,
    wire.HEADER: 40,
    wire.SETATTR: 88,
}


def entry(ino: int) -> pyfuse3.EntryAttributes:
    made = pyfuse3.EntryAttributes()
    made.st_ino, made.st_mode, made.st_size, made.st_mtime_ns = ino, stat.S_IFREG | 0o640, 1234, 5_000_000_006
    made.entry_timeout = made.attr_timeout = 1.5
    return made


class Recorder(pyfuse3.Operations):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []

    @request
    def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> Any:
        self.asked.append((parent_inode, name, ctx.uid, ctx.gid, ctx.pid))
        if name == b"absent":
            raise pyfuse3.FUSEError(errno.ENOENT)
        if name == b"bug":
            raise ZeroDivisionError("a handler's bug")
        return entry(7)

    async def getattr(self, inode: int, ctx: Any) -> Any:
        return entry(inode)

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: int | None, ctx: Any) -> Any:
        self.asked.append((attr.st_size if fields.update_size else None, fields.update_mode, attr.st_mtime_ns, fh))
        return entry(inode)

    async def open(self, inode: int, flags: int, ctx: Any) -> Any:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            return pyfuse3.FileInfo(fh=9, keep_cache=True)
        return 9, wire.KEEP_CACHE | wire.NO_FLUSH

    async def write(self, fh: int, offset: int, data: bytes) -> int:
        self.asked.append((fh, offset, data))
        return len(data)

    async def rename(self, *asked: Any) -> None:
        self.asked.append(asked[:5])

    async def release(self, fh: int) -> None:
        self.asked.append(fh)

    async def forget(self, inode_list: Any) -> None:
        self.asked.append(inode_list)


class Kernel:
    """The other end: sends a request and returns what was answered: errno and the bytes after the header, or None."""

    def __init__(self) -> None:
        self.operations = Recorder()
        self._here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._here.setblocking(False)
        self._there = there
        self._buffer = bytearray(1 << 16)
        self._requests = Requests(self.operations, self._buffer, self._finish)
        self._requests.device = there.fileno()
        self._unique = 100

    def _finish(self, unique: int, handler: Any, answer: Any) -> None:
        try:
            handler.send(None)
        except StopIteration as end:
            answer(unique, end.value)

    def ask(self, opcode: int, body: bytes, node: int = 1) -> tuple[int, bytes] | None:
        self._unique += 1
        size = wire.HEADER.size + len(body)
        self._buffer[:size] = wire.HEADER.pack(size, opcode, self._unique, node, 10, 20, 30, 0, 0) + body
        self._requests.answer()
        try:
            answer = self._here.recv(1 << 16)
        except BlockingIOError:
            return None
        length, error, unique = struct.unpack_from("=IiQ", answer)
        assert (length, unique) == (len(answer), self._unique)
        return -error, answer[16:]

    def close(self) -> None:
        self._here.close()
        self._there.close()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    kernel = Kernel()
    yield kernel
    kernel.close()


def test_structs_have_the_sizes_of_the_kernels() -> None:
    assert {each: each.size for each in SIZES} == SIZES


def test_a_name_is_looked_up_for_who_asks(kernel: Kernel) -> None:
    answered = kernel.ask(LOOKUP, b"a\xff\0", node=5)
    assert kernel.operations.asked == [(5, b"a\xff", 10, 20, 30)]
    assert answered is not None
    number, data = answered
    assert number == 0
    # fuse_entry_out: nodeid, generation, valid seconds and nanoseconds; then fuse_attr
    assert struct.unpack_from("=QQQQII", data) == (7, 0, 1, 1, 500_000_000, 500_000_000)
    ino, size, _, _, mtime, _ = struct.unpack_from("=6Q", data, 40)
    _, mtime_ns, _, mode = struct.unpack_from("=4I", data, 88)
    assert (ino, size, mtime, mtime_ns, mode) == (7, 1234, 5, 6, stat.S_IFREG | 0o640)


def test_what_a_handler_refuses_is_an_errno(kernel: Kernel) -> None:
    assert kernel.ask(LOOKUP, b"absent\0") == (errno.ENOENT, b"")
    assert kernel.ask(LOOKUP, b"bug\0") == (errno.EIO, b"")


def test_a_request_that_nobody_knows_is_enosys(kernel: Kernel) -> None:
    assert kernel.ask(GETXATTR, struct.pack("=II", 0, 0) + b"user.x\0") == (errno.ENOSYS, b"")
    assert kernel.ask(4000, b"") == (errno.ENOSYS, b"")


def test_forgetting_has_no_answer(kernel: Kernel) -> None:
    assert kernel.ask(FORGET, struct.pack("=Q", 3), node=8) is None
    assert kernel.ask(FORGET_MANY, struct.pack("=II4Q", 2, 0, 8, 3, 9, 4)) is None
    assert kernel.operations.asked == [[(8, 3)], [(8, 3), (9, 4)]]


def test_attributes_of_a_handle_or_an_inode_are_set(kernel: Kernel) -> None:
    def body(valid: int) -> bytes:
        return struct.pack("=IIQQQQQQ8I", valid, 0, 77, 4096, 0, 1, 2, 3, 0, 5, 0, 0o600, 0, 1, 1, 0)

    assert kernel.ask(SETATTR, body(wire.SIZE | wire.FH | wire.MTIME)) is not None
    assert kernel.ask(SETATTR, body(wire.MODE)) is not None
    assert kernel.operations.asked == [(4096, False, 2_000_000_005, 77), (None, True, 2_000_000_005, None)]


def test_a_write_passes_on_a_copy_of_its_bytes(kernel: Kernel) -> None:
    body = struct.pack("=QQIIQII", 9, 4096, 5, 0, 0, 0, 0) + b"bytes"
    assert kernel.ask(WRITE, body) == (0, struct.pack("=II", 5, 0))
    kernel.ask(LOOKUP, b"x" * 60 + b"\0")  # overwrites the buffer
    assert kernel.operations.asked[0] == (9, 4096, b"bytes")


def test_two_names_of_a_rename_are_told_apart(kernel: Kernel) -> None:
    assert kernel.ask(RENAME2, struct.pack("=QII", 6, 1, 0) + b"old\0new name\0", node=5) == (0, b"")
    assert kernel.operations.asked == [(5, b"old", 6, b"new name", 1)]


@pytest.mark.parametrize(("flags", "expected"), [(os.O_RDONLY, wire.KEEP_CACHE | wire.NO_FLUSH), (1, wire.KEEP_CACHE)])
def test_an_open_file_is_answered_as_fields_or_as_pyfuse3_says_it(kernel: Kernel, flags: int, expected: int) -> None:
    assert kernel.ask(OPEN, struct.pack("=II", flags, 0)) == (0, struct.pack("=QII", 9, expected, 0))


def test_a_handle_that_nobody_takes_is_released(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", failing(errno.ENOENT))
        assert kernel.ask(OPEN, struct.pack("=II", os.O_RDONLY, 0)) is None
    assert kernel.operations.asked == [9]


def failing(code: int) -> Callable[..., int]:
    def failed(_device: int, _answer: Any) -> int:
        raise OSError(code, os.strerror(code))

    return failed


def test_an_answer_that_the_kernel_cannot_take_is_an_error_to_who_asked(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "writev", failing(errno.ENOMEM))
        assert kernel.ask(OPEN, struct.pack("=II", os.O_RDONLY, 0)) == (errno.ENOMEM, b"")
        assert kernel.ask(LOOKUP, b"a\0") == (errno.ENOMEM, b"")
    assert kernel.operations.asked[0] == 9
    assert kernel.ask(LOOKUP, b"a\0") is not None


def test_a_request_that_cannot_be_understood_is_no_end_of_the_mount(kernel: Kernel) -> None:
    assert kernel.ask(RENAME2, struct.pack("=QII", 2, 0, 0) + b"one name\0") == (errno.EIO, b"")


def test_a_listing_ends_where_the_kernels_buffer_does() -> None:
    listing = Listing(2 * 160 + 159)
    assert [listing.add(name, entry(ino), ino) for ino, name in enumerate((b"a", b"12345678", b"c"), 11)] == [
        True,
        True,
        False,
    ]
    data = listing.whole()
    assert len(data) == 320
    first, second = data[:160], data[160:]
    assert struct.unpack_from("=QQII", first, 128) == (11, 11, 1, stat.S_IFREG >> 12)
    assert struct.unpack_from("=QQII", second, 128)[:3] == (12, 12, 8)
    assert (first[152:], second[152:]) == (b"a" + bytes(7), b"12345678")
