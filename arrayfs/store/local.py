"""A folder of files as a store: each object is one file, made beside its name and linked to it when it is durable.

An object is never written to under its final name, so whatever has that name is whole. Folders and special files are
no objects.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from arrayfs.errors import LockedError, MissingObjectError, ObjectExistsError
from arrayfs.store import protocol
from arrayfs.store.descriptor import Descriptor, begin_writing, read_exact, short_read, try_flock, write_all
from arrayfs.store.folder import Folder
from arrayfs.store.localblob import LocalBlob, open_regular
from arrayfs.store.protocol import check_name, check_range

if TYPE_CHECKING:
    from typing_extensions import Buffer


class LocalPart:
    """A file that its owner appends to, under an exclusive flock for as long as it is owned.

    `_lock` protects `size` and the state of the file; reads do not take it, since what lies below `size` stays.
    """

    def __init__(self, folder: Folder, name: str, file: Descriptor) -> None:
        self.name = name
        self.size = os.fstat(file.fd).st_size
        self._folder = folder
        self._file: Descriptor | None = file
        self._path = file.path
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._writable = True
        self._torn = False  # there may be bytes behind `size`, left by a failed append
        self._sync_error: OSError | None = None
        self._begun = 0  # so many bytes are on their way to the disk
        self._named = False  # the name itself is known to survive a loss of power

    def append(self, *buffers: Buffer) -> int:
        views = [memoryview(buffer).cast("B") for buffer in buffers if memoryview(buffer).nbytes]
        with self._lock:
            file = self._writing()
            if self._torn:
                self._cut(file, self.size)
            start = self.size
            try:
                write_all(file, start, views)
            except BaseException:
                self._torn = True
                with suppress(OSError):  # the next append tries again, and is refused if it cannot
                    self._cut(file, start)
                raise
            self.size = start + sum(map(len, views))
            return start

    def read(self, offset: int, size: int) -> bytes:
        check_range(offset, size)
        if offset + size > self.size:
            raise short_read(self._path, offset, size, max(self.size - offset, 0))
        return read_exact(self._opened(), offset, size)

    def truncate(self, size: int) -> None:
        with self._lock:
            if not 0 <= size <= self.size:
                raise ValueError(f"{self._path}: cannot cut {self.size} bytes to {size}")
            self._cut(self._writing(), size)
            self.size = size

    def sync(self) -> None:
        with self._lock:
            file = self._writing()
        # Without the lock: others append meanwhile, and are synced together by the next call.
        self._sync(file, os.fdatasync)
        if not self._named:
            self._folder.sync()
            self._named = True

    def begin_sync(self) -> None:
        start, self._begun = self._begun, self.size
        begin_writing(self._opened(), start, self._begun - start)

    def publish(self, name: str) -> None:
        # Steps, and what power loss after each leaves:
        # 1. mode, content synced      the part alone
        # 2. link, folder synced       the object, whole, and the part: a second name of the same file
        # 3. unlink, folder synced     the object alone
        check_name(name)
        with self._lock:
            file = self._ready_to_show()
            try:
                self._folder.link_or_rename(self.name, name)
            except FileExistsError:
                if not self._folder.is_same(name, file):  # else: a reply was lost (NFS), and it is there
                    os.fchmod(file.fd, 0o600)
                    raise ObjectExistsError(f"{self._folder.path_of(name)}: already exists") from None
            self._folder.sync()
            with suppress(FileNotFoundError):
                self._folder.unlink(self.name)
            self._folder.sync()
            self._disown(file)

    def replace(self, name: str) -> None:
        check_name(name)
        with self._lock:
            file = self._ready_to_show()
            os.rename(self.name, name, src_dir_fd=self._folder.fd, dst_dir_fd=self._folder.fd)
            self._folder.sync()
            self._disown(file)

    def discard(self) -> None:
        with self._lock:
            file = self._writing()
            if self._folder.is_same(self.name, file):
                self._folder.unlink(self.name)
                self._folder.sync()
            self._disown(file)
            self._file = None

    def close(self) -> None:
        with self._lock:
            if self._file is not None and self._writable:
                if self._torn:
                    with suppress(OSError):  # recovery finds the torn end by the checksums of what was written
                        self._cut(self._file, self.size)
                self._disown(self._file)
            self._file = None

    def _ready_to_show(self) -> Descriptor:
        file = self._writing()
        if self._torn:
            self._cut(file, self.size)
        self._folder.grant(file)
        self._sync(file, os.fsync)
        return file

    def _cut(self, file: Descriptor, size: int) -> None:
        try:
            os.ftruncate(file.fd, size)
        except OSError as error:
            raise file.failed(error) from None
        self._torn = False

    def _sync(self, file: Descriptor, call: Callable[[int], None]) -> None:
        if self._sync_error is not None:
            raise OSError(self._sync_error.errno, f"an earlier sync failed: {self._sync_error.strerror}", self._path)
        try:
            call(file.fd)
        except OSError as error:
            self._sync_error = file.failed(error)
            raise

    def _disown(self, file: Descriptor) -> None:
        self._writable = False
        # Explicitly, for a forked child may still have the descriptor; and never by that child.
        if os.getpid() == self._owner:
            fcntl.flock(file.fd, fcntl.LOCK_UN)

    def _opened(self) -> Descriptor:
        file = self._file
        if file is None:
            raise ValueError(f"{self._path}: used after close")
        return file

    def _writing(self) -> Descriptor:
        file = self._opened()
        if not self._writable:
            raise ValueError(f"{self._path}: already published")
        return file


class LocalLock:
    """An flock on a file of its own; each holder has its own open file, so threads exclude each other too."""

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._file: Descriptor | None = None
        self._owner = 0

    def acquire(self) -> None:
        file = self._open()
        fcntl.flock(file.fd, fcntl.LOCK_EX)
        self._hold(file)

    def try_lock(self) -> None:
        file = self._open()
        if not try_flock(file.fd, fcntl.LOCK_EX):
            raise LockedError(f"{file.path}: another writer holds the lock")
        self._hold(file)

    def release(self) -> None:
        file, self._file = self._file, None
        if file is not None and os.getpid() == self._owner:
            fcntl.flock(file.fd, fcntl.LOCK_UN)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _open(self) -> Descriptor:
        if self._file is not None:
            raise RuntimeError(f"{self._file.path}: this lock is already held by its owner")
        # O_NOFOLLOW and O_NONBLOCK: whoever can put a link or a named pipe here must not lead us elsewhere or stop us.
        careful = os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            file = self._folder.open(self._name, os.O_RDWR | os.O_CREAT | os.O_EXCL | careful, 0o600)
            self._folder.grant(file)
            return file
        except ObjectExistsError:
            pass
        try:
            file = self._folder.open(self._name, os.O_RDWR | careful)
        except PermissionError:
            file = self._folder.open(self._name, os.O_RDONLY | careful)  # another user's; reading is enough to lock it
        if not stat.S_ISREG(os.fstat(file.fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", file.path)
        return file

    def _hold(self, file: Descriptor) -> None:
        self._file = file
        self._owner = os.getpid()


def _temporary(name: str) -> str:
    """What is becoming the object `name` is called so."""
    return f".{name}{protocol.PUT_SUFFIX}"


# fcntl(2): struct flock of 64-bit systems.
_FLOCK = struct.Struct("hhqqi4x")


def _one_byte(kind: int, offset: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, offset, 1, 0)


class LocalHold:
    """A shared lock on one byte of the folder, for what is not there cannot be replaced under it."""

    def __init__(self, file: Descriptor) -> None:
        self._file: Descriptor | None = file

    def release(self) -> None:
        self._file = None


class LocalStore:
    """The files of one folder."""

    supports = frozenset(
        {
            protocol.LIST,
            protocol.CONDITIONAL_PUT,
            protocol.ATOMIC_RENAME,
            protocol.RANGE_READS,
            protocol.LOCKS,
            protocol.DURABLE,
        }
    )

    def __init__(self, path: str) -> None:
        self._folder = Folder(path)
        self.path = self._folder.path
        self.url = Path(self.path).as_uri()

    def list(self) -> list[str]:
        return self._folder.names()

    def open(self, name: str) -> LocalBlob:
        return LocalBlob(self._folder, name, *open_regular(self._folder, check_name(name)))

    def create_part(self, name: str) -> LocalPart:
        return self._create(check_name(name))

    def adopt_part(self, name: str) -> LocalPart:
        return LocalPart(self._folder, name, self._take(check_name(name)))

    def is_part_abandoned(self, name: str) -> bool:
        try:
            file = self._folder.open(check_name(name), os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except PermissionError:
            return False  # another user's, so not for us to touch
        # Shared, so that two who look at the same time do not take each other for the owner.
        return try_flock(file.fd, fcntl.LOCK_SH)

    def remove_abandoned(self, name: str) -> None:
        self.adopt_part(name).discard()

    def put(self, name: str, data: bytes, *, replace: bool) -> None:
        temporary = _temporary(check_name(name))
        part = self._begin_put(temporary)
        try:
            part.append(data)
            if replace:
                part.replace(name)
            else:
                part.publish(name)
        except BaseException:
            with suppress(OSError):  # the first error says more; the next put of this name removes what is left
                part.discard()
            raise
        part.close()

    def rename(self, name: str, new: str) -> None:
        try:
            if not self._folder.link_over(check_name(name), check_name(new), _temporary(new)):
                self._folder.rename(name, new)
        except FileNotFoundError:
            raise MissingObjectError(f"{self._folder.path_of(name)}: no such object") from None
        self._folder.sync()

    def put_all(self, names: Sequence[str], data: bytes) -> None:
        first, *others = map(check_name, names)
        self.put(first, data, replace=True)
        for name in others:
            if not self._folder.link_over(first, name, _temporary(name)):
                self.put(name, data, replace=True)
        self._folder.sync()

    def delete(self, *names: str) -> None:
        for name in names:
            path = self._folder.path_of(check_name(name))
            with suppress(OSError):
                # what a put of this name left when it was killed: there may never be another one that removes it
                LocalPart(self._folder, _temporary(name), self._take(_temporary(name))).discard()
            try:
                self._folder.unlink(name)
            except FileNotFoundError:
                raise MissingObjectError(f"{path}: no such object") from None
        self._folder.sync()

    def lock(self, name: str) -> LocalLock:
        return LocalLock(self._folder, check_name(name))

    def hold(self, mark: int) -> LocalHold:
        file = self._folder.opened_again()
        with suppress(OSError):  # some file systems lock no folders
            fcntl.fcntl(file.fd, fcntl.F_OFD_SETLK, _one_byte(fcntl.F_RDLCK, mark))
        return LocalHold(file)

    def is_held(self, mark: int) -> bool:
        file = self._folder.opened_again()
        try:
            answer = fcntl.fcntl(file.fd, fcntl.F_OFD_GETLK, _one_byte(fcntl.F_WRLCK, mark))
        except OSError:
            return False
        return int(_FLOCK.unpack(answer)[0]) != fcntl.F_UNLCK

    def take_after(self, name: str) -> None:
        self._folder.model = check_name(name)

    def statvfs(self) -> os.statvfs_result:
        return os.statvfs(self._folder.fd)

    def _create(self, name: str) -> LocalPart:
        while True:
            file = self._folder.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(file.fd, fcntl.LOCK_EX)
            # Between the two calls it looked abandoned, and someone may have removed it.
            if self._folder.is_same(name, file):
                return LocalPart(self._folder, name, file)

    def _take(self, name: str) -> Descriptor:
        """Open a part and become its owner."""
        file = self._folder.open(name, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW)
        if not try_flock(file.fd, fcntl.LOCK_EX):
            raise LockedError(f"{file.path}: its writer is still at work")
        if not self._folder.is_same(name, file):
            raise MissingObjectError(f"{file.path}: removed or published by its owner")
        return file

    def _begin_put(self, temporary: str) -> LocalPart:
        """Make the temporary file of a put, after another put of the same name if there is one.

        One that a crash left behind is removed, never written to: it may have a second name already.
        """
        while True:
            try:
                return self._create(temporary)
            except ObjectExistsError:
                pass
            with suppress(MissingObjectError):
                left = self._folder.open(temporary, os.O_RDWR | os.O_NOFOLLOW)
                fcntl.flock(left.fd, fcntl.LOCK_EX)
                if self._folder.is_same(temporary, left):
                    self._folder.unlink(temporary)
