"""An open folder: calls on the names in it, with errors that say which object.

The folder is held open and every name is taken relative to it: renaming the folder, or mounting something over it,
does not lead an open store astray.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from contextlib import suppress

from arrayfs.errors import MissingObjectError, ObjectExistsError
from arrayfs.store.descriptor import Descriptor
from arrayfs.store.permissions import take_after
from arrayfs.store.protocol import is_own_name

# What link(2) answers where there are no hard links (exFAT, vfat, some network and FUSE file systems).
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2


class Folder:
    """An open folder; `fd` is constant and open for as long as this object lives.

    model: the file that new ones take their permissions after; None: the umask decides.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise MissingObjectError(f"{self.path}: no such folder") from None
        self._descriptor = Descriptor(fd, self.path)
        self.fd = fd
        self.model: str | None = None

    def path_of(self, name: str) -> str:
        return f"{self.path.rstrip('/')}/{name}"

    def open(self, name: str, flags: int, mode: int = 0) -> Descriptor:
        """Open `name`; raise MissingObjectError or ObjectExistsError as the flags have it."""
        path = self.path_of(name)
        try:
            return Descriptor(os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=self.fd), path)
        except FileNotFoundError:
            raise MissingObjectError(f"{path}: no such object") from None
        except FileExistsError:
            raise ObjectExistsError(f"{path}: already exists") from None
        except OSError as error:
            error.filename = path
            raise

    def is_same(self, name: str, file: Descriptor) -> bool:
        """Tell whether `name` is still the file that `file` has open."""
        return self.has(name, os.fstat(file.fd))

    def has(self, name: str, status: os.stat_result) -> bool:
        """Tell whether `name` is the file that `status` is of."""
        try:
            there = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, status)

    def status(self, name: str) -> os.stat_result | None:
        """Of what `open` would open; None if there is nothing."""
        try:
            return os.stat(name, dir_fd=self.fd)
        except FileNotFoundError:
            return None

    def link_or_rename(self, old: str, new: str) -> None:
        """Give the file `old` the name `new`, which must not exist; `old` may or may not be left.

        Never O_EXCL and writing in place: a reader, or power loss, would find an unfinished object under `new`.
        """
        try:
            os.link(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            rename_noreplace(self.fd, old, new)

    def link_over(self, old: str, new: str, temporary: str) -> bool:
        """Give the file `old` the name `new` too, whatever had it; whether that could be done here.

        temporary: a name that nobody else uses; what has it is removed. Raises FileNotFoundError.
        """
        if self.has(new, os.stat(old, dir_fd=self.fd, follow_symlinks=False)):
            return True  # renaming one of two names of a file to the other leaves both
        with suppress(FileNotFoundError):
            self.unlink(temporary)
        try:
            os.link(old, temporary, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINKS or error.errno == errno.EMLINK:
                return False
            raise
        self.rename(temporary, new)
        return True

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def grant(self, file: Descriptor) -> None:
        """Give a new file, private until now, the permissions that it is to have."""
        if self.model is not None:
            with suppress(FileNotFoundError):
                take_after(file.fd, os.stat(self.model, dir_fd=self.fd))
                return
        os.fchmod(file.fd, 0o666 & ~umask_of_process())

    def opened_again(self) -> Descriptor:
        """The folder, with a place and locks of its own."""
        return Descriptor(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.fd), self.path)

    def unlink(self, name: str) -> None:
        os.unlink(name, dir_fd=self.fd)

    def names(self) -> list[str]:
        folder = self.opened_again()  # two listings through one would share their place in it
        with os.scandir(folder.fd) as entries:
            return sorted([entry.name for entry in entries if _is_file(entry) and not is_own_name(entry.name)])

    def sync(self) -> None:
        os.fsync(self.fd)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link to itself leads to no file; anything else may hide one
            return False
        raise


def rename_noreplace(folder: int, old: str, new: str) -> None:
    """Rename within the folder (a descriptor); raise FileExistsError if `new` is there.

    For file systems without hard links. Raises OSError with ENOSYS or EINVAL where the kernel or the file system
    cannot do it (renameat2(2), RENAME_NOREPLACE).
    """
    _rename_by(_RENAME_NOREPLACE, folder, old, new)


def exchange(folder: int, one: str, other: str) -> None:
    """Two entries of the folder (a descriptor) get each other's name, in one step. Raises OSError as above."""
    _rename_by(_RENAME_EXCHANGE, folder, one, other)


def _rename_by(flag: int, folder: int, old: str, new: str) -> None:
    rename: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, "the C library has no renameat2", new)
    if rename(folder, os.fsencode(old), folder, os.fsencode(new), flag):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), new)


def umask_of_process() -> int:
    """Return the umask without changing it, which would be seen by other threads."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        for line in status:
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    raise OSError(errno.ENOSYS, "the kernel does not tell the umask (before Linux 4.7)")
