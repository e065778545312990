"""`.arrayfs/lost+found`: what writers that were killed had written to chunk files and documents.

One file for each, kept in memory for the life of the mount and never committed; the oldest go when there are too many.
Nobody but arrayfs makes files here; who mounted may read them, and frees them by removing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arrayfs.view.draft import Draft
from arrayfs.view.nodes import Binding, Directory, File
from arrayfs.view.paths import NAME_MAX

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

NAME = "lost+found"
# Only the user who mounted may look into it; the files are for reading.
MODE = 0o040700
STUB_MODE = 0o100400
# Together the stubs hold as much memory as one plain file that is being written may (spill.DRAFT_LIMIT).
SIZE_LIMIT = 64 << 20
COUNT_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Stub:
    """What is known of one file here. path: below the root of the mount; size: bytes of all that the file had."""

    file: File
    path: str
    why: str
    time_ns: int
    size: int


class LostFound:
    """The directory and its files, by name, oldest first."""

    def __init__(self, tree: Tree, control: Directory) -> None:
        self._tree = tree
        self.directory = Directory(tree.numbers.take(), control, NAME, tree.now())
        self.directory.mode = MODE
        self.directory.loaded = True
        tree.nodes[self.directory.ino] = control.children[NAME] = self.directory
        self._stubs: dict[str, Stub] = {}
        self._files: set[File] = set()
        self._size = 0
        self._last_number = 0

    def keep(self, path: str, draft: Draft, why: str) -> None:
        """Keep what a file had. path: where it was. A file larger than all that is kept here is dropped."""
        if draft.size > SIZE_LIMIT:
            self._tree.warn(f"{path}: {why}; the {draft.size} bytes that the file had are too many for {NAME}")
            return
        while self._stubs and (self._size + draft.size > SIZE_LIMIT or len(self._stubs) >= COUNT_LIMIT):
            oldest = next(iter(self._stubs))
            self._drop(oldest)
            if self._tree.on_invalidate is not None:
                self._tree.on_invalidate([], [(self.directory.ino, oldest)])
        self._last_number += 1
        name = stub_name(path, self._last_number)
        stub = Stub(self._file(name, bytes(draft.whole())), path, why, self._tree.now(), draft.size)
        self._stubs[name] = stub
        self._files.add(stub.file)
        self._size += draft.size
        self.directory.mtime_ns = stub.time_ns

    def _file(self, name: str, content: bytes) -> File:
        file = File(self._tree.numbers.take(), self._tree.now(), STUB_MODE)
        file.bindings.append(Binding(self.directory, name))
        file.draft, file.judged, file.checked = Draft(None, 0), True, True
        file.draft.write(0, content)
        self._tree.nodes[file.ino] = self.directory.children[name] = file
        return file

    def owns(self, file: File) -> bool:
        """Whether this is a file of the directory."""
        return file in self._files

    def unlink(self, directory: Directory, name: str) -> bool:
        """Remove a file if it is one of these, and free its bytes; who has it open reads on."""
        if directory is not self.directory or name not in self._stubs:
            return False
        self._drop(name)
        return True

    def _drop(self, name: str) -> None:
        stub = self._stubs.pop(name)
        self._size -= stub.size
        self._files.discard(stub.file)
        del self.directory.children[name]
        self.directory.mtime_ns = self._tree.now()
        stub.file.bindings.clear()
        if not stub.file.opens:
            self._tree.nodes.pop(stub.file.ino, None)

    def status(self) -> list[dict[str, object]]:
        """What `.arrayfs/status.json` says of each file: its name here, where it was, why, when (UTC) and its bytes."""
        return [
            {
                "name": name,
                "path": stub.path,
                "why": stub.why,
                "time": datetime.fromtimestamp(stub.time_ns // 10**9, UTC).isoformat().replace("+00:00", "Z"),
                "bytes": stub.size,
            }
            for name, stub in self._stubs.items()
        ]


def stub_name(path: str, number: int) -> str:
    """The name of a stub: the path with `/` as `%2F` and `%` as `%25`, its beginning cut where it is too long, and a
    number that no other has.
    """
    shown = path.replace("%", "%25").replace("/", "%2F").encode()
    end = f".{number}"
    return shown[-(NAME_MAX - len(end)) :].decode(errors="ignore") + end
