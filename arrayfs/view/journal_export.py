"""What a journal holds as ordinary files, for one that cannot be taken up: its operations done in a folder.

The version that the journal goes on from is not looked at: of a file that was only changed in places, those places are
there and the rest is a hole; what an operation needs and the journal did not make is passed over.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from arrayfs.container.journal import LogReader
from arrayfs.errors import FormatError
from arrayfs.format.log import Op, Operation


def export(reader: LogReader, folder: Path) -> int:
    """Do a journal's operations in `folder`, which must be new; returns how many there were.

    Raises FileExistsError, FormatError for a path that leads out of the folder, OSError.
    """
    folder.mkdir()
    target = _Folder(folder)
    count = 0
    for operation in reader.operations():
        count += 1
        with suppress(FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError):
            target.do(operation)
    return count


@dataclass(slots=True)
class _Folder:
    """handles: the path of each handle; a rename takes it along."""

    root: Path
    handles: dict[int, Path] = field(default_factory=dict)

    def do(self, operation: Operation) -> None:
        path = self._at(operation.path)
        match operation.op:
            case Op.CREATE:
                with _opened(path):
                    pass
            case Op.SYMLINK:  # as a file: what comes after it must not be led out of the folder
                with _opened(path) as fd:
                    os.pwrite(fd, operation.data, 0)
            case Op.MKDIR:
                path.mkdir(parents=True)
            case Op.UNLINK:
                path.unlink()
            case Op.RMDIR:
                path.rmdir()
            case Op.RENAME:
                self._rename(path, self._at(operation.new_path))
            case Op.EXCHANGE:
                self._exchange(path, self._at(operation.new_path))
            case Op.LINK:
                self._at(operation.new_path).hardlink_to(path)
            case Op.OPEN:
                self.handles[operation.handle] = path
                with _opened(path) as fd:
                    if operation.flag:
                        os.truncate(fd, 0)
            case Op.WRITE:
                with _opened(self.handles[operation.handle]) as fd:
                    os.pwrite(fd, operation.data, operation.number)
            case Op.PUT:
                with _opened(path) as fd:
                    os.truncate(fd, 0)
                    os.pwrite(fd, operation.data, 0)
            case Op.REMOVE:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            case Op.RESIZE | Op.TRUNCATE:
                with _opened(self.handles.get(operation.handle, path)) as fd:
                    os.truncate(fd, operation.number)
            case Op.RELEASE:
                self.handles.pop(operation.handle, None)
            case Op.MODE:
                path.chmod(operation.number & 0o777 | 0o600)
            case Op.MTIME:
                os.utime(path, ns=(operation.number, operation.number))
            case Op.FLUSH | Op.KILLED:
                pass

    def _rename(self, old: Path, new: Path) -> None:
        new.parent.mkdir(parents=True, exist_ok=True)
        old.replace(new)
        for handle, path in self.handles.items():
            if path == old or old in path.parents:
                self.handles[handle] = new / path.relative_to(old)

    def _exchange(self, one: Path, other: Path) -> None:
        between = one.with_name(".exchanged")
        while os.path.lexists(between):
            between = between.with_name(f"{between.name}.exchanged")
        for old, new in ((one, between), (other, one), (between, other)):
            if os.path.lexists(old):  # the journal may have made one of them only
                self._rename(old, new)

    def _at(self, path: str) -> Path:
        parts = path.split("/") if path else []
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            raise FormatError(f"a journal with the path {path!r}, which nobody can have used")
        return self.root.joinpath(*parts)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)
