"""What was written to a file and is not judged yet: changed pieces of 1 MiB over a base that does not change.

Pieces are in memory until `put_on_disk`, then in slots. A draft knows bytes only. What they become (a chunk, a
document, a plain file) is decided by `files.py` when the file is flushed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from arrayfs.container.limits import check_room
from arrayfs.view.slots import Slot, Slots

PIECE_SIZE = 1 << 20

# Reads bytes [offset, offset + size) of the base; short at its end.
BaseReader = Callable[[int, int], bytes | memoryview]


class Draft:
    """Changed pieces over a base.

    size: bytes of the whole file. Invariants: a piece in `pieces` or `_slots`, never in both, holds everything that the
    file has in that MiB (bytes behind its end are zero); other pieces read from the base, of which only the first
    `base_size` bytes still count. `_own` are the numbers of slots that no other draft has.
    in_order: so many bytes were written from the start on, each after the one before it and once; -1: otherwise.
    """

    __slots__ = ("_base", "_base_pieces", "_own", "_slots", "base_size", "in_order", "pieces", "size")

    def __init__(self, base: BaseReader | None, size: int, pieces: Callable[[], Iterable[int]] | None = None) -> None:
        """pieces: tells which of the base may be more than zeros; None: any."""
        self._base, self._base_pieces = base, pieces
        self.base_size = size if base is not None else 0
        self.size = size
        self.in_order = 0
        self.pieces: dict[int, bytes | bytearray] = {}
        self._slots: dict[int, Slot] = {}
        self._own: set[int] = set()

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return sum(map(len, self.pieces.values()))

    @property
    def changed_size(self) -> int:
        """Bytes of the changed pieces, in memory and on disk."""
        return self.held + sum(slot.size for slot in self._slots.values())

    def rest_on(self, base: BaseReader) -> None:
        """Have the same base bytes read from elsewhere."""
        self._base = base

    def has(self, number: int) -> bool:
        """Whether a piece differs from the base."""
        return number in self.pieces or number in self._slots

    # --- on disk ------------------------------------------------------------------------------------------------------

    def put_on_disk(self, slots: Slots) -> None:
        """Hold nothing in memory. Raises OSError, and what found no room still is there."""
        for number in list(self.pieces):
            self._slots[number] = slots.take(self.pieces[number])
            self._own.add(number)
            del self.pieces[number]

    def shared(self, slots: Slots) -> Draft:
        """Another draft of this content, all of it on disk: what is written to one of them the other does not see."""
        self.put_on_disk(slots)
        other = Draft(self._base, self.size, self._base_pieces)
        other.base_size = self.base_size
        other._slots = dict(self._slots)
        self._own.clear()
        return other

    def write(self, offset: int, data: bytes) -> int:
        """Put `data` at `offset`; a gap behind the old end reads as zeros. Returns by how many bytes, at the most, that
        made memory grow.
        """
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
            self._drop_slot(number)
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
        if number in self._own:
            self._slots[number].write(inner, part)
            return len(part)
        piece = self._own_piece(number)
        if len(piece) < inner:
            piece.extend(bytes(inner - len(piece)))
        piece[inner : inner + len(part)] = part
        return len(part)

    def _own_piece(self, number: int) -> bytearray:
        piece = self.pieces.get(number)
        if not isinstance(piece, bytearray):
            piece = bytearray(self._piece_below(number) if piece is None else piece)
            self._drop_slot(number)
            self.pieces[number] = piece
        return piece

    def _drop_slot(self, number: int) -> None:
        if self._slots.pop(number, None) is not None:
            self._own.discard(number)

    def _piece_below(self, number: int) -> bytes | memoryview:
        """A piece that is not in memory."""
        slot = self._slots.get(number)
        return self._base_piece(number) if slot is None else slot.read(0, slot.size)

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
            for number in [number for number in self._slots if number > last or (number == last and not inner)]:
                self._drop_slot(number)
            if inner and self.has(last):
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
        slot = None if piece is not None else self._slots.get(number)
        if slot is not None:
            part = slot.read(inner, size)
        elif piece is not None:
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
        """The whole content; without a copy where one piece holds it. Raises FormatError if memory cannot hold it."""
        piece = self.pieces.get(0)
        if self.size <= PIECE_SIZE and isinstance(piece, bytes) and len(piece) == self.size:
            return piece
        check_room(self.size, "the whole file")
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

    def changed(self) -> Iterator[tuple[int, bytes | bytearray | memoryview]]:
        """The pieces that differ from the base, by number, each read when its turn comes."""
        for number in sorted((*self.pieces, *self._slots)):
            piece = self.pieces.get(number)
            yield number, self._piece_below(number) if piece is None else piece

    def all_pieces(self) -> Iterator[tuple[int, bytes]]:
        """As `changed`, of all pieces that are not only zeros: what somebody needs who does not have the base."""
        below = range(-(-self.base_size // PIECE_SIZE))
        # not all numbers: a file may be a hole of petabytes
        there = below if self._base_pieces is None else [n for n in self._base_pieces() if n in below]
        later = {*self.pieces, *self._slots}.difference(there)
        for number in chain(there, sorted(later)):
            piece = bytes(self.read(number * PIECE_SIZE, PIECE_SIZE))
            if piece != bytes(len(piece)):
                yield number, piece
