"""Bytecodes of Python that a request for a small file takes: a figure that no other program on the machine can change.

The handlers are called as the mount calls them, a request's bytes in and an answer's bytes out, without a kernel and
under a tracer that counts. What C code does (copying, checksums, unpacking) and the system calls come to it.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

import pyfuse3

from arrayfs.fuse import wire
from arrayfs.fuse.direct import DirectRuntime
from arrayfs.fuse.operations import TreeOperations
from arrayfs.fuse.requests import Requests
from arrayfs.view.tree import open_tree
from benchlib.dataset import ARRAY, SMALL, ChunkSet, store

LOOKUP, OPEN, RELEASE = 1, 14, 18
CHUNKS = ChunkSet(SMALL.label, 2000, SMALL.size)
COUNTED = 400


def steps(folder: Path) -> str:
    """A table: bytecodes per request, by what is read."""
    container = store(CHUNKS, folder, with_image=False).containers["lz4"]
    numbers = list(range(CHUNKS.count))
    shuffled = random.Random(1).sample(numbers, len(numbers))
    lines = [f"{'bytecodes, lz4':24}{'LOOKUP':>10}{'OPEN':>10}{'RELEASE':>10}{'sum':>10}"]
    for label, order, known in (
        ("cold, in order", numbers, False),
        ("cold, random order", shuffled, False),
        ("again", numbers, True),
    ):
        counts = _Counting(container).count(order[:COUNTED], known=known)
        each = [counts[opcode] / COUNTED for opcode in (LOOKUP, OPEN, RELEASE)]
        lines.append(f"{label:24}" + "".join(f"{count:>10,.0f}" for count in (*each, sum(each))))
    return "\n".join(lines)


class _Counting:
    """A tree and its handlers, asked as the kernel asks."""

    def __init__(self, container: Path) -> None:
        self._tree = open_tree(str(container), mode="r")
        self._buffer = bytearray(4096)
        self._requests = Requests(TreeOperations(self._tree, DirectRuntime()), self._buffer, _never)
        self._answers, self._requests.device = os.pipe()
        self._counts: Counter[int] = Counter()

    def count(self, numbers: list[int], *, known: bool) -> Counter[int]:
        """Bytecodes by opcode for all of these chunks. known: they were looked up and read before."""
        directory = self._inode(self._inode(1, ARRAY), "c")
        inodes = [self._inode(directory, str(number)) for number in numbers]
        with patch.object(pyfuse3, "notify_store", lambda *_: None):  # there is no session
            for _ in range(2 if known else 1):
                self._counts.clear()
                for number, inode in zip(numbers, inodes, strict=True):
                    if not known:
                        self._ask(LOOKUP, directory, str(number).encode() + b"\0")
                    opened = self._ask(OPEN, inode, struct.pack("=II", os.O_RDONLY, 0))
                    handle = wire.OPEN_ANSWER.unpack(opened)[3]
                    self._ask(RELEASE, inode, struct.pack("=QIIQ", handle, 0, 0, 0))
        os.close(self._answers)
        os.close(self._requests.device)
        self._tree.close()
        return self._counts

    def _inode(self, parent: int, name: str) -> int:
        found = self._tree.lookup(parent, name)
        if found is None:
            raise FileNotFoundError(name)
        return found.ino

    def _ask(self, opcode: int, node: int, body: bytes) -> bytes:
        size = wire.HEADER.size + len(body)
        who = os.getuid(), os.getgid(), os.getpid()
        self._buffer[:size] = wire.HEADER.pack(size, opcode, 1, node, *who, 0, 0) + body

        def trace(frame: FrameType, event: str, _: object) -> Any:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            if event == "opcode":
                self._counts[opcode] += 1
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            self._requests.answer()
        finally:
            sys.settrace(before)
        return os.read(self._answers, 4096)


def _never(_unique: int, _handler: object, _answer: object) -> None:
    raise AssertionError("reading a chunk waits for nothing")
