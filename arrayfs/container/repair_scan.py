"""Where the parts of a layer's end lie when its trailer does not say: found by their magic bytes, from the end back.

Bounded: so many candidates, so many bytes; a real file has a handful of either.
"""

from __future__ import annotations

from collections.abc import Iterator

from arrayfs.container.layer import extension_row
from arrayfs.errors import FormatError
from arrayfs.format.extension import EXTENSION_MAGIC, HEADER_SIZE, decode_extension, stated_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import MAGIC, TRAILER, VERSIONS, decode_footer, decode_trailer
from arrayfs.format.model import Footer
from arrayfs.store.protocol import Blob

# How far before a footer its extension block is looked for: one of two million chunks has so many bytes.
REACH = 16 << 20
_WINDOW = 4 << 20
_CANDIDATES = 1000
_ROOT_SIZE = 96  # of a footer's archive
# A footer whose beginning nobody tells is looked for in so many bytes.
_FOOTER_REACH = 64 << 20


def extension_before(blob: Blob, end: int, reach: int = REACH) -> int | None:
    """Where an extension block begins that says of itself that it ends at `end`; it may be damaged."""
    for place in _places(blob, EXTENSION_MAGIC, end, reach):
        if place + HEADER_SIZE <= end and stated_size(blob.read(place, HEADER_SIZE)) == end - place:
            return place
    return None


def last_extension(blob: Blob) -> tuple[int, int, Extension] | None:
    """Where the last whole extension block of a file begins and ends, and what it says."""
    budget = 4 * blob.size
    for place in _places(blob, EXTENSION_MAGIC, blob.size, blob.size):
        if place + HEADER_SIZE > blob.size:
            continue
        size = stated_size(blob.read(place, HEADER_SIZE)) or 0
        if not HEADER_SIZE <= size <= blob.size - place:
            continue
        budget -= size
        if budget < 0:
            return None
        try:
            return place, place + size, decode_extension(blob.read(place, size))
        except FormatError:
            continue
    return None


def last_footer(blob: Blob) -> tuple[int, int, Footer] | None:
    """Where the last footer of a file that can be read begins at the latest, where it ends, and what it says.

    Either a trailer stands behind it, wherever in the file, or the trailer is damaged or cut, and it ends within the
    last bytes of the file.
    """
    found = _footer_at_the_end(blob) or _footer_before_a_trailer(blob)
    if found is None:
        return None
    end, footer = found
    row = extension_row(footer)
    if row is None:
        return end - _ROOT_SIZE, end, footer
    start = int(footer.blocks.file_offsets[row]) + int(footer.blocks.compressed_sizes[row])
    return (start, end, footer) if start <= end - _ROOT_SIZE else None


def _footer_before_a_trailer(blob: Blob) -> tuple[int, Footer] | None:
    for place in _places(blob, MAGIC, blob.size, blob.size):
        end = place + len(MAGIC)
        if end < TRAILER.size:
            continue
        try:
            span = decode_trailer(blob.read(end - TRAILER.size, TRAILER.size), end)
            return span.stop, decode_footer(blob.read(span.start, len(span)))
        except FormatError:
            continue
    return None


def _footer_at_the_end(blob: Blob) -> tuple[int, Footer] | None:
    """A footer that ends where the trailer, or what is left of it, begins."""
    tail_start = max(0, blob.size - _FOOTER_REACH)
    tail = memoryview(blob.read(tail_start, blob.size - tail_start))
    for lost in range(TRAILER.size + 1):
        end = len(tail) - TRAILER.size + lost
        root = end - _ROOT_SIZE
        if root < 0 or int.from_bytes(tail[root : root + 4], "little") not in VERSIONS:
            continue
        # pointers are relative, so bytes before the footer do no harm as long as its alignment stays
        try:
            return tail_start + end, decode_footer(tail[end % 8 : end])
        except FormatError:
            continue
    return None


def _places(blob: Blob, needle: bytes, end: int, reach: int) -> Iterator[int]:
    """Where `needle` stands in the `reach` bytes before `end`, the last one first."""
    stop, high, left = max(0, end - reach), end, _CANDIDATES
    while high > stop:
        low = max(stop, high - _WINDOW)
        data = blob.read(low, min(high + len(needle) - 1, end) - low)
        at = data.rfind(needle)
        while at >= 0:
            if not left:
                return
            left -= 1
            yield low + at
            at = data.rfind(needle, 0, at + len(needle) - 1)
        high = low
