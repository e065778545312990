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
from arrayfs.view.exchanging import free_name
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.journaled_file import JournaledFile
    from arrayfs.view.tree import Tree


def links(tree: Tree, files: Iterable[File]) -> Iterator[Operation]:
    """What makes names one file again, so that a write still meets all of them.

    No name is away in between: a chunk or a document would mean something else then. Not for new ones of these that
    nobody has closed yet, which mean nothing.
    """
    for file in files:
        if file.fresh and any(tree.files.chunk_place(one) or one.name in NAMES for one in file.bindings):
            continue
        first, *others = file.bindings
        path = "/".join(tree.path_of(first))
        time_ns = file.mtime_ns - 1
        yield Operation(Op.CREATE, time_ns, path, number=file.mode & 0o7777)
        for other in others:
            *above, name = tree.path_of(other)
            between = "/".join((*above, free_name(tree, other.directory)))
            yield Operation(Op.LINK, time_ns, path, between)
            yield Operation(Op.RENAME, time_ns, between, "/".join((*above, name)))


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
