"""Compaction beside real mounts: nothing of it is to be seen in them."""

from __future__ import annotations

import errno
import json
import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zarr

from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.container.upkeep import CompactWhen
from arrayfs.container.verify import verify
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.tree import Tree
from tests.mounts import Mounted
from tests.t4_fuse.posix import opened, refused
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_many_writers import commit, until

CHUNK = 1 << 16


@pytest.fixture
def history(mounted: Mounted) -> Mounted:
    """Versions 1 to 4 of an array, the first chunk of which each wrote, and of a file."""
    array = zarr.create_array(
        str(mounted / "a"), shape=(4 * CHUNK,), chunks=(CHUNK,), dtype="u1", compressors=None, fill_value=9
    )
    for number in range(1, 5):
        array[:CHUNK] = number
        array[number * CHUNK - CHUNK // 2 :] = number
        (mounted / "note").write_text(f"version {number}")
        (mounted / f"only{number}").write_text("x")
        (mounted / f"only{number - 1}").unlink(missing_ok=True)
        commit(mounted, f"number {number}")
    return mounted


def shown(mounted: Mounted) -> dict[str, tuple[int, int, bytes]]:
    """Inode number, time and content of all files."""
    found = {}
    for folder, folders, files in os.walk(mounted.mountpoint):
        if ".arrayfs" in folders:
            folders.remove(".arrayfs")
        for name in files:
            path = Path(folder, name)
            status = path.stat()
            key = str(path.relative_to(mounted.mountpoint))
            found[key] = status.st_ino, status.st_mtime_ns, path.read_bytes()
    return found


@keeps(
    "arrayfs compact merges versions, whoever reads or writes meanwhile. A mount shows the same files with the same "
    "inode numbers before and after, what is open stays open with its content, what is not committed yet stays, and "
    "the next commit comes on top."
)
def test_a_mount_that_is_written_to_does_not_notice(history: Mounted, place: Callable[..., Mounted]) -> None:
    reader = place(history.container)
    reader.mount("r")
    before = shown(reader)
    assert {name: content for name, (_, _, content) in before.items()} == {
        name: content for name, (_, _, content) in shown(history).items()
    }
    with opened(reader / "a/c/0", os.O_RDONLY) as chunk, opened(reader / "note", os.O_RDONLY) as note:
        with opened(history / "a/c/1", os.O_RDWR) as half, mmap.mmap(chunk, 0, prot=mmap.PROT_READ) as mapped:
            os.pwrite(half, b"written before", 0)
            (history / "uncommitted").write_text("stays")
            assert compact(str(history.container)).layers_after == 1
            assert shown(reader) == before
            os.pwrite(half, b"and after", 100)
            assert os.pread(chunk, 100, CHUNK - 100) == bytes([4]) * 100
            assert mapped[:50] == bytes([4]) * 50
            assert os.pread(note, 100, 0) == b"version 4"
        commit(history, "on top")
        until((reader / "uncommitted").exists)
        until(lambda: (reader / "a/c/1").read_bytes().startswith(b"written before"))  # a moment later: SEMANTICS.md
        assert (reader / "a/c/1").read_bytes()[100:109] == b"and after"
        assert os.pread(chunk, 100, 0) == bytes([4]) * 100
    after = shown(reader)
    assert {name: after[name] for name in before if name != "a/c/1"} == {
        name: entry for name, entry in before.items() if name != "a/c/1"
    }
    assert history.status()["layers"] == 2
    assert list(verify(str(history.container))) == []


@keeps(
    "asking for it is an error that says into which one it was merged, and .arrayfs/versions has it no more",
    "What was opened of it before can be read to the end.",
)
def test_versions_that_are_open_can_be_read_to_the_end(history: Mounted) -> None:
    versions = history / ".arrayfs/versions"
    assert sorted(os.listdir(versions)) == ["0", "1", "2", "3", "4"]
    with opened(versions / "2/a/c/0", os.O_RDONLY) as old:
        compact(str(history.container), Keep(last=2))
        until(lambda: sorted(os.listdir(versions)) == ["3", "4"])
        assert os.pread(old, CHUNK, 0) == bytes([2]) * CHUNK
    assert (versions / "3/note").read_text() == "version 3"
    with refused(errno.ENOENT):
        os.stat(versions / "1")


@keeps("A version that a writer at work, or a journal, goes on from is not merged into a later one")
def test_a_mount_behind_others_keeps_its_version_until_it_has_committed(
    history: Mounted, place: Callable[..., Mounted]
) -> None:
    (history / "mine").write_text("not committed")
    other = place(history.container)
    other.mount()
    for number in range(3):
        (other / "yours").write_text(str(number))
        commit(other)
    report = compact(str(history.container))
    assert (report.kept, report.layers_after) == ((4,), 2)
    commit(history)
    until((other / "mine").exists)
    assert (history / "yours").read_text() == "2"
    assert compact(str(history.container)).layers_after == 1
    assert (history / "mine").read_text() == "not committed"


def test_readers_and_a_writer_at_work_while_versions_are_merged_again_and_again(
    history: Mounted, place: Callable[..., Mounted]
) -> None:
    reader = place(history.container)
    reader.mount("r")
    stop, seen, failures = threading.Event(), [0], list[object]()

    def read() -> None:
        last = 0
        while not stop.is_set():
            try:
                data = np.fromfile(reader / "a/c/0", np.uint8)
            except OSError as error:
                if error.errno == errno.ESTALE:
                    continue  # the file was replaced between its lookup and its reading
                failures.append(error)
                return
            if len(set(data.tolist())) != 1 or data[0] < last:
                failures.append(data)
                return
            last = int(data[0])
            seen[0] += 1

    def merge() -> None:
        while not stop.is_set():
            compact(str(history.container), Keep(last=2))

    threads = [threading.Thread(target=work) for work in (read, merge)]
    for thread in threads:
        thread.start()
    try:
        for value in range(5, 25):
            (history / "a/c/0").write_bytes(bytes([value]) * CHUNK)
            commit(history, str(value))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert seen[0]
    until(lambda: (reader / "a/c/0").read_bytes()[:1] == bytes([24]))
    history.umount()
    with Container.open(str(history.container)) as container:
        assert [version.message for version in container.versions()][5:] == [str(value) for value in range(5, 25)]


@keeps(
    "A compaction that is cut off has changed no content. What it leaves half done the next open for writing finishes."
)
def test_a_compaction_that_is_killed_is_finished_by_the_next_mount(
    history: Mounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: content for name, (_, _, content) in shown(history).items()}
    history.umount()
    monkeypatch.setattr("arrayfs.container.compact.finish", _die)
    with pytest.raises(KeyboardInterrupt):
        compact(str(history.container))
    assert len(list(history.container.parent.glob("*.af"))) == 5
    unfinished = history.container.parent / ".t.exchange.put"  # as one who was killed a moment earlier leaves it
    unfinished.write_bytes(b"{")
    history.mount("r")
    assert {name: content for name, (_, _, content) in shown(history).items()} == before
    history.remount()
    assert not unfinished.exists()
    assert {name: content for name, (_, _, content) in shown(history).items()} == before
    assert [path.name for path in history.container.parent.glob("*.af")] == ["t.af"]
    assert json.loads((history / "a/zarr.json").read_text())["shape"] == [4 * CHUNK]


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_a_tree_compacts_by_itself_where_that_is_wanted(tmp_path: Path) -> None:
    url = str(tmp_path / "t.af")
    Container.create(url)
    files = []
    for number in range(4):  # the end of each is a commit, and a look
        tree = open_writable_tree(url, compact_when=CompactWhen(layers=3))
        _write(tree, f"f{number}")
        tree.close()
        files.append(len(list(tmp_path.glob("*.af"))))
    assert files == [2, 3, 1, 2]
    tree = open_writable_tree(url, compact_when=CompactWhen(layers=3))
    for name in "gh":
        _write(tree, name)
        tree.commit()
        assert tree.look_after() is (name == "h")
    assert len(list(tmp_path.glob("*.af"))) == 1
    tree.refresh()
    assert len(tree.container.stack.layers) == 1
    assert [version.number for version in tree.container.versions()] == list(range(7))
    tree.close()


def _write(tree: Tree, name: str) -> None:
    attr = tree.create(1, name, 0o644, exclusive=True)
    handle = tree.open(attr.ino, write=True, truncate=False)
    handle.write(0, b"content")
    handle.flush()
    handle.release()
