"""The usage log: one JSON object a line for each operation, in a file and, the last of them, in memory.

    {"time": 1772366400.123456, "op": "read", "path": "temp/c/0/1", "inode": 71, "pid": 4711, "offset": 0,
     "bytes": 131072, "us": 35, "errno": 0}

time: when it was answered, in seconds since 1970. path: below the mount point, `to` the second one of rename and link;
left out where the inode has no name any more. pid: of the thread that asked; where the kernel does not say (read,
write, what else goes through a handle), of the one that opened. errno: 0 if it was done. A line that cannot be written
is lost, and the mount goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from arrayfs.errors import MountError
from arrayfs.fuse.incidents import Incidents
from arrayfs.fuse.wire import handle_of, inode_of

KEPT: Final = 1000  # lines in memory

# Operations whose answer is a new handle, and how to find it there.
_NEW_HANDLE: Final[dict[str, Callable[[Any], int]]] = {
    "open": handle_of,
    "create": lambda answer: handle_of(answer[0]),
    "opendir": int,
}
# Operations that are told a name, and answer what it stands for.
_NEW_NODE: Final = frozenset({"lookup", "create", "mkdir", "mknod", "symlink"})


class UsageLog:
    """Belongs to the thread that runs the session; `recent` may be called from any."""

    def __init__(self, path: str, path_of: Callable[[int], str | None]) -> None:
        """path: a file to append to, made with mode 0600. path_of: gives an inode's path. Raises MountError."""
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MountError(f"usage log {path}: {error.strerror}") from None
        self._path_of = path_of
        self._recent: deque[bytes] = deque(maxlen=KEPT)
        self._openers: dict[int, tuple[int, int | None]] = {}  # handle -> inode, and the pid that opened it
        self._incidents = Incidents()
        self._torn = False

    def recent(self) -> bytes:
        """Return the last lines."""
        return b"".join(list(self._recent))

    def close(self) -> None:
        os.close(self._file)

    def add(
        self, operation: str, arguments: dict[str, Any], answer: Any, taken_ns: int, moved: int, number: int
    ) -> None:
        """Note one operation. arguments: those of its handler, by name. Raises nothing."""
        try:
            entry = self._entry(operation, arguments, answer)
            entry |= {"bytes": moved} if moved else {}
            entry |= {"us": taken_ns // 1000, "errno": number}
            line = json.dumps(entry).encode() + b"\n"
            self._recent.append(line)
            self._write(line)
        except Exception as error:  # noqa: BLE001  the request is answered whatever happens here
            self._incidents.tell("usage log", error)

    def _entry(self, operation: str, arguments: dict[str, Any], answer: Any) -> dict[str, Any]:
        entry: dict[str, Any] = {"time": time.time_ns() // 1000 / 1e6, "op": operation}
        inode, pid = self._who(operation, arguments, answer)
        parent, name = arguments.get("parent_inode", arguments.get("parent_inode_old")), arguments.get("name")
        path = self._path_of(inode) if parent is None and inode is not None else None
        if parent is not None:
            path = self._join(parent, arguments["name_old"] if name is None else name)
        if path is not None:
            entry["path"] = path
        if "new_name" in arguments:
            entry["to"] = self._join(arguments["new_parent_inode"], arguments["new_name"])
        if "name_new" in arguments:
            entry["to"] = self._join(arguments["parent_inode_new"], arguments["name_new"])
        if inode is not None:
            entry["inode"] = inode
        if pid is not None:
            entry["pid"] = pid
        if "offset" in arguments:
            entry["offset"] = arguments["offset"]
        if "inode_list" in arguments:
            entry["inodes"] = len(arguments["inode_list"])
        return entry

    def _who(self, operation: str, arguments: dict[str, Any], answer: Any) -> tuple[int | None, int | None]:
        """Return inode and pid; remember them with a new handle, forget them with one that ends."""
        context, handle = arguments.get("ctx"), arguments.get("fh")
        inode, pid = arguments.get("inode"), None if context is None else int(context.pid)
        if handle is not None:
            opened, opener = self._openers.get(handle, (None, None))
            inode, pid = opened if inode is None else inode, opener if pid is None else pid
        if operation in ("release", "releasedir"):
            self._openers.pop(arguments["fh"], None)
        if inode is None and operation in _NEW_NODE and answer is not None:
            inode = inode_of(answer[1] if operation == "create" else answer)
        if answer is not None and operation in _NEW_HANDLE and inode is not None:
            self._openers[_NEW_HANDLE[operation](answer)] = inode, pid
        return inode, pid

    def _join(self, parent: int, name: bytes) -> str:
        folder, text = self._path_of(parent), name.decode("utf-8", "surrogateescape")
        return f"{folder}/{text}" if folder else text

    def _write(self, line: bytes) -> None:
        line = b"\n" + line if self._torn else line
        self._torn = os.write(self._file, line) < len(line)
