"""What was written to a file and is not judged yet: changed pieces of 1 MiB over a base that does not change.

A draft knows bytes only. What they become (a chunk, a document, a plain file) is decided by `files.py` when the file is
flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

PIECE_SIZE = 1 << 20

# Reads bytes [offset, offset + size) of the base; short at its end.
BaseReader = Callable[[int, int], bytes | memoryview]


class Draft:
    """Changed pieces over a base.

    size: bytes of the whole file. Invariants: a piece in `pieces` holds everything that the file has in that MiB (bytes
    behind its end are zero); other pieces read from the base, of which only the first `base_size` bytes still count.
    in_order: so many bytes were written from the start on, each after the one before it and once; -1: otherwise.
    """

    __slots__ = ("_base", "base_size", "in_order", "pieces", "size")

    def __init__(self, base: BaseReader | None, size: int) -> None:
        self._base = base
        self.base_size = size if base is not None else 0
        self.size = size
        self.in_order = 0
        self.pieces: dict[int, bytes | bytearray] = {}

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.pieces.values()))

    def rest_on(self, base: BaseReader) -> None:
        """Have the same base bytes read from elsewhere."""
        self._base = base

    def write(self, offset: int, data: bytes) -> int:
        """Put `data` at `offset`; a gap behind the old end reads as zeros. Returns how many bytes memory grew by."""
        if not data:
            return 0  # writing nothing makes no file longer (POSIX write)
        end = offset + len(data)
        self.in_order = end if offset == self.in_order else -1
        start, number = offset - offset % PIECE_SIZE, offset // PIECE_SIZE
        grown = 0
        if (
            end <= start + PIECE_SIZE
            and offset == start
            and number not in self.pieces
            and end >= min(self.size, start + PIECE_SIZE)
        ):
            # the usual case, a small file or an aligned MiB written at once: no copy
            self.pieces[number] = data
            grown = len(data)
        else:
            position = 0
            while position < len(data):
                position += self._write_piece(offset + position, memoryview(data)[position:])
            grown = len(data)
        self.size = max(self.size, end)
        return grown

    def _write_piece(self, offset: int, data: memoryview) -> int:
        number, inner = divmod(offset, PIECE_SIZE)
        part = data[: PIECE_SIZE - inner]
        piece = self._own_piece(number)
        if len(piece) < inner:
            piece.extend(bytes(inner - len(piece)))
        piece[inner : inner + len(part)] = part
        return len(part)

    def _own_piece(self, number: int) -> bytearray:
        piece = self.pieces.get(number)
        if not isinstance(piece, bytearray):
            piece = bytearray(self._base_piece(number) if piece is None else piece)
            self.pieces[number] = piece
        return piece

    def _base_piece(self, number: int) -> bytes | memoryview:
        start = number * PIECE_SIZE
        if self._base is None or start >= self.base_size:
            return b""
        return self._base(start, min(PIECE_SIZE, self.base_size - start))

    def truncate(self, size: int) -> None:
        """Cut the file, or let it grow by zeros."""
        if size < self.size:
            last, inner = divmod(size, PIECE_SIZE)
            for number in [number for number in self.pieces if number > last or (number == last and not inner)]:
                del self.pieces[number]
            if inner and last in self.pieces:
                piece = self._own_piece(last)
                del piece[inner:]
            self.base_size = min(self.base_size, size)
            self.in_order = min(self.in_order, size)
        self.size = size

    def read(self, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        size = max(0, min(size, self.size - offset))
        number, inner = divmod(offset, PIECE_SIZE)
        if inner + size <= PIECE_SIZE:
            return self._read_piece(number, inner, size)
        out = bytearray()
        while size:
            part = self._read_piece(number, inner, min(size, PIECE_SIZE - inner))
            out += part
            size -= len(part)
            number, inner = number + 1, 0
        return bytes(out)

    def _read_piece(self, number: int, inner: int, size: int) -> bytes | memoryview:
        part: bytes | memoryview
        piece = self.pieces.get(number)
        if piece is not None:
            # a view would forbid a bytearray to grow
            part = (
                bytes(piece[inner : inner + size])
                if isinstance(piece, bytearray)
                else memoryview(piece)[inner : inner + size]
            )
        else:
            start = number * PIECE_SIZE + inner
            count = max(0, min(size, self.base_size - start))
            part = self._base(start, count) if self._base is not None and count else b""
        return part if len(part) == size else bytes(part) + bytes(size - len(part))

    def whole(self) -> bytes | memoryview:
        """The whole content; without a copy where one piece holds it."""
        piece = self.pieces.get(0)
        if self.size <= PIECE_SIZE and isinstance(piece, bytes) and len(piece) == self.size:
            return piece
        out = bytearray(self.size)
        for number in range(-(-self.size // PIECE_SIZE)):
            start = number * PIECE_SIZE
            size = min(PIECE_SIZE, self.size - start)
            out[start : start + size] = self._read_piece(number, 0, size)
        return bytes(out)

    def changed_bytes(self) -> Iterator[tuple[int, bytes]]:
        """Offset and content of what differs from the base; later writes do not change what was given out."""
        for number, piece in self.changed():
            yield number * PIECE_SIZE, bytes(piece)

    def changed(self) -> Iterator[tuple[int, bytes | bytearray]]:
        """The pieces that differ from the base, by number."""
        return iter(sorted(self.pieces.items()))
