"""A writer's journal, a file of the store: what was done since the last commit, so that a killed writer loses nothing.

Records are collected in memory and appended together: `write` makes them survive the process, `sync` the power. A
journal begins with the first record after a commit and is removed after the next one. One process writes it and has it
locked for as long as it lives; what the next open for writing does with one that nobody holds: `view/takeup.py`.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrayfs.container import opening
from arrayfs.errors import FormatError, LockedError, MissingObjectError, ShortReadError
from arrayfs.format import log
from arrayfs.format.log import LogHeader, Op, Operation
from arrayfs.format.naming import ContainerNames
from arrayfs.store import LocalStore
from arrayfs.store.protocol import Blob, Part, Store

if TYPE_CHECKING:
    from arrayfs.container.container import Container

# Records wait in memory up to this many bytes, if nothing has to survive sooner.
WAITING_LIMIT = 1 << 20


class Journal:
    """The journal of one writer.

    `add` and `write` are called under the container's lock, `sync` without it, from any thread.

    Invariants
    - `_waiting` are records that are not in the file yet, in order; `_checksum` is that of the last of them.
    - `_synced` counts the file's bytes that survive a loss of power; `_sync_lock` protects it.
    - After a sync that failed (`_failed`) nothing is added to the file: it is written anew first.
    - `_behind`: the last write or sync failed, so nothing new may happen before one succeeds.
    """

    def __init__(self, store: Store, names: ContainerNames, header: Callable[[], LogHeader]) -> None:
        """header: called when a journal begins."""
        self._store, self._names, self._header = store, names, header
        self._part: Part | None = None
        self._waiting: list[bytes | memoryview] = []
        self._waiting_size = 0
        self._checksum = 0
        self._sync_lock = threading.Lock()
        self._synced = 0
        self._failed = False
        self._behind = False
        # records that this journal has, for the status
        self.records = 0
        # the id of the layer that will hold them; it counts while there are any
        self.layer_id = b""

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return 0 if self._part is None else self._part.size

    @property
    def synced_size(self) -> int:
        """Bytes in the file that survive a loss of power."""
        return self._synced

    @property
    def name(self) -> str | None:
        """The file's name, None while there is none."""
        return None if self._part is None else self._part.name

    def add(self, operation: Operation) -> None:
        """Take a record; nothing of it is safe before `write`."""
        if not self.records:
            values = self._header()
            header = log.encode_header(values)
            self._waiting.append(header)
            self._checksum = log.checksum_of_header(header)
            self.layer_id = values.layer_id
        head, data, self._checksum = log.encode_operation(operation, self._checksum)
        self._waiting.append(head)
        if data:
            self._waiting.append(data)
        self._waiting_size += len(head) + len(data)
        self.records += 1

    def make_room(self) -> None:
        """Write if so much is waiting, or if that failed before. Raises OSError, and then no more should be added."""
        if self._behind or self._waiting_size > WAITING_LIMIT:
            self.write()

    def write(self) -> None:
        """Have everything that was added survive the end of this process. Raises OSError; the records still wait."""
        self._behind = True
        if self._failed:
            self._renew()
        if not self._waiting:
            self._behind = False
            return
        if self._part is None:
            self._part = self._store.create_part(self._names.log(secrets.token_hex(16)))
        self._part.append(*self._waiting)
        self._waiting, self._waiting_size, self._behind = [], 0, False

    def sync(self, lock: threading.RLock) -> None:
        """Have everything that was added before survive a loss of power. lock: the container's.

        Many callers need few syncs: each syncs for all who wrote before. Raises OSError, also for what an earlier,
        failed sync has lost, until it was written anew.
        """
        while True:
            with lock:
                self.write()
                part, size = self._part, self.size
            if part is None:
                return
            with self._sync_lock:
                if part is not self._part:
                    continue  # a commit came in between; what is left to be safe is in another file
                if self._synced >= size:
                    return
                size = part.size
                try:
                    part.sync()
                except OSError:
                    self._failed = self._behind = True
                    raise
                self._synced = size
                return

    def discard(self) -> None:
        """Remove the file, and forget what waits. Raises OSError if the file is still there; then call it again."""
        with self._sync_lock:
            self._waiting, self._waiting_size = [], 0
            self._synced, self._failed, self._behind, self.records = 0, False, False, 0
            if self._part is not None:
                self._part.discard()
                self._part = None

    def close(self) -> None:
        """Let go of the file. Raises OSError if records could not be written."""
        try:
            self.write()
        finally:
            if self._part is not None:
                self._part.close()

    def _renew(self) -> None:
        """A sync has failed, and the kernel may have forgotten what it could not write: copy the file."""
        with self._sync_lock:
            old = self._part
            if old is None:
                return
            new = self._store.create_part(self._names.log(secrets.token_hex(16)))
            try:
                reader = LogReader(old.read, old.size)
                for piece in reader.pieces():
                    new.append(piece)
                if reader.end != old.size:
                    raise OSError(errno.EIO, f"the journal cannot be read back behind byte {reader.end}", old.name)
                new.sync()
            except BaseException:
                with suppress(OSError):
                    new.discard()
                raise
            self._part, self._synced, self._failed = new, new.size, False
            with suppress(OSError):
                old.discard()


class LogReader:
    """A journal's header and its records, as far as they are whole.

    end: bytes that were read and found right. Raises FormatError at once if there is no header.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        self._read, self._size = read, size
        head = read(0, min(size, log.HEADER_SIZE))
        self.header = log.decode_header(head)
        self._checksum = log.checksum_of_header(head)
        self._head = head
        self.end = log.HEADER_SIZE

    def operations(self) -> Iterator[Operation]:
        """The records, one after another."""
        for operation, _, _ in self._records():
            yield operation

    def pieces(self) -> Iterator[bytes]:
        """The bytes of the header and of each record."""
        yield self._head
        for _, frame, content in self._records():
            yield frame + content

    def _records(self) -> Iterator[tuple[Operation, bytes, bytes]]:
        while True:
            try:
                frame = self._read(self.end, min(log.FRAME_SIZE, self._size - self.end))
                size = log.record_size(frame)
                if not size or self.end + log.FRAME_SIZE + size > self._size:
                    return
                content = self._read(self.end + log.FRAME_SIZE, size)
                operation, self._checksum = log.decode_operation(frame, content, self._checksum)
            except (FormatError, ShortReadError):
                return
            self.end += log.FRAME_SIZE + size
            yield operation, frame, content


@dataclass(frozen=True, slots=True)
class FoundJournal:
    """A journal beside a container. locked: its writer is at work.

    header: None if there is none; blank: nor ever was, since nothing of the file had reached the disk.
    """

    name: str
    size: int
    header: LogHeader | None
    blank: bool
    locked: bool


def owner_id(container_id: bytes, container: Store, journals: Store) -> bytes:
    """Whose journal one in the store `journals` is, as its header says.

    Beside the container it is known by the container's id. Another folder may serve several containers, also a copy of
    this one, which has the same id and must not take up what was written to this: there its place counts as well.
    """
    if journals.url == container.url:
        return container_id
    place = os.path.realpath(container.path) if isinstance(container, LocalStore) else container.url
    return hashlib.sha256(container_id + os.fsencode(place)).digest()[:16]


def new_header(container: Container, journals: Store, look: int) -> LogHeader:
    """What a journal of changes on what `container` shows begins with. journals: the store that it lies in."""
    return LogHeader(
        container_id=owner_id(opening.container_id(container.stack), container.store, journals),
        parent_id=container.stack.newest.id,
        layer_id=container.pool.part.id,
        time_ns=time.time_ns(),
        look=look,
    )


def _journals(store: Store, names: ContainerNames) -> Iterator[str]:
    return (name for name in store.list() if names.parse_log(name) is not None)


def find_journals(store: Store, names: ContainerNames) -> list[FoundJournal]:
    """All journals of a container, in the order in which they were begun."""
    found = []
    for name in _journals(store, names):
        with suppress(MissingObjectError):  # its writer has just committed
            found.append(_look_at(store, name))
    return sorted(found, key=lambda journal: journal.header.time_ns if journal.header else 0)


def versions_needed(store: Store, names: ContainerNames) -> set[bytes]:
    """The ids of all versions that journals of a container go on from, or were carried over to.

    Only read, as `uncommitted` does; of journals that cannot be read nothing is known.
    """
    ids = set[bytes]()
    for name in _journals(store, names):
        try:
            blob = store.open(name)
        except MissingObjectError:
            continue
        try:
            reader = LogReader(blob.read, blob.size)
            ids.add(reader.header.parent_id)
            ids.update(bytes.fromhex(one.path) for one in reader.operations() if one.op is Op.CATCH_UP)
        except (FormatError, ShortReadError, ValueError):
            continue
        finally:
            blob.close()
    return ids


def uncommitted(store: Store, names: ContainerNames, layer_ids: Collection[bytes]) -> Iterator[tuple[str, int | None]]:
    """Names and sizes (None: it cannot be read) of journals with changes that none of the layers has.

    Only read: no lock is taken, not even for a moment, so it is not known which of their writers are at work.
    """
    for name in _journals(store, names):
        try:
            size = _uncommitted_size(store, name, layer_ids)
        except MissingObjectError:
            continue
        except OSError:
            yield name, None
        else:
            if size:
                yield name, size


def _uncommitted_size(store: Store, name: str, layer_ids: Collection[bytes]) -> int:
    """Bytes of a journal; 0 if nothing of it is missing in the layers."""
    blob = store.open(name)
    try:
        return 0 if _header_of(blob).layer_id in layer_ids else blob.size
    except FormatError:
        return 0 if _is_blank(blob) else blob.size
    finally:
        blob.close()


def _header_of(blob: Blob) -> LogHeader:
    return log.decode_header(blob.read(0, min(blob.size, log.HEADER_SIZE)))


def _is_blank(blob: Blob) -> bool:
    """Whether nothing of the file had reached the disk."""
    head = blob.read(0, min(blob.size, log.HEADER_SIZE))
    return len(head) < log.HEADER_SIZE or not any(head)


def _look_at(store: Store, name: str) -> FoundJournal:
    locked = not store.is_part_abandoned(name)
    blob = store.open(name)
    try:
        return FoundJournal(name, blob.size, _header_of(blob), False, locked)
    except FormatError:
        return FoundJournal(name, blob.size, None, _is_blank(blob), locked)
    finally:
        blob.close()


def adopt_journal(store: Store, name: str) -> Part | None:
    """Become the owner of a journal that nobody holds; None if somebody does, or was faster."""
    try:
        return store.adopt_part(name)
    except (LockedError, MissingObjectError):
        return None
