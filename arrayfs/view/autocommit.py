"""A tree open for writing that looks after itself: it syncs its journal, commits and compacts, at intervals.

What a loss of power can take is bounded by the first, how far back the newest version lies by the second. They run in
threads of their own and call the tree like anybody else. They end before the tree is closed, so the commit of the close
is always the last one; after it, once more, is looked whether to compact.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.upkeep import CompactWhen, Upkeep
from arrayfs.errors import ArrayFSError
from arrayfs.store.protocol import Store
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.takeup import not_shown, take_up
from arrayfs.view.tree import Tree

log = logging.getLogger("arrayfs.view")

# Without an fsync, a loss of power takes what was acknowledged in the last so many seconds at most.
SYNC_EVERY = 5.0
# How often what others committed is looked for.
REFRESH_EVERY = 1.0
# How often is looked whether to compact, where that is wanted.
UPKEEP_EVERY = 10.0


class Repeating:
    """Calls `work` every `seconds` between `start` and `stop`."""

    def __init__(self, seconds: float, work: Callable[[], object], name: str) -> None:
        self._seconds = seconds
        self._work = work
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one interval."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the call that is under way."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._work()
            except (ArrayFSError, OSError, MemoryError) as error:
                # the changes are kept, and the next interval tries again
                log.error("%s failed: %s", self._thread.name, error)
            except Exception:
                log.exception("%s failed", self._thread.name)


class WritableTree(JournaledTree):
    """A journaled tree with its intervals, for as long as it is open."""

    def __init__(
        self,
        container: Container,
        look: int = 3,
        journals: Store | None = None,
        *,
        commit_every: float | None = None,
        sync_every: float = SYNC_EVERY,
        refresh_every: float | None = REFRESH_EVERY,
        upkeep: Upkeep | None = None,
    ) -> None:
        """Intervals in seconds; commit_every: None for none but those asked for; refresh_every: None for never."""
        super().__init__(container, look, journals)
        self._upkeep = upkeep
        self._intervals = [Repeating(sync_every, self.sync, "sync at an interval")]
        if commit_every is not None:
            self._intervals.append(Repeating(commit_every, self.commit, "commit at an interval"))
        if refresh_every is not None:
            self._intervals.append(Repeating(refresh_every, self.refresh, "refresh at an interval"))
        if upkeep is not None:
            self._intervals.append(Repeating(UPKEEP_EVERY, self.look_after, "compaction at an interval"))
        for interval in self._intervals:
            interval.start()

    def look_after(self) -> bool:
        """Compact if that is wanted and due; whether it was. Raises as a compaction does."""
        report = self._upkeep and self._upkeep.look(self.container.stack.newest.id)
        if report:
            log.info("%d versions merged, %d bytes won", len(report.merged), report.size_before - report.size_after)
        return bool(report)

    def close(self) -> CommitReport | None:
        for interval in self._intervals:
            interval.stop()
        report = super().close()
        try:
            self.look_after()
        except (ArrayFSError, OSError) as error:
            log.error("compaction at the end failed: %s", error)  # what was committed is committed all the same
        return report


class ReadingTree(Tree):
    """A tree that only reads, and shows what others commit."""

    def __init__(self, container: Container, look: int = 3, *, refresh_every: float = REFRESH_EVERY) -> None:
        """refresh_every: seconds."""
        super().__init__(container, look)
        self._interval = Repeating(refresh_every, self.refresh, "refresh at an interval")
        self._interval.start()

    def close(self) -> CommitReport | None:
        self._interval.stop()
        return super().close()


def open_reading_tree(
    url: str,
    *,
    look: int = 3,
    options: ContainerOptions | None = None,
    journals: Store | None = None,
    refresh_every: float = REFRESH_EVERY,
) -> ReadingTree:
    """Open a container for reading, following what others commit. look: Zarr format 3 or 2; refresh_every: seconds.

    journals: the store in which journals are kept, by default the container's; they are named, and not touched.
    """
    container = Container.open(url, "r", options)
    try:
        container.warnings += not_shown(container, journals)
        return ReadingTree(container, look, refresh_every=refresh_every)
    except BaseException:
        container.close()
        raise


def open_writable_tree(
    url: str,
    *,
    look: int = 3,
    options: ContainerOptions | None = None,
    journals: Store | None = None,
    commit_every: float | None = None,
    sync_every: float = SYNC_EVERY,
    refresh_every: float | None = REFRESH_EVERY,
    compact_when: CompactWhen | None = None,
) -> WritableTree:
    """Open a container for writing, after taking up what writers that ended left. look: Zarr format 3 or 2.

    journals: the store in which journals are kept, by default the container's. Intervals are seconds. compact_when:
    when to compact without being asked.
    """
    upkeep = None if compact_when is None else Upkeep(url, compact_when, [] if journals is None else [journals])
    container = Container.open(url, "a", options)
    try:
        take_up(container, journals)
        return WritableTree(
            container,
            look,
            journals,
            commit_every=commit_every,
            sync_every=sync_every,
            refresh_every=refresh_every,
            upkeep=upkeep,
        )
    except BaseException:
        container.close()
        raise
