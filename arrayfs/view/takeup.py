"""What a writer left behind when it ended: its journal is done again and committed, at the next open for writing.

A journal that nobody holds is
1. removed, if the layer that its commit would have made is in the stack;
2. done again and committed, if it goes on from the newest version;
3. left and named otherwise: what was committed since may contradict it (`arrayfs journal` settles that).

The new layer gets the id that the journal names, so a crash at any moment leads to case 1 or 2 again.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field

from arrayfs.container import opening
from arrayfs.container.container import Container
from arrayfs.container.journal import FoundJournal, LogReader, adopt_journal, find_journals
from arrayfs.errors import ArrayFSError, FormatError, NoEntryError
from arrayfs.format.log import LogHeader, Op, Operation
from arrayfs.store.protocol import Part, Store
from arrayfs.view.documents import NAMES
from arrayfs.view.handles import OpenFile
from arrayfs.view.journaled import ClockedTree
from arrayfs.view.numbers import ROOT


class ReplayError(FormatError):
    """A journal that does not fit the version that it is applied to: the operation and what was wrong with it."""


def take_up(container: Container, journals: Store | None = None) -> None:
    """Deal with all journals of dead writers; what was done is told in `container.warnings`.

    journals: the store that they lie in, by default the container's. Raises OSError if the medium fails; the journals
    are as before then.
    """
    store = journals or container.store
    told = []
    for found in find_journals(store, container.names):
        part = None if found.locked else adopt_journal(store, found.name)
        if part is None:
            continue
        try:
            told.append(_settle(container, found, part))
        finally:
            part.close()
    if told:
        # unfinished layers were only a part of what the journals had; those that are a version now are nothing new
        container.warnings = opening.clear_abandoned(container.store, container.names, container.stack)
        container.warnings += filter(None, told)


def _settle(container: Container, found: FoundJournal, part: Part) -> str:
    header = found.header
    if header is None:
        if not found.blank:
            return f"{found.name}: its header is damaged; it is kept, but cannot be taken up"
        part.discard()  # its writer ended before it had acknowledged anything
        return ""
    if header.container_id != opening.container_id(container.stack):
        return f"{found.name}: belongs to another container (or to this one before it was made anew); left alone"
    if any(layer.id == header.layer_id for layer in container.stack.layers):
        part.discard()
        return ""
    if header.parent_id != container.stack.newest.id:
        return (
            f"{found.name}: holds changes to an older version, left alone because others were committed since; "
            "see `arrayfs journal`"
        )
    return apply(container, part)


def apply(container: Container, part: Part) -> str:
    """Do a journal's operations again, commit them, and remove it; returns what to tell the user.

    Raises OSError if the medium fails. A journal that does not fit is left as it is, and nothing is changed.
    """
    reader = LogReader(part.read, part.size)
    container.pool.begin(reader.header.layer_id)
    replay = Replay(container, reader.header)
    try:
        count = replay.run(reader)
        report = replay.tree.commit(f"taken up from a journal: {count} operations")
    except ArrayFSError as error:
        container.discard()
        return f"{part.name}: {error}; it is kept, and nothing of it was taken in"
    except BaseException:
        container.discard()
        raise
    torn = part.size - reader.end
    part.discard()
    left = f"; {torn} bytes behind the last whole record were left out" if torn else ""
    if report is None:
        return f"{part.name}: what a writer left in it changes nothing{left}" if torn else ""
    return f"{part.name}: {count} operations of a writer that ended were committed as {report.sidecar}{left}"


@dataclass(slots=True)
class _Handle:
    """written: something was done through it that no flush has closed."""

    file: OpenFile
    written: bool = False


@dataclass(slots=True)
class Replay:
    """Does the operations of a journal on a tree of its own."""

    container: Container
    header: LogHeader
    tree: ClockedTree = field(init=False)
    handles: dict[int, _Handle] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tree = ClockedTree(self.container, self.header.look)

    def run(self, reader: LogReader) -> int:
        """Do all of it; returns how many operations there were. Raises ReplayError, OSError."""
        count = 0
        for count, operation in enumerate(reader.operations(), 1):
            self.tree.begin(operation.time_ns)
            try:
                self._do(operation)
            except (ArrayFSError, KeyError) as error:
                raise ReplayError(
                    f"operation {count} ({operation.op.name} {operation.path!r}) does not fit: {error}"
                ) from error
        for handle in self.handles.values():
            self._end(handle)
        self.tree.end()
        return count

    def _do(self, operation: Operation) -> None:
        if operation.handle and operation.op is not Op.OPEN:
            self._with_handle(operation)
            return
        tree, number = self.tree, operation.number
        match operation.op:
            case Op.CREATE:
                tree.create(*self._place(operation.path), number, False)
            case Op.MKDIR:
                tree.mkdir(*self._place(operation.path), number)
            case Op.UNLINK:
                tree.unlink(*self._place(operation.path))
            case Op.RMDIR:
                tree.rmdir(*self._place(operation.path))
            case Op.RENAME:
                tree.rename(*self._place(operation.path), *self._place(operation.new_path), no_replace=False)
            case Op.LINK:
                tree.link(self._find(operation.path), *self._place(operation.new_path))
            case Op.OPEN:
                file = tree.open(self._find(operation.path), write=True, truncate=operation.flag)
                self.handles[operation.handle] = _Handle(file, operation.flag)
            case Op.TRUNCATE:
                tree.setattr(self._find(operation.path), size=number)
            case Op.MODE:
                tree.setattr(self._find(operation.path), mode=number)
            case Op.MTIME:
                tree.setattr(self._find(operation.path), mtime_ns=number)
            case _:
                raise ReplayError(f"{operation.op.name} without a handle")

    def _with_handle(self, operation: Operation) -> None:
        handle = self.handles[operation.handle]
        match operation.op:
            case Op.WRITE:
                handle.written = True
                handle.file.write(operation.number, bytes(operation.data))
            case Op.RESIZE:
                handle.written = True
                handle.file.truncate(operation.number)
            case Op.FLUSH:
                handle.written = False
                handle.file.flush()
            case Op.RELEASE:
                del self.handles[operation.handle]
                handle.file.release()
            case _:
                raise ReplayError(f"{operation.op.name} with a handle")

    def _end(self, handle: _Handle) -> None:
        """The writer ended before this handle: a chunk or document that was never flushed as it is does not count."""
        file = handle.file.file
        chunk = any(self.tree.files.chunk_place(binding) or binding.name in NAMES for binding in file.bindings)
        if handle.written and chunk and file.draft is not None and not file.judged:
            file.draft = None
        handle.file.release()

    def _find(self, path: str) -> int:
        ino = ROOT
        for name in path.split("/") if path else ():
            attr = self.tree.lookup(ino, name)
            if attr is None:
                raise NoEntryError(errno.ENOENT, f"{path}: {name!r} is not there")
            ino = attr.ino
        return ino

    def _place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        parent = self._find(above)
        self.tree.lookup(parent, name)  # as the kernel does before it changes anything
        return parent, name
