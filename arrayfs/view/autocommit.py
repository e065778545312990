"""A tree that commits by itself at an interval: what a killed daemon can lose is bounded by it.

The commits run in a thread of their own; they take the tree's lock like any other call. The thread ends before the tree
is closed, so the commit of the close is always the last one.
"""

from __future__ import annotations

import logging
import threading

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.errors import ArrayFSError
from arrayfs.view.tree import Tree

log = logging.getLogger("arrayfs.view")


class Autocommit:
    """Commits a tree every `seconds` between `start` and `stop`."""

    def __init__(self, tree: Tree, seconds: float) -> None:
        self._tree = tree
        self._seconds = seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="autocommit", daemon=True)

    def start(self) -> None:
        """Begin; the first commit comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the commit that is under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._tree.commit()
            except (ArrayFSError, OSError, MemoryError) as error:
                # the changes are kept, and the next interval tries again
                log.error("commit at an interval failed: %s", error)
            except Exception:
                log.exception("commit at an interval failed")


class CommittingTree(Tree):
    """A tree with an `Autocommit` for as long as it is open."""

    def __init__(self, container: Container, look: int, seconds: float) -> None:
        super().__init__(container, look)
        self._autocommit = Autocommit(self, seconds)
        self._autocommit.start()

    def close(self) -> CommitReport | None:
        self._autocommit.stop()
        return super().close()


def open_committing_tree(
    url: str, seconds: float, *, look: int = 3, options: ContainerOptions | None = None
) -> CommittingTree:
    """Open a container for writing as a tree that commits every `seconds`. look: Zarr format 3 or 2."""
    container = Container.open(url, "a", options)
    try:
        return CommittingTree(container, look, seconds)
    except BaseException:
        container.close()
        raise
