"""What the kernel says is mounted where (`/proc/self/mountinfo`), and what to do about a mount that nobody serves.

Only `is_dead` touches a mount, and may wait for one that is alive.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KIND: Final = "fuse.arrayfs"


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line: device number (major, minor), mount point, type (`fuse.arrayfs`), source (our fsname).

    owner: uid of the user whose process serves a FUSE mount; None of other file systems.
    """

    device: tuple[int, int]
    mountpoint: str
    kind: str
    source: str
    owner: int | None = None


def mounts() -> list[MountEntry]:
    """Return all mounts that this process sees, in the order in which they were made."""
    entries = []
    for line in Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines():
        fields, _, rest = line.partition(" - ")
        words, (kind, source, options) = fields.split(" "), rest.split(" ")[:3]
        major, minor = words[2].split(":")
        user = re.search(r"(?:^|,)user_id=([0-9]+)", options)
        owner = int(user[1]) if user else None
        entries.append(MountEntry((int(major), int(minor)), _unescaped(words[4]), kind, _unescaped(source), owner))
    return entries


def mount_at(mountpoint: str) -> MountEntry | None:
    """Return the topmost mount at an absolute path without symbolic links."""
    return next((entry for entry in reversed(mounts()) if entry.mountpoint == mountpoint), None)


def resolve(mountpoint: str) -> str:
    """Return the absolute path without symbolic links. The last component is not touched: it may be a dead mount."""
    folder, name = os.path.split(os.path.abspath(mountpoint))
    path = os.path.join(os.path.realpath(folder), name)
    if mount_at(path) is None and os.path.islink(path):
        return os.path.realpath(path)
    return path


def is_dead(entry: MountEntry) -> bool:
    """Whether nobody serves a mount of ours any more: its daemon was killed, or its connection aborted.

    Asked by statfs, which the kernel never answers from what it knows. Do not ask while a daemon is known to live: one
    that hangs keeps the caller waiting.
    """
    if entry.kind != KIND:
        return False
    try:
        os.statvfs(entry.mountpoint)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)  # the second: it ended while we asked
    return False


def take_away_dead(mountpoint: str) -> None:
    """Take away dead mounts of ours, also several on top of each other, also while files are open there.

    Only for who holds the lock of the mount point's state file: otherwise somebody else may have mounted meanwhile.
    """
    while (entry := mount_at(mountpoint)) is not None and is_dead(entry):
        command = ["fusermount3", "-u", "-z", "--", mountpoint]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return


def abort_connection(entry: MountEntry) -> bool:
    """Fail all requests of a FUSE mount that nobody will answer any more. False: not possible here.

    Only while it is still mounted: unmounting ends the connection itself, and its device number may then be another
    mount's, which would die in its place.
    """
    if entry not in mounts():
        return False
    try:
        Path(f"/sys/fs/fuse/connections/{os.makedev(*entry.device)}/abort").write_text("1")
    except OSError:  # fusectl is not mounted everywhere
        return False
    return True


def _unescaped(word: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), word)
