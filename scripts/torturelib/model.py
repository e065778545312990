"""What a client's directory has to look like: a tree of files as dicts and bytes, with what Zarr documents do in one.

Operations are lists that JSON can carry, applied in the order in which they were acknowledged. Paths go down from the
mount point. Directories of arrays are called `aN`, others `dN`; chunk files lie below `aN/c/`.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from torturelib.grid import DOCUMENT, Grid
from torturelib.stripes import CHUNKS, STRIPE

Operation = list[object]

# What these did survives a daemon that is killed as soon as they return; of others, what some later one makes survive.
LASTING = frozenset(
    "mkdir rmdir unlink rename link fsync flush close truncate chmod utime fsyncdir commit stripe".split()  # noqa: SIM905
)


@lru_cache(maxsize=64)
def content(seed: int, size: int) -> bytes:
    """What a write with this seed writes."""
    return random.Random(seed).randbytes(size)


@dataclass(eq=False, slots=True)
class ModelFile:
    """One inode. closed: what was last closed or synced, None for a file that never was; dirty: data goes further.

    in_order: so many bytes were written since then, from the start on and each once; -1: otherwise.
    mode, mtime_ns: None where nothing is promised of them.
    """

    data: bytes = b""
    closed: bytes | None = None
    dirty: bool = False
    in_order: int = 0
    mode: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Expected:
    """What may be found under a name. contents: all that are right, None: the name may be missing."""

    contents: tuple[bytes | None, ...]
    mode: int | None
    mtime_ns: int | None


@dataclass(slots=True)
class Model:
    """A tree. directories: path -> the grid of the array that it is, or None; handles: open for writing.

    client, stripes: the client's number, and what it wrote to chunk after chunk of the array that all write.
    """

    directories: dict[str, Grid | None] = field(default_factory=dict)
    files: dict[str, ModelFile] = field(default_factory=dict)
    handles: dict[int, ModelFile] = field(default_factory=dict)
    client: int = 0
    stripes: list[bytes] = field(default_factory=lambda: [bytes(STRIPE)] * CHUNKS)

    def apply(self, operation: Operation) -> None:
        """Do what a client did."""
        name, *arguments = operation
        getattr(self, f"_{name}")(*arguments)

    # --- looking ------------------------------------------------------------------------------------------------------

    def place(self, path: str) -> tuple[Grid, tuple[int, ...]] | None:
        """The array and chunk that a path spells."""
        above, _, key = path.partition("/c/")
        grid = self.directories.get(above)
        coord = grid.coord(key) if grid is not None else None
        return (grid, coord) if grid is not None and coord is not None else None

    def names_of(self, file: ModelFile) -> list[str]:
        return [path for path, other in self.files.items() if other is file]

    def below(self, path: str) -> Iterator[str]:
        """All files and directories in a directory, at any depth."""
        start = f"{path}/"
        yield from (other for other in (*self.directories, *self.files) if other.startswith(start))

    def is_special(self, path: str) -> bool:
        """Whether it is a chunk or a document: a half-written one does not count."""
        return path.endswith(f"/{DOCUMENT}") or self.place(path) is not None

    def expected(self, *, client_died: bool) -> dict[str, Expected | None]:
        """What may be found after a daemon or a client was killed; None: a directory.

        Of a chunk or document that was being written, the last closed content, unless it was whole already.
        """
        found: dict[str, Expected | None] = dict.fromkeys(self.directories)
        for path, file in self.files.items():
            if self.is_special(path):
                found[path] = Expected(self._contents(path, file, client_died=client_died), None, None)
            elif "/c/" in path:  # was a chunk, perhaps, or is one of an array that is going away
                found[path] = Expected((file.data,), None, None)
            else:
                found[path] = Expected((file.data,), file.mode, file.mtime_ns)
        return found

    def _contents(self, path: str, file: ModelFile, *, client_died: bool) -> tuple[bytes | None, ...]:
        """What a chunk or document may have."""
        if not file.dirty and file.closed is not None:
            return (file.data,)
        before = (b"", None) if file.closed is None else (file.closed,)
        if not self._is_whole(path, file):
            return before
        whole = (self._judged(path, file.data),)
        return whole if client_died else (*before, *whole)

    def _is_whole(self, path: str, file: ModelFile) -> bool:
        """Whether nothing is missing of a chunk that nobody has closed."""
        place = self.place(path)
        return place is not None and place[0].native and file.in_order == len(file.data) == place[0].size

    # --- names --------------------------------------------------------------------------------------------------------

    def _mkdir(self, path: str) -> None:
        self.directories[path] = None

    def _rmdir(self, path: str) -> None:
        del self.directories[path]

    def _unlink(self, path: str) -> None:
        del self.files[path]

    def _rename(self, old: str, new: str) -> None:
        if old in self.files:
            self.files[new] = self.files.pop(old)
            if self.place(old):
                self._forget_times(self.files[new])
            self._judge(new)
            return
        for table in (self.directories, self.files):
            for path in [path for path in table if path == old or path.startswith(f"{old}/")]:
                table[new + path[len(old) :]] = table.pop(path)  # type: ignore[assignment]

    def _link(self, old: str, new: str) -> None:
        self.files[new] = self.files[old]
        self._judge(new)

    # --- handles ------------------------------------------------------------------------------------------------------

    def _create(self, handle: int, path: str, mode: int) -> None:
        self.handles[handle] = self.files[path] = ModelFile(mode=mode)

    def _open(self, handle: int, path: str, truncate: bool) -> None:
        file = self.handles[handle] = self.files[path]
        if truncate:
            self._changed(file, b"")

    def _write(self, handle: int, offset: int, what: list[int] | str) -> None:
        file = self.handles[handle]
        new = written(what)
        file.in_order = offset + len(new) if offset == file.in_order else -1
        self._changed(file, file.data[:offset].ljust(offset, b"\0") + new + file.data[offset + len(new) :])

    def _resize(self, handle: int, size: int) -> None:
        file = self.handles[handle]
        file.in_order = min(file.in_order, size)
        self._changed(file, file.data[:size].ljust(size, b"\0"))

    def _flush(self, handle: int) -> None:
        file = self.handles[handle]
        for path in self.names_of(file):
            self._judge(path)
        file.closed, file.dirty, file.in_order = file.data, False, 0

    _fsync = _flush

    def _close(self, handle: int) -> None:
        self._flush(handle)
        del self.handles[handle]

    # --- by path ------------------------------------------------------------------------------------------------------

    def _truncate(self, path: str, size: int) -> None:
        file = self.files[path]
        file.data, file.mtime_ns = file.data[:size].ljust(size, b"\0"), None
        for name in self.names_of(file):
            self._judge(name)
        if not file.dirty:
            file.closed = file.data

    def _chmod(self, path: str, mode: int) -> None:
        self.files[path].mode = mode

    def _utime(self, path: str, mtime_ns: int) -> None:
        self.files[path].mtime_ns = mtime_ns

    def _stripe(self, chunk: int, what: list[int]) -> None:
        self.stripes[chunk] = written(what)

    def _fsyncdir(self, path: str) -> None:
        pass

    def _commit(self, message: str) -> None:
        pass

    def _read(self, path: str) -> None:
        pass

    def _list(self, path: str) -> None:
        pass

    # --- what writing means -------------------------------------------------------------------------------------------

    @staticmethod
    def _changed(file: ModelFile, data: bytes) -> None:
        file.data, file.dirty, file.mtime_ns = data, True, None

    @staticmethod
    def _forget_times(file: ModelFile) -> None:
        file.mode = file.mtime_ns = None

    def _judge(self, path: str) -> None:
        """A file was closed, or came here under another name."""
        file = self.files[path]
        above, _, name = path.rpartition("/")
        if name == DOCUMENT:
            self._follow(above, file.data)
        if self.place(path):
            self._forget_times(file)
            file.data = self._judged(path, file.data)
            if not file.dirty:
                file.closed = file.data

    def _judged(self, path: str, data: bytes) -> bytes:
        """What a chunk file shows of what was written to it."""
        place = self.place(path)
        return place[0].clip(place[1], data) if place and place[0].takes(len(data)) else data

    def _follow(self, path: str, document: bytes) -> None:
        """An array has a new document: chunks outside its shape are gone, those at the edge are cut."""
        new, old = Grid.parse(document), self.directories[path]
        if new is None:
            return
        self.directories[path] = new
        for below in [other for other in self.files if other.startswith(f"{path}/c/")]:
            file, key = self.files[below], below[len(path) + 3 :]
            was, coord = old.coord(key) if old else None, new.coord(key)
            if was is not None and coord is None and new.takes(len(file.data)):
                del self.files[below]
            elif coord is not None:
                file.data = self._judged(below, file.data)
                if file.closed is not None:
                    file.closed = self._judged(below, file.closed)


def written(what: list[int] | str) -> bytes:
    """The bytes of a write: a text's characters, or [seed, size, zeros]: random ones, the last `zeros` of them 0."""
    if isinstance(what, str):
        return what.encode("latin-1")
    seed, size, zeros = what
    return content(seed, size - zeros) + bytes(zeros)
