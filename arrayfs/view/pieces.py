"""A session: several processes write one version together.

One process begins it and publishes it. What each of the others does is a piece: a journal in a folder beside the
container that belongs to the session alone, so nobody takes it for what a writer that died left. The one that began has
a journal there too, and every piece goes on from as much of that as there was when the piece was handed out. In the end
the pieces are done again, one after another, on the tree of the one that began, and its commit is the one version.

The folder has a mark, locked while the session lives. Without the mark no piece takes changes any more.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.journal import LogReader, find_journals
from arrayfs.errors import ArrayFSError, ConflictError, LockedError, MissingObjectError, RefusedError
from arrayfs.format.log import Op, Operation
from arrayfs.store import LocalStore, MemoryStore, open_store
from arrayfs.store.protocol import Part, Store
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.keys import Keys
from arrayfs.view.takeup import Replay, ReplayError, take_up

MARK = "session"
# A folder without a mark is one that is being made, or whose session died while it was: seconds after which it is that.
ABANDONED_AFTER = 60.0


@dataclass(frozen=True, slots=True)
class Piece:
    """What one process did until now. journal: its name in the session's folder; size: bytes of it."""

    journal: str
    size: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a process needs to write a piece. folder: URL of the session's; base: what it goes on from, if anything."""

    url: str
    folder: str
    look: int
    base: Piece | None


class SessionTree(JournaledTree):
    """The tree of the process that began a session."""

    def __init__(self, container: Container, look: int, url: str) -> None:
        self._url = url
        self._remove_abandoned(container)
        self.folder = _new_folder(container)
        self._mark: Part | None = self.folder.create_part(MARK)
        self._replays: dict[str, _Merging] = {}
        self._changed: dict[str, str] = {}  # paths that pieces changed, and the piece
        super().__init__(container, look, self.folder)

    @staticmethod
    def _remove_abandoned(container: Container) -> None:
        """Folders of sessions whose process died: nothing of them was ever to be seen."""
        if not isinstance(container.store, LocalStore):
            return
        for path in Path(container.store.path).glob(f"{_prefix(container)}*"):
            with suppress(OSError, ArrayFSError):
                store = LocalStore(str(path))
                abandoned = (
                    store.is_part_abandoned(MARK)
                    if MARK in store.list()
                    else time.time() - path.stat().st_mtime > ABANDONED_AFTER
                )
                if abandoned:
                    _remove_folder(store)

    def assign(self) -> Assignment:
        """What another process needs to go on from all that was done here until now."""
        with self.container.lock:
            self.journal.write()
            name = self.journal.name
            base = None if name is None else Piece(name, self.journal.size)
            return Assignment(self._url, self.folder.url, self.documents.look, base)

    def merge(self, pieces: list[Piece]) -> None:
        """Take in what these pieces had, in this order. Raises ConflictError where two changed one file differently."""
        with self.container.lock:
            for piece in pieces:
                if piece.journal != self.journal.name:
                    merging = self._replays.get(piece.journal)
                    if merging is None:
                        merging = self._replays[piece.journal] = _Merging(piece.journal, Replay(self))
                    merging.take(self, piece.size, self._changed)

    def publish(self, message: str = "") -> CommitReport | None:
        """Take in all pieces, and commit: the session is over then. Where that fails it goes on, and has all it had."""
        with self.container.lock:
            self.merge([Piece(found.name, found.size) for found in find_journals(self.folder, self.container.names)])
            for merging in self._replays.values():
                merging.replay.end()
        report = self.commit(message)
        with self.container.lock:
            self._end_writing()
            self._remove()
        return report

    def abandon(self) -> None:
        """Give up what the session has, if it is not over."""
        with self.container.lock, suppress(OSError):
            if self._mark is not None:
                self._end_writing()
                self.container.discard()
                self._remove()

    def close(self) -> CommitReport | None:
        """Give up what was not published; close the container."""
        self.abandon()
        self.container.close()
        return None

    def _end_writing(self) -> None:
        if self._mark is not None:
            mark, self._mark = self._mark, None
            mark.discard()

    def _remove(self) -> None:
        with suppress(OSError):
            self.journal.discard()
        with suppress(OSError):
            _remove_folder(self.folder)


@dataclass(slots=True)
class _Merging:
    """The taking in of one journal. done: bytes of it that were; count: operations."""

    journal: str
    replay: Replay
    done: int = 0
    count: int = 0
    paths: dict[int, str] = field(default_factory=dict)

    def take(self, tree: SessionTree, size: int, changed: dict[str, str]) -> None:
        blob = tree.folder.open(self.journal)
        try:
            operations = list(self._new_operations(LogReader(blob.read, min(size, blob.size))))
        finally:
            blob.close()
        keys = Keys(tree)
        touched = dict.fromkeys(path for operation in operations for path in self._paths(operation))
        shared = {path: _content(keys, path) for path in touched if changed.get(path, self.journal) != self.journal}
        for operation in operations:
            self.count += 1
            try:
                self.replay.do(self.count, operation)
            except ReplayError as error:
                raise ConflictError(f"{self.journal}: {error}") from error
        overlaps = [path for path, before in shared.items() if _content(keys, path) != before]
        if overlaps:
            names = ", ".join(overlaps[:5]) + (", …" if len(overlaps) > 5 else "")
            raise ConflictError(f"pieces of one session differ in {len(overlaps)} files: {names}")
        changed.update(dict.fromkeys(touched, self.journal))

    def _new_operations(self, reader: LogReader) -> Iterator[Operation]:
        for operation in reader.operations():
            if reader.end > self.done:
                self.done = reader.end
                yield operation

    def _paths(self, operation: Operation) -> Iterator[str]:
        """The files that an operation changes."""
        if operation.op is Op.OPEN:
            self.paths[operation.handle] = operation.path
        elif operation.handle:
            if operation.op in (Op.WRITE, Op.RESIZE):
                yield self.paths.get(operation.handle, "")
        elif operation.op is not Op.MKDIR:
            yield operation.path
            if operation.new_path:
                yield operation.new_path


def _content(keys: Keys, path: str) -> bytes | None:
    reading = keys.plan(path)
    return None if reading is None else bytes(reading.fetch())


class PieceTree(JournaledTree):
    """The tree of another process of a session. It never commits: what it did is published with the session."""

    _going_on = False

    def __init__(self, container: Container, assignment: Assignment) -> None:
        self._folder = _folder_at(assignment.folder)
        super().__init__(container, assignment.look, self._folder)
        if assignment.base is not None:
            self._go_on_from(assignment.base)

    def _go_on_from(self, base: Piece) -> None:
        """Do again what the process that began the session had done. It is its own to publish: kept in no journal."""
        self._check_alive()
        blob = self._folder.open(base.journal)
        kept, self._journals = self._journals, MemoryStore(secrets.token_hex(16))
        self._going_on = True
        try:
            self.journal = self._new_journal(self._header)
            Replay(self).run(LogReader(blob.read, base.size))
            self.journal.discard()
        finally:
            blob.close()
            self._journals, self._going_on = kept, False
        self.journal = self._new_journal(self._header)

    def make_ready(self) -> None:
        """Raises RefusedError when the session is over: nobody would take in what is done now."""
        if not self._going_on:
            self._check_alive()
        super().make_ready()

    def _check_alive(self) -> None:
        try:
            self._folder.open(MARK).close()
        except (MissingObjectError, LockedError):
            raise RefusedError(errno.ESTALE, f"the session {self._folder.url} is over") from None

    def piece(self) -> Piece | None:
        """What was done here until now; None: nothing."""
        with self.container.lock:
            self.journal.write()
            return None if self.journal.name is None else Piece(self.journal.name, self.journal.size)

    def commit(self, message: str = "") -> CommitReport | None:
        """Nothing: the session publishes it."""
        return None

    def refresh(self) -> bool:
        """Nothing: what others commit comes below the session when it is published."""
        return False

    def close(self) -> CommitReport | None:
        """Leave the journal to the session."""
        with suppress(OSError):
            self.journal.close()
        with suppress(OSError):
            self.container.discard()
        self.container.close()
        return None


def begin_session(url: str, look: int, options: ContainerOptions) -> SessionTree:
    """Begin a session on a container at a path or URL. Raises StoreURLError where its store has no folders."""
    container = Container.open(url, "a", options)
    try:
        take_up(container)
        return SessionTree(container, look, url)
    except BaseException:
        container.close()
        raise


def open_piece(assignment: Assignment, options: ContainerOptions) -> PieceTree:
    """Begin a piece of a session. Raises RefusedError when that is over."""
    container = Container.open(assignment.url, "a", options)
    try:
        return PieceTree(container, assignment)
    except BaseException:
        container.close()
        raise


def _prefix(container: Container) -> str:
    return f"{container.names.stem}.session-"


def _new_folder(container: Container) -> Store:
    name = _prefix(container) + secrets.token_hex(8)
    store = container.store
    if isinstance(store, LocalStore):
        path = os.path.join(store.path, name)
        os.mkdir(path, 0o700)
        return LocalStore(path)
    if isinstance(store, MemoryStore):
        return MemoryStore(f"{store.url.removeprefix('memory://')}/{name}")
    raise RefusedError(errno.EOPNOTSUPP, f"{store.url}: a session needs a folder of files")


def _folder_at(url: str) -> Store:
    try:
        return open_store(f"{url}/{MARK}")[0]
    except MissingObjectError:
        raise RefusedError(errno.ESTALE, f"the session {url} is over") from None


def _remove_folder(store: Store) -> None:
    for name in store.list():
        with suppress(MissingObjectError):
            store.delete(name)
    if isinstance(store, LocalStore):
        os.rmdir(store.path)
