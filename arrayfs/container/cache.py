"""Decompressed blocks, bounded in bytes; the least recently used go first.

Safe to use from several threads: the lock protects the tables and the byte count and is never held while a block is
read. Who wants a block that another thread is reading waits for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

Key = tuple[int, ...]


class _Load:
    """A block that some thread is reading. block: set before `reading` is released, unless the read failed.

    A lock and no Event: the thread that reads mostly has nobody waiting, and an Event costs it ten times as much.
    """

    __slots__ = ("block", "reading")

    def __init__(self) -> None:
        self.block: memoryview | None = None
        self.reading = threading.Lock()
        self.reading.acquire()


class BlockCache:
    """(layer serial, block row) -> unpacked bytes; of a large block (layer serial, block row, number of the piece).

    Invariant: `size` is the sum of the lengths of all entries and at most `limit` bytes. A block larger than a quarter
    of the limit is handed through and not kept: it would push everything else out.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._blocks: OrderedDict[Key, memoryview] = OrderedDict()
        self._loads: dict[Key, _Load] = {}
        self._lock = threading.Lock()

    def __contains__(self, key: Key) -> bool:
        """Whether the block is here, or soon will be."""
        return key in self._blocks or key in self._loads

    def load(self, key: Key, read: Callable[[], bytes | memoryview]) -> memoryview:
        """The block from here, or from `read`, which then runs without the lock."""
        with self._lock:
            block = self._blocks.get(key)
            if block is not None:
                self.hits += 1
                self._blocks.move_to_end(key)
                return block
            self.misses += 1
        load = _Load()
        other = self._loads.setdefault(key, load)
        if other is load:
            return self._read(key, load, read)
        with other.reading:
            pass
        return self.load(key, read) if other.block is None else other.block

    def _read(self, key: Key, load: _Load, read: Callable[[], bytes | memoryview]) -> memoryview:
        try:
            block = memoryview(read())
            self.put(key, block)
            load.block = block
        finally:
            del self._loads[key]
            load.reading.release()
        return block

    def put(self, key: Key, block: memoryview) -> None:
        """Keep `block`, dropping old ones until it fits."""
        if block.nbytes * 4 > self.limit:
            return
        with self._lock:
            old = self._blocks.pop(key, None)
            self.size += block.nbytes - (old.nbytes if old is not None else 0)
            self._blocks[key] = block
            while self.size > self.limit:
                _, dropped = self._blocks.popitem(last=False)
                self.size -= dropped.nbytes
