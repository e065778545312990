"""What a mount leaves for `umount` to read: one small file for each mount point, locked while the daemon lives.

The first line says who serves the mount, the second, written when the commit is durable or has failed, how it ended.
Lines are only appended, each by one write, so a reader never sees half of one. A file that is not locked and has no
second line is that of a daemon which died.

The folder belongs to the user alone (mode 0700): `$XDG_RUNTIME_DIR/arrayfs`, else for root `/run/arrayfs`, else
`/run/user/UID/arrayfs`, else `arrayfs-UID` in the folder for temporary files. Who asks looks into all of them: what
mounted at boot, or for another user, had another environment.
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

    def end(self, result: MountResult, *, is_leaving: bool) -> None:
        """Say how it ended. `umount` returns when the lock is free: now, or, if the process is leaving, with its last
        open file, so that the disk below can be unmounted then.
        """
        os.write(self._fd, _line(result))
        if not is_leaving:
            os.close(self._fd)

    def discard(self) -> None:
        """Nothing was mounted: leave nothing behind."""
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def state_path(mountpoint: str) -> Path:
    """Return the file for `mountpoint` (absolute, without symbolic links); its folder is made if need be."""
    return runtime_folder() / _file_name(mountpoint)


def runtime_folder() -> Path:
    """Return the folder for state files. Raises MountError if somebody else could write there."""
    uid = os.getuid()
    *better, folder = _folders(uid)
    folder = next((path for path in better if os.access(path.parent, os.W_OK)), folder)
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_private(folder, uid):
        raise MountError(f"{folder}: not a folder of user {uid} alone (mode 0700)")
    return folder


def read_state(mountpoint: str, uid: int | None = None) -> MountState | None:
    """Return what is known of a mount at this moment, None if nothing is. uid: who mounted, if not this user."""
    with _opened(_found(mountpoint, uid)) as fd:
        return None if fd is None else _parse(fd)


def wait_for_end(mountpoint: str, uid: int | None = None) -> MountState | None:
    """Wait until the daemon has written its result or died; then take the file away. None: there is no file."""
    path = _found(mountpoint, uid)
    with _opened(path) as fd:
        if path is None or fd is None:
            return None
        fcntl.flock(fd, fcntl.LOCK_SH)
        state = _parse(fd)
        if _is_at(fd, path):
            path.unlink(missing_ok=True)
        return state


def _folders(uid: int) -> list[Path]:
    """Return where a user's state files may be, the best place first."""
    folders = [Path(f"/run/user/{uid}/arrayfs"), Path(tempfile.gettempdir()) / f"arrayfs-{uid}"]
    if uid == 0:  # /run/user/0 goes when root's last session ends
        folders.insert(0, Path("/run/arrayfs"))
    own = os.environ.get("XDG_RUNTIME_DIR", "")
    return [Path(own) / "arrayfs", *folders] if own and uid == os.getuid() else folders


def _found(mountpoint: str, uid: int | None) -> Path | None:
    """Return the state file of a mount that is there, or was; of several the newest."""
    uid = os.getuid() if uid is None else uid
    found = {}
    for folder in _folders(uid):
        path = folder / _file_name(mountpoint)
        with contextlib.suppress(OSError):
            if _is_private(folder, uid):
                found[path.stat().st_mtime_ns] = path
    return found[max(found)] if found else None


def _is_private(folder: Path, uid: int) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == uid and not found.st_mode & 0o077


def _file_name(mountpoint: str) -> str:
    return f"{hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:24]}.json"


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
def _opened(path: Path | None) -> Iterator[int | None]:
    try:
        fd = None if path is None else os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        fd = None
    if fd is None:
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
