"""The control directory `.arrayfs/`: what the mount says of itself, and the file through which it is told to commit.

It is found by name and in no listing, so copies and walks never enter it.
"""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arrayfs.errors import RefusedError
from arrayfs.view.nodes import Binding, Directory, File

if TYPE_CHECKING:
    from arrayfs.container.commit import CommitReport
    from arrayfs.view.tree import Tree

NAME = ".arrayfs"
STATUS = "status.json"
COMMIT = "commit"
# Only the user who mounted may read the status or commit.
STATUS_MODE = 0o100400
COMMIT_MODE = 0o100200
# A message is text for a person; this is a page of it.
MESSAGE_LIMIT = 4096


class Control:
    """The nodes of the control directory, and what writing to them does."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.directory = Directory(tree.numbers.take(), tree.root, NAME, tree.now())
        self.directory.loaded = True
        tree.nodes[self.directory.ino] = self.directory
        self._status = self._file(STATUS, STATUS_MODE)
        self._commit = self._file(COMMIT, COMMIT_MODE)
        # what the newest commit through this tree made, None before the first
        self.last_commit: dict[str, object] | None = None

    def _file(self, name: str, mode: int) -> File:
        file = File(self._tree.numbers.take(), self._tree.now(), mode)
        file.bindings.append(Binding(self.directory, name))
        self._tree.nodes[file.ino] = self.directory.children[name] = file
        return file

    def find(self, directory: Directory, name: str) -> Directory | File | None:
        """The control directory, where the root is asked for it."""
        if directory is self._tree.root and name == NAME:
            return self.directory
        return None

    def refresh(self) -> None:
        """Make the status anew: its size has to be right before it is read. Who has it open reads on what was there."""
        if self._status.opens:
            return
        self._status.kept = json.dumps(self.status(), indent=2).encode() + b"\n"
        self._status.size = len(self._status.kept)
        self._status.mtime_ns = self._tree.now()

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
            "warnings": self._tree.warnings[-100:],
            "last_commit": self.last_commit,
        }

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
        return file is self._status or file is self._commit

    def check_open_for_writing(self, file: File) -> None:
        """Raise RefusedError unless this file may be written."""
        if file is self._status:
            raise RefusedError(errno.EACCES, f"{NAME}/{STATUS} is made by arrayfs")
        self._tree.container.check_writable()

    def refuse_change(self, file: File) -> None:
        """Raise RefusedError for a truncation of a control file that cannot be."""
        if file is self._status:
            raise RefusedError(errno.EACCES, f"{NAME}/{STATUS} is made by arrayfs")

    def refuse_mode(self, file: File) -> None:
        """Raise RefusedError for a chmod of a control file: they are for their owner alone."""
        if self.owns(file):
            raise RefusedError(errno.EPERM, f"the files of {NAME} have the modes that they need")

    def refuse_names(self, directory: Directory, name: str) -> None:
        """Raise RefusedError if a name in the control directory, or the directory itself, would change."""
        if directory is self.directory or (directory is self._tree.root and name == NAME):
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
