"""What an export of files needs of the place that they go to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from arrayfs.copying.walking import Entry

Content = bytes | memoryview


class FileTarget(Protocol):
    """Where files are put. parallel: `put` and `put_parts` may be called from several threads, in any order."""

    parallel: bool

    def accept(self, entry: Entry) -> None:
        """Raise TargetError for what cannot be put here. Asked of every entry before anything is written."""

    def begin(self) -> None:
        """All was accepted: what is to be replaced in place may go."""

    def directory(self, entry: Entry) -> None:
        """A directory comes; what is in it after it."""

    def put(self, entry: Entry, content: Content) -> None:
        """A file, or where a symbolic link leads to."""

    def put_parts(self, entry: Entry, parts: Iterable[Content], size: int | None) -> None:
        """A large file. size: of all parts, where it is known before."""

    def finish(self, directories: Iterable[Entry]) -> None:
        """All is there; make it visible. directories: again, each after those below it."""

    def discard(self) -> None:
        """Nothing comes of it: let go, and take back what a `Beside` does not."""

    def check(self, entry: Entry, parts: Iterable[Content]) -> bool:
        """Whether a file is there with this content; asked before `finish`, in the order of the export."""
