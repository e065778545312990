"""Names and attributes on a real mount: what POSIX says, and where a mount departs from it."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import time
from collections.abc import Callable

import numpy as np
import pytest
import zarr

from arrayfs.view.plain import LINK_LIMIT
from tests.mounts import Mounted
from tests.t4_fuse.posix import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, opened, refused, renameat2
from tests.t4_fuse.promises import keeps


@keeps("rename replaces a file that has the name; handles that are open on it keep the old content.")
def test_renaming_over_a_file(mounted: Mounted) -> None:
    (mounted / "a").write_bytes(b"new")
    (mounted / "b").write_bytes(b"old")
    old_inode, new_inode = (mounted / "b").stat().st_ino, (mounted / "a").stat().st_ino
    with opened(mounted / "b", os.O_RDONLY) as fd:
        os.rename(mounted / "a", mounted / "b")
        assert os.pread(fd, 10, 0) == b"old"
        assert (mounted / "b").stat().st_ino == new_inode != old_inode == os.fstat(fd).st_ino
    assert (mounted / "b").read_bytes() == b"new"
    assert os.listdir(mounted.mountpoint) == ["b"]
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == ["b"]
    assert (mounted / "b").read_bytes() == b"new"


@keeps("renameat2 with RENAME_NOREPLACE: EEXIST if the name is taken; with RENAME_WHITEOUT: EINVAL.")
def test_renaming_with_flags(mounted: Mounted) -> None:
    (mounted / "a").write_bytes(b"a")
    (mounted / "b").write_bytes(b"b")
    with refused(errno.EEXIST):
        renameat2(mounted / "a", mounted / "b", RENAME_NOREPLACE)
    with refused(errno.EINVAL):
        renameat2(mounted / "a", mounted / "b", RENAME_WHITEOUT)
    renameat2(mounted / "a", mounted / "c", RENAME_NOREPLACE)
    assert {name: (mounted / name).read_bytes() for name in os.listdir(mounted.mountpoint)} == {"b": b"b", "c": b"a"}


@keeps(
    "rename of a file over a directory: EISDIR; of a directory over a file: ENOTDIR; over a directory "
    "that is not empty: ENOTEMPTY; below itself: EINVAL."
)
def test_renaming_of_directories(mounted: Mounted) -> None:
    (mounted / "d/sub").mkdir(parents=True)
    (mounted / "d/sub/f").write_bytes(b"f")
    (mounted / "e").mkdir()
    (mounted / "file").write_bytes(b"")
    with refused(errno.EISDIR):
        os.rename(mounted / "file", mounted / "e")
    with refused(errno.ENOTDIR):
        os.rename(mounted / "e", mounted / "file")
    with refused(errno.ENOTEMPTY):
        os.rename(mounted / "e", mounted / "d")
    with refused(errno.EINVAL):
        os.rename(mounted / "d", mounted / "d/sub/x")
    inode = (mounted / "d").stat().st_ino
    os.rename(mounted / "d", mounted / "e")
    assert (mounted / "e").stat().st_ino == inode
    assert (mounted / "e/sub/f").read_bytes() == b"f"
    mounted.remount()
    assert sorted(os.listdir(mounted.mountpoint)) == ["e", "file"]
    assert (mounted / "e/sub/f").read_bytes() == b"f"


@keeps("link gives a file one more name; a name that is taken: EEXIST; a directory: EPERM.")
def test_links(mounted: Mounted) -> None:
    (mounted / "a").write_bytes(b"content")
    os.link(mounted / "a", mounted / "b")
    with refused(errno.EEXIST):
        os.link(mounted / "a", mounted / "b")
    (mounted / "d").mkdir()
    with refused(errno.EPERM):
        os.link(mounted / "d", mounted / "e")
    assert (mounted / "a").stat().st_ino == (mounted / "b").stat().st_ino
    assert (mounted / "a").stat().st_nlink == 2
    with open(mounted / "b", "ab") as file:
        file.write(b" more")
    assert (mounted / "a").read_bytes() == b"content more"
    (mounted / "a").unlink()
    assert (mounted / "b").stat().st_nlink == 1
    assert (mounted / "b").read_bytes() == b"content more"


@keeps("After an unmount each name of a file is a file of its own, with the same content.")
def test_links_after_an_unmount(mounted: Mounted) -> None:
    (mounted / "a").write_bytes(b"content")
    os.link(mounted / "a", mounted / "b")
    mounted.remount()
    assert (mounted / "a").read_bytes() == (mounted / "b").read_bytes() == b"content"
    assert (mounted / "a").stat().st_nlink == 1
    (mounted / "a").write_bytes(b"other")
    assert (mounted / "b").read_bytes() == b"content"


@keeps("mkdir on a name that is taken: EEXIST. rmdir of a directory with entries: ENOTEMPTY, of a file: ENOTDIR.")
def test_directories(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"")
    with refused(errno.EEXIST):
        os.mkdir(mounted / "d")
    with refused(errno.EEXIST):
        os.mkdir(mounted / "d/f")
    with refused(errno.ENOTEMPTY):
        os.rmdir(mounted / "d")
    with refused(errno.ENOTDIR):
        os.rmdir(mounted / "d/f")
    (mounted / "d/f").unlink()
    os.rmdir(mounted / "d")
    with refused(errno.ENOENT):
        os.rmdir(mounted / "d")


@keeps(
    "A name below a file: ENOTDIR. Reading or unlinking a directory: EISDIR. A name that is not there: "
    "ENOENT. A name of more than 255 bytes: ENAMETOOLONG. A name that is not UTF-8: EILSEQ.",
    "What is made in a directory that was removed: ENOENT.",
)
def test_errors_of_names(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"")
    (mounted / "d").mkdir()
    with refused(errno.ENOTDIR):
        os.stat(mounted / "f/x")
    with refused(errno.ENOTDIR):
        os.listdir(mounted / "f")
    with refused(errno.EISDIR):
        (mounted / "d").read_bytes()
    with refused(errno.EISDIR):
        os.unlink(mounted / "d")
    for missing in ("x", "d/x", "x/y"):
        with refused(errno.ENOENT):
            os.stat(mounted / missing)
    with refused(errno.ENAMETOOLONG):
        (mounted / ("x" * 256)).write_bytes(b"")
    with refused(errno.ENAMETOOLONG):
        os.stat(mounted / ("x" * 256))
    with opened(mounted / "d", os.O_DIRECTORY) as fd:
        os.rmdir(mounted / "d")
        for make in (os.mkdir, os.mknod, lambda name, dir_fd: os.symlink("x", name, dir_fd=dir_fd)):
            with refused(errno.ENOENT):
                make("x", dir_fd=fd)
    with refused(errno.EILSEQ):
        os.open(os.fsencode(mounted.mountpoint) + b"/bad\xff", os.O_CREAT | os.O_WRONLY)
    with refused(errno.ENOENT):
        os.stat(os.fsencode(mounted.mountpoint) + b"/bad\xff")
    with refused(errno.EILSEQ):
        os.mkdir(os.fsencode(mounted.mountpoint) + b"/bad\xff")


@keeps("A name may be any UTF-8 text of up to 255 bytes.")
@pytest.mark.parametrize("name", ["x" * 255, "ž" * 127, "a\nc", "100%", "%2E", "%", ".hidden", "-", "\\", "日本", "c"])
def test_names(mounted: Mounted, name: str) -> None:
    (mounted / name).write_text(name)
    (mounted / "d").mkdir()
    (mounted / "d" / name).mkdir()
    (mounted / "d" / name / "x").write_text("x")
    mounted.remount()
    assert (mounted / name).read_text() == name
    assert sorted(os.listdir(mounted.mountpoint)) == sorted(["d", name])
    assert os.listdir(mounted / "d") == [name]


@keeps("An empty directory stays, also over unmounts, until it is removed; so does one whose entries are gone.")
def test_empty_directories(mounted: Mounted) -> None:
    (mounted / "a/b/c").mkdir(parents=True)
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"")
    mounted.remount()
    (mounted / "d/f").unlink()
    os.rmdir(mounted / "a/b/c")
    assert sorted(os.listdir(mounted.mountpoint)) == ["a", "d"]
    mounted.remount()
    assert sorted(os.listdir(mounted.mountpoint)) == ["a", "d"]
    assert (os.listdir(mounted / "a"), os.listdir(mounted / "a/b"), os.listdir(mounted / "d")) == (["b"], [], [])
    for name in ("a/b", "a", "d"):
        os.rmdir(mounted / name)
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == []


@keeps(
    "The time of the last write is kept to the nanosecond, as utimensat set it; there is no time of access but this.",
    "A time before 1677 or after 2262 is kept as the nearest one between.",
)
def test_times(mounted: Mounted) -> None:
    path = mounted / "f"
    path.write_bytes(b"x")
    first = path.stat().st_mtime_ns
    path.write_bytes(b"y")
    assert path.stat().st_mtime_ns > first
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    assert path.stat().st_mtime_ns == 1_234_567_890_123_456_789
    mounted.remount()
    assert path.stat().st_mtime_ns == 1_234_567_890_123_456_789
    os.utime(path, ns=(5, 17))
    mounted.remount()
    assert path.stat().st_mtime_ns == path.stat().st_atime_ns == 17
    for told, kept in ((-1_000_000_005, -1_000_000_005), (10**20, (1 << 63) - 1), (-(10**20), -(1 << 63))):
        os.utime(path, ns=(told, told))
        assert path.stat().st_mtime_ns == kept
        mounted.remount()
        assert path.stat().st_mtime_ns == kept


@keeps("A commit changes no time and no inode number that a mount shows.")
def test_a_commit_changes_no_times(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"x")
    before = [(os.stat(mounted / name).st_mtime_ns, os.stat(mounted / name).st_ino) for name in ("d", "d/f")]
    (mounted / ".arrayfs/commit").write_text("now")
    assert [(os.stat(mounted / n).st_mtime_ns, os.stat(mounted / n).st_ino) for n in ("d", "d/f")] == before


@keeps("The mode of a plain file and of a directory is kept, with setuid, setgid and sticky bits.")
def test_modes(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_WRONLY):
        os.chmod(mounted / "f", 0o751)
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"")
    os.chmod(mounted / "d", 0o3700)
    os.chmod(mounted.mountpoint, 0o1777)
    for _ in range(2):
        assert stat.S_IMODE((mounted / "f").stat().st_mode) == 0o751
        assert stat.S_IMODE((mounted / "d").stat().st_mode) == 0o3700
        assert stat.S_IMODE(mounted.mountpoint.stat().st_mode) == 0o1777
        mounted.remount()
    os.chmod(mounted / "d", 0o755)
    os.rename(mounted / "d", mounted / "e")
    mounted.remount()
    assert stat.S_IMODE((mounted / "e").stat().st_mode) == 0o755
    os.chmod(mounted / "f", 0o600)
    mounted.remount()
    assert stat.S_IMODE((mounted / "f").stat().st_mode) == 0o600


@keeps(
    "The time of a directory changes when entries come, go or get other names. One that utimensat set is kept while "
    "that does not happen",
    "ctime) is when content, mode, times or the number of names changed last.",
    "in a later mount ctime is the time of the last write",
)
def test_times_of_directories_and_of_changes(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    (mounted / "f").write_bytes(b"")

    def changes(entry: str, what: Callable[[], object]) -> tuple[bool, bool]:
        before = (mounted / entry).stat()
        what()
        after = (mounted / entry).stat()
        return after.st_mtime_ns > before.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns

    assert changes("d", lambda: (mounted / "d/f").write_bytes(b"")) == (True, True)
    assert changes("d", lambda: (mounted / "d/f").write_bytes(b"more")) == (False, False)
    assert changes("d", lambda: os.rename(mounted / "d/f", mounted / "d/g")) == (True, True)
    assert changes("d", (mounted / "d/g").unlink) == (True, True)
    assert changes("d", lambda: os.chmod(mounted / "d", 0o700)) == (False, True)
    assert changes("f", lambda: os.chmod(mounted / "f", 0o600)) == (False, True)
    assert changes("f", lambda: os.link(mounted / "f", mounted / "g")) == (False, True)
    assert changes("f", lambda: os.unlink(mounted / "g")) == (False, True)
    assert changes("f", lambda: (mounted / "f").write_bytes(b"x")) == (True, True)
    for name in ("d", "f"):
        os.utime(mounted / name, ns=(17, 17))
        assert (mounted / name).stat().st_ctime_ns > time.time_ns() - 10**12
    mounted.remount()
    assert [(mounted / name).stat().st_mtime_ns for name in ("d", "f")] == [17, 17]
    assert (mounted / "f").stat().st_ctime_ns == 17
    (mounted / "d/f").write_bytes(b"")
    mounted.remount()
    assert (mounted / "d").stat().st_mtime_ns > 17


@keeps(
    "A symbolic link is kept with where it leads to, byte for byte, up to 4095 bytes; it may lead anywhere, or nowhere."
)
def test_symbolic_links(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"content")
    targets = {"r": b"d/f", "abs": b"/nowhere", "bytes": b"t\xff", "d/up": b"../r", "long": b"/" * (LINK_LIMIT - 1)}
    for name, target in targets.items():
        os.symlink(target, os.fsencode(mounted / name))
    with refused(errno.EEXIST):
        os.symlink("x", mounted / "r")
    with refused(errno.ELOOP):
        os.open(mounted / "r", os.O_RDONLY | os.O_NOFOLLOW)
    os.utime(mounted / "r", ns=(17, 17), follow_symlinks=False)
    os.link(mounted / "r", mounted / "second", follow_symlinks=False)
    for _ in range(2):
        assert (mounted / "d/up").read_bytes() == b"content"
        assert os.readlink(os.fsencode(mounted / "bytes")) == b"t\xff"
        assert len(os.readlink(mounted / "long")) == 4095
        assert os.readlink(mounted / "abs") == "/nowhere"
        found = os.lstat(mounted / "second")
        assert (found.st_mode, found.st_size, found.st_mtime_ns) == (stat.S_IFLNK | 0o777, 3, 17)
        mounted.remount()
    os.rename(mounted / "r", mounted / "d/r")
    (mounted / "second").unlink()
    (mounted / "third").symlink_to("d")
    mounted.remount()
    assert sorted(os.listdir(mounted.mountpoint)) == ["abs", "bytes", "d", "long", "third"]
    assert os.readlink(mounted / "third/r") == "d/f"


@keeps("A symbolic link is neither a chunk nor a document, whatever its name is: what it leads to is not looked at.")
def test_symbolic_links_with_names_of_chunks_and_documents(mounted: Mounted) -> None:
    array = zarr.create_array(str(mounted / "a"), shape=(4,), chunks=(2,), dtype="u1", compressors=None, fill_value=9)
    array[:] = [1, 2, 3, 4]
    for _ in range(2):
        mounted.remount()
        (mounted / "a/c/1").unlink(missing_ok=True)
        os.symlink("0", mounted / "a/c/1")
        assert zarr.open_array(str(mounted / "a"), mode="r")[:].tolist() == [1, 2, 1, 2]
    os.symlink("two", mounted / "a/c/x")
    os.rename(mounted / "a/c/x", mounted / "a/c/0")  # over a chunk
    mounted.remount()
    assert [os.readlink(mounted / "a/c" / name) for name in "01"] == ["two", "0"]
    (mounted / "a/c/0").unlink()
    mounted.remount()
    assert os.listdir(mounted / "a/c") == ["1"]
    os.rename(mounted / "a/zarr.json", mounted / "kept")
    os.symlink("../kept", mounted / "a/zarr.json")
    mounted.remount()
    assert zarr.open_array(str(mounted / "a"), mode="r").shape == (4,)


@keeps("chown to the owner that is shown succeeds, to any other: EPERM.")
def test_owners(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"")
    os.chown(mounted / "f", os.getuid(), os.getgid())
    with refused(errno.EPERM):
        os.chown(mounted / "f", os.getuid() + 1, -1)


@keeps(
    "Device nodes, FIFOs and sockets: EPERM",
    "Extended attributes: ENOTSUP. fallocate: EOPNOTSUPP, which programs then do by writing.",
)
def test_what_is_not_there(mounted: Mounted) -> None:
    with refused(errno.EPERM):
        os.mkfifo(mounted / "p")
    with refused(errno.EPERM):
        os.mknod(mounted / "p", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as listening, refused(errno.EPERM):
        listening.bind(str(mounted / "s"))
    (mounted / "f").write_bytes(b"")
    with refused(errno.ENOTSUP):
        os.setxattr(mounted / "f", "user.x", b"1")
    libc = ctypes.CDLL(None, use_errno=True)
    with opened(mounted / "f", os.O_RDWR) as fd:
        assert libc.fallocate(fd, 1, ctypes.c_long(0), ctypes.c_long(100)) == -1
        assert ctypes.get_errno() == errno.EOPNOTSUPP


@keeps("mknod makes an empty file, which is kept like one that was opened and closed.")
def test_mknod(mounted: Mounted) -> None:
    os.mknod(mounted / "f", stat.S_IFREG | 0o644)
    mounted.remount()
    assert (mounted / "f").read_bytes() == b""


@keeps("df shows the space of the device that holds the container.")
def test_statfs(mounted: Mounted) -> None:
    here, below = os.statvfs(mounted.mountpoint), os.statvfs(mounted.container.parent)
    assert (here.f_blocks * here.f_frsize, here.f_namemax) == (below.f_blocks * below.f_frsize, 255)


@keeps(
    "RENAME_EXCHANGE exchanges two names in one step: of files, directories, whole arrays and groups. Of a document, "
    "or of what lies in an array's directory, EINVAL."
)
def test_exchanging_names(mounted: Mounted) -> None:
    for name, values in (("old", [1, 2, 3]), ("new", [4, 5])):
        zarr.create_array(mounted / name, data=np.array(values, "u1"), chunks=(2,), compressors=None, filters=None)
    (mounted / "file").write_bytes(b"file")
    before = {name: (mounted / name).stat().st_ino for name in ("old", "new", "file")}
    with opened(mounted / "file", os.O_RDONLY) as fd:
        renameat2(mounted / "old", mounted / "new", RENAME_EXCHANGE)
        renameat2(mounted / "file", mounted / "new", RENAME_EXCHANGE)
        assert os.pread(fd, 10, 0) == b"file"
    assert {name: (mounted / name).stat().st_ino for name in before} == {
        "old": before["new"], "new": before["file"], "file": before["old"],
    }  # fmt: skip
    for one, other in (
        ("new", "old/zarr.json"), ("old/c/0", "file/c/0"), ("old/zarr.json", "file/zarr.json"), ("file", "file/c"),
    ):  # fmt: skip
        with refused(errno.EINVAL):
            renameat2(mounted / one, mounted / other, RENAME_EXCHANGE)
    with refused(errno.ENOENT):
        renameat2(mounted / "new", mounted / "missing", RENAME_EXCHANGE)
    renameat2(mounted / "new", mounted / "new", RENAME_EXCHANGE)
    for _ in range(2):
        assert sorted(os.listdir(mounted.mountpoint)) == ["file", "new", "old"]
        assert (mounted / "new").read_bytes() == b"file"
        assert zarr.open_array(mounted / "old", mode="r")[...].tolist() == [4, 5]
        assert zarr.open_array(mounted / "file", mode="r")[...].tolist() == [1, 2, 3]
        mounted.remount()
