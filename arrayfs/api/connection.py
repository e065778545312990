"""An open tree, and the stores that use it.

A store that was made by name has a tree of its own, which ends (and commits) with the last store that shares it. Copies
that came out of a pickle share one tree for each place that they lead to, and nobody can be asked to close that: it
commits when nothing was done for a while, and is closed when nobody has used it for a while. The end of the interpreter
closes what is open. A process that was forked off leaves the trees of its parent alone and opens its own.
"""

from __future__ import annotations

import errno
import logging
import os
import threading
import time
import weakref
from dataclasses import dataclass, replace
from multiprocessing import util

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.exchange import ids_of
from arrayfs.container.merge import OnConflict
from arrayfs.container.pool import BLOCK_SIZE, PoolOptions
from arrayfs.errors import ArrayFSError, MissingObjectError, ObjectExistsError, RefusedError
from arrayfs.store import LocalStore, open_store
from arrayfs.store.protocol import Store
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.keys import Keys
from arrayfs.view.pieces import Assignment, begin_session, open_piece
from arrayfs.view.tree import Tree, open_tree

log = logging.getLogger("arrayfs.api")


@dataclass(frozen=True, slots=True)
class Source:
    """What tree to open. url: absolute; look: Zarr format of documents that no client wrote, 3 or 2.

    begins: a session; assignment: a piece of one.
    """

    url: str
    read_only: bool = False
    version: str | int | None = None
    look: int = 3
    codec: str | None = "lz4"
    block_size: int = BLOCK_SIZE
    on_conflict: OnConflict = "fail"
    journal_dir: str | None = None
    begins: bool = False
    assignment: Assignment | None = None

    def at(self, url: str) -> Source:
        """The same, of another container."""
        return replace(self, url=url)

    def writable(self) -> Source:
        """The same container, to write."""
        return replace(self, read_only=False, version=None)

    def session(self) -> Source:
        """A session on the same container."""
        return replace(self, begins=True)

    def piece(self, assignment: Assignment) -> Source:
        """A piece of a session."""
        return replace(self, begins=False, assignment=assignment)

    def open(self) -> Tree:
        """Open the tree. A container to be written that is not there is made."""
        options = ContainerOptions(PoolOptions(self.codec, self.block_size), on_conflict=self.on_conflict)
        if self.assignment is not None:
            return open_piece(self.assignment, options)
        if self.read_only:
            return open_tree(self.url, look=self.look, options=options, version=self.version)
        if self.begins:
            return begin_session(self.url, self.look, options)
        try:
            return self._open_writable(options)
        except MissingObjectError:
            try:
                Container.create(self.url)
            except ObjectExistsError:
                log.debug("%s: another process made it just now", self.url)
            return self._open_writable(options)

    def _open_writable(self, options: ContainerOptions) -> Tree:
        return open_writable_tree(
            self.url, look=self.look, options=options, journals=self._journals(), refresh_every=None
        )

    def _journals(self) -> Store | None:
        if self.journal_dir is None:
            return None
        store = open_store(self.url)[0]
        same = isinstance(store, LocalStore) and os.path.samefile(store.path, self.journal_dir)
        return None if same else LocalStore(self.journal_dir)


class Connection:
    """One open tree.

    - `tree` and `keys` are None only in a process that was forked off after it was opened; then nothing else is used.
    - `_users` counts stores. `_used` is when one last did something (`time.monotonic`), a change being something.
    - `_guard` protects them, and closing; re-entrant, since the collection of a store may come at any moment.
    """

    def __init__(self, source: Source, tree: Tree) -> None:
        self.source = source
        self.tree: Tree | None = tree
        self.keys: Keys | None = Keys(tree)
        self.left_behind = False  # the parent of this process had changes in it that were not committed
        self._guard = threading.RLock()
        self._users = 0
        self._used = time.monotonic()

    @staticmethod
    def open(source: Source) -> Connection:
        """A connection of its own."""
        made = Connection(source, source.open())
        _register(made)
        return made

    def attach(self) -> bool:
        """One store more uses it. False: it is closed, or another process's."""
        with self._guard:
            if self.tree is None:
                return False
            self._users += 1
            return True

    def detach(self) -> None:
        """One store less; with the last one it ends. Raises what the commit raises."""
        with self._guard:
            self._users -= 1
            last = not self._users and self.tree is not None
        if last:
            self.close()

    def let_go(self) -> None:
        """`detach` for a store that nobody has any more: who could be told of an error is not there."""
        try:
            self.detach()
        except (ArrayFSError, OSError) as error:
            log.error("%s: not committed: %s; its journal is kept", self.source.url, error)

    def used(self) -> None:
        """Something was changed through it."""
        self._used = time.monotonic()

    def commit(self, message: str = "") -> CommitReport | None:
        """Commit, if it is open."""
        tree = self.tree
        return None if tree is None or tree.read_only else tree.commit(message)

    def close(self) -> None:
        """Commit and close the tree. Raises what the commit raises; it is closed either way."""
        with self._guard:
            tree, self.tree, self.keys = self.tree, None, None
        _open.discard(self)
        if tree is not None:
            tree.close()

    def abandon(self) -> None:
        """In a child process: forget the tree, which is the parent's. Only this thread is there."""
        tree = self.tree
        if tree is not None:
            status = tree.journal_status()
            self.left_behind = status is not None and bool(status["records"])
        self.tree = self.keys = None
        self._guard = threading.RLock()


class SharedConnection(Connection):
    """The connection of copies: it looks after itself."""

    def __init__(self, source: Source, tree: Tree, autocommit: float) -> None:
        """autocommit: seconds without a change after which it commits, and without a store after which it ends."""
        super().__init__(source, tree)
        self._autocommit = autocommit
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="arrayfs-autocommit", daemon=True)
        self._thread.start()

    def detach(self) -> None:
        with self._guard:
            self._users -= 1
            self._used = time.monotonic()

    def close(self) -> None:
        self._stopped.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        super().close()

    def contains(self, layer_id: bytes) -> bool:
        """Whether it shows the version with this id, going on from newer ones if need be."""
        tree = self.tree
        if tree is None:
            return False
        for step in (lambda: None, tree.refresh, tree.commit):
            step()
            if layer_id in ids_of(tree.container.stack.layers):
                return True
        return False

    def _run(self) -> None:
        step = max(min(self._autocommit / 4, 1.0), 0.01)
        committed = self._used
        while not self._stopped.wait(step):
            now, used = time.monotonic(), self._used
            if now - used < self._autocommit:
                continue
            if used != committed:
                committed = used
                self._try(self.commit)
            with _shared_guard:
                if self._users or self._used != used:
                    continue
                _shared.pop(self.source, None)
            self._try(self.close)
            return

    def _try(self, work: object) -> None:
        try:
            assert callable(work)
            work()
        except (ArrayFSError, OSError) as error:
            log.error("%s: not committed: %s; its journal is kept", self.source.url, error)


_open: set[Connection] = set()
_shared: dict[Source, SharedConnection] = {}
_shared_guard = threading.Lock()
_pid_at_exit = 0


def share(source: Source, autocommit: float, seen: bytes) -> Connection:
    """The connection of copies that lead here, one more store being attached. seen: id of a version that it must show.

    Raises RefusedError where what the copies do cannot be brought together with that version.
    """
    with _shared_guard:
        connection = _shared.get(source)
        if connection is not None and connection.attach():
            if not seen or source.version is not None or source.assignment is not None or connection.contains(seen):
                return connection
            connection.let_go()
            raise RefusedError(errno.ESTALE, f"{source.url}: the version that was handed over is not there any more")
        connection = SharedConnection(source, source.open(), autocommit)
        connection.attach()
        _shared[source] = connection
        _register(connection)
        return connection


def _register(connection: Connection) -> None:
    """Have it closed when this process ends."""
    global _pid_at_exit  # noqa: PLW0603  once for each process
    _open.add(connection)
    if _pid_at_exit != os.getpid():
        _pid_at_exit = os.getpid()
        # not atexit: a forked child of multiprocessing runs only these
        util.Finalize(None, close_all, exitpriority=10)


def close_all() -> None:
    """Commit and close whatever is open."""
    for connection in list(_open):
        try:
            connection.close()
        except (ArrayFSError, OSError) as error:
            log.error("%s: not committed: %s; its journal is kept", connection.source.url, error)


def _leave_to_parent() -> None:
    global _shared_guard  # noqa: PLW0603  the parent's may be held by a thread that is not here
    _shared_guard = threading.Lock()
    for connection in list(_open):
        connection.abandon()
    _open.clear()
    _shared.clear()


os.register_at_fork(after_in_child=_leave_to_parent)


def finalizer(store: object, connection: Connection) -> weakref.finalize[..., object]:
    """Detach a store when nobody has it any more."""
    made = weakref.finalize(store, connection.let_go)
    made.atexit = False  # `close_all` does that
    return made
