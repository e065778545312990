"""Plain files and directories on a real mount: what POSIX says, and where we depart from it."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import mmap
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mounts import Mounted
from tests.t4_fuse.promises import keeps

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD = -100


@contextmanager
def refused(number: int) -> Iterator[None]:
    with pytest.raises(OSError) as caught:
        yield
    assert errno.errorcode[caught.value.errno or 0] == errno.errorcode[number]


def renameat2(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


@contextmanager
def opened(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


# --- content ----------------------------------------------------------------------------------------------------------


@keeps("A file that was closed, and then committed, is there with the same bytes when the container is mounted again.")
@pytest.mark.parametrize("size", [0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5_000_000])
def test_files_are_kept(mounted: Mounted, size: int) -> None:
    content = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    (mounted / "f").write_bytes(content)
    assert (mounted / "f").read_bytes() == content
    assert mounted.remount().sidecar == "t.1.af"
    assert (mounted / "f").stat().st_size == size
    assert (mounted / "f").read_bytes() == content
    assert mounted.remount().sidecar == ""


@keeps("O_CREAT with O_EXCL on a name that is there: EEXIST.")
def test_exclusive_creation(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
        os.write(fd, b"first")
    with refused(errno.EEXIST):
        os.open(mounted / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (mounted / "f").read_bytes() == b"first"


@keeps("A write with O_APPEND goes to the end of the file, whoever made it longer.")
def test_appending(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_APPEND | os.O_WRONLY) as one:
        with opened(mounted / "f", os.O_APPEND | os.O_WRONLY) as two:
            for fd, text in ((one, b"a"), (two, b"b"), (one, b"c")):
                os.write(fd, text)
    mounted.remount()
    with open(mounted / "f", "ab") as file:
        file.write(b"d")
    assert (mounted / "f").read_bytes() == b"abcd"


@keeps("Bytes that were never written between written ones, or that truncate added, read as zeros.")
def test_truncation_and_gaps(mounted: Mounted) -> None:
    path = mounted / "f"
    path.write_bytes(b"x" * 3_000_000)
    os.truncate(path, 10)
    os.truncate(path, 2_500_000)
    assert path.read_bytes() == b"x" * 10 + bytes(2_499_990)
    mounted.remount()
    with opened(path, os.O_RDWR) as fd:
        os.pwrite(fd, b"end", 4_000_000)
        os.ftruncate(fd, 4_000_002)
        os.pwrite(fd, b"mid", 1_048_575)
    expected = bytearray(4_000_002)
    expected[:10], expected[1_048_575:1_048_578], expected[4_000_000:] = b"x" * 10, b"mid", b"en"
    assert path.read_bytes() == expected
    mounted.remount()
    assert path.read_bytes() == expected


@keeps("Bytes behind the new end are gone: they do not come back when the file grows again, in this mount or a later one.")
def test_what_was_cut_off_does_not_come_back(mounted: Mounted) -> None:
    path = mounted / "f"
    path.write_bytes(b"x" * 1_500_000)
    mounted.remount()
    os.truncate(path, 1_100_000)
    mounted.remount()
    os.truncate(path, 1_500_000)
    assert path.read_bytes() == b"x" * 1_100_000 + bytes(400_000)
    mounted.remount()
    assert path.read_bytes() == b"x" * 1_100_000 + bytes(400_000)


@keeps("open with O_TRUNC empties the file at once, also when nothing is written then.")
def test_opening_with_truncation(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"content")
    mounted.remount()
    with opened(mounted / "f", os.O_WRONLY | os.O_TRUNC):
        assert (mounted / "f").stat().st_size == 0
    mounted.remount()
    assert (mounted / "f").read_bytes() == b""


@keeps("All handles of a file see one content, at once.")
def test_handles_share_their_content(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR) as writer, opened(mounted / "f", os.O_RDONLY) as reader:
        os.pwrite(writer, b"hello", 0)
        assert os.pread(reader, 100, 0) == b"hello"
        os.pwrite(writer, b"J", 0)
        assert os.pread(reader, 100, 0) == b"Jello"
        os.ftruncate(writer, 2)
        assert os.fstat(reader).st_size == 2
        assert os.pread(reader, 100, 0) == b"Je"


@keeps("mmap works for reading and for shared writing; what was stored in a mapping is part of the file when it is unmapped.")
def test_mappings(mounted: Mounted) -> None:
    path = mounted / "f"
    path.write_bytes(bytes(10_000))
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[4090:4100] = b"0123456789"
    mounted.remount()
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapping:
        assert mapping[4080:4110] == bytes(10) + b"0123456789" + bytes(10)


@keeps("A file that is removed while it is open can be read and written until its last handle is closed.")
def test_unlinked_while_open(mounted: Mounted) -> None:
    path = mounted / "f"
    path.write_bytes(b"old content")
    mounted.remount()
    with opened(path, os.O_RDWR) as fd:
        path.unlink()
        assert os.listdir(mounted.mountpoint) == []
        assert os.pread(fd, 100, 0) == b"old content"
        os.pwrite(fd, b"NEW", 0)
        os.ftruncate(fd, 7)
        assert os.pread(fd, 100, 0) == b"NEW con"
        assert os.fstat(fd).st_nlink == 0
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == []


@keeps("A file that is never closed is not committed; of one that is open, a commit takes what its last close or fsync left.")
def test_a_commit_takes_what_was_closed(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR) as fd, opened(mounted / "g", os.O_CREAT | os.O_RDWR) as never:
        os.write(fd, b"synced")
        os.fsync(fd)
        os.write(never, b"never closed")
        (mounted / ".arrayfs/commit").write_text("a message")
        copy = shutil.copytree(mounted.container.parent, mounted.container.parent.parent / "copy")
        os.write(fd, b", and more")
    assert (mounted / "f").read_bytes() == b"synced, and more"
    assert (mounted / "g").read_bytes() == b"never closed"
    mounted.umount()
    mounted.container = copy / "t.af"
    mounted.mount("r")
    assert (mounted / "f").read_bytes() == b"synced"
    assert not (mounted / "g").exists() or (mounted / "g").read_bytes() == b""


# --- names ------------------------------------------------------------------------------------------------------------


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


@keeps("renameat2 with RENAME_NOREPLACE: EEXIST if the name is taken; with RENAME_EXCHANGE or RENAME_WHITEOUT: EINVAL.")
def test_renaming_with_flags(mounted: Mounted) -> None:
    (mounted / "a").write_bytes(b"a")
    (mounted / "b").write_bytes(b"b")
    with refused(errno.EEXIST):
        renameat2(mounted / "a", mounted / "b", RENAME_NOREPLACE)
    with refused(errno.EINVAL):
        renameat2(mounted / "a", mounted / "b", RENAME_EXCHANGE)
    renameat2(mounted / "a", mounted / "c", RENAME_NOREPLACE)
    assert {name: (mounted / name).read_bytes() for name in os.listdir(mounted.mountpoint)} == {"b": b"b", "c": b"a"}


@keeps(
    "rename of a file over a directory: EISDIR; of a directory over a file: ENOTDIR; over a directory that is not empty: ENOTEMPTY; below itself: EINVAL."
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
    "A name below a file: ENOTDIR. Reading or unlinking a directory: EISDIR. A name that is not there: ENOENT. A name of more than 255 bytes: ENAMETOOLONG. A name that is not UTF-8: EILSEQ."
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
    with refused(errno.EILSEQ):
        open(os.fsencode(mounted.mountpoint) + b"/bad\xff", "wb")
    with refused(errno.ENOENT):
        os.stat(os.fsencode(mounted.mountpoint) + b"/bad\xff")
    with refused(errno.EILSEQ):
        os.mkdir(os.fsencode(mounted.mountpoint) + b"/bad\xff")


@keeps("A name may be any UTF-8 text of up to 255 bytes.")
@pytest.mark.parametrize("name", ["x" * 255, "ž" * 127, "a b\nc", "100%", "%2E", "%", ".hidden", "-", "\\", "日本", "c"])
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


# --- attributes -------------------------------------------------------------------------------------------------------


@keeps("The time of the last write is kept to the nanosecond, as utimensat set it; there is no time of access but this.")
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


@keeps("A commit changes no time and no inode number that a mount shows.")
def test_a_commit_changes_no_times(mounted: Mounted) -> None:
    (mounted / "d").mkdir()
    (mounted / "d/f").write_bytes(b"x")
    before = [(os.stat(mounted / name).st_mtime_ns, os.stat(mounted / name).st_ino) for name in ("d", "d/f")]
    (mounted / ".arrayfs/commit").write_text("now")
    assert [(os.stat(mounted / n).st_mtime_ns, os.stat(mounted / n).st_ino) for n in ("d", "d/f")] == before


@keeps("The mode of a plain file is kept; a directory is always 0755 and a chmod of one has no effect.")
def test_modes(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_WRONLY):
        os.chmod(mounted / "f", 0o751)
    (mounted / "d").mkdir()
    os.chmod(mounted / "d", 0o700)
    mounted.remount()
    assert stat.S_IMODE((mounted / "f").stat().st_mode) == 0o751
    assert stat.S_IMODE((mounted / "d").stat().st_mode) == 0o755
    os.chmod(mounted / "f", 0o600)
    mounted.remount()
    assert stat.S_IMODE((mounted / "f").stat().st_mode) == 0o600


@keeps("chown to the owner that is shown succeeds, to any other: EPERM.")
def test_owners(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"")
    os.chown(mounted / "f", os.getuid(), os.getgid())
    with refused(errno.EPERM):
        os.chown(mounted / "f", os.getuid() + 1, -1)


@keeps(
    "Device nodes, sockets and symbolic links: EPERM. Extended attributes: ENOTSUP. fallocate: EOPNOTSUPP, which programs then do by writing."
)
def test_what_is_not_there(mounted: Mounted) -> None:
    with refused(errno.EPERM):
        os.symlink("x", mounted / "s")
    with refused(errno.EPERM):
        os.mkfifo(mounted / "p")
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


# --- many, and whole trees --------------------------------------------------------------------------------------------


@keeps("A listing has every entry once, however long it is.")
def test_long_listings(mounted: Mounted) -> None:
    names = {f"file {number}" for number in range(20_000)}
    for name in names:
        os.close(os.open(mounted / name, os.O_CREAT | os.O_WRONLY))
    listed = os.listdir(mounted.mountpoint)
    assert len(listed) == len(names)
    assert set(listed) == names
    with os.scandir(mounted.mountpoint) as entries:
        removed = sum(1 for entry in entries if not os.unlink(entry.path))
    assert removed == len(names)
    assert os.listdir(mounted.mountpoint) == []


@keeps("cp, mv, tar and rm -r of whole trees work and keep every byte.")
def test_whole_trees(mounted: Mounted, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(60):
        path = source / str(number % 5) / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(hashlib.sha256(str(number).encode()).digest() * number)
    run("cp", "-r", source, mounted / "copy")
    same_trees(source, mounted / "copy")
    mounted.remount()
    run("cp", "-a", mounted / "copy", mounted / "second")
    run("mv", mounted / "copy", mounted / "moved")
    run("tar", "-C", mounted.mountpoint, "-cf", mounted / "archive.tar", "moved")
    run("tar", "-C", tmp_path, "-xf", mounted / "archive.tar")
    same_trees(source, tmp_path / "moved")
    mounted.remount()
    same_trees(source, mounted / "moved")
    same_trees(source, mounted / "second")
    run("rm", "-r", mounted / "moved", mounted / "second")
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == ["archive.tar"]


def run(*command: str | Path) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def same_trees(one: Path, other: Path) -> None:
    files = sorted(path.relative_to(one) for path in one.rglob("*"))
    assert files == sorted(path.relative_to(other) for path in other.rglob("*"))
    assert all((one / path).read_bytes() == (other / path).read_bytes() for path in files if (one / path).is_file())


# --- the control directory --------------------------------------------------------------------------------------------


@keeps(".arrayfs is found by its name and in no listing. No name in it, nor it itself, can be made, renamed or removed: EPERM.")
def test_the_control_directory(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"")
    assert os.listdir(mounted.mountpoint) == ["f"]
    assert sorted(os.listdir(mounted / ".arrayfs")) == ["commit", "status.json"]
    assert mounted.status()["dirty"]["unsettled_files"] == 1  # type: ignore[index]
    for change in (
        lambda: os.mkdir(mounted / ".arrayfs/x"),
        lambda: os.unlink(mounted / ".arrayfs/commit"),
        lambda: os.rename(mounted / "f", mounted / ".arrayfs/commit"),
        lambda: os.rename(mounted / ".arrayfs", mounted / "x"),
        lambda: os.rmdir(mounted / ".arrayfs"),
        lambda: os.link(mounted / ".arrayfs/status.json", mounted / "x"),
    ):
        with refused(errno.EPERM):
            change()
    with refused(errno.EACCES):
        os.open(mounted / ".arrayfs/status.json", os.O_WRONLY)


@keeps("Writing a message into .arrayfs/commit commits; when the write returns, the version is durable.")
def test_committing(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"one")
    (mounted / ".arrayfs/commit").write_text("a message")
    assert mounted.status()["version"] == 1
    assert sorted(name for name in os.listdir(mounted.container.parent) if name.endswith(".af")) == ["t.1.af", "t.af"]
    (mounted / ".arrayfs/commit").write_text("nothing changed: no version")
    assert mounted.status()["version"] == 1
    (mounted / "f").write_bytes(b"two")
    assert mounted.umount().sidecar == "t.2.af"
    with refused(errno.ENOENT):
        (mounted / ".arrayfs/commit").write_text("not mounted")


@keeps("A mount for reading refuses every change: EROFS.")
def test_read_only_mounts(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"one")
    mounted.remount("r")
    assert (mounted / "f").read_bytes() == b"one"
    for change in (
        lambda: (mounted / "f").write_bytes(b"two"),
        lambda: (mounted / "g").write_bytes(b"two"),
        lambda: os.unlink(mounted / "f"),
        lambda: os.mkdir(mounted / "d"),
        lambda: os.utime(mounted / "f"),
    ):
        with refused(errno.EROFS):
            change()
