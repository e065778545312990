"""Calls that few programs make, and many processes at once, on a real mount."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zarr

from tests.mounts import Mounted
from tests.t4_fuse.posix import RENAME_NOREPLACE, opened, refused, renameat2
from tests.t4_fuse.promises import keeps

WRITERS = 6


def at_once(program: str, *arguments: str | Path) -> list[str]:
    """What the same program says in several processes; its first argument is a number of its own."""
    command = [sys.executable, "-c", program]
    started = [
        subprocess.Popen([*command, str(number), *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        for number in range(WRITERS)
    ]
    said = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [0] * WRITERS
    return said


@keeps("A file that was created is kept, whether it was opened for reading or for writing.")
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_RDONLY | os.O_EXCL, os.O_RDONLY | os.O_TRUNC, os.O_WRONLY])
def test_created_files(mounted: Mounted, flags: int) -> None:
    with opened(mounted / "lock", flags | os.O_CREAT):
        pass
    with opened(mounted / "lock", (flags & ~os.O_EXCL) | os.O_CREAT):  # it is there
        (mounted / "lock").write_bytes(b"" if flags & os.O_TRUNC else b"content")
    content = (mounted / "lock").read_bytes()
    os.close(os.open(mounted / "other", flags | os.O_CREAT))
    mounted.remount()
    assert ((mounted / "lock").read_bytes(), (mounted / "other").read_bytes()) == (content, b"")


def test_the_time_of_a_file_is_the_same_however_it_is_asked_for(mounted: Mounted) -> None:
    for flags in (os.O_CREAT, os.O_CREAT | os.O_TRUNC, os.O_CREAT | os.O_EXCL):
        with opened(mounted / f"f{flags}", flags | os.O_WRONLY) as fd:
            first = os.fstat(fd).st_mtime_ns
        os.chmod(mounted / f"f{flags}", 0o600)  # the kernel asks anew
        assert (mounted / f"f{flags}").stat().st_mtime_ns == first


@keeps("Of many that create one name with O_EXCL at once, one succeeds.")
def test_races_for_a_name(mounted: Mounted) -> None:
    program = """if True:
        import os, sys
        won = 0
        for number in range(60):
            try:
                os.close(os.open(f"{sys.argv[2]}/{number}", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                won += 1
            except FileExistsError:
                pass
        print(won)
    """
    assert sum(map(int, at_once(program, mounted.mountpoint))) == 60
    assert len(os.listdir(mounted.mountpoint)) == 60


@keeps("what several processes append is all there, each write in one piece.")
def test_appending_at_once(mounted: Mounted) -> None:
    program = """if True:
        import os, sys
        fd = os.open(sys.argv[2], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        for number in range(40):
            os.write(fd, (sys.argv[1] * 99 + "\\n").encode())
    """
    at_once(program, mounted / "log")
    mounted.remount()
    lines = (mounted / "log").read_bytes().splitlines()
    assert sorted(lines) == sorted(str(number).encode() * 99 for number in range(WRITERS) for _ in range(40))


@keeps("Writes of parts of one chunk through several handles merge; none loses another's bytes.")
def test_parts_of_one_chunk_by_several_processes(mounted: Mounted) -> None:
    array = zarr.create_array(
        str(mounted / "a"), shape=(WRITERS * 4096,), chunks=(WRITERS * 4096,), dtype="u1", compressors=None
    )
    array[:] = 99
    program = """if True:
        import os, sys
        for part in range(8):
            fd = os.open(sys.argv[2], os.O_WRONLY)
            os.pwrite(fd, bytes([int(sys.argv[1])]) * 512, int(sys.argv[1]) * 4096 + part * 512)
            os.close(fd)
    """
    at_once(program, mounted / "a/c/0")
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == b"".join(bytes([number]) * 4096 for number in range(WRITERS))


@keeps("O_DIRECT works at any place and with any length, past the page cache.")
def test_direct(mounted: Mounted) -> None:
    page = mmap.mmap(-1, 8192)
    page.write(b"x" * 8192)
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR | os.O_DIRECT) as fd:
        assert os.pwritev(fd, [page], 0) == 8192
        os.ftruncate(fd, 5000)  # how padding goes
        page[:] = bytes(8192)
        assert os.preadv(fd, [page], 0) == 5000
        assert page[:5001] == b"x" * 5000 + b"\0"
        assert os.pwrite(fd, b"odd", 4999) == 3
    assert (mounted / "f").read_bytes() == b"x" * 4999 + b"odd"
    mounted.remount()
    assert (mounted / "f").read_bytes() == b"x" * 4999 + b"odd"


@keeps("flock, POSIX locks and OFD locks work, between all processes of the machine that use the mount.")
def test_locks(mounted: Mounted) -> None:
    path = mounted / "f"
    program = """if True:
        import fcntl, os, struct, sys
        span = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 10, 0)
        for lock in (lambda fd: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda fd: fcntl.fcntl(fd, 37, span),
                     lambda fd: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10)):
            fd = os.open(sys.argv[1], os.O_RDWR)
            try:
                lock(fd)
                print("taken")
            except BlockingIOError:
                print("held")
            os.close(fd)
    """

    def others() -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", program, path], check=True, capture_output=True, text=True
        ).stdout.split()

    path.write_bytes(bytes(20))
    span = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 10, 0)
    with opened(path, os.O_RDWR) as fd:
        assert others() == ["taken"] * 3
        fcntl.flock(fd, fcntl.LOCK_EX)
        assert others() == ["held", "taken", "taken"]
        fcntl.fcntl(fd, 37, span)  # F_OFD_SETLK, which Python has no name for
        assert others() == ["held", "held", "held"]
    with opened(path, os.O_RDWR) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 10)
        assert others() == ["taken", "held", "held"]


@keeps("SEEK_DATA and SEEK_HOLE show a file as data from its start to its end, whatever was never written.")
def test_seeking(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 3 << 20)
        assert [os.lseek(fd, 7, whence) for whence in (os.SEEK_DATA, os.SEEK_HOLE)] == [7, 3 << 20]
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with refused(errno.ENXIO):
                os.lseek(fd, (3 << 20) + 1, whence)


@keeps(
    "O_TMPFILE: EOPNOTSUPP, which programs then do by a temporary name. O_NOATIME and fadvise change nothing.",
    "copy_file_range, sendfile | work, by way of the page cache",
    "O_DIRECTORY on a file: ENOTDIR. O_NOFOLLOW on a symbolic link: ELOOP.",
)
def test_calls_that_few_make(mounted: Mounted) -> None:
    with refused(errno.EOPNOTSUPP):
        os.open(mounted.mountpoint, os.O_TMPFILE | os.O_RDWR, 0o600)
    (mounted / "f").write_bytes(b"0123456789")
    (mounted / "s").symlink_to("f")
    with refused(errno.ENOTDIR):
        os.open(mounted / "f", os.O_RDONLY | os.O_DIRECTORY)
    with refused(errno.ELOOP):
        os.open(mounted / "s", os.O_RDONLY | os.O_NOFOLLOW)
    with opened(mounted / "s", os.O_PATH | os.O_NOFOLLOW) as fd:
        assert os.readlink("", dir_fd=fd) == "f"
    with opened(mounted / "f", os.O_RDWR | os.O_NOATIME) as fd:
        for advice in range(6):
            os.posix_fadvise(fd, 0, 0, advice)
        assert os.copy_file_range(fd, fd, 4, 0, 6) == 4
        with opened(mounted / "g", os.O_CREAT | os.O_RDWR) as other:
            assert os.sendfile(other, fd, 2, 100) == 8
        assert os.access(mounted / "g", os.R_OK | os.W_OK)
    mounted.remount()
    assert ((mounted / "f").read_bytes(), (mounted / "g").read_bytes()) == (b"0123450123", b"23450123")


@keeps("Directories may be as deep as a path can say (PATH_MAX), and deeper by openat.")
def test_deep_directories(mounted: Mounted) -> None:
    name = "d" * 200
    fds = [os.open(mounted.mountpoint, os.O_RDONLY)]
    for _ in range(40):  # 8000 bytes of path
        os.mkdir(name, dir_fd=fds[-1])
        fds.append(os.open(name, os.O_RDONLY, dir_fd=fds[-1]))
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=fds[-1]))
    for fd in fds:
        os.close(fd)
    with refused(errno.ENAMETOOLONG):
        os.stat(mounted / "/".join([name] * 40))
    mounted.remount()
    subprocess.run(["rm", "-r", mounted / name], check=True)
    assert os.listdir(mounted.mountpoint) == []


@keeps(
    "A listing has every entry once, . and .. among them, however long it is, also one that stays while others come "
    "and go; telldir and seekdir work."
)
def test_a_listing_while_it_changes(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    stay = {f"stay {number:0200}" for number in range(300)}  # long, so that a listing takes several requests
    for name in (*stay, *(f"go {number:0200}" for number in range(1500))):
        os.mknod(mounted / "d" / name)
    seen = []
    with os.scandir(mounted / "d") as entries:
        for number, entry in enumerate(entries):
            seen.append(entry.name)
            if number < 300:
                (mounted / "d" / f"go {1499 - number:0200}").unlink()
                os.mknod(mounted / "d" / f"new {number}")
    assert len(set(seen)) == len(seen)
    assert stay <= set(seen)
    assert positions_are_kept(mounted / "d") >= 1800


def positions_are_kept(folder: Path) -> int:
    """How many entries a listing has in which each place is found again by `telldir` and `seekdir`."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    stream = ctypes.c_void_p(libc.opendir(os.fsencode(folder)))
    names, places, inodes = [], [], {}
    place = libc.telldir(stream)
    while entry := libc.readdir(stream):
        names.append(ctypes.string_at(entry + 19))
        inodes[names[-1]] = int.from_bytes(ctypes.string_at(entry, 8), sys.byteorder)
        places.append(place)
        place = libc.telldir(stream)
    for number in (len(names) - 1, 3, len(names) // 2):
        libc.seekdir(stream, ctypes.c_long(places[number]))
        assert ctypes.string_at(libc.readdir(stream) + 19) == names[number]
    libc.closedir(stream)
    assert (inodes[b"."], inodes[b".."]) == (folder.stat().st_ino, folder.parent.stat().st_ino)
    return len(names)


@keeps("A directory, a whole array or group too, is renamed in one step with all that is below it.")
def test_renaming_whole_arrays_and_groups(mounted: Mounted) -> None:
    group = zarr.create_group(str(mounted / "g"))
    group.create_array("a", shape=(6, 6), chunks=(2, 3), dtype="i4", compressors=None)[:] = 7
    (mounted / "g/notes").write_text("kept")
    mounted.remount()
    with opened(mounted / "g/a/c/0/0", os.O_RDONLY) as fd:
        renameat2(mounted / "g", mounted / "h", RENAME_NOREPLACE)
        os.rename(mounted / "h/a", mounted / "b")
        assert len(os.pread(fd, 100, 0)) == 24
    for _ in range(2):
        assert sorted(os.listdir(mounted.mountpoint)) == ["b", "h"]
        assert zarr.open_array(str(mounted / "b"), mode="r")[:].tolist() == [[7] * 6] * 6
        assert (mounted / "h/notes").read_text() == "kept"
        assert zarr.open_group(str(mounted / "h"), mode="r").metadata.zarr_format == 3
        mounted.remount()


def test_many_threads_make_and_remove_names(mounted: Mounted) -> None:
    def work(number: int) -> None:
        for turn in range(30):
            path = mounted / f"{(number + turn) % 3}"
            try:
                with opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
                    os.write(fd, b"x" * 100)
                os.rename(path, mounted / f"done {number}")
            except (FileExistsError, FileNotFoundError):
                time.sleep(0)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert mounted.errors() == []
    mounted.remount()
    assert all((mounted / name).stat().st_size == 100 for name in os.listdir(mounted.mountpoint))
