"""Earlier versions in a real mount: whole trees below the control directory, and mounts of one version."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr

from arrayfs.container.container import Container
from tests.mounts import Mounted
from tests.t4_fuse.promises import keeps

History = tuple[Path, list[dict[str, bytes | None]]]


def commit(mount: Path, message: str = "m") -> None:
    (mount / ".arrayfs" / "commit").write_text(message)


def versions(mount: Path) -> Path:
    return mount / ".arrayfs" / "versions"


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """All that is below a directory: the bytes of files, None for directories."""
    found: dict[str, bytes | None] = {}
    for above, directories, files in os.walk(folder):
        for name in directories:
            found[os.path.relpath(os.path.join(above, name), folder)] = None
        for name in files:
            path = os.path.join(above, name)
            found[os.path.relpath(path, folder)] = Path(path).read_bytes()
    return found


@pytest.fixture
def history(mounted: Mounted) -> History:
    """A mount with versions 0 to 4, and what it showed when each was committed."""
    mount = mounted.mountpoint
    seen = [snapshot(mount)]
    group = zarr.open_group(mount, mode="a")
    array = group.create_array("g/t", shape=(6, 4), chunks=(2, 2), dtype="i4", compressors=None)
    array[:] = np.arange(24).reshape(6, 4)
    group.create_array("opaque", shape=(8,), chunks=(3,), dtype="f8")[:] = 1.5
    (mount / "note").write_text("first")
    commit(mount)
    seen.append(snapshot(mount))
    array[0, 0] = 99
    array.attrs["checked"] = True
    (mount / "note").write_text("second, which is longer")
    commit(mount)
    seen.append(snapshot(mount))
    array.resize((3, 4))
    (mount / "note").rename(mount / "moved")
    commit(mount)
    seen.append(snapshot(mount))
    subprocess.run(["rm", "-r", mount / "g", mount / "opaque"], check=True)
    commit(mount)
    seen.append(snapshot(mount))
    return mount, seen


@keeps(
    ".arrayfs/versions/N is version N as a whole tree, read only: the files that a mount showed when it was committed.",
    "There is no .arrayfs in it.",
)
def test_each_version_is_the_tree_that_was_committed(history: History) -> None:
    mount, seen = history
    for number, files in enumerate(seen):
        assert snapshot(versions(mount) / str(number)) == files, number
        assert not (versions(mount) / str(number) / ".arrayfs").exists()
    old = zarr.open_group(versions(mount) / "2", mode="r")
    assert old["g/t"][0, 0] == 99
    assert dict(old["g/t"].attrs) == {"checked": True}
    assert zarr.open_group(versions(mount) / "1", mode="r")["g/t"][0, 0] == 0
    inodes = {
        os.stat(os.path.join(above, name)).st_ino
        for root in (mount, *(versions(mount) / str(number) for number in range(5)))
        for above, _, files in os.walk(root)
        for name in files
    }
    assert len(inodes) == sum(content is not None for files in (*seen, seen[-1]) for content in files.values())


@keeps("Every change in it is refused: EROFS.")
def test_nothing_in_a_version_changes(history: History) -> None:
    mount, seen = history
    old = versions(mount) / "1"
    changes = [
        lambda: (old / "note").write_text("x"),
        (old / "note").unlink,
        lambda: (old / "new").write_text("x"),
        (old / "new").mkdir,
        (old / "g").rmdir,
        lambda: (old / "note").rename(old / "other"),
        lambda: (old / "note").chmod(0o600),
        lambda: os.utime(old / "note", ns=(1, 1)),
        lambda: os.truncate(old / "g/t/c/0/0", 1),
        (versions(mount) / "9").mkdir,
    ]
    for change in changes:
        with pytest.raises(OSError, match="Read-only file system"):
            change()
    with pytest.raises(PermissionError):
        versions(mount).rmdir()
    assert snapshot(old) == seen[1]


@keeps(
    "A listing of .arrayfs/versions opens no version.",
    "It has the versions that are there at that moment, those committed since the mount among them.",
)
def test_the_listing_follows_commits_and_opens_nothing(mounted: Mounted) -> None:
    assert os.listdir(versions(mounted.mountpoint)) == ["0"]
    (mounted / "x").write_text("1")
    commit(mounted.mountpoint)
    entries = {entry.name: entry for entry in os.scandir(versions(mounted.mountpoint))}
    assert list(entries) == ["0", "1"]
    assert all(entry.is_dir() for entry in entries.values())
    made = os.stat(versions(mounted.mountpoint) / "1")
    assert (made.st_ino, stat.S_ISDIR(made.st_mode)) == (entries["1"].inode(), True)
    for name in ("2", "01", "-1", "x", "1x"):
        assert not (versions(mounted.mountpoint) / name).exists()


@keeps(
    "A file of a version that is open stays readable until it is closed, however many other versions are looked at.",
    "and finds them again by the path",
)
def test_an_open_file_outlives_its_version_in_the_cache(mounted: Mounted) -> None:
    for number in range(12):
        (mounted / "x").write_text(f"content {number}" * 5000)
        commit(mounted.mountpoint)
    old = versions(mounted.mountpoint) / "1"
    with (old / "x").open("rb") as file:
        for number in range(2, 13):
            assert (versions(mounted.mountpoint) / str(number) / "x").read_text().startswith(f"content {number - 1}")
        assert os.fstat(file.fileno()).st_size == len(b"content 0" * 5000)
        assert file.read() == b"content 0" * 5000
    assert (old / "x").read_text() == "content 0" * 5000


@keeps("A tag is a symbolic link to its version.", "moving or deleting it changes no version")
def test_tags_are_links(mounted: Mounted) -> None:
    (mounted / "x").write_text("1")
    for number, names in ((0, ["0", "1", "2", "start"]), (1, ["0", "1", "2", "3", "start"]), (None, list("01234"))):
        mounted.umount()
        with Container.open(str(mounted.container), "a") as opened:
            opened.tag("start", number)
        mounted.mount()
        shown = versions(mounted.mountpoint)
        assert os.listdir(shown) == names
        assert [(shown / name / "x").exists() for name in "012"] == [False, True, True]
        if number is not None:
            assert os.readlink(shown / "start") == str(number)
            assert os.lstat(shown / "start").st_size == 1
            assert os.listdir(shown / "start") == os.listdir(shown / str(number))
    with pytest.raises(OSError, match="Invalid argument"):
        os.readlink(shown / "1")
