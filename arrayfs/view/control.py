"""The control directory `.arrayfs/`: what the mount says of itself, and the file through which it is told to commit.

It is found by name and in no listing, so copies and walks never enter it. What is read there is made when its name is
looked up, and an open file keeps what it showed: who looks the name up while it is open gets another inode.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arrayfs.errors import ArrayFSError, RefusedError
from arrayfs.view.lostfound import LostFound
from arrayfs.view.nodes import Binding, Directory, File
from arrayfs.view.versions import Versions
from arrayfs.view.whole_arrays import WholeArrays

if TYPE_CHECKING:
    from arrayfs.container.commit import CommitReport
    from arrayfs.view.tree import Tree

NAME = ".arrayfs"
STATUS = "status.json"
LOG = "log"
COMMIT = "commit"
# Only the user who mounted may read or commit.
READ_MODE = 0o100400
COMMIT_MODE = 0o100200
# A message is text for a person; this is a page of it.
MESSAGE_LIMIT = 4096


class Shown:
    """A file of the control directory that is made anew for each who opens it.

    files: one inode for each content that is held open, and one for the next; they are used again.
    """

    def __init__(self, name: str, content: Callable[[], bytes], new_file: Callable[[str, int], File]) -> None:
        self.name = name
        self._content = content
        self._new_file = new_file
        self.files = [new_file(name, READ_MODE)]

    def fresh(self, current: File, now: int) -> File:
        """Return a file that nobody has open, with the content of this moment: its size is right before it is read."""
        file = current if not current.opens else next((file for file in self.files if not file.opens), None)
        if file is None:
            file = self._new_file(self.name, READ_MODE)
            self.files.append(file)
        file.kept = self._content()
        file.size = len(file.kept)
        file.mtime_ns = now
        return file


class Control:
    """The nodes of the control directory, and what writing to them does.

    Who serves the tree can have more shown: `figures` are further members of the status, by name, each made by a call;
    `recent_operations` gives the content of `.arrayfs/log`, which is empty without.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.figures: dict[str, Callable[[], object]] = {}
        self.recent_operations: Callable[[], bytes] = bytes
        self.directory = Directory(tree.numbers.take(), tree.root, NAME, tree.now())
        self.directory.loaded = True
        tree.nodes[self.directory.ino] = self.directory
        self._shown = {
            STATUS: Shown(STATUS, self._status_file, self._file),
            LOG: Shown(LOG, self._log_file, self._file),
        }
        self._commit = self._file(COMMIT, COMMIT_MODE)
        self.lost_found = LostFound(tree, self.directory)
        self.versions = Versions(tree, self.directory)
        self.arrays = WholeArrays(tree, self.directory)
        # what the newest commit through this tree made, None before the first
        self.last_commit: dict[str, object] | None = None

    def _file(self, name: str, mode: int) -> File:
        file = File(self._tree.numbers.take(), self._tree.now(), mode)
        file.bindings.append(Binding(self.directory, name))
        self._tree.nodes[file.ino] = self.directory.children[name] = file
        return file

    def find(self, directory: Directory, name: str) -> Directory | File | None:
        """The control directory, where the root is asked for it, and what is made when it is looked up."""
        if directory is self._tree.root and name == NAME:
            return self.directory
        return self.arrays.find(directory, name)

    def entry(self, name: str) -> Directory | File:
        """An entry of the control directory that is there; one that is read is made anew."""
        found, shown = self.directory.children[name], self._shown.get(name)
        if shown is None or isinstance(found, Directory):
            return found
        file = self.directory.children[name] = shown.fresh(found, self._tree.now())
        return file

    def path_of(self, ino: int) -> str | None:
        """Where an inode is, from the root down ("" is the root itself); None if it has no name."""
        try:
            with self._tree.container.lock:
                if ino >= self._tree.lent_from:
                    return self.versions.path_of(ino)
                node = self._tree.node(ino)
                if isinstance(node, tuple):
                    zarr, coord = node
                    return zarr.path(coord)
                if isinstance(node, Directory):
                    return "/".join(node.path())
                return "/".join(self._tree.path_of(node.bindings[0])) if node.bindings else None
        except (ArrayFSError, OSError):
            return None

    def _log_file(self) -> bytes:
        return self.recent_operations()

    def _status_file(self) -> bytes:
        return json.dumps(self.status(), indent=2).encode() + b"\n"

    def status(self) -> dict[str, object]:
        """What `.arrayfs/status.json` says."""
        container = self._tree.container
        newest = container.stack.newest
        pool, cache = container.pool, container.cache
        return {
            "container": container.names.base,
            "store": container.store.url,
            "read_only": container.read_only,
            "version": container.version,
            "newest_layer": newest.name,
            "layers": len(container.stack.layers),
            "arrays": sum(1 for _ in container.names_of_arrays()),
            "dirty": {
                "arrays": sum(array.dirty for array in pool.arrays),
                "chunks": sum(len(array.changes) for array in pool.arrays),
                "raw_bytes": pool.raw_size,
                "packed_bytes": pool.packed_size,
                "unsettled_files": len(self._tree.files.unsettled),
            },
            "cache": {"bytes": cache.size, "limit": cache.limit, "hits": cache.hits, "misses": cache.misses},
            "journal": self._tree.journal_status(),
            "others": {"followed": self._tree.following.times, "conflicts_won": container.conflicts},
            "warnings": self._tree.warnings[-100:],
            "lost_found": self.lost_found.status(),
            "last_commit": self.last_commit,
        } | {name: figures() for name, figures in self.figures.items()}

    def committed(self, report: CommitReport, message: str) -> None:
        """Note what the newest commit of this mount made."""
        time_ns = self._tree.container.stack.newest.time_ns
        moment = datetime.fromtimestamp(time_ns // 10**9, UTC).replace(microsecond=time_ns % 10**9 // 1000)
        self.last_commit = {
            "sidecar": report.sidecar,
            "version": report.version,
            "bytes": report.size,
            "arrays": report.arrays,
            "chunks": report.chunks,
            "time": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "message": message,
        }

    def owns(self, file: File) -> bool:
        """Whether this is a file of the control directory."""
        directory = file.bindings[0].directory if file.bindings else None
        return directory is self.directory or self.lost_found.owns(file) or self.arrays.owns(file)

    def check_open_for_writing(self, file: File) -> None:
        """Raise RefusedError unless this file may be written."""
        self.refuse_change(file)
        self._tree.container.check_writable()

    def refuse_change(self, file: File) -> None:
        """Raise RefusedError for a truncation of a control file that cannot be."""
        if self.owns(file) and file is not self._commit:
            raise RefusedError(errno.EACCES, f"{NAME}/{file.bindings[0].name} is made by arrayfs")

    def refuse_mode(self, file: File) -> None:
        """Raise RefusedError for a chmod of a control file: they are for their owner alone."""
        if self.owns(file):
            raise RefusedError(errno.EPERM, f"the files of {NAME} have the modes that they need")

    def refuse_names(self, directory: Directory, name: str) -> None:
        """Raise RefusedError if a name in the control directory, or the directory itself, would change."""
        own = directory is self.directory or directory is self.lost_found.directory or self.arrays.owns(directory)
        if own or (directory is self._tree.root and name == NAME):
            raise RefusedError(errno.EPERM, f"{NAME} belongs to arrayfs")

    def write(self, file: File, data: bytes) -> int:
        """A message was written into `.arrayfs/commit`: commit. What goes wrong is the answer to that write."""
        if len(data) > MESSAGE_LIMIT:
            raise RefusedError(errno.EINVAL, f"a message of {len(data)} bytes; {MESSAGE_LIMIT} is the limit")
        try:
            message = data.decode().strip()
        except UnicodeDecodeError:
            raise RefusedError(errno.EILSEQ, "the message is not UTF-8") from None
        self._tree.commit(message)
        return len(data)
