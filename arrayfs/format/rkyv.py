"""Primitives of the footer's archive (rkyv 0.8, little-endian, 64-bit relative pointers), both directions.

The archive is written back to front: what a pointer leads to lies before the pointer, the root is at the end. The
reader keeps the window of bytes that the next pointer may lead into, as rkyv's own validator does, so that nothing is
read twice, no cycle can exist and all work is bounded by the archive's size. (docs/FORMAT.md, "Archive")
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

from arrayfs.errors import FormatError, LimitError

VEC = struct.Struct("<qQ")  # relative pointer to the first element, element count
STRING_SIZE = 16  # bytes of a string's fixed form, and the longest text that it holds itself
_FAR_STRING = struct.Struct("<Qq")  # length word, offset of the text from the first byte of the form
_SHORT_LIST = 8  # texts; the dimension names of thousands of arrays and layers are the same few lists
_KNOWN_LISTS = 1024
_ZEROS = bytes(16)


class ArchiveReader:
    """A window [low, high) onto the archive, in which the next pointer's target must lie.

    Invariants
    - Everything before `low` has been read; the object now being read begins at `high`.
    - Targets are visited children first and in the order of the fields, so `low` only grows.
    """

    __slots__ = ("data", "high", "low")

    def __init__(self, data: bytes, root_size: int) -> None:
        if len(data) < root_size:
            raise FormatError(f"{len(data)} bytes cannot hold the archive's root of {root_size}")
        if len(data) % 8:
            raise FormatError(f"the archive's {len(data)} bytes are no multiple of 8")
        self.data = data
        self.low = 0
        self.high = len(data) - root_size

    def target(self, position: int, pointer: int, size: int, alignment: int, what: str) -> int:
        """Return where the pointer at `position` leads: `size` bytes that lie in the window. Moves nothing."""
        start = position + pointer
        if start < self.low or start + size > self.high or start % alignment:
            raise self._misled(position, start, size, alignment, what)
        return start

    def leaf(self, position: int, pointer: int, size: int, alignment: int, what: str) -> bytes:
        """Return the bytes that the pointer at `position` leads to; they hold no pointers themselves."""
        start = position + pointer
        end = start + size
        if start < self.low or end > self.high or start % alignment:
            raise self._misled(position, start, size, alignment, what)
        self.low = end
        return self.data[start:end]

    def descend(self, start: int) -> int:
        """Narrow the window to what may lie below an object at `start`; return what `ascend` wants back."""
        outer, self.high = self.high, start
        return outer

    def ascend(self, outer: int, end: int) -> None:
        """Leave an object that ends at `end`: what follows it up to `outer` is the window again."""
        self.low, self.high = end, outer

    def string(self, form: bytes, position: int, what: str) -> str:
        """Return the text whose 16-byte form stands at `position`."""
        raw = self.string_bytes(form, position, what)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FormatError(f"{what}: not UTF-8 (position {position})") from None

    def string_bytes(self, form: bytes, position: int, what: str) -> bytes:
        """As `string`, without looking at the text's encoding."""
        if form[0] & 0xC0 != 0x80:
            return form.partition(b"\xff")[0]
        word, offset = _FAR_STRING.unpack(form)
        length = word & 0x3F | word >> 8 << 6
        if length <= STRING_SIZE:
            raise FormatError(f"{what}: a text of {length} bytes stands outside its form (position {position})")
        return self.leaf(position, offset, length, 1, what)

    def strings(self, position: int, pointer: int, count: int, what: str) -> tuple[str, ...]:
        """Return the texts of the Vec<String> whose pointer stands at `position`."""
        start = self.target(position, pointer, STRING_SIZE * count, 8, what)
        end = start + STRING_SIZE * count
        data, string = self.data, self.string
        if count <= _SHORT_LIST:
            known = whole_texts(data[start:end])
            if known is not None:
                self.low = end
                return known
        outer = self.descend(start)
        texts = tuple([string(data[at : at + STRING_SIZE], at, what) for at in range(start, end, STRING_SIZE)])
        self.ascend(outer, end)
        return texts

    def _misled(self, position: int, start: int, size: int, alignment: int, what: str) -> FormatError:
        if start < 0 or start + size > len(self.data):
            problem = "leads outside the archive"
        elif start % alignment:
            problem = f"leads to a place that is not {alignment}-aligned"
        else:
            problem = f"breaks the archive's order, which allows {self.low} to {self.high}"
        return FormatError(f"{what}: pointer {problem} (position {position}, target {start}, {size} bytes)")


@lru_cache(_KNOWN_LISTS)
def whole_texts(forms: bytes) -> tuple[str, ...] | None:
    """The texts that these 16-byte forms hold, wherever they stand; None if one lies elsewhere or is not UTF-8."""
    raws = [forms[at : at + STRING_SIZE] for at in range(0, len(forms), STRING_SIZE)]
    if any(raw[0] & 0xC0 == 0x80 for raw in raws):
        return None
    try:
        return tuple([raw.partition(b"\xff")[0].decode() for raw in raws])
    except UnicodeDecodeError:
        return None


class ArchiveWriter:
    """Appends the parts of an archive; every `put` returns the position of what it wrote."""

    __slots__ = ("_parts", "position")

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self.position = 0

    def align(self, alignment: int) -> int:
        """Pad with zeros to a multiple of `alignment` (at most 16); return the position then reached."""
        padding = -self.position % alignment
        if padding:
            self._parts.append(_ZEROS[:padding])
            self.position += padding
        return self.position

    def put(self, data: bytes | memoryview, size: int, alignment: int) -> int:
        """Append `data`, which has `size` bytes, at the next aligned position; return that position."""
        start = self.align(alignment)
        if size:
            self._parts.append(data)
            self.position = start + size
        return start

    def put_bytes(self, data: bytes, alignment: int = 1) -> int:
        """`put` of bytes."""
        return self.put(data, len(data), alignment)

    def put_text(self, raw: bytes) -> int:
        """Append the text of a string if its form cannot hold it; the position is meaningless if it can."""
        return self.put(raw, len(raw), 1) if len(raw) > STRING_SIZE else 0

    def put_strings(self, texts: Sequence[bytes]) -> int:
        """Append the elements of a Vec<String>: the long texts, then all forms; return the first form's position."""
        targets = [self.put_text(raw) for raw in texts]
        start = self.align(8)
        places = range(start, start + STRING_SIZE * len(texts), STRING_SIZE)
        return self.put_bytes(b"".join(map(string_form, texts, places, targets)))

    def put_vecs(self, elements: Sequence[bytes]) -> int:
        """Append the elements of a Vec<Vec<u8>>: all bytes, then all headers; return the first header's position."""
        targets = [self.put_bytes(raw) for raw in elements]
        start = self.align(8)
        headers = [
            VEC.pack(target - start - VEC.size * index, len(raw))
            for index, (target, raw) in enumerate(zip(targets, elements, strict=True))
        ]
        return self.put_bytes(b"".join(headers))

    def getvalue(self) -> bytes:
        return b"".join(self._parts)


def string_form(raw: bytes, position: int, target: int) -> bytes:
    """Return the 16-byte form, to stand at `position`, of a text that `put_text` put at `target`."""
    length = len(raw)
    if length <= STRING_SIZE:
        return raw.ljust(STRING_SIZE, b"\xff")
    return _FAR_STRING.pack(length & 0x3F | 0x80 | (length & ~0x3F) << 2, target - position)


def encode_text(text: str, what: str) -> bytes:
    """Return the UTF-8 bytes of `text`; a lone surrogate, as undecodable file names have, is a LimitError."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise LimitError(f"{what}: {text[:80]!r} has no UTF-8 form ({error.reason})") from None
