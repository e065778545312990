"""What the kernel's requests become: handles, flags, errno, and what the kernel may keep."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import subprocess
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from subprocess import DEVNULL
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest

from arrayfs import errors
from arrayfs.container.container import Container
from arrayfs.fuse.direct import make_runtime
from arrayfs.fuse.errnos import errno_of
from arrayfs.fuse.operations import TreeOperations
from arrayfs.view.tree import open_tree
from tests.t4_fuse.conftest import Volume

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
NOBODY = 65534


def refused(call: Callable[[], object]) -> int:
    """Return the errno with which a call is refused."""
    with pytest.raises(OSError, match="Errno") as caught:
        call()
    assert caught.value.errno is not None
    return caught.value.errno


def rename(old: Path, new: Path, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_content_is_written_at_any_place_and_read_back(unmounted: Volume, runtime: str) -> None:
    unmounted.mount(runtime=runtime)
    path, content = unmounted / "file", os.urandom(3 << 20)
    path.write_bytes(content)
    with path.open("r+b", buffering=0) as file:
        assert os.pread(file.fileno(), 1000, 2_000_000) == content[2_000_000:2_001_000]
        os.pwrite(file.fileno(), b"changed", 1_000_000)
    with path.open("ab") as file:
        file.write(b"appended")
    expected = content[:1_000_000] + b"changed" + content[1_000_007:] + b"appended"
    assert path.read_bytes() == expected
    unmounted.umount()
    unmounted.mount(runtime=runtime)
    assert path.read_bytes() == expected
    os.truncate(path, 10)
    assert path.read_bytes() == expected[:10]
    with path.open("r+b") as file:
        os.ftruncate(file.fileno(), 12)
    assert path.read_bytes() == expected[:10] + b"\0\0"
    path.open("wb").close()
    assert path.stat().st_size == 0


def test_names_answer_as_posix_says(volume: Volume) -> None:
    file, folder = volume / "file", volume / "folder"
    file.write_text("x")
    folder.mkdir()
    (folder / "inner").touch()
    assert refused(lambda: os.stat(volume / "absent")) == errno.ENOENT
    assert refused(lambda: os.stat(file / "below")) == errno.ENOTDIR
    assert refused(file.mkdir) == errno.EEXIST
    assert refused(lambda: os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY)) == errno.EEXIST
    assert refused(lambda: os.open(folder, os.O_WRONLY)) == errno.EISDIR
    assert refused(folder.rmdir) == errno.ENOTEMPTY
    assert refused(file.rmdir) == errno.ENOTDIR
    assert refused(folder.unlink) == errno.EISDIR
    assert refused(lambda: os.link(file, folder / "inner")) == errno.EEXIST
    assert refused(lambda: os.mkfifo(volume / "fifo")) == errno.EPERM
    assert refused(lambda: os.setxattr(file, "user.a", b"b")) == errno.EOPNOTSUPP
    assert refused(lambda: os.getxattr(file, "user.a")) == errno.EOPNOTSUPP
    assert refused(lambda: os.mkdir(volume / ("n" * 256))) == errno.ENAMETOOLONG
    assert os.access(file, os.R_OK | os.W_OK)
    os.mknod(volume / "regular")
    assert sorted(os.listdir(volume.mountpoint)) == ["file", "folder", "regular"]


def test_rename_replaces_unless_told_not_to(volume: Volume) -> None:
    old, new = volume / "old", volume / "new"
    old.write_text("old")
    new.write_text("new")
    assert refused(lambda: rename(old, new, RENAME_NOREPLACE)) == errno.EEXIST
    rename(old, new, RENAME_EXCHANGE)
    assert (old.read_text(), new.read_text()) == ("new", "old")
    rename(old, new, RENAME_EXCHANGE)
    rename(old, volume / "other", RENAME_NOREPLACE)
    with new.open() as handle:
        before = os.fstat(handle.fileno()).st_ino
        os.rename(volume / "other", new)
        assert (handle.read(), new.read_text()) == ("new", "old")
        assert new.stat().st_ino != before
    assert os.listdir(volume.mountpoint) == ["new"]


def test_a_file_without_a_name_lives_as_long_as_its_handles(volume: Volume) -> None:
    with (volume / "file").open("w+") as file:
        file.write("kept")
        file.flush()
        os.unlink(volume / "file")
        assert os.fstat(file.fileno()).st_nlink == 0
        os.ftruncate(file.fileno(), 3)
        file.seek(0)
        assert file.read() == "kep"
    assert not (volume / "file").exists()


def test_two_names_of_one_file(volume: Volume) -> None:
    (volume / "a").write_text("one")
    os.link(volume / "a", volume / "b")
    a, b = (volume / "a").stat(), (volume / "b").stat()
    assert (a.st_ino, a.st_nlink, b.st_nlink) == (b.st_ino, 2, 2)
    with (volume / "b").open("r+") as file:
        file.write("two")
    assert (volume / "a").read_text() == "two"
    os.unlink(volume / "a")
    assert (volume / "b").stat().st_nlink == 1


def test_times_modes_and_owners(volume: Volume) -> None:
    path = volume / "file"
    path.touch()
    os.utime(path, ns=(5, 1_234_567_890_123_456_789))
    assert path.stat().st_mtime_ns == 1_234_567_890_123_456_789
    before = time.time_ns()
    os.utime(path)
    assert path.stat().st_mtime_ns >= before - 10_000_000  # the clock of UTIME_NOW moves in ticks
    path.chmod(0o640)
    assert path.stat().st_mode & 0o7777 == 0o640
    os.chown(path, os.getuid(), os.getgid())
    os.chown(path, -1, -1)
    assert refused(lambda: os.chown(path, 12345, -1)) == errno.EPERM
    assert refused(lambda: os.chown(path, -1, 12345)) == errno.EPERM
    assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_df_tells_the_truth_about_the_device(volume: Volume) -> None:
    mounted, below = os.statvfs(volume.mountpoint), os.statvfs(volume.container.parent)
    assert (mounted.f_blocks, mounted.f_bsize, mounted.f_namemax) == (below.f_blocks, below.f_bsize, 255)


def test_a_long_listing_has_each_name_once_with_its_attributes(volume: Volume) -> None:
    names = {f"{'long name ' * 20}{number}" for number in range(3000)}
    (volume / "d").mkdir()
    for name in names:
        (volume / "d" / name).touch()
    volume.umount()
    volume.mount()
    lookups = volume.count("lookup")
    with os.scandir(volume / "d") as listing:
        found = [(entry.name, entry.stat().st_mode & 0o777) for entry in listing]
    assert len(found) == 3000
    assert dict(found) == dict.fromkeys(names, 0o644)
    assert volume.count("lookup") <= lookups + 1  # of "d": the entries' own came with the listing


def test_known_names_and_attributes_are_not_asked_for_again(volume: Volume) -> None:
    (volume / "file").write_text("x")
    os.stat(volume / "file")
    before = volume.count("lookup"), volume.count("getattr")
    for _ in range(10):
        os.stat(volume / "file")
    assert (volume.count("lookup"), volume.count("getattr")) == before


def test_what_changes_behind_the_kernel_is_asked_for_again(volume: Volume) -> None:
    (volume / "file").write_text("x")
    os.stat(volume / "file")
    before = volume.count("lookup")
    volume.tell("invalidate", "file")
    deadline = time.monotonic() + 30
    while volume.count("lookup") == before:  # the invalidation comes from a thread, soon after the answer
        os.stat(volume / "file")
        assert time.monotonic() < deadline


def test_small_files_come_with_the_open_and_are_read_once(volume: Volume) -> None:
    content = os.urandom(50_000)
    (volume / "file").write_bytes(content)
    volume.umount()
    volume.mount()
    assert (volume / "file").read_bytes() == content
    assert volume.count("read") == 1
    with (volume / "file").open("rb") as one, (volume / "file").open("rb") as other:
        assert one.read() == other.read() == content
    assert volume.count("read") == 1
    with (volume / "file").open("r+b") as file:
        file.write(b"new")
    assert (volume / "file").read_bytes() == b"new" + content[3:]


def test_many_readers_of_the_same_files_at_once(volume: Volume) -> None:
    contents = [os.urandom(size) for size in (1, 4096, 100_000, 1 << 20, 3_000_000)]
    for number, content in enumerate(contents):
        (volume / str(number)).write_bytes(content)
    volume.umount()
    volume.mount()
    with ThreadPoolExecutor(8) as pool:
        for number, content in enumerate(contents):
            paths = [volume / str(number)] * 16
            assert list(pool.map(Path.read_bytes, paths)) == [content] * 16


def test_a_mapping_is_written_back(volume: Volume) -> None:
    path = volume / "file"
    path.write_bytes(bytes(10_000))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[5000:5005] = b"hello"
    assert path.read_bytes()[5000:5005] == b"hello"
    volume.umount()
    volume.mount()
    assert path.read_bytes() == bytes(5000) + b"hello" + bytes(4995)


def test_a_bug_or_damage_is_an_error_of_one_request(volume: Volume) -> None:
    for _ in range(3):
        assert refused((volume / "bug").mkdir) == errno.EIO
        assert refused((volume / "damage").mkdir) == errno.EIO
    (volume / "fine").mkdir()
    assert os.listdir(volume.mountpoint) == ["fine"]


@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_fsync_does_not_hold_up_others(unmounted: Volume, runtime: str) -> None:
    unmounted.mount(runtime=runtime)
    (unmounted / "other").write_text("served")
    with (unmounted / "file").open("w") as file, ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(os.fsync, file.fileno())
        while not unmounted.count("sync"):
            assert (unmounted / "other").read_text() == "served"
        assert not syncing.done()
        unmounted.tell("go")
        syncing.result()
    folder = os.open(unmounted.mountpoint, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def test_a_message_written_to_the_control_file_is_a_commit(volume: Volume) -> None:
    (volume / "file").write_text("x")
    layers = len(list(volume.container.parent.glob("*.af")))
    (volume / ".arrayfs" / "commit").write_text("first day")
    assert len(list(volume.container.parent.glob("*.af"))) == layers + 1
    with open(volume / ".arrayfs" / "commit", "w", buffering=1 << 16) as control:
        control.write("long" * 2000)
        assert refused(control.flush) == errno.EINVAL
        os.truncate(volume / "file", 0)
        assert refused(control.close) == errno.EINVAL
    assert len(list(volume.container.parent.glob("*.af"))) == layers + 1
    assert ".arrayfs" not in os.listdir(volume.mountpoint)


def test_the_status_is_made_anew_at_every_look(volume: Volume) -> None:
    status = volume / ".arrayfs" / "status.json"
    versions = []
    for number in range(3):
        (volume / "file").write_text(str(number))
        (volume / ".arrayfs" / "commit").write_text(f"commit {number}")
        assert len(status.read_bytes()) == status.stat().st_size
        versions.append(json.loads(status.read_bytes())["version"])
    assert versions == [versions[0], versions[0] + 1, versions[0] + 2]


@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_a_read_only_mount_refuses_changes(unmounted: Volume, runtime: str) -> None:
    unmounted.mount()
    (unmounted / "file").write_text("x")
    unmounted.umount()
    unmounted.mount("ro", runtime=runtime)
    assert refused((unmounted / "new").touch) == errno.EROFS
    assert refused((unmounted / "file").unlink) == errno.EROFS
    assert refused(lambda: (unmounted / "file").open("r+")) == errno.EROFS
    assert (unmounted / "file").read_text() == "x"
    assert unmounted.umount().sidecar == ""


def as_nobody(*command: object) -> int:
    """Run a command as another user; return its exit code."""
    done = subprocess.run(
        [str(word) for word in command], user=NOBODY, group=NOBODY, cwd="/", check=False, stdout=DEVNULL, stderr=DEVNULL
    )
    return done.returncode


def let_others_in(folder: Path) -> None:
    for each in (folder, *folder.parents[:-2]):
        each.chmod(each.stat().st_mode | 0o055)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_other_users_are_kept_out_unless_allowed_and_then_modes_hold(unmounted: Volume, tmp_path: Path) -> None:
    let_others_in(tmp_path)
    unmounted.mount()
    (unmounted / "open").write_text("x")
    (unmounted / "closed").write_text("x")
    (unmounted / "closed").chmod(0o600)
    assert as_nobody("cat", unmounted / "open") != 0
    unmounted.umount()
    unmounted.mount("allow_other")
    assert as_nobody("cat", unmounted / "open") == 0
    assert as_nobody("cat", unmounted / "closed") != 0
    assert as_nobody("cat", unmounted / ".arrayfs/status.json") != 0
    assert as_nobody("sh", "-c", f"echo message > {unmounted / '.arrayfs/commit'}") != 0
    assert as_nobody("touch", unmounted / "new") != 0


def test_modes_hold_for_the_owner_of_a_private_mount(tmp_path: Path) -> None:
    """The kernel does not look at modes there. Without a mount: not every machine lets a user mount who is not root."""
    container = str(tmp_path / "v.af")
    Container.create(container)
    tree = open_tree(container, mode="a")
    operations = TreeOperations(tree, make_runtime("inline"))
    root, user = SimpleNamespace(uid=0, pid=0), SimpleNamespace(uid=1000, pid=0)

    async def ask(handler: Callable[..., Coroutine[Any, Any, Any]], *arguments: object) -> Any:
        return await handler(*arguments)

    def answer(handler: Callable[..., Coroutine[Any, Any, Any]], *arguments: object) -> Any:
        with pytest.raises((StopIteration, pyfuse3.FUSEError)) as caught:
            ask(handler, *arguments).send(None)
        return getattr(caught.value, "errno", None) or caught.value.value

    def opened(flags: int, who: SimpleNamespace = user) -> Any:
        found = answer(operations.open, ino, flags, who)
        if isinstance(found, int):
            return found
        return answer(operations.release, found.fh)

    handle, entry = answer(operations.create, 1, b"file", 0o444, os.O_WRONLY, user)
    ino = entry.st_ino
    assert answer(operations.write, handle.fh, 0, b"by who made it, whatever the mode") == 33
    answer(operations.release, handle.fh)
    assert [opened(flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)] == [None, errno.EACCES, errno.EACCES]
    assert opened(os.O_RDONLY | os.O_TRUNC) == errno.EACCES
    tree.setattr(ino, mode=0o200)
    assert [opened(flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)] == [errno.EACCES, None, errno.EACCES]
    assert opened(os.O_RDWR, root) is None
    operations.close()
    tree.close()


def test_owners_can_be_chosen(unmounted: Volume) -> None:
    unmounted.mount("uid=1234,gid=2345")
    found = unmounted.mountpoint.stat()
    assert (found.st_uid, found.st_gid) == (1234, 2345)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NoEntryError("x"), errno.ENOENT),
        (errors.EntryExistsError("x"), errno.EEXIST),
        (errors.ChecksumError("x"), errno.EIO),
        (errors.StaleError(errno.ESTALE, "x"), errno.ESTALE),
        (errors.ReadOnlyError("x"), errno.EROFS),
        (errors.LimitError("x"), errno.EFBIG),
        (errors.ConflictError("x"), errno.EBUSY),
        (errors.RefusedError(errno.EOPNOTSUPP, "x"), errno.EOPNOTSUPP),
        (errors.MissingObjectError("a layer is gone"), errno.EIO),
        (OSError(errno.ENOSPC, "x"), errno.ENOSPC),
        (FileNotFoundError(errno.ENOENT, "something below, not an entry of ours"), errno.EIO),
        (MemoryError(), errno.ENOMEM),
        (KeyError("a bug"), errno.EIO),
    ],
)
def test_errors_become_errno(error: Exception, number: int) -> None:
    assert errno_of(error) == number
