"""What a mount leaves for `umount` to read: one small file for each mount point, locked while the daemon lives.

The first line says who serves the mount, the second, written when the commit is durable or has failed, how it ended.
Lines are only appended, each by one write, so a reader never sees half of one. A file that is not locked and has no
second line is that of a daemon which died.

The folder belongs to the user alone (mode 0700): `$XDG_RUNTIME_DIR/arrayfs`, else `/run/user/UID/arrayfs`, else
`arrayfs-UID` in the folder for temporary files.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from arrayfs.errors import MountError


@dataclass(frozen=True, slots=True)
class MountInfo:
    """Who serves a mount. pid_start: the daemon's start in clock ticks since boot, so that a pid used again is not
    taken for it.

    log: the daemon's log file, "" if there is none.
    """

    pid: int
    pid_start: int
    container: str
    mountpoint: str
    read_only: bool
    log: str


@dataclass(frozen=True, slots=True)
class MountResult:
    """How a mount ended. sidecar: file name of what the last commit made, "" if nothing had changed; size: its bytes.

    error: why the commit failed, "" if it did not.
    """

    sidecar: str = ""
    version: int = 0
    size: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class MountState:
    """What a state file says. result is None while the daemon lives, and for ever when it died; alive tells which."""

    info: MountInfo
    result: MountResult | None
    alive: bool


class StateFile:
    """The daemon's side: made before the mount, locked for its life."""

    def __init__(self, mountpoint: str) -> None:
        """Raises MountError if a daemon of ours serves this mount point."""
        self._path = state_path(mountpoint)
        self._fd = _open_locked(self._path, mountpoint)

    def begin(self, info: MountInfo) -> None:
        os.ftruncate(self._fd, 0)
        os.write(self._fd, _line(info))

    def end(self, result: MountResult) -> None:
        """Say how it ended, and let go of the lock: `umount` returns now."""
        os.write(self._fd, _line(result))
        os.close(self._fd)

    def discard(self) -> None:
        """Nothing was mounted: leave nothing behind."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def state_path(mountpoint: str) -> Path:
    """Return the file for `mountpoint` (absolute, without symbolic links); its folder is made if need be."""
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()
    return runtime_folder() / f"{digest[:24]}.json"


def runtime_folder() -> Path:
    """Return the folder for state files. Raises MountError if somebody else could write there."""
    uid = os.getuid()
    folder = Path(tempfile.gettempdir()) / f"arrayfs-{uid}"
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), f"/run/user/{uid}"):
        if parent and os.access(parent, os.W_OK):
            folder = Path(parent) / "arrayfs"
            break
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o077:
        raise MountError(f"{folder}: not a folder of user {uid} alone (mode 0700)")
    return folder


def read_state(mountpoint: str) -> MountState | None:
    """Return what is known of a mount at this moment, None if nothing is."""
    with _opened(state_path(mountpoint)) as fd:
        return None if fd is None else _parse(fd)


def wait_for_end(mountpoint: str) -> MountState | None:
    """Wait until the daemon has written its result or died; then take the file away. None: there is no file."""
    path = state_path(mountpoint)
    with _opened(path) as fd:
        if fd is None:
            return None
        fcntl.flock(fd, fcntl.LOCK_SH)
        state = _parse(fd)
        if _is_at(fd, path):
            path.unlink(missing_ok=True)
        return state


def process_start(pid: int) -> int:
    """Return when a process began, in clock ticks since boot (field 22 of its stat line), 0 if there is none, or if it
    has ended and nobody took note of that.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])


def _open_locked(path: Path, mountpoint: str) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if not _try_lock(fd, fcntl.LOCK_EX):
            state = _parse(fd)
            if state is None or state.alive:
                os.close(fd)
                raise MountError(f"{mountpoint}: mounted already{f' ({state.info.container})' if state else ''}")
            fcntl.flock(fd, fcntl.LOCK_EX)  # only somebody who reads the end of the last mount: soon free
        if _is_at(fd, path):
            return fd
        os.close(fd)  # that reader has taken the file away


def _try_lock(fd: int, kind: int) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int | None]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def _line(value: MountInfo | MountResult) -> bytes:
    return json.dumps(asdict(value)).encode() + b"\n"


def _parse(fd: int) -> MountState | None:
    """Return what the file says; None while the daemon has not said anything yet."""
    lines = os.pread(fd, 1 << 20, 0).splitlines()
    if not lines:
        return None
    info = MountInfo(**json.loads(lines[0]))
    result = MountResult(**json.loads(lines[1])) if len(lines) > 1 else None
    return MountState(info, result, alive=result is None and process_start(info.pid) == info.pid_start)
