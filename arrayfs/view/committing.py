"""When what a tree shows becomes a version, and when it goes on to another one."""

from __future__ import annotations

import threading

from arrayfs.container.commit import CommitReport
from arrayfs.container.exchange import ids_of
from arrayfs.container.journal import uncommitted
from arrayfs.container.prepare import prepare
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ArrayFSError
from arrayfs.view import markers
from arrayfs.view.adoption import Adoption
from arrayfs.view.consolidated import ConsolidatedDocuments
from arrayfs.view.following import Following
from arrayfs.view.nodes import File
from arrayfs.view.stating import Stating


class Committing(Stating):
    """The commits of one tree.

    being_written: files that are open for writing. `_committing` is held by the one commit that is under way, before
    the container's lock is.
    """

    adoption: Adoption
    being_written: dict[File, None]
    consolidated: ConsolidatedDocuments
    following: Following
    read_only: bool
    _committing: threading.RLock

    def commit(self, message: str = "") -> CommitReport | None:
        """Make all that was closed a new version. None: nothing had changed.

        Others go on while the bulk of it is packed and synced, and wait for the rest. Raises what the medium does, and
        ConflictError; the changes are kept then.
        """
        with self._committing:
            try:
                self.prepare()
                with self.container.lock:
                    return self.commit_prepared(message)
            except (ArrayFSError, OSError) as error:
                self.warn(f"commit failed: {error}")
                raise

    def prepare(self) -> None:
        """Do the long part of a commit, while others read and write."""
        for file in list(self.files.unsettled):
            with self.container.lock:
                self.files.settle(file)
        prepare(self.container)

    def commit_prepared(self, message: str) -> CommitReport | None:
        """Do the rest of a commit. Called with the lock."""
        with self.container.pool.whole:
            self.files.settle_all()
            self.adoption.drop_gone()
            markers.write(self.container, self._touched)
            self.consolidated.settle()
            self._touched.clear()
        report = self.container.commit(message)
        self.files.spill.slots.trim()
        if report is not None:
            self.control.committed(report, message)
        return report

    def refresh(self) -> bool:
        """Show what others committed since; whether there was anything.

        A writer that has changes, or files open for writing, goes on with the version that it began with.
        """
        with self.container.lock:
            if self.being_written or self.files.unsettled:
                self.container.follow_files()
                return False
            found = self.container.refresh(wait=False)
            if not found:
                self.following.tell()
            return found

    def moving(self, stack: LayerStack) -> None:
        """The tree is about to go on from another version."""

    def publishing(self) -> None:
        """What was closed is about to be a version."""

    def close(self) -> CommitReport | None:
        """Commit, if writable, and close the container. Raises what the commit raises; files are closed either way.

        Nothing happens where the container is closed: what was not committed then is left to the journal.
        """
        try:
            return None if self.read_only or self.container.closed else self.commit()
        finally:
            self.container.close()

    def others_are_writing(self) -> bool:
        """Whether other writers of the container, wherever they are, have changes that they did not commit."""
        status = self.journal_status()
        own = None if status is None else status["file"]
        container = self.container
        found = uncommitted(container.store, container.names, ids_of(container.stack.layers))
        return any(name != own for name, _ in found)

    def sync(self) -> None:
        """Have all that was acknowledged survive a loss of power. Without a journal only a commit does that."""

    def journal_status(self) -> dict[str, object] | None:
        """What the status says of the journal; a tree without one: None."""
        return None
