"""Files into a ZIP archive that zarr-python's ZipStore reads: stored as they are, with modes and times in seconds."""

from __future__ import annotations

from collections.abc import Iterable

from arrayfs.copying.beside import Beside
from arrayfs.copying.positioned import read_all, write_all
from arrayfs.copying.target import Content
from arrayfs.copying.walking import Entry
from arrayfs.copying.zip_writer import ZipWriter, read_member
from arrayfs.errors import TargetError

_NAME_MAX = 0xFFFF


class ZipTarget:
    """See `FileTarget`. A symbolic link is one as Info-ZIP has them; of directories only those without entries are
    members, whose names end in `/`.
    """

    parallel = False

    def __init__(self, place: Beside) -> None:
        self._place = place
        self._zip = ZipWriter(place.fd)
        self._last: Entry | None = None
        self._checked = 0

    def accept(self, entry: Entry) -> None:
        if len(entry.path.encode()) >= _NAME_MAX:
            raise TargetError(
                f"{entry.path[:80]}…: a path of more than {_NAME_MAX - 1} bytes, which no member can have"
            )

    def begin(self) -> None:
        """Nothing is replaced in place."""

    def _begin(self, entry: Entry | None) -> None:
        """The directory that came last is empty if what follows is not in it."""
        last, self._last = self._last, entry if entry is not None and entry.is_directory else None
        if last is not None and (entry is None or not entry.path.startswith(f"{last.path}/")):
            self._zip.add(f"{last.path}/", b"", last.attr.mode, last.attr.mtime_ns)

    def directory(self, entry: Entry) -> None:
        self._begin(entry)

    def put(self, entry: Entry, content: Content) -> None:
        self._begin(entry)
        self._zip.add(entry.path, content, entry.attr.mode, entry.attr.mtime_ns)

    def put_parts(self, entry: Entry, parts: Iterable[Content], size: int | None) -> None:
        self._begin(entry)
        start = offset = self._zip.begin(entry.path, size, entry.attr.mode, entry.attr.mtime_ns)
        for part in parts:
            write_all(self._place.fd, offset, part)
            offset += len(part)
        self._zip.end(offset - start)

    def finish(self, directories: Iterable[Entry]) -> None:
        self._begin(None)
        self._zip.close()
        self._place.publish()

    def discard(self) -> None:
        self._zip.discard()

    def check(self, entry: Entry, parts: Iterable[Content]) -> bool:
        while True:
            name, start, size = read_member(self._place.fd, self._checked)
            self._checked = start + size
            if not name.endswith("/"):
                break
        for part in parts:
            if read_all(self._place.fd, start, len(part)) != part:
                return False
            start += len(part)
        return name == entry.path and start == self._checked
