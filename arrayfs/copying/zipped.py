"""A zip archive as values under keys: every file in it; of entries with one name the last, as zip readers have it."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

from arrayfs.copying.source import FILE_READERS, PART, Item, Remarks, Value, path_order
from arrayfs.errors import SourceError

# What is raised for something compressed that is damaged.
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError)


class Zipped:
    """The files of a zip archive; zipfile lets any number of threads read."""

    def __init__(self, path: str) -> None:
        """Raises SourceError for what is no archive, or has encrypted entries or names that no container can have."""
        self.name = path
        self.threads = FILE_READERS
        self.remarks = Remarks()
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise SourceError(f"{path}: no zip archive that can be read: {error}") from None
        entries = {entry.filename: entry for entry in self._archive.infolist() if not entry.is_dir()}
        self._entries = {name: entries[name] for name in sorted(entries, key=path_order)}
        bad = [name for name in self._entries if not set(name.split("/")).isdisjoint(("", ".", ".."))]
        if bad:
            self.close()
            raise SourceError(f"{path}: {bad[0]!r} is a path that leads elsewhere")
        locked = [name for name, entry in self._entries.items() if entry.flag_bits & 1]
        if locked:
            self.close()
            raise SourceError(f"{path}: {locked[0]!r} is encrypted")

    def items(self) -> Iterator[Item]:
        return (Item(name, entry.file_size) for name, entry in self._entries.items())

    def read(self, key: str) -> Value:
        return b"".join(self.parts(key))

    def parts(self, key: str) -> Iterator[Value]:
        try:
            with self.opened(key) as file:
                while part := file.read(PART):
                    yield part
        except DAMAGE as error:
            raise SourceError(f"{self.name}: {key}: {error}") from error

    def opened(self, key: str) -> BinaryIO:
        """A value as a stream. Raises SourceError."""
        try:
            return cast("BinaryIO", self._archive.open(self._entries[key]))
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise SourceError(f"{self.name}: {key}: {error}") from error

    def has(self, key: str) -> bool:
        return key in self._entries

    def close(self) -> None:
        self._archive.close()
