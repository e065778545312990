"""Pieces of files on disk that are not judged, or not packed yet: slots of one size in a file without a name.

A slot's room is used again when nobody refers to the slot any more. It is not looked at for damage: what lies here is
as young as what lies in memory. Used under the container's lock, but for the end of a slot, which may come anywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress

from arrayfs.store.scratch import Scratch


class Slot:
    """Room for one piece. size: bytes of it that are there."""

    __slots__ = ("_free", "_scratch", "_start", "number", "size")

    def __init__(self, scratch: Scratch, number: int, start: int, free: deque[int]) -> None:
        self._scratch, self._start, self._free = scratch, start, free
        self.number = number
        self.size = 0

    def __del__(self) -> None:
        self._free.append(self.number)  # of a deque this is one step, in whichever thread

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from `offset`, fewer at the end."""
        return self._scratch.read(self._start + offset, max(0, min(size, self.size - offset)))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Put `data` at `offset`; a gap behind the end reads as zeros."""
        if offset > self.size:
            self._scratch.write(self._start + self.size, bytes(offset - self.size))
        self._scratch.write(self._start + offset, data)
        self.size = max(self.size, offset + len(data))


class Slots:
    """The slots of one tree.

    Invariant: numbers below `_count` are those of slots that somebody has, and those in `_free`.
    """

    def __init__(self, slot_size: int, make: Callable[[], Scratch]) -> None:
        """make: called when the first slot is needed."""
        self._slot_size, self._make = slot_size, make
        self._scratch: Scratch | None = None
        self._free: deque[int] = deque()
        self._count = 0

    @property
    def size(self) -> int:
        """Bytes of the slots that somebody has."""
        return (self._count - len(self._free)) * self._slot_size

    def take(self, data: bytes | bytearray | memoryview) -> Slot:
        """A new slot with this content. Raises OSError if there is no room."""
        if self._scratch is None:
            self._scratch = self._make()
        if self._free:
            number = self._free.popleft()
        else:
            number, self._count = self._count, self._count + 1
        slot = Slot(self._scratch, number, number * self._slot_size, self._free)
        slot.write(0, data)
        return slot

    def trim(self) -> None:
        """Give back to the disk what is free at the end."""
        free = set(self._free)
        count = self._count
        while count - 1 in free:
            count -= 1
        if count == self._count or self._scratch is None:
            return
        for _ in range(len(self._free)):
            number = self._free.popleft()
            if number < count:
                self._free.append(number)
        self._count = count
        with suppress(OSError):  # it is room, and no content
            self._scratch.truncate(count * self._slot_size)
