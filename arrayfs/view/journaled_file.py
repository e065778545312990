"""A handle for writing whose calls are recorded in the tree's journal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from arrayfs.format.log import Op, Operation
from arrayfs.view.handles import OpenFile
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.journaled import JournaledTree

T = TypeVar("T")


class JournaledFile(OpenFile):
    """A handle for writing. handle: its number in the journal. flushed: nothing was written since the last flush."""

    def __init__(self, tree: JournaledTree, file: File, handle: int, *, emptied: bool) -> None:
        super().__init__(tree, file, write=True, emptied=emptied)
        self._journaled = tree
        self.handle = handle
        self.flushed = True

    def write(self, offset: int, data: bytes) -> int:
        return self._record(Op.WRITE, lambda: super(JournaledFile, self).write(offset, data), offset, data)

    def truncate(self, size: int) -> None:
        self._record(Op.RESIZE, lambda: super(JournaledFile, self).truncate(size), size)

    def flush(self) -> None:
        tree = self._journaled
        with tree.container.lock:
            if self.flushed:
                super().flush()
            else:
                self._record(Op.FLUSH, super().flush)
                self.flushed = True
            tree.journal.write()  # also the creation of an empty file

    def killed(self, signal: int) -> None:
        tree = self._journaled
        with tree.container.lock:
            super().killed(signal)
            tree.journal.add(Operation(Op.KILLED, tree.begin(), handle=self.handle, number=signal))
            tree.end()
            with suppress(OSError):  # all see soon what becomes of the file, and it must not become otherwise
                tree.journal.write()

    def release(self) -> None:
        with self._journaled.container.lock:
            try:
                self._record(Op.RELEASE, super().release)
            finally:
                self._journaled.ended(self.handle)

    def _record(self, op: Op, act: Callable[[], T], number: int = 0, data: bytes = b"") -> T:
        tree = self._journaled
        with tree.container.lock:
            if not self.file.bindings:
                return act()  # nobody can find it any more, and a journal begun since does not know the handle
            if op in (Op.WRITE, Op.RESIZE):
                tree.make_ready()
            operation = Operation(op, tree.begin(), handle=self.handle, number=number, data=data)
            answer = tree.carry_out(operation, act)
            self.flushed = self.flushed and op is Op.RELEASE
            return answer
