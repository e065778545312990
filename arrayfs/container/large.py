"""Chunks and blocks that are not had in memory as a whole: read by pieces, stored as they come.

A large block that is not compressed has a checksum for each of its pieces beside that of the whole (docs/FORMAT.md,
section 14), so whoever reads a range of it reads, and checks, only the pieces that the range lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.cache import BlockCache
from arrayfs.container.limits import check_room
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension_model import CHECKED_PIECE

# Chunks of this size and more are a block by themselves: a reader then unpacks nothing that it did not ask for.
OWN_BLOCK_SIZE = 128 * 1024
# Chunks and blocks of more bytes are large.
LARGE = 16 << 20
# Read at a time where all of a large block is gone through.
STEP = 8 * CHECKED_PIECE

# Reads bytes [offset, offset + size); short at the end.
ReadRange = Callable[[int, int], bytes | memoryview]


class Body(Protocol):
    """Bytes that do not change, on disk."""

    @property
    def size(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end."""


class Stretch:
    """A body: `size` bytes from `start` on of what `read` reads.

    pieces: tells which MiBs of it may be more than zeros, where somebody knows.
    """

    __slots__ = ("_read", "_start", "pieces", "size")

    def __init__(
        self, read: ReadRange, start: int, size: int, pieces: Callable[[], Iterable[int]] | None = None
    ) -> None:
        self._read, self._start, self.size, self.pieces = read, start, size, pieces

    def __len__(self) -> int:
        return self.size

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end."""
        return self._read(self._start + offset, max(0, min(size, self.size - offset)))

    def whole(self) -> bytes:
        """All of it. Raises FormatError where no memory could hold it."""
        return _whole(self.read, self.size, "the whole file")


class Spilled:
    """A chunk's stored bytes, which lie on disk beside the container: a few in front, and the body."""

    __slots__ = ("body", "head")

    def __init__(self, head: bytes, body: Body) -> None:
        self.head, self.body = head, body

    def __len__(self) -> int:
        return len(self.head) + self.body.size

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end."""
        inner = offset - len(self.head)
        if inner >= 0:
            return self.body.read(inner, size)
        front = self.head[offset : offset + size]
        return b"".join((front, self.body.read(0, size - len(front))))

    def whole(self) -> bytes:
        """All of it. Raises FormatError where no memory could hold it."""
        return _whole(self.read, len(self), "the whole chunk")


def _whole(read: ReadRange, size: int, what: str) -> bytes:
    check_room(size, what)
    return b"".join(steps(read, size))


def steps(read: ReadRange, size: int) -> Iterator[bytes | memoryview]:
    """`size` bytes, STEP at a time."""
    return (read(start, min(STEP, size - start)) for start in range(0, size, STEP))


def checked_pieces(parts: Iterable[bytes | memoryview], found: list[int]) -> Iterator[bytes | memoryview]:
    """The same parts; `found` gets the checksum of each piece as it goes by. All parts but the last have STEP bytes."""
    for part in parts:
        view = memoryview(part)
        found += [crc32c(view[start : start + CHECKED_PIECE]) for start in range(0, len(view), CHECKED_PIECE)]
        yield part


def has_pieces(crcs: NDArray[np.uint32] | None, size: int) -> bool:
    """Whether these are the checksums of the pieces of so many bytes."""
    return crcs is not None and len(crcs) == -(-size // CHECKED_PIECE)


def read_range(
    key: tuple[int, int], load: Callable[[int], bytes], offset: int, size: int, cache: BlockCache
) -> bytes | memoryview:
    """Bytes of the large block `key`. load: reads and checks the piece of a number, unless the cache has it."""
    parts = []
    while size:
        number, inner = divmod(offset, CHECKED_PIECE)
        piece = cache.load((*key, number), lambda number=number: load(number))  # type: ignore[misc]
        parts.append(piece[inner : inner + size])
        if not len(parts[-1]):
            break
        offset, size = offset + len(parts[-1]), size - len(parts[-1])
    return parts[0] if len(parts) == 1 else b"".join(parts)
