"""One open container: its tree, its journal, and what happens at its end. All objects of the API share one.

The tree is that of a mount, so what is written here looks the same there, and documents are merged in one place.
Values of chunks go past the tree's files, straight to the arrays behind them.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from arrayfs.api.journaling import Keeper
from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container
from arrayfs.container.pool import PACK_BATCH
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ArrayFSError, ConflictError, RefusedError
from arrayfs.store.protocol import Store
from arrayfs.view.clocked import ClockedTree
from arrayfs.view.nodes import Directory, File

# Called with how much is done, and of how much: chunks, or bytes where it says so.
Progress = Callable[[int, int], object]

# More threads than this gain nothing: they share one interpreter, and each has its block to unpack.
MOST_READERS = 8
_made: list[ThreadPoolExecutor] = []
_making = threading.Lock()
# a child has none of its parent's threads
os.register_at_fork(after_in_child=_made.clear)


def readers() -> ThreadPoolExecutor:
    """The threads that unpack chunks, for all containers of the process; made when first needed."""
    with _making:
        if not _made:
            _made.append(ThreadPoolExecutor(reader_count(), "arrayfs-read"))
        return _made[0]


def reader_count() -> int:
    """How many chunks are unpacked at a time."""
    return min(len(os.sched_getaffinity(0)), MOST_READERS)


class ApiTree(ClockedTree):
    """A tree that tells its session when it goes over to another version."""

    keeper: Keeper | None = None

    def prepare(self) -> None:
        """Nothing: a session holds the lock for all of a commit, so nobody could go on meanwhile."""

    def moving(self, stack: LayerStack) -> None:
        if self.keeper is not None:
            self.keeper.moving(stack)


class Session:
    """See the module. `lock` is the container's, which all calls take; `changes` counts what may make a copy stale."""

    def __init__(self, container: Container, journals: Store | None) -> None:
        """journals: the store that journals lie in, by default the container's."""
        self.container = container
        self.lock = container.lock
        self.changes = 0
        self._journals = journals or container.store
        self._pid = os.getpid()
        self.closed = False
        self._open_tree()

    def _open_tree(self) -> None:
        self.tree = ApiTree(self.container)
        if self.container.read_only:
            self.keeper = None
        else:
            self.keeper = self.tree.keeper = Keeper(self.tree, self._journals)
        self.changes += 1

    @property
    def root(self) -> Directory:
        """The directory of the root group."""
        return self.tree.root

    def check_open(self) -> None:
        """Raise ValueError for a container that was closed, or that is another process's."""
        if self.closed:
            raise ValueError(f"{self.container.names.base} is closed")
        if os.getpid() != self._pid:
            raise RefusedError(1, f"{self.container.names.base} was opened before a fork: open it in the child")

    def check_writable(self) -> Keeper:
        """What keeps a record of changes. Raises ReadOnlyError, ValueError."""
        self.check_open()
        self.container.check_writable()
        assert self.keeper is not None
        self.keeper.look_back()
        return self.keeper

    def find(self, path: str) -> Directory | File | None:
        """What is at a path below the root; None also for a chunk that is no object."""
        node: object = self.root
        for name in path.split("/") if path else ():
            if not isinstance(node, Directory):
                return None
            node = self.tree.find(node, name)
        return node if isinstance(node, Directory | File) else None

    # --- versions -----------------------------------------------------------------------------------------------------

    def commit(self, message: str, progress: Progress | None = None) -> CommitReport | None:
        """Make all changes a version. progress: bytes packed, and of how many."""
        with self.lock:
            keeper = self.check_writable()
            if progress is not None:
                self._pack(progress)
            report = self.tree.commit(message)
            keeper.forget()
            self.changes += 1
            return report

    def _pack(self, progress: Progress) -> None:
        pool = self.container.pool
        total = pool.raw_size
        while pool.raw_size:
            pool.pack(min(PACK_BATCH, pool.raw_size))
            progress(total - pool.raw_size, total)

    def discard(self) -> None:
        """Give up all changes since the last commit."""
        with self.lock:
            self.check_writable().forget()
            self.container.discard()
            self._open_tree()

    def refresh(self) -> bool:
        """Show what others committed; whether there was anything. A writer with changes waits for its commit."""
        with self.lock:
            self.check_open()
            found = self.tree.refresh()
            self.changes += found
            return found

    # --- end ----------------------------------------------------------------------------------------------------------

    def close(self, *, commit: bool = True) -> CommitReport | None:
        """Commit (or discard) and let go. Closing twice is allowed.

        Raises what the commit raises: changes that could not be committed are then in a journal, as far as it can be
        written, and the next open for writing tries them again.
        """
        with self.lock:
            if self.closed or os.getpid() != self._pid:
                return None
            try:
                if self.keeper is None:
                    return None
                if commit:
                    return self.commit("")
                self.discard()
                return None
            except (ArrayFSError, OSError) as error:
                if commit and self.keeper is not None:
                    self._keep(self.keeper, error)
                raise
            finally:
                self.closed = True
                try:
                    if self.keeper is not None:
                        self.keeper.close()
                finally:
                    self.container.close()

    def _keep(self, keeper: Keeper, error: BaseException) -> None:
        with suppress(ArrayFSError, OSError):
            keeper.flush()
            if isinstance(error, ConflictError):
                error.add_note(f"The changes are kept in {keeper.name}; see `arrayfs journal`.")


class Life:
    """What all objects of one open container hold: when the last of them goes, or the process ends, it is closed."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._end = weakref.finalize(self, session.close)

    def close(self, *, commit: bool = True) -> CommitReport | None:
        """As `Session.close`."""
        self._end.detach()
        return self.session.close(commit=commit)
