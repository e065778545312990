"""Ending a mount from outside, and learning whether its commit is durable.

`fusermount3 -u` alone returns before the commit begins. So: take the mount away, wait for the daemon's lock on its
state file to go (it goes with the daemon's last word or with its death), and read that word.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.state import MountResult, MountState, read_state, wait_for_end


def find_mount(mountpoint: str) -> MountState | None:
    """Return what is known of a mount of ours at `mountpoint`, None if nothing is. Does not touch the mount."""
    return read_state(mountinfo.resolve(mountpoint))


def umount(mountpoint: str, *, lazy: bool = False) -> MountResult:
    """Unmount, wait for the commit, return how it went. Also takes away what a daemon that died left behind.

    lazy: also when files are open; the wait then lasts until the last of them is closed. Raises MountError if the
    mount is in use (who uses it), if the commit failed (why), or if the daemon died without one.
    """
    path = mountinfo.resolve(mountpoint)
    entry = mountinfo.mount_at(path)
    if entry is not None:
        _check_ours(entry)
        _take_away(path, lazy=lazy or _is_dead(path, entry))
    elif read_state(path) is None:
        raise MountError(f"{path}: nothing is mounted here")
    end = wait_for_end(path, None if entry is None else entry.owner)
    if end is None:
        raise MountError(f"{path}: unmounted, but its daemon left no word here (another user's?)")
    if end.result is None:
        info = end.info
        seen = f"; see {info.log}" if info.log else ""
        raise MountError(
            f"{path}: the daemon of {info.container} (pid {info.pid}) died without a commit; "
            f"the next mount for writing takes up what was closed since the last one{seen}"
        )
    if end.result.error:
        raise MountError(f"{path}: unmounted, but {end.info.container}: {end.result.error}")
    return end.result


def detach(mountpoint: str) -> None:
    """Take the name of a mount away, whoever uses it, and wait for nothing. Raises MountError if it is not ours."""
    path = mountinfo.resolve(mountpoint)
    entry = mountinfo.mount_at(path)
    if entry is None:
        raise MountError(f"{path}: nothing is mounted here")
    _check_ours(entry)
    _take_away(path, lazy=True)


def _check_ours(entry: mountinfo.MountEntry) -> None:
    if entry.kind != mountinfo.KIND:
        raise MountError(f"{entry.mountpoint}: the mount here is not of arrayfs but {entry.kind}")


def _is_dead(path: str, entry: mountinfo.MountEntry) -> bool:
    """Whether files that are still open there are of no use to anybody."""
    state = read_state(path, entry.owner)
    return (state is None or not state.alive) and mountinfo.is_dead(entry)


def _take_away(path: str, *, lazy: bool) -> None:
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise MountError("fusermount3 is not installed (package fuse3)") from None
    if done.returncode == 0 or mountinfo.mount_at(path) is None:
        return  # a daemon that got a signal meanwhile has unmounted it itself
    said = done.stderr.strip().removeprefix("fusermount3: ")
    if "busy" not in said:
        raise MountError(f"{path}: {said}")
    users = ", ".join(f"{name} (pid {pid})" for pid, name in _users(path)) or "a process that is not shown to this user"
    raise MountError(f"{path}: in use by {users}; nothing was unmounted")


def _users(path: str) -> Iterator[tuple[int, str]]:
    """Yield pid and name of processes with a file, directory, mapping or working directory under `path`."""
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            if any(_is_under(link, path) for link in _links(f"/proc/{pid}")):
                with open(f"/proc/{pid}/comm") as name:
                    yield int(pid), name.read().strip()
        except OSError:
            continue  # it ended, or belongs to somebody else


def _links(process: str) -> Iterator[str]:
    """Yield what a process holds, as names; the files themselves are not touched."""
    for name in ("cwd", "root", "exe"):
        try:
            yield os.readlink(f"{process}/{name}")
        except FileNotFoundError:
            continue
    for folder in ("fd", "map_files"):
        for name in os.listdir(f"{process}/{folder}"):
            yield os.readlink(f"{process}/{folder}/{name}")


def _is_under(link: str, path: str) -> bool:
    return link == path or link.startswith(path + "/")
