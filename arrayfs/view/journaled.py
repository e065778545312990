"""A tree that keeps a journal: what was acknowledged survives the process, and after a sync a loss of power.

Each call that changes something is first done and then recorded, as what a client asked for, with the time. Whoever
takes the journal up does the same calls again, in the same order, on the version that they were made on (`takeup.py`).
Bytes written wait in memory until their file is flushed or much has come together; all other changes are in the file
before the call returns.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TypeVar

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container
from arrayfs.container.journal import Journal, new_header
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ArrayFSError
from arrayfs.format.log import LogHeader, Op, Operation
from arrayfs.store.protocol import Store
from arrayfs.view import unclosed
from arrayfs.view.attr import Attr, kept_time
from arrayfs.view.clocked import ClockedTree
from arrayfs.view.handles import OpenFile
from arrayfs.view.journaled_file import JournaledFile
from arrayfs.view.nodes import Directory, File

T = TypeVar("T")


class JournaledTree(ClockedTree):
    """A tree open for writing, with its journal."""

    def __init__(self, container: Container, look: int = 3, journals: Store | None = None) -> None:
        """journals: the store in which the journal is kept, by default the container's."""
        self._journals = journals or container.store
        self._names = container.names
        self.journal = self._new_journal(self._header)
        self._look = look
        self._last_handle = 0
        self._ending = False
        self._writers: dict[int, JournaledFile] = {}
        self._linked: set[File] = set()  # files that got a second name
        self._following: Journal | None = None  # what `journal` is to be after the commit that is under way
        self._dismissed: list[Journal] = []
        super().__init__(container, look)
        self.scratch_store = self._journals

    def _new_journal(self, header: Callable[[], LogHeader]) -> Journal:
        return Journal(self._journals, self._names, header)

    def _header(self) -> LogHeader:
        return new_header(self.container, self._journals, self._look)

    # --- calls of the shells ------------------------------------------------------------------------------------------

    def setattr(
        self,
        ino: int,
        *,
        size: int | None = None,
        mode: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> Attr:
        with self.container.lock:
            path, node = self._path_of(ino), self.node(ino)
            own = isinstance(node, File) and self.control.owns(node)
            if mtime_ns is not None:
                mtime_ns = kept_time(mtime_ns)
            for op, number in ((Op.TRUNCATE, size), (Op.MODE, mode), (Op.MTIME, mtime_ns)):
                if number is None:
                    continue
                act = _setter(super().setattr, ino, op, number)
                if path is None or own:
                    act()
                else:
                    self._do(op, act, path, number=number)
            return super().setattr(ino, atime_ns=atime_ns)

    def create(self, parent: int, name: str, mode: int, exclusive: bool) -> Attr:
        with self.container.lock:
            path = self._path_in(parent, name)
            act = super().create
            return self._do(
                Op.CREATE,
                lambda: act(parent, name, mode, exclusive),
                path,
                number=mode,
                acknowledged=False,
                at=(parent, name),
            )

    def symlink(self, parent: int, name: str, target: bytes) -> Attr:
        with self.container.lock:
            act = super().symlink
            return self._do(
                Op.SYMLINK,
                lambda: act(parent, name, target),
                self._path_in(parent, name),
                data=target,
                at=(parent, name),
            )

    def mkdir(self, parent: int, name: str, mode: int) -> Attr:
        with self.container.lock:
            act = super().mkdir
            return self._do(
                Op.MKDIR, lambda: act(parent, name, mode), self._path_in(parent, name), number=mode, at=(parent, name)
            )

    def unlink(self, parent: int, name: str) -> None:
        with self.container.lock:
            act = super().unlink
            self._do(Op.UNLINK, lambda: act(parent, name), self._path_in(parent, name), at=(parent, name))

    def rmdir(self, parent: int, name: str) -> None:
        with self.container.lock:
            act = super().rmdir
            self._do(Op.RMDIR, lambda: act(parent, name), self._path_in(parent, name), at=(parent, name))

    def remove_all(self, parent: int, name: str) -> None:
        with self.container.lock:
            act = super().remove_all
            self._do(Op.REMOVE, lambda: act(parent, name), self._path_in(parent, name), at=(parent, name))

    def rename(self, parent: int, name: str, new_parent: int, new_name: str, *, no_replace: bool) -> None:
        with self.container.lock:
            act = super().rename
            self._do(
                Op.RENAME,
                lambda: act(parent, name, new_parent, new_name, no_replace=no_replace),
                self._path_in(parent, name),
                self._path_in(new_parent, new_name),
                at=(parent, name),
            )

    def exchange(self, parent: int, name: str, other_parent: int, other_name: str) -> None:
        with self.container.lock:
            act, happened = super().exchange, list[int]()

            def exchange() -> None:
                act(parent, name, other_parent, other_name)
                happened.append(self._last_ns)

            paths = self._path_in(parent, name), self._path_in(other_parent, other_name)
            try:
                self._do(Op.EXCHANGE, exchange, *paths)
            except OSError:
                if happened:
                    # It is not in the file yet. Who is told of an error tries again, and would exchange them back.
                    time_ns = self.begin()
                    exchange()
                    self.end()
                    self.journal.add(Operation(Op.EXCHANGE, time_ns, *paths))
                raise

    def link(self, ino: int, new_parent: int, new_name: str) -> Attr:
        with self.container.lock:
            act, path = super().link, self._path_of(ino)
            if path is None:
                return act(ino, new_parent, new_name)  # which refuses it
            new_path = self._path_in(new_parent, new_name)
            made = self._do(Op.LINK, lambda: act(ino, new_parent, new_name), path, new_path, at=(new_parent, new_name))
            node = self.node(made.ino)
            if isinstance(node, File):
                self._linked.add(node)
            return made

    def change_whole(self, op: Op, act: Callable[[], T], path: str, data: bytes | memoryview = b"") -> T:
        return self._do(op, act, path, data=data)

    def open_for_writing(self, ino: int, *, truncate: bool) -> OpenFile:
        with self.container.lock:
            path = self._path_of(ino)
            time_ns = self.begin()
            try:
                file = super().open_for_writing(ino, truncate=truncate)
            finally:
                self.end()
            if isinstance(file, JournaledFile) and path is not None:
                file.flushed = not truncate
                self.journal.add(Operation(Op.OPEN, time_ns, path, handle=file.handle, flag=truncate))
            return file

    def _handle(self, file: File, *, write: bool, emptied: bool) -> OpenFile:
        if not write or not file.bindings or self.control.owns(file):
            return super()._handle(file, write=write, emptied=emptied)
        self._last_handle += 1
        made = self._writers[self._last_handle] = JournaledFile(self, file, self._last_handle, emptied=emptied)
        return made

    def sync(self) -> None:
        self.journal.sync(self.container.lock)

    def refresh(self) -> bool:
        with self.container.lock:
            if self.journal.records:
                self.container.follow_files()
                return False
            return super().refresh()

    def moving(self, stack: LayerStack) -> None:
        """What is recorded from now on is done on another version: doing it again has to go over to that one, too."""
        if self.journal.records:
            ours = self.container.options.on_conflict == "ours"
            self.journal.add(Operation(Op.CATCH_UP, time.time_ns(), stack.newest.id.hex(), flag=ours))
            self.journal.write()

    def publishing(self) -> None:
        """A version is about to be there. Raises OSError.

        What it leaves out, bytes of files that nobody has closed, is in the next journal before: the process may end
        between the two.
        """
        if self._following is not None:
            self._dismissed.append(self._following)  # another writer was first, and this one has caught up
            self._following = None
        self._dismiss()
        if self._writers or self._linked:
            with suppress(OSError):  # the next one says nothing without this one, as long as there is no version
                self.sync()
            layer_id = self.container.pool.part.id
            header = replace(self._header(), parent_id=layer_id, layer_id=secrets.token_bytes(16))
            self._following = self._journal_of_open(header)
            with suppress(OSError):
                self._following.sync(self.container.lock)

    def prepare(self) -> None:
        super().prepare()
        if self._writers or self._linked:
            with suppress(OSError):  # `publishing` syncs what comes until then
                self.sync()

    def commit_prepared(self, message: str) -> CommitReport | None:
        layer_id = self.container.pool.part.id
        try:
            report = super().commit_prepared(message)
            if report is None and self.journal.records:
                self._go_on_in(self._journal_of_open(self._header()))
            return report
        finally:
            self._after_commit(layer_id)

    def _after_commit(self, layer_id: bytes) -> None:
        """layer_id: the id that the version would have; a commit that failed may have happened all the same."""
        following, self._following = self._following, None
        if self.container.pool.part.id != layer_id:
            if following is not None and following.records:
                self.container.pool.begin(following.layer_id)
            self._go_on_in(following or self._new_journal(self._header))
        elif following is not None:
            self._dismissed.append(following)
            with suppress(OSError):
                self._dismiss()

    def _dismiss(self) -> None:
        """Remove journals made for after a commit that failed: they would go on from the next one. Raises OSError."""
        while self._dismissed:
            self._dismissed[-1].discard()
            self._dismissed.pop()

    def _journal_of_open(self, header: LogHeader) -> Journal:
        """A journal of what no version has: names that are one file, and files that are being written."""
        journal = self._new_journal(lambda: header)
        self._linked = {file for file in self._linked if len(file.bindings) > 1}
        linked, writers = iter(self._linked), iter(self._writers.values())
        if self._ending:  # nobody can write any more: only what was written and not closed is not in the version
            linked = iter(())
            writers = (writer for writer in writers if writer.file.draft is not None and not writer.file.judged)
        for operation in chain(unclosed.links(self, linked), unclosed.still_open(self, writers)):
            journal.add(operation)
            with suppress(OSError):  # all of it has to wait at least
                journal.make_room()
        return journal

    def _go_on_in(self, journal: Journal) -> None:
        """All that was done before is in a version, or in this journal."""
        old, self.journal = self.journal, journal if journal.records else self._new_journal(self._header)
        try:
            journal.write()
        except OSError as error:
            self.warn(f"files that are being written are not in the journal yet: {error}")
        with suppress(OSError):  # one that is left is removed at the next open
            old.discard()

    def make_ready(self) -> None:
        """Before anything changes. Raises ReadOnlyError, OSError."""
        self.container.check_writable()
        if self.journal.records and self.journal.layer_id != self.container.pool.part.id:
            # a commit of which it was not known whether it happened has happened
            self._go_on_in(self._journal_of_open(self._header()))
        self.journal.make_room()

    def close(self) -> CommitReport | None:
        self._ending = True
        try:
            return super().close()
        finally:
            try:
                self.journal.close()
            except OSError as error:
                self.warn(f"the journal could not be written to its end: {error}")

    def journal_status(self) -> dict[str, object] | None:
        journal = self.journal
        return {
            "file": journal.name,
            "bytes": journal.size,
            "synced_bytes": journal.synced_size,
            "records": journal.records,
        }

    # --- records ------------------------------------------------------------------------------------------------------

    def _do(
        self,
        op: Op,
        act: Callable[[], T],
        path: str = "",
        new_path: str = "",
        *,
        number: int = 0,
        data: bytes | memoryview = b"",
        acknowledged: bool = True,
        at: tuple[int, str] | None = None,
    ) -> T:
        """Do something, and record it. acknowledged: it has to be in the file when this returns.

        at: directory and name of an entry that comes or goes by it.
        """
        self.make_ready()  # before anything happens: where that fails, this has to
        was = at is not None and self._has(*at)
        operation = Operation(op, self.begin(), path, new_path, number=number, data=data)
        answer = self.carry_out(operation, act, None if at is None else lambda: self._has(*at) != was)
        if acknowledged:
            self.journal.write()
        return answer

    def carry_out(
        self, operation: Operation, act: Callable[[], T], has_happened: Callable[[], bool] | None = None
    ) -> T:
        """Do what was begun, and have it in the journal with the next append; the caller has the lock.

        has_happened: asked where the medium failed. What has not happened is done again by who tries again, and must
        not be recorded twice.
        """
        done = False
        try:
            with self.container.pool.whole:
                answer = act()
                done = True
        except ArrayFSError:
            raise
        except (OSError, MemoryError):
            # where it failed while something was packed, the change itself is kept (`Pool.bound`)
            if done or (has_happened() if has_happened else operation.op is not Op.EXCHANGE):
                self.journal.add(operation)
            raise
        finally:
            self.end()
        self.journal.add(operation)
        return answer

    def _has(self, parent: int, name: str) -> bool:
        return self.find(self.directory(parent), name) is not None

    def ended(self, handle: int) -> None:
        """A handle was released."""
        self._writers.pop(handle, None)

    def _path_in(self, parent: int, name: str) -> str:
        return "/".join((*self.directory(parent).path(), name))

    def _path_of(self, ino: int) -> str | None:
        """A name of an inode; None for a file that has none any more."""
        node = self.node(ino)
        if isinstance(node, Directory):
            return "/".join(node.path())
        file = self.file(node)
        return "/".join(self.path_of(file.bindings[0])) if file.bindings else None


def _setter(setattr_: Callable[..., Attr], ino: int, op: Op, number: int) -> Callable[[], Attr]:
    name = {Op.TRUNCATE: "size", Op.MODE: "mode", Op.MTIME: "mtime_ns"}[op]
    return lambda: setattr_(ino, **{name: number})
