"""Files into a folder, with their modes, times and symbolic links."""

from __future__ import annotations

import os
from collections.abc import Iterable

from arrayfs.copying.beside import Beside
from arrayfs.copying.positioned import write_all
from arrayfs.copying.target import Content
from arrayfs.copying.walking import Entry
from arrayfs.errors import TargetError

_PATH_MAX = 4096
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class DirectoryTarget:
    """See `FileTarget`. Directories get their modes last: in one without write permission nothing can be made."""

    parallel = True

    def __init__(self, place: Beside) -> None:
        self._place = place
        self._root = str(place.path)
        self._default_mode = os.fstat(place.fd).st_mode & 0o666

    def accept(self, entry: Entry) -> None:
        if len(os.fsencode(self._path(entry))) >= _PATH_MAX:
            raise TargetError(
                f"{entry.path}: its path in {self._place.dest} would be longer than {_PATH_MAX - 1} bytes"
            )

    def begin(self) -> None:
        """Nothing is replaced in place."""

    def _path(self, entry: Entry) -> str:
        return f"{self._root}/{entry.path}"

    def directory(self, entry: Entry) -> None:
        os.mkdir(self._path(entry), 0o777)

    def put(self, entry: Entry, content: Content) -> None:
        if entry.is_link:
            path = self._path(entry)
            os.symlink(bytes(content), os.fsencode(path))
            os.utime(path, ns=(entry.attr.mtime_ns,) * 2, follow_symlinks=False)
        else:
            self.put_parts(entry, (content,), len(content))

    def put_parts(self, entry: Entry, parts: Iterable[Content], size: int | None) -> None:
        fd = os.open(self._path(entry), _NEW, 0o666)
        try:
            offset = 0
            for part in parts:
                write_all(fd, offset, part)
                offset += len(part)
            mode = entry.attr.mode & 0o7777
            if mode != self._default_mode:
                os.fchmod(fd, mode)
            os.utime(fd, ns=(entry.attr.mtime_ns,) * 2)
        finally:
            os.close(fd)

    def finish(self, directories: Iterable[Entry]) -> None:
        for entry in directories:
            path = self._path(entry)
            os.chmod(path, entry.attr.mode & 0o7777)
            os.utime(path, ns=(entry.attr.mtime_ns,) * 2)
        self._place.publish()

    def discard(self) -> None:
        """The place goes by itself."""

    def check(self, entry: Entry, parts: Iterable[Content]) -> bool:
        if entry.is_link:
            return os.readlink(os.fsencode(self._path(entry))) == b"".join(parts)
        with open(os.open(self._path(entry), _READ), "rb") as file:
            same = all(file.read(len(part)) == part for part in parts)
            return same and not file.read(1)
