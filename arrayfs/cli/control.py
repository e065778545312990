"""A mounted container spoken to from outside, through the files of its control directory."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from arrayfs.errors import MountError
from arrayfs.view.control import COMMIT, MESSAGE_LIMIT, NAME, STATUS


def mount_above(path: str) -> str:
    """Return the mount point of ours that `path` is, or lies below. Raises MountError if there is none."""
    from arrayfs.fuse import mountinfo

    start = mountinfo.resolve(path)
    for folder in (start, *map(str, Path(start).parents)):
        entry = mountinfo.mount_at(folder)
        if entry is not None and entry.kind == mountinfo.KIND:
            return folder
        if entry is not None:
            break
    raise MountError(f"{start}: no container is mounted here")


def container_at(path: str) -> str:
    """Return the container that is mounted at `path`; `path` itself if nothing of ours is."""
    from arrayfs.fuse import mountinfo

    if "://" in path:
        return path
    entry = mountinfo.mount_at(mountinfo.resolve(path))
    if entry is None or entry.kind != "fuse.arrayfs":
        return path
    try:
        status = read_status(entry.mountpoint)
    except MountError:
        return entry.source  # its daemon died; the kernel still knows
    name: str = status["container"]
    # a file's URL is percent-encoded, and a name may have percent signs of its own
    return f"{status['store']}/{quote(name) if status['store'].startswith('file:') else name}"


def read_status(mountpoint: str) -> dict[str, Any]:
    """Return what the mount says of itself. Raises MountError if it does not answer."""
    try:
        loaded: dict[str, Any] = json.loads(Path(mountpoint, NAME, STATUS).read_bytes())
    except OSError as error:
        dead = error.errno == errno.ENOTCONN
        hint = f"; its daemon died, `arrayfs umount {mountpoint}` takes the mount away" if dead else ""
        raise MountError(f"{mountpoint}: {error.strerror}{hint}") from None
    return loaded


def commit(mountpoint: str, message: str) -> dict[str, Any] | None:
    """Make all that was closed a new version, durably. Returns what was committed, None if nothing had changed.

    Raises MountError that says why it failed.
    """
    before = read_status(mountpoint)
    try:
        data = f"{message}\n".encode()
    except UnicodeEncodeError:
        raise MountError(f"{mountpoint}: the message is not UTF-8: {message!r}") from None
    if len(data) > MESSAGE_LIMIT:
        raise MountError(f"{mountpoint}: a message of {len(data)} bytes; {MESSAGE_LIMIT} is the limit")
    try:
        file = os.open(Path(mountpoint, NAME, COMMIT), os.O_WRONLY)
        try:
            os.write(file, data)  # one write is one commit, so a message comes in one
        finally:
            os.close(file)
    except OSError as error:
        warnings = read_status(mountpoint)["warnings"]
        why = warnings[-1] if warnings and warnings != before["warnings"] else error.strerror
        raise MountError(f"{mountpoint}: {why}") from None
    committed: dict[str, Any] | None = read_status(mountpoint)["last_commit"]
    return None if committed == before["last_commit"] else committed
