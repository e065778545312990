"""Content of plain files on a real mount, whole trees, and the control directory."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import mmap
import os
import shutil
from pathlib import Path

import pytest

from tests.mounts import Mounted
from tests.t4_fuse.posix import opened, refused, run, same_trees
from tests.t4_fuse.promises import keeps


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


@keeps("Holes take no space, also before a commit.")
def test_sparse_files(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 1 << 31)
        os.pwrite(fd, b"x" * 5000, 1 << 30)
        assert 10 <= os.fstat(fd).st_blocks < 1 << 13
        os.pwrite(fd, b"y" * (80 << 20), 0)  # more than memory keeps of a file
        assert 80 << 11 <= os.fstat(fd).st_blocks < 90 << 11
    mounted.remount()
    assert os.stat(mounted / "f").st_size == 1 << 31
    assert 0 < os.stat(mounted / "f").st_blocks < 1 << 13


@keeps("or a plain file over 4 PiB − 1 MiB, also by truncate: EFBIG")
def test_longest_file(mounted: Mounted) -> None:
    longest = ((1 << 32) - 1) << 20
    with opened(mounted / "f", os.O_CREAT | os.O_RDWR) as fd:
        with refused(errno.EFBIG):
            os.pwrite(fd, b"x", longest)
        with refused(errno.EFBIG):
            os.truncate(fd, longest + 1)
        os.pwrite(fd, b"x", longest - 1)
    assert mounted.remount().sidecar == "t.1.af"
    with opened(mounted / "f", os.O_RDONLY) as fd:
        assert os.pread(fd, 5, longest - 2) == b"\0x"


@pytest.mark.parametrize("access", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR])
def test_a_new_file_is_kept_however_it_was_opened(mounted: Mounted, access: int) -> None:
    with opened(mounted / "lock", os.O_CREAT | access) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)  # flock(1) opens its lock file for reading only
    assert mounted.remount().sidecar == "t.1.af"
    assert (mounted / "lock").read_bytes() == b""


@keeps("O_CREAT with O_EXCL on a name that is there: EEXIST.")
def test_exclusive_creation(mounted: Mounted) -> None:
    with opened(mounted / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
        os.write(fd, b"first")
    with refused(errno.EEXIST):
        os.open(mounted / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (mounted / "f").read_bytes() == b"first"


@keeps("A write with O_APPEND goes to the end of the file, whoever made it longer")
def test_appending(mounted: Mounted) -> None:
    append = os.O_CREAT | os.O_APPEND | os.O_WRONLY
    with opened(mounted / "f", append) as one, opened(mounted / "f", append) as two:
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


@keeps(
    "Bytes behind the new end are gone: they do not come back when the file grows again, in this mount or a later one."
)
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


@keeps(
    "mmap works for reading and for shared writing; what was stored in a mapping is part of the file when "
    "it is unmapped."
)
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


@keeps("Of a file that is open, a commit takes what its last close or fsync left.")
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


@keeps("A listing has every entry once, . and .. among them, however long it is")
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


@keeps(
    ".arrayfs is found by its name and in no listing. No name in it, nor it itself, can be made, renamed "
    "or removed: EPERM."
)
def test_the_control_directory(mounted: Mounted) -> None:
    (mounted / "f").write_bytes(b"")
    assert os.listdir(mounted.mountpoint) == ["f"]
    assert sorted(os.listdir(mounted / ".arrayfs")) == [
        *("arrays", "commit", "log", "lost+found", "status.json", "versions")
    ]
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
    for name in ("status.json", "log"):
        with refused(errno.EACCES):
            os.open(mounted / ".arrayfs" / name, os.O_WRONLY)


@keeps("Who opens .arrayfs/status.json reads what holds at that moment, also while others have it open.")
def test_the_status_while_others_read_it(mounted: Mounted) -> None:
    held = []
    for number in range(3):
        (mounted / f"f{number}").write_bytes(b"")
        held.append(os.open(mounted / ".arrayfs/status.json", os.O_RDONLY))
    for number, file in enumerate(held):
        content = os.read(file, os.fstat(file).st_size)
        assert json.loads(content)["dirty"]["unsettled_files"] == number + 1
        assert os.read(file, 1) == b""
        os.close(file)


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
