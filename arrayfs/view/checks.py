"""What a check of a container can say about stored files, whose arrays mean more than other arrays do."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from arrayfs.container.array import Array
from arrayfs.container.findings import Finding, listed
from arrayfs.container.stack import LayerStack, Span
from arrayfs.errors import ArrayFSError
from arrayfs.format.dtypes import BINARY
from arrayfs.view import plain
from arrayfs.view.draft import PIECE_SIZE


def is_file(name: str) -> bool:
    """Whether an array of this name is a stored file or document, with content of its own."""
    return name.startswith(plain.FILES) and not name.endswith("/")


def check_files(stack: LayerStack) -> Iterator[Finding]:
    """Stored files: of the right form, a size that fits their pieces, no piece longer than it may be."""
    for name, span in stack.spans.items():
        if is_file(name):
            yield from _check_file(name, span)


def _check_file(name: str, span: Span) -> Iterator[Finding]:
    meta, file = span[-1].meta, span[-1].layer.name
    place = f"file {name.removeprefix(plain.FILES)!r}"
    if (meta.dtype, meta.chunk_shape) != (BINARY, (1,)):
        yield Finding("error", file, place, f"is an array of {meta.dtype.name} in chunks of {meta.chunk_shape}")
        return
    try:
        index = (array := Array.committed(name, span)).index
    except ArrayFSError as error:
        yield Finding("error", file, place, str(error))
        return
    size = array.attributes.get("size")
    told = int.from_bytes(size.payload, "little") if size is not None and isinstance(size.payload, bytes) else None
    room = meta.shape[0] * PIECE_SIZE
    if told is None or -(-told // PIECE_SIZE) != meta.shape[0]:
        text = f"its size is {'not kept' if told is None else told}, but its pieces have room for {room}"
        yield Finding("warning", file, place, text)
        told = room
    # each piece is one element behind two offsets
    limits = np.clip(told - index.keys.astype(np.int64) * PIECE_SIZE, 0, PIECE_SIZE) + 8
    too_long = index.stored_sizes(0, len(index)) > limits
    for number in listed(too_long):
        entry = index.span[int(index.entries[number])]
        text = f"{index.size(number) - 8} bytes, {limits[number] - 8} are its part of the file"
        yield Finding("warning", entry.layer.name, f"{place}: piece {index.keys[number]}", text)
