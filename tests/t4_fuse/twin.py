"""The same random system calls on a mount and on the local disk; each must give the same, and so must the trees.

A call is drawn once, with names, flags and numbers, and made below both roots by the same code. What it gives can be
compared: bytes, numbers, or the name of an errno.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

from tests.t4_fuse.posix import AT_FDCWD, RENAME_EXCHANGE, RENAME_NOREPLACE

NAMES = ("a", "b", "c", "0", "ž", ".h")
ACCESS = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR)
FLAGS = (os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_DIRECTORY, os.O_NOFOLLOW, os.O_NOATIME)
# Beyond a piece of a stored file (1 MiB), and often within a page.
OFFSETS = (0, 1, 10, 4095, 4096, 5000, (1 << 20) - 3, 1 << 20, (2 << 20) + 7)
SLOTS = 6  # descriptors that are open at most
DEEPEST = 4

_libc = ctypes.CDLL(None, use_errno=True)


class Side:
    """One of the two trees, and the descriptors that are open in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.open: dict[int, int] = {}

    def at(self, path: str) -> str:
        return f"{self.root}/{path}"

    def close_all(self) -> None:
        for fd in self.open.values():
            os.close(fd)
        self.open.clear()

    def do(self, call: Callable[[Side], object]) -> object:
        """What the call gives; for an error its name."""
        try:
            return call(self)
        except OSError as error:
            return errno.errorcode[error.errno or 0]

    def state(self) -> dict[str, object]:
        """Everything that is there: type and mode, and what the type has."""
        found: dict[str, object] = {}
        waiting = [""]
        while waiting:
            above = waiting.pop()
            for entry in os.scandir(self.at(above)):
                path, status = f"{above}{entry.name}", entry.stat(follow_symlinks=False)
                what: object = None
                if stat.S_ISDIR(status.st_mode):
                    waiting.append(f"{path}/")
                elif stat.S_ISLNK(status.st_mode):
                    what = os.readlink(entry.path), status.st_nlink
                else:
                    what = Path(entry.path).read_bytes(), status.st_size, status.st_nlink
                found[path] = status.st_mode, what
        return found

    def separate_links(self) -> None:
        """On the disk: each name becomes a file of its own, as it does in a mount when that is unmounted."""
        for path in sorted(self.state()):
            status = os.lstat(self.at(path))
            if stat.S_ISDIR(status.st_mode) or status.st_nlink == 1:
                continue
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(self.at(path))
                os.unlink(self.at(path))
                os.symlink(target, self.at(path))
                continue
            content = Path(self.at(path)).read_bytes()
            os.unlink(self.at(path))
            Path(self.at(path)).write_bytes(content)
            os.chmod(self.at(path), stat.S_IMODE(status.st_mode))


class Script:
    """Draws calls; `rng` decides all."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.slots = 0

    def path(self) -> str:
        """Names that may be there; now and then one of a form that needs care."""
        rng = self.rng
        path = "/".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 1, 2, 2, 3, DEEPEST))))
        match rng.randrange(24):
            case 0:
                return path + "/"
            case 1:
                return path + "/."
            case 2:
                return path + "/.."
            case 3:
                return rng.choice(("", ".", path + "//" + rng.choice(NAMES), "x" * 256, path + "/" + "x" * 256))
            case 4:
                return rng.choice(("/".join(["a"] * 2100), "x" * 5000, "ž" * 128, path + "/" + "ž" * 127))
        return path

    def call(self) -> tuple[str, Callable[[Side], object]]:
        """How to say it, and what to do."""
        name, weight = zip(*CALLS.items(), strict=True)
        chosen: Callable[[Script], tuple[str, Callable[[Side], object]]]
        chosen = self.rng.choices(name, weight)[0]
        return chosen(self)

    def slot(self) -> int:
        return self.rng.randrange(SLOTS)

    def data(self) -> bytes:
        return self.rng.randbytes(self.rng.choice((0, 1, 10, 100, 5000)))

    def mode(self) -> int:
        return self.rng.choice((0o644, 0o600, 0o755, 0o444, 0o777, 0o1777, 0o4755, 0))


Drawn = tuple[str, Callable[[Side], object]]


def on_path(name: str, act: Callable[[str], object]) -> Callable[[Script], Drawn]:
    """A call of one path. What it gives is compared."""

    def draw(script: Script) -> Drawn:
        path = script.path()
        return f"{name}({path[:300]!r})", lambda side: act(side.at(path))

    return draw


def on_two(name: str, act: Callable[[str, str], object]) -> Callable[[Script], Drawn]:
    def draw(script: Script) -> Drawn:
        old, new = script.path(), script.path()
        return f"{name}({old[:300]!r}, {new[:300]!r})", lambda side: act(side.at(old), side.at(new))

    return draw


def on_slot(name: str, act: Callable[[int, Script], Callable[[int], object]]) -> Callable[[Script], Drawn]:
    """A call of one descriptor; `act` draws the rest of the arguments."""

    def draw(script: Script) -> Drawn:
        slot = script.slot()
        made = act(slot, script)
        return f"{name}(slot {slot})", lambda side: made(side.open[slot]) if slot in side.open else None

    return draw


def drawn_open(script: Script) -> Drawn:
    path, slot, mode = script.path(), script.slot(), script.mode()
    flags = script.rng.choice(ACCESS)
    for flag in FLAGS:
        if script.rng.random() < (0.6 if flag == os.O_CREAT else 0.15):
            flags |= flag

    def act(side: Side) -> object:
        fd = os.open(side.at(path), flags, mode)
        if slot in side.open:
            os.close(side.open.pop(slot))
        side.open[slot] = fd
        return kind_of(os.fstat(fd))

    return f"open({path[:300]!r}, {flags:#o}, {mode:#o}) -> slot {slot}", act


def drawn_close(script: Script) -> Drawn:
    slot = script.slot()

    def act(side: Side) -> object:
        if slot in side.open:
            os.close(side.open.pop(slot))
        return None

    return f"close(slot {slot})", act


def drawn_write_whole(script: Script) -> Drawn:
    """As most programs write: what fails half way does so in both."""
    path, data = script.path(), script.data()
    return f"write whole({path[:300]!r}, {len(data)} bytes)", lambda side: Path(side.at(path)).write_bytes(data)


def drawn_setting(script: Script) -> Drawn:
    path, mode = script.path(), script.mode()
    time_ns = script.rng.randrange(1 << 60)
    if script.rng.random() < 0.5:
        return f"chmod({path[:300]!r}, {mode:#o})", lambda side: (
            os.chmod(side.at(path), mode),
            kind_of(os.stat(side.at(path))),
        )
    follow = script.rng.random() < 0.5
    return f"utimens({path[:300]!r}, {time_ns}, {follow})", lambda side: (
        os.utime(side.at(path), ns=(time_ns, time_ns), follow_symlinks=follow),
        os.stat(side.at(path), follow_symlinks=follow).st_mtime_ns,
    )


def drawn_symlink(script: Script) -> Drawn:
    target = script.rng.choice((script.path(), "../" + script.path(), "a", "b", "x" * 4095, ""))
    path = script.path()
    return f"symlink({target[:300]!r}, {path[:300]!r})", lambda side: os.symlink(target, side.at(path))


def drawn_rename(script: Script) -> Drawn:
    old, new = script.path(), script.path()
    flag, what = script.rng.choice(((RENAME_NOREPLACE, "rename without replacing"), (RENAME_EXCHANGE, "exchange")))

    def act(side: Side) -> object:
        names = os.fsencode(side.at(old)), os.fsencode(side.at(new))
        if _libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], flag):
            raise OSError(ctypes.get_errno(), "renameat2")
        return None

    return f"{what}({old[:300]!r}, {new[:300]!r})", act


def drawn_copy(script: Script) -> Drawn:
    one, other = script.slot(), script.slot()
    start, to, size = script.rng.choice(OFFSETS[:6]), script.rng.choice(OFFSETS), script.rng.choice((0, 10, 5000))

    def act(side: Side) -> object:
        if one not in side.open or other not in side.open:
            return None
        return os.copy_file_range(side.open[one], side.open[other], size, start, to)

    return f"copy_file_range(slot {one} at {start}, slot {other} at {to}, {size})", act


def pread(slot: int, script: Script) -> Callable[[int], object]:
    offset, size = script.rng.choice(OFFSETS), script.rng.choice((1, 100, 10_000))
    return lambda fd: os.pread(fd, size, offset)


def pwrite(slot: int, script: Script) -> Callable[[int], object]:
    data, offset = script.data(), script.rng.choice(OFFSETS)
    return lambda fd: (os.pwrite(fd, data, offset), os.fstat(fd).st_size)


def write(slot: int, script: Script) -> Callable[[int], object]:
    data = script.data()
    return lambda fd: (os.write(fd, data), os.lseek(fd, 0, os.SEEK_CUR), os.fstat(fd).st_size)


def seek(slot: int, script: Script) -> Callable[[int], object]:
    offset, whence = script.rng.choice((-1, *OFFSETS)), script.rng.choice((os.SEEK_SET, os.SEEK_END, os.SEEK_CUR))
    return lambda fd: os.lseek(fd, offset, whence) if stat.S_ISREG(os.fstat(fd).st_mode) else None


def ftruncate(slot: int, script: Script) -> Callable[[int], object]:
    size = script.rng.choice(OFFSETS)
    return lambda fd: (os.ftruncate(fd, size), os.fstat(fd).st_size)


def store(slot: int, script: Script) -> Callable[[int], object]:
    """Into a shared mapping of the whole file."""
    data, offset = script.data(), script.rng.choice(OFFSETS[:6])

    def act(fd: int) -> object:
        size = os.fstat(fd).st_size
        if not stat.S_ISREG(os.fstat(fd).st_mode) or not size:
            return None
        with mmap.mmap(fd, size) as mapping:
            part = data[: max(0, size - offset)]
            mapping[offset : offset + len(part)] = part
        return os.pread(fd, 100, offset) if os.O_RDWR else None

    return act


def truncated(path: str) -> object:
    os.truncate(path, 4097)
    return os.stat(path).st_size


def kind_of(status: os.stat_result) -> tuple[int, int, int]:
    """Mode, and for what is no directory size and links."""
    is_directory = stat.S_ISDIR(status.st_mode)
    return status.st_mode, 0 if is_directory else status.st_size, 0 if is_directory else status.st_nlink


CALLS: dict[Callable[[Script], Drawn], int] = {
    drawn_open: 30,
    drawn_close: 8,
    drawn_write_whole: 10,
    drawn_setting: 8,
    drawn_symlink: 5,
    drawn_rename: 3,
    drawn_copy: 3,
    on_slot("pread", pread): 10,
    on_slot("pwrite", pwrite): 15,
    on_slot("write", write): 10,
    on_slot("lseek", seek): 4,
    on_slot("ftruncate", ftruncate): 5,
    on_slot("store", store): 4,
    on_slot("fsync", lambda slot, script: os.fsync): 2,
    on_slot("fstat", lambda slot, script: lambda fd: kind_of(os.fstat(fd))): 6,
    on_path("truncate", truncated): 4,
    on_path("stat", lambda path: kind_of(os.stat(path))): 5,
    on_path("lstat", lambda path: kind_of(os.lstat(path))): 5,
    on_path("readlink", os.readlink): 3,
    on_path("access", lambda path: os.access(path, os.R_OK)): 2,
    on_path("listdir", lambda path: sorted(os.listdir(path))): 4,
    on_path("mkdir", os.mkdir): 14,
    on_path("rmdir", os.rmdir): 6,
    on_path("unlink", os.unlink): 10,
    on_path("mknod", lambda path: os.mknod(path, stat.S_IFREG | 0o640)): 2,
    on_two("rename", os.rename): 16,
    on_two("link", lambda old, new: os.link(old, new, follow_symlinks=False)): 6,
}
