"""Chunks that all clients of a mount write at the same time, each its own stripe: none loses another's bytes.

What a chunk shows of a stripe that is being written is the old bytes or the new ones, as another client's closing the
chunk may have had it judged half way.
"""

from __future__ import annotations

from pathlib import Path

from torturelib.grid import DOCUMENT, Grid

CHUNKS = 3
STRIPE = 5000  # bytes; more than a page, so that pages are shared
HALF = STRIPE // 2  # a stripe is written in two writes
PAGE = 4096


def make(array: Path, clients: int) -> None:
    """Make the array, all zeros."""
    size = clients * STRIPE
    (array / "c").mkdir(parents=True)
    (array / DOCUMENT).write_text(Grid((CHUNKS * size,), (size,), 1, native=True).document())
    for chunk in range(CHUNKS):
        path_of(array, chunk).write_bytes(bytes(size))


def path_of(array: Path, chunk: int) -> Path:
    """The file of a chunk."""
    return array / "c" / str(chunk)


def read(array: Path, client: int) -> list[bytes]:
    """What the chunks show of the stripes of a client."""
    start = client * STRIPE
    return [path_of(array, chunk).read_bytes()[start : start + STRIPE] for chunk in range(CHUNKS)]


def half_written(old: bytes, new: bytes, client: int) -> set[bytes]:
    """All that a stripe may be while its client replaces it. The kernel cuts writes at pages."""
    page_ends = range(-client * STRIPE % PAGE, STRIPE, PAGE)
    return {new[:end] + old[end:] for end in (0, HALF, STRIPE, *page_ends)}
