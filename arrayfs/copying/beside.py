"""Something new in a folder, made under a temporary name beside its own and given that when it is whole and durable.

Whoever makes one holds a lock on it. What is not locked was left behind by a process that was killed, and is removed by
the next that makes something of the same name; so whatever has the name itself is whole.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from arrayfs.errors import TargetError
from arrayfs.store.folder import exchange, rename_noreplace
from arrayfs.view.paths import DOCUMENT_NAMES, shorten

_END: Final = ".arrayfs-export"
_ID_SIZE: Final = 6  # random bytes of a temporary name
# What renameat2 says where it, or the file system, cannot do what was asked.
_CANNOT: Final = (errno.ENOSYS, errno.EINVAL)


class Beside:
    """What is to be at `dest`: a directory, or a file. Use it in a `with` block; without `publish` nothing stays.

    path: where it is made. removed: what earlier ones left behind, and was removed.
    """

    def __init__(self, dest: Path, *, directory: bool, overwrite: bool) -> None:
        """Raises TargetError if `dest` is there, unless it may be replaced; OSError if its folder is not."""
        self.dest = Path(os.path.abspath(dest))
        self._directory, self._overwrite = directory, overwrite
        self._check()
        self.removed = list(self._clear())
        self.path = self._other_name()
        if directory:
            self.path.mkdir(mode=0o777)
        self.fd = os.open(self.path, os.O_RDONLY if directory else os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # where there are no locks, nobody takes it for debris either
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _other_name(self) -> Path:
        return self.dest.with_name(f"{self._begin}.{secrets.token_hex(_ID_SIZE)}{_END}")

    @property
    def _begin(self) -> str:
        """What all temporary names of `dest` begin with; a long name is cut, so that there is room for the rest."""
        rest = f".{'0' * 2 * _ID_SIZE}{_END}"
        return shorten(f".{self.dest.name}", rest).removesuffix(rest)

    def _check(self) -> None:
        try:
            os.lstat(self.dest)
        except FileNotFoundError:
            return
        if not self._overwrite:
            raise TargetError(f"{self.dest} is there already; --overwrite replaces it")
        if not self.dest.is_dir() or self.dest.is_symlink():
            return
        names = os.listdir(self.dest)
        # one of Zarr may be replaced as a whole
        if os.path.ismount(self.dest) or (names and DOCUMENT_NAMES.isdisjoint(names)):
            raise TargetError(f"{self.dest} is a directory without a Zarr document, which is not replaced")

    def _clear(self) -> list[str]:
        """Remove what was left behind by others that ended before they were done."""
        removed = []
        for left in self.dest.parent.glob(f"{glob.escape(self._begin)}.*{_END}"):
            try:
                fd = os.open(left, os.O_RDONLY | os.O_NOFOLLOW)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(left)
                removed.append(str(left))
            except OSError as error:
                if isinstance(error, BlockingIOError) or error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                    continue  # somebody is at work, or may be
                raise
            finally:
                os.close(fd)
        return removed

    def publish(self) -> None:
        """Make it durable, and give it its name. Raises TargetError if somebody was faster."""
        if not self._directory:
            os.fsync(self.fd)
        elif ctypes.CDLL(None).syncfs(self.fd):
            raise OSError(errno.EIO, "what was written could not be synced", str(self.path))
        parent = os.open(self.dest.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if self._overwrite and os.path.lexists(self.dest):
                self._replace(parent)
            else:
                self._rename(parent)
            os.fsync(parent)
        finally:
            os.close(parent)

    def _rename(self, parent: int) -> None:
        try:
            rename_noreplace(parent, self.path.name, self.dest.name)
        except FileExistsError:
            raise TargetError(f"{self.dest} was made by somebody else meanwhile") from None
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._check()
            os.rename(self.path, self.dest)

    def _replace(self, parent: int) -> None:
        self._check()
        if not self._directory and not self.dest.is_dir():
            os.replace(self.path, self.dest)
            return
        try:
            exchange(parent, self.path.name, self.dest.name)  # what was there is removed at the end, as what failed is
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            self._replace_in_two_steps(parent)

    def _replace_in_two_steps(self, parent: int) -> None:
        """Where the file system can exchange nothing. Killed in between, this leaves both under temporary names."""
        old = self._other_name()
        os.rename(self.dest, old)
        try:
            self._rename(parent)
        except BaseException:
            os.rename(old, self.dest)
            raise
        _remove(old)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if os.path.lexists(self.path):
                _remove(self.path)
        finally:
            os.close(self.fd)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=_open_up)
    else:
        with suppress(FileNotFoundError):
            path.unlink()


def _open_up(_call: object, path: str, error: tuple[object, BaseException, object]) -> None:
    """A directory may have got its mode already, by which nothing in it can be removed."""
    above = os.path.dirname(path)
    if not isinstance(error[1], PermissionError):
        raise error[1]
    os.chmod(above, 0o700)
    if os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)
        shutil.rmtree(path)
    else:
        os.unlink(path)
