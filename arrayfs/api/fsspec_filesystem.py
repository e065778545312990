"""Containers as a file system of fsspec: `arrayfs:///data/weather.af/temp/zarr.json` is a file in a container.

The first part of a path that ends in `.af` and is no directory is the container; what follows is a path inside it, as
in a mount. Reading opens a container for reading, which follows what others commit; the first change opens it for
writing, with a journal, and what was changed is committed when nothing was for a while, as by copies of a `ZarrStore`.
Directories come with their first file, and one without files is not there.
"""

from __future__ import annotations

import errno
import io
import os
import posixpath
import threading
import time
from collections.abc import Callable
from typing import Any

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from arrayfs.api.connection import Connection, Source, finalizer, share
from arrayfs.container.commit import CommitReport
from arrayfs.container.merge import OnConflict
from arrayfs.container.pool import BLOCK_SIZE
from arrayfs.errors import EntryExistsError, IsDirectoryError, NoEntryError, NotEmptyError, ReadOnlyError, RefusedError
from arrayfs.format.naming import SUFFIX
from arrayfs.view.keys import Keys

Info = dict[str, Any]

# So many seconds after looking, a reader looks again for what others committed: a mount does as often.
FOLLOW_EVERY = 1.0
_READING, _CREATING, _APPENDING = "rb", "xb", "ab"


class ArrayfsFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """See the module. Errors are those of files: FileNotFoundError, IsADirectoryError, PermissionError and so on.

    `_reading`, `_writing`: by container, what is open; `_looked`: when for newer versions was looked. `_guard` protects
    them. A container that is open for writing is read there too.
    """

    protocol = "arrayfs"
    root_marker = "/"

    def __init__(
        self,
        *,
        read_only: bool = False,
        version: str | int | None = None,
        zarr_format: int = 3,
        codec: str | None = "lz4",
        block_size: int = BLOCK_SIZE,
        on_conflict: OnConflict = "fail",
        journal_dir: str | None = None,
        autocommit: float = 1.0,
        **options: Any,
    ) -> None:
        """As for `ZarrStore`; the other options are those of every file system of fsspec."""
        super().__init__(**options)
        self.read_only = read_only or version is not None
        self._version = version
        journals = None if journal_dir is None else os.path.abspath(journal_dir)
        self._written = Source("", False, None, zarr_format, codec, block_size, on_conflict, journals)
        self._read = Source("", True, version, zarr_format)
        self._autocommit = autocommit
        self._reading: dict[str, Connection] = {}
        self._writing: dict[str, Connection] = {}
        self._looked: dict[str, float] = {}
        self._guard = threading.RLock()

    @property
    def fsid(self) -> str:
        return f"arrayfs_{self._fs_token}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = os.fspath(path).removeprefix("arrayfs://").removeprefix("arrayfs::")
        return posixpath.normpath(posixpath.join(os.getcwd(), text))

    # --- containers ---------------------------------------------------------------------------------------------------

    def _split(self, path: str) -> tuple[str, str]:
        """The container that a path leads into, there or not, and the path inside it. Raises FileNotFoundError."""
        text: str = self._strip_protocol(path)
        parts = text.split("/")
        for number, part in enumerate(parts, 1):
            container = "/".join(parts[:number])
            if part.endswith(SUFFIX) and not os.path.isdir(container):
                return container, "/".join(parts[number:])
        raise NoEntryError(errno.ENOENT, f"no part of the path is a container (a file that ends in {SUFFIX})", text)

    def _keys(self, container: str) -> Keys:
        """What reads a container."""
        with self._guard:
            if container in self._writing:
                return self._of(container, self._writing, self._written)
            keys = self._of(container, self._reading, self._read)
            now = time.monotonic()
            if self._version is None and now - self._looked.setdefault(container, now) > FOLLOW_EVERY:
                self._looked[container] = now
                keys.tree.refresh()
            return keys

    def _writable(self, container: str) -> tuple[Keys, Connection]:
        """What changes a container."""
        self._check_change(container)
        with self._guard:
            return self._of(container, self._writing, self._written), self._writing[container]

    def _check_change(self, container: str) -> None:
        if self.read_only:
            raise ReadOnlyError(errno.EROFS, "the file system is open for reading only", container)

    def _of(self, container: str, opened: dict[str, Connection], source: Source) -> Keys:
        """What an open container works on; it is opened if it is not, or by the process that this was forked from."""
        connection = opened.get(container)
        keys = None if connection is None else connection.keys
        if keys is None:
            if connection is not None and connection.left_behind:
                what = "this process was forked off while there were changes that were not committed"
                raise RefusedError(errno.EBUSY, f"{container}: {what}")
            self._attach(container, opened, source, b"")
            keys = opened[container].keys
            assert keys is not None
        return keys

    def _attach(self, container: str, opened: dict[str, Connection], source: Source, seen: bytes) -> None:
        """seen: the id of a version that must show."""
        opened[container] = share(source.at(container), self._autocommit, seen)
        finalizer(self, opened[container])

    def commit(self, path: str, message: str = "") -> CommitReport | None:
        """Make what was changed in the container that a path leads into a version. None: nothing was changed."""
        container, _ = self._split(path)
        connection = self._writing.get(container)
        return None if connection is None else connection.commit(message)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Show what others committed, at once."""
        super().invalidate_cache(path)
        for connection in [*self._reading.values(), *self._writing.values()]:
            if connection.tree is not None and self._version is None:
                connection.tree.refresh()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        # commits, so that every copy sees what this one saw
        seen = {}
        for container, connection in self._writing.items():
            connection.commit()
            if connection.tree is not None:
                seen[container] = connection.tree.container.stack.newest.id
        return _copy, (type(self), self.storage_args, self.storage_options, seen)

    def _show(self, seen: dict[str, bytes]) -> None:
        with self._guard:
            for container, layer_id in seen.items():
                self._attach(container, self._writing, self._written, layer_id)

    # --- looking ------------------------------------------------------------------------------------------------------

    def info(self, path: str, **options: Any) -> Info:
        """Name, type, size (bytes) and, of files, mtime (seconds)."""
        container, key = self._split(path)
        keys = self._keys(container)
        found = _info(keys, f"{container}/{key}".rstrip("/"), key)
        if found["type"] == "directory" and key and next(keys.below(f"{key}/"), None) is None:
            raise NoEntryError(errno.ENOENT, os.strerror(errno.ENOENT), found["name"])
        return found

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What a directory has, or the file itself."""
        itself = self.info(path)
        container, key = self._split(path)
        found = [itself]
        if itself["type"] == "directory":
            keys = self._keys(container)
            below = f"{key}/" if key else ""
            found = [_info(keys, f"{itself['name']}/{name}", below + name) for name in keys.names(key)]
        return found if detail else sorted(one["name"] for one in found)

    def find(
        self, path: str, maxdepth: int | None = None, withdirs: bool = False, detail: bool = False, **options: Any
    ) -> Any:
        """All files below a path; without limits or directories by one walk through the index."""
        if maxdepth is not None or withdirs:
            return super().find(path, maxdepth=maxdepth, withdirs=withdirs, detail=detail, **options)
        try:
            container, key = self._split(path)
            keys = self._keys(container)
        except (FileNotFoundError, NotADirectoryError):
            return {} if detail else []
        file = keys.attr(key) is not None
        names = [key] if file else sorted(keys.below(f"{key}/" if key else ""))
        if not detail:
            return [f"{container}/{name}" for name in names]
        return {f"{container}/{name}": _info(keys, f"{container}/{name}", name) for name in names}

    def modified(self, path: str) -> float:
        """When a file was last written, seconds since 1970."""
        found: float = self.info(path)["mtime"]
        return found

    # --- reading and writing ------------------------------------------------------------------------------------------

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: Any) -> bytes:
        """A file's bytes, or a range of them; a negative place counts from the end."""
        container, key = self._split(path)
        keys = self._keys(container)
        reading = keys.plan(key) if start is None and end is None else keys.plan(key, slice(start, end))
        if reading is None:
            kind = self.info(path)["type"]  # raises FileNotFoundError
            raise IsDirectoryError(errno.EISDIR, f"a {kind}", path)
        return bytes(reading.fetch())

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Set a file's bytes; mode "create": FileExistsError if it is there."""
        container, key = self._split(path)
        keys, connection = self._writable(container)
        if not keys.put(key, bytes(value), replace=mode != "create"):
            raise EntryExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        connection.used()

    def _open(self, path: str, mode: str = "rb", autocommit: bool = True, **options: Any) -> io.IOBase:
        if mode == _READING:
            found = self.info(path)
            if found["type"] == "directory":
                raise IsDirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            return _Reading(self, path, mode, block_size=options.get("block_size") or "default", size=found["size"])
        if mode not in ("wb", _CREATING, _APPENDING):
            raise ValueError(f"mode {mode!r}: one of rb, wb, xb, ab is wanted")
        if self.isdir(path):
            raise IsDirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        there = self.exists(path)
        if there and mode == _CREATING:
            raise EntryExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        return _Writing(self, path, mode, autocommit, self.cat_file(path) if there and mode == _APPENDING else b"")

    def cp_file(self, path1: str, path2: str, **options: Any) -> None:
        """Copy a file; of a directory there is nothing to copy."""
        if self.isdir(path1):
            self.makedirs(path2, exist_ok=True)
        else:
            self.pipe_file(path2, self.cat_file(path1))

    # --- directories, removing ----------------------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Nothing: a directory comes with its first file. Raises FileExistsError, PermissionError."""
        self.makedirs(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """As `mkdir`."""
        self._check_change(self._split(path)[0])
        if self.isfile(path) or (self.exists(path) and not exist_ok):
            raise EntryExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def rmdir(self, path: str) -> None:
        """Refused where files are below; else there is no such directory."""
        if self.info(path)["type"] == "directory":
            raise NotEmptyError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)

    def _rm(self, path: str) -> None:
        self._remove(path, recursive=False)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Remove files, and with `recursive` directories, each at one stroke however many files are below."""
        if maxdepth is not None or any("*" in one or "?" in one or "[" in one for one in _listed(path)):
            super().rm(path, recursive=recursive, maxdepth=maxdepth)
            return
        for one in _listed(path):
            self._remove(one, recursive=recursive)

    def _remove(self, path: str, *, recursive: bool) -> None:
        is_directory = self.info(path)["type"] == "directory"
        container, key = self._split(path)
        keys, connection = self._writable(container)
        if is_directory and not recursive:
            raise IsDirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if is_directory:
            keys.remove_below(key)
        else:
            keys.remove(key)
        connection.used()


def _copy(
    cls: type[ArrayfsFileSystem], args: tuple[Any, ...], options: dict[str, Any], seen: dict[str, bytes]
) -> ArrayfsFileSystem:
    made = cls(*args, **options)
    made._show(seen)
    return made


def _listed(path: str | list[str]) -> list[str]:
    return path if isinstance(path, list) else [path]


def _info(keys: Keys, name: str, key: str) -> Info:
    attr = keys.attr(key)
    if attr is None:
        return {"name": name, "size": 0, "type": "directory"}
    return {"name": name, "size": attr.size, "type": "file", "mtime": attr.mtime_ns / 1e9}


class _Reading(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        content: bytes = self.fs.cat_file(self.path, start, end)
        return content


class _Writing(io.BytesIO):
    """A file that is set as a whole when it is closed."""

    def __init__(self, fs: ArrayfsFileSystem, path: str, mode: str, autocommit: bool, begin: bytes) -> None:
        super().__init__(begin)
        self.seek(0, io.SEEK_END)
        self.fs, self.path, self._mode = fs, path, mode
        self._autocommit = autocommit
        self._content = b""

    def close(self) -> None:
        if not self.closed:
            self._content = self.getvalue()
            super().close()
            if self._autocommit:
                self.commit()

    def commit(self) -> None:
        """Set the file, at the end of a transaction."""
        self.fs.pipe_file(self.path, self._content, mode="create" if self._mode == _CREATING else "overwrite")

    def discard(self) -> None:
        """Forget it: the transaction failed."""
        self._content = b""

    def readable(self) -> bool:
        return False
