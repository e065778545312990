"""A directory as values under keys: every file below it, a link's content being that of what it leads to."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from arrayfs.copying.source import FILE_READERS, PART, Item, Remarks, Value, order


class Folder:
    """The files below a directory.

    Links are followed, for a store is often put together of them (git-annex, DataLad). What is no file (sockets, pipes,
    devices, links that lead nowhere or above themselves) is left out and named.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self.threads = FILE_READERS
        self.remarks = Remarks()

    def items(self) -> Iterator[Item]:
        return self._walk(self.name, "", (os.path.realpath(self.name),))

    def _walk(self, folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[Item]:
        """above: the real paths of the directories that this one is in, itself included."""
        files: list[Item] = []
        folders: list[tuple[str, bool]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._sort(entry, prefix, files, folders)
        files.sort(key=lambda item: order(item.key))
        for name, size in files:
            yield Item(prefix + name, size)
        del files
        folders.sort(key=lambda found: order(found[0])[1:])
        for name, is_link in folders:
            below = f"{folder}/{name}"
            real = os.path.realpath(below) if is_link else f"{above[-1]}/{name}"
            if real in above:
                self.remarks.left_out[prefix + name] = "a symbolic link to a directory that it is in"
                continue
            yield from self._walk(below, f"{prefix}{name}/", (*above, real))

    def _sort(self, entry: os.DirEntry[str], prefix: str, files: list[Item], folders: list[tuple[str, bool]]) -> None:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            self.remarks.left_out[ascii(prefix + entry.name)] = "its name is not UTF-8"
            return
        try:
            found = entry.stat()
        except OSError as error:
            if not entry.is_symlink():
                raise
            self.remarks.left_out[prefix + entry.name] = f"a symbolic link that leads nowhere ({error.strerror})"
            return
        if stat.S_ISDIR(found.st_mode):
            folders.append((entry.name, entry.is_symlink()))
        elif stat.S_ISREG(found.st_mode):
            files.append(Item(entry.name, found.st_size))
        else:
            self.remarks.left_out[prefix + entry.name] = "neither a file nor a directory"

    def read(self, key: str) -> Value:
        with open(os.path.join(self.name, key), "rb", buffering=0) as file:
            return file.readall() or b""

    def parts(self, key: str) -> Iterator[Value]:
        with open(os.path.join(self.name, key), "rb", buffering=0) as file:
            while part := file.read(PART):
                yield part

    def has(self, key: str) -> bool:
        return os.path.isfile(os.path.join(self.name, key))

    def close(self) -> None:
        """Nothing is open."""
