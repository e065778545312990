"""What a version leaves out, as the operations that bring it back on top of that version.

A new journal begins with these: names that are one file, which are a file each in a version, and what was written to
files that nobody has closed yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from arrayfs.format.log import Op, Operation
from arrayfs.view.documents import NAMES
from arrayfs.view.draft import Draft
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.journaled_file import JournaledFile
    from arrayfs.view.tree import Tree


def links(tree: Tree, files: Iterable[File]) -> Iterator[Operation]:
    """What makes names one file again, so that a write still meets all of them.

    Not for chunks and documents, which would mean something else while their names are away.
    """
    for file in files:
        if any(binding.zarr is not None or binding.name in NAMES for binding in file.bindings):
            continue
        first, *others = ("/".join(tree.path_of(binding)) for binding in file.bindings)
        time_ns = file.mtime_ns - 1
        yield Operation(Op.CREATE, time_ns, first, number=file.mode & 0o7777)
        for other in others:
            yield Operation(Op.CREATE, time_ns, other, number=file.mode & 0o7777)
            yield Operation(Op.UNLINK, time_ns, other)
            yield Operation(Op.LINK, time_ns, first, other)


def still_open(tree: Tree, writers: Iterable[JournaledFile]) -> Iterator[Operation]:
    """What makes files that are being written what they are."""
    drafted: set[File] = set()
    for writer in writers:
        file, draft = writer.file, writer.file.draft
        if not file.bindings:
            continue
        path = "/".join(tree.path_of(file.bindings[0]))
        time_ns = file.mtime_ns - 1  # the operation sets the time that comes next
        yield Operation(Op.CREATE, time_ns, path, number=file.mode & 0o7777)
        yield Operation(Op.OPEN, time_ns, path, handle=writer.handle)
        if draft is None or file.judged or file in drafted:
            continue
        drafted.add(file)
        for size in (draft.base_size, draft.size):
            yield Operation(Op.RESIZE, time_ns, handle=writer.handle, number=size)
        for offset, data in _writes(draft):
            yield Operation(Op.WRITE, time_ns, handle=writer.handle, number=offset, data=data)
        if writer.flushed:
            yield Operation(Op.FLUSH, time_ns, handle=writer.handle)


def _writes(draft: Draft) -> Iterator[tuple[int, bytes]]:
    """The changed pieces, written so that again no byte of a half-written chunk passes for one written in order."""
    for offset, data in draft.changed_bytes():
        if draft.in_order < 0 or (data := data[: max(0, draft.in_order - offset)]):
            yield offset, data
    if draft.in_order < 0 and draft.size:
        last = draft.size - 1
        yield last, bytes(draft.read(last, 1))
        yield last, bytes(draft.read(last, 1))
