"""What a writer left behind when it ended: its journal is done again and committed, at the next open for writing.

A journal that nobody holds is
1. removed, if the layer that its commit would have made is in the stack;
2. done again on the version that it goes on from and committed, as its writer would have: on top of what others
   committed since, unless both changed the same (`container/merge.py`);
3. left and named otherwise (`arrayfs journal` settles that).

The new layer gets the id that the journal names, so a crash at any moment leads to case 1 or 2 again.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from enum import Enum
from signal import SIGKILL

from arrayfs.container import opening
from arrayfs.container.container import Container
from arrayfs.container.exchange import ids_of
from arrayfs.container.journal import FoundJournal, LogReader, adopt_journal, find_journals, owner_id, uncommitted
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ArrayFSError, FormatError, NoEntryError
from arrayfs.format.log import Op, Operation
from arrayfs.store.protocol import Part, Store
from arrayfs.view.clocked import ClockedTree
from arrayfs.view.handles import OpenFile
from arrayfs.view.keys import Keys
from arrayfs.view.numbers import ROOT


class ReplayError(FormatError):
    """A journal that does not fit the version that it is applied to: the operation and what was wrong with it."""


class Case(Enum):
    """What is to be done with a journal."""

    IN_USE = "its writer is at work"
    BLANK = "its writer ended before it had acknowledged anything"
    DAMAGED = "its header is damaged"
    FOREIGN = "it belongs to another container, or to this one before it was made anew or moved"
    COMMITTED = "all of it is in a version already"
    READY = "the next open for writing takes it up"
    BEHIND = "others were committed since; the next open for writing carries it over, unless both changed the same"
    ORPHAN = "it goes on from a version that is not there"


def case_of(container: Container, found: FoundJournal, journals: Store | None = None) -> Case:
    """Tell what a journal is to the container that it lies beside, or whose journals the store `journals` keeps."""
    stack = container.stack
    header = found.header
    if found.locked:
        return Case.IN_USE
    if header is None:
        return Case.BLANK if found.blank else Case.DAMAGED
    owner = owner_id(opening.container_id(stack), container.store, journals or container.store)
    if header.container_id != owner:
        return Case.FOREIGN
    if header.layer_id in ids_of(stack.layers):
        return Case.COMMITTED
    ids = [layer.id for layer in stack.layers]
    if header.parent_id == ids[-1]:
        return Case.READY
    return Case.BEHIND if header.parent_id in ids else Case.ORPHAN


def take_up(container: Container, journals: Store | None = None) -> None:
    """Deal with all journals of dead writers; what was done is told in `container.warnings`.

    journals: the store that they lie in, by default the container's. Raises OSError if the medium fails; the journals
    are as before then.
    """
    store = journals or container.store
    told = []
    for found in _without_repeats(container, store):
        part = None if found.locked else adopt_journal(store, found.name)
        if part is None:
            continue
        try:
            told.append(_settle(container, found, part, store))
        finally:
            part.close()
    if told:
        # unfinished layers were only a part of what the journals had; those that are a version now are nothing new
        container.warnings = opening.clear_abandoned(container.store, container.names, container.stack)
        container.warnings += filter(None, told)
    # another may have taken one up after this container was opened
    container.refresh()


def not_shown(container: Container, journals: Store | None = None) -> list[str]:
    """What to tell somebody who only reads: a line for each journal with changes that no version has."""
    ids = ids_of(container.stack.layers)
    return [
        f"{name}: a journal with {'changes' if size is None else f'{size} bytes of changes'} that are not committed; "
        "they are not shown"
        for name, size in uncommitted(journals or container.store, container.names, ids)
    ]


def _without_repeats(container: Container, store: Store) -> list[FoundJournal]:
    """All journals but those begun for the time after a commit that never happened, which are removed.

    All that such a one has is in the journal that this commit would have ended, too. Only as long as that one is there
    can it be told, so this comes first.
    """
    found = find_journals(store, container.names)
    container.refresh()  # what their writers committed before they ended
    committed = ids_of(container.stack.layers)
    coming = {journal.header.layer_id for journal in found if journal.header and not journal.locked} - committed
    kept = []
    for journal in found:
        if journal.header is None or journal.header.parent_id not in coming:
            kept.append(journal)
        elif not journal.locked and (part := adopt_journal(store, journal.name)) is not None:
            part.discard()
    return kept


def _settle(container: Container, found: FoundJournal, part: Part, journals: Store) -> str:
    # its writer may have committed it after the container was opened here, and before it ended
    container.refresh()
    case = case_of(container, found, journals)
    if case in (Case.READY, Case.BEHIND):
        return apply(container, part)
    if case in (Case.BLANK, Case.COMMITTED):
        part.discard()
        return ""
    return f"{found.name}: left alone: {case.value}; see `arrayfs journal`"


def apply(container: Container, part: Part) -> str:
    """Do a journal's operations again, commit them, and remove it; returns what to tell the user.

    They are done on the version that the journal goes on from, or on the newest if that is not there. Raises OSError if
    the medium fails. A journal that does not fit, or overlaps with what others committed since, is left as it is, and
    nothing is changed; with `on_conflict` "ours" it wins.
    """
    reader = LogReader(part.read, part.size)
    newest = container.stack
    if reader.header.parent_id in [layer.id for layer in newest.layers[:-1]]:
        container.go_back_to(reader.header.parent_id)
    container.pool.begin(reader.header.layer_id)
    try:
        replay = Replay(ClockedTree(container, reader.header.look))
        count = replay.run(reader)
        report = replay.tree.commit(f"taken up from a journal: {count} operations")
    except ArrayFSError as error:
        _give_up(container, newest)
        return f"{part.name}: {error}; it is kept, and nothing of it was taken in; see `arrayfs journal`"
    except BaseException:
        _give_up(container, newest)
        raise
    finally:
        container.follower = None
    torn = part.size - reader.end
    part.discard()
    left = f"; {torn} bytes behind the last whole record were left out" if torn else ""
    if report is None:
        return f"{part.name}: what a writer left in it changes nothing{left}" if torn else ""
    return f"{part.name}: {count} operations of a writer that ended were committed as {report.sidecar}{left}"


def _give_up(container: Container, newest: LayerStack) -> None:
    container.discard()
    container.stack = newest


@dataclass(slots=True)
class _Handle:
    """written: something was done through it that no flush has closed."""

    file: OpenFile
    written: bool = False


@dataclass(slots=True)
class Replay:
    """Does the operations of a journal on a tree."""

    tree: ClockedTree
    handles: dict[int, _Handle] = field(default_factory=dict)

    def run(self, reader: LogReader) -> int:
        """Do all of it; returns how many operations there were. Raises ReplayError, OSError."""
        count = 0
        for count, operation in enumerate(reader.operations(), 1):
            self.do(count, operation)
        self.end()
        return count

    def do(self, count: int, operation: Operation) -> None:
        """Do operation number `count`. Raises ReplayError, OSError."""
        self.tree.begin(operation.time_ns)
        try:
            self._do(operation)
        except (ArrayFSError, KeyError, ValueError) as error:  # no such handle; a layer id that is none
            raise ReplayError(
                f"operation {count} ({operation.op.name} {operation.path!r}) does not fit: {error}"
            ) from error

    def end(self) -> None:
        """Nothing more comes."""
        # To who had not closed a handle since writing, the end of the daemon is what the writer's own would have been.
        for handle in self.handles.values():
            if handle.written:
                handle.file.killed(SIGKILL)
        for handle in self.handles.values():
            handle.file.release()
        self.handles.clear()
        self.tree.end()

    def _do(self, operation: Operation) -> None:
        if operation.handle and operation.op is not Op.OPEN:
            self._with_handle(operation)
            return
        tree, number = self.tree, operation.number
        match operation.op:
            case Op.CREATE:
                tree.create(*self._place(operation.path), number, False)
            case Op.SYMLINK:
                tree.symlink(*self._place(operation.path), bytes(operation.data))
            case Op.MKDIR if operation.flag:
                self._make_directories(operation.path, number)
            case Op.MKDIR:
                tree.mkdir(*self._place(operation.path), number)
            case Op.UNLINK:
                if not operation.flag or self._is_there(operation.path):
                    tree.unlink(*self._place(operation.path))
            case Op.RMDIR:
                tree.rmdir(*self._place(operation.path))
            case Op.RENAME:
                tree.rename(*self._place(operation.path), *self._place(operation.new_path), no_replace=False)
            case Op.EXCHANGE:
                tree.exchange(*self._place(operation.path), *self._place(operation.new_path))
            case Op.LINK:
                tree.link(self._find(operation.path), *self._place(operation.new_path))
            case Op.CATCH_UP:
                tree.container.catch_up_to(bytes.fromhex(operation.path), "ours" if operation.flag else "fail")
            case Op.OPEN:
                file = tree.open_for_writing(self._find(operation.path), truncate=operation.flag)
                self.handles[operation.handle] = _Handle(file, operation.flag)
            case Op.TRUNCATE:
                tree.setattr(self._find(operation.path), size=number)
            case Op.MODE:
                tree.setattr(self._find(operation.path), mode=number)
            case Op.MTIME:
                tree.setattr(self._find(operation.path), mtime_ns=number)
            case Op.PUT:
                Keys(tree).put(operation.path, operation.data)
            case Op.REMOVE:
                Keys(tree).remove_any(operation.path)
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
            case Op.KILLED:
                handle.file.killed(operation.number)
            case Op.RELEASE:
                del self.handles[operation.handle]
                handle.file.release()
            case _:
                raise ReplayError(f"{operation.op.name} with a handle")

    def _find(self, path: str) -> int:
        ino = ROOT
        for name in path.split("/") if path else ():
            attr = self.tree.lookup(ino, name)
            if attr is None:
                raise NoEntryError(errno.ENOENT, f"{path}: {name!r} is not there")
            ino = attr.ino
        return ino

    def _is_there(self, path: str) -> bool:
        try:
            self._find(path)
        except NoEntryError:
            return False
        return True

    def _make_directories(self, path: str, mode: int) -> None:
        names = path.split("/")
        for length in range(1, len(names) + 1):
            above = "/".join(names[:length])
            if not self._is_there(above):
                self.tree.mkdir(*self._place(above), mode)

    def _place(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        parent = self._find(above)
        self.tree.lookup(parent, name)  # as the kernel does before it changes anything
        return parent, name
