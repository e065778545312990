"""Large files that are written: on disk and not in memory, whatever they become; without room nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.container.large import LARGE
from arrayfs.store.scratch import Scratch
from arrayfs.view import spill
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.draft import PIECE_SIZE
from arrayfs.view.handles import OpenFile
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree

SIZE = LARGE + 2 * PIECE_SIZE + 3
LIMIT = 4 << 20
# What is written at a time comes on top, and a few documents.
HELD = LIMIT + PIECE_SIZE + 4096
NOISE = random.Random(1).randbytes(SIZE)
DOCUMENT = {
    "zarr_format": 3, "node_type": "array", "shape": [8], "data_type": "float16", "fill_value": 0,
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
}  # fmt: skip


class Mount:
    """A tree over a container on disk, which has the array `a` of opaque chunks, and what its client does."""

    def __init__(self, url: str) -> None:
        self.url = url
        Container.create(url)
        self.tree: Tree = open_writable_tree(url)
        array = self.tree.mkdir(ROOT, "a", 0o755).ino
        self.folder = self.tree.mkdir(array, "c", 0o755).ino
        self.write("zarr.json", json.dumps(DOCUMENT).encode(), folder=array)

    def begin(self, name: str, folder: int | None = None) -> OpenFile:
        folder = folder or self.folder
        return self.tree.make(folder, name, 0o644, exclusive=False, write=True, truncate=False)[1]  # type: ignore[return-value]

    def write(self, name: str, data: bytes, offset: int = 0, folder: int | None = None) -> None:
        handle = self.begin(name, folder)
        written(handle, data, offset)
        end(handle)

    def open(self, name: str, *, write: bool = False, folder: int | None = None) -> OpenFile:
        attr = self.tree.lookup(folder or self.folder, name)
        assert attr is not None
        return self.tree.open(attr.ino, write=write, truncate=False)  # type: ignore[return-value]

    def reads(self, name: str, content: bytes, folder: int | None = None) -> bool:
        handle = self.open(name, folder=folder)
        right = handle.size == len(content) and shows(handle, content)
        handle.release()
        return right

    def again(self, *, crash: bool = False) -> None:
        """Unmount and mount, or lose the daemon."""
        if not crash:
            self.tree.close()
        else:
            self.tree.journal.write()  # type: ignore[attr-defined]
            self.tree.journal._part.close()  # type: ignore[attr-defined]
            self.tree.container.pool.close()
            self.tree.container._hold = None
        self.tree = open_writable_tree(self.url)
        array = self.tree.lookup(ROOT, "a")
        assert array is not None
        found = self.tree.lookup(array.ino, "c")
        assert found is not None
        self.folder = found.ino


def written(handle: OpenFile, data: bytes, offset: int = 0) -> None:
    for start in range(0, len(data), PIECE_SIZE):
        handle.write(offset + start, data[start : start + PIECE_SIZE])


def end(handle: OpenFile) -> None:
    handle.flush()
    handle.release()


def shows(handle: OpenFile, content: bytes) -> bool:
    steps = range(0, len(content), 3 * PIECE_SIZE - 1)
    return all(bytes(handle.read(i, steps.step)) == content[i : i + steps.step] for i in steps)


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    monkeypatch.setattr(spill, "DRAFT_LIMIT", LIMIT)
    return Mount(str(tmp_path / "t.af"))


def held(tree: Tree) -> int:
    """Bytes in memory of what is being written, was written, or is kept for handles."""
    files = {*tree.being_written, *tree.files.unsettled}
    return tree.container.pool.raw_size + sum(file.draft.held for file in files if file.draft is not None)


def test_a_large_chunk_is_never_in_memory(mount: Mount) -> None:
    handle = mount.begin("0")
    written(handle, NOISE)
    assert held(mount.tree) <= HELD
    assert shows(handle, NOISE)
    end(handle)
    assert held(mount.tree) <= HELD
    assert mount.reads("0", NOISE)
    mount.tree.commit("first")
    assert mount.tree.files.spill.slots.size == 0
    assert mount.reads("0", NOISE)
    mount.again()
    assert mount.reads("0", NOISE)
    assert mount.tree.container.cache.size <= mount.tree.container.cache.limit


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("crash", [False, True], ids=["unmounted", "killed"])
def test_eight_bytes_cost_eight_bytes_of_the_journal(mount: Mount, committed: bool, crash: bool) -> None:
    mount.write("0", NOISE)
    if committed:
        mount.tree.commit("first")
    mount.tree.sync()
    size = mount.tree.journal.size  # type: ignore[attr-defined]
    for number in range(3):
        mount.write("0", b"changed!", PIECE_SIZE * number + 5)
        assert mount.tree.files.spill.slots.size <= SIZE + 4 * PIECE_SIZE
    mount.tree.sync()
    assert mount.tree.journal.size < size + 1000  # type: ignore[attr-defined]
    content = bytearray(NOISE)
    for number in range(3):
        content[PIECE_SIZE * number + 5 : PIECE_SIZE * number + 13] = b"changed!"
    assert mount.reads("0", bytes(content))
    mount.again(crash=crash)
    assert mount.reads("0", bytes(content))


def test_a_temporary_file_beside_the_chunks_becomes_one_without_being_stored_twice(
    mount: Mount, tmp_path: Path
) -> None:
    mount.write("0.tmp", NOISE)
    assert held(mount.tree) <= HELD
    mount.tree.rename(mount.folder, "0.tmp", mount.folder, "0", no_replace=False)
    assert mount.reads("0", NOISE)
    mount.tree.commit("")
    assert mount.reads("0", NOISE)
    assert os.path.getsize(tmp_path / "t.1.af") < SIZE + 10_000


def test_a_large_file_from_elsewhere_becomes_a_chunk_and_a_chunk_a_file(mount: Mount) -> None:
    tree = mount.tree
    mount.write("file", NOISE, folder=ROOT)
    tree.rename(ROOT, "file", mount.folder, "1", no_replace=False)
    assert mount.reads("1", NOISE)
    assert held(tree) <= HELD
    mount.again()
    assert mount.reads("1", NOISE)
    mount.tree.rename(mount.folder, "1", ROOT, "file", no_replace=False)
    mount.tree.rename(mount.folder, "1", ROOT, "file", no_replace=False) if mount.tree.lookup(
        mount.folder, "1"
    ) else None
    assert mount.reads("file", NOISE, folder=ROOT)
    mount.again()
    assert mount.reads("file", NOISE, folder=ROOT)


def test_two_names_of_a_large_file(mount: Mount) -> None:
    mount.write("1", NOISE)
    attr = mount.tree.lookup(mount.folder, "1")
    assert attr is not None
    mount.tree.link(attr.ino, mount.folder, "2")
    mount.tree.link(attr.ino, ROOT, "file")
    mount.tree.unlink(mount.folder, "1")
    assert mount.reads("2", NOISE)
    mount.again()
    assert mount.reads("2", NOISE)
    assert mount.reads("file", NOISE, folder=ROOT)


@pytest.mark.parametrize("name", ["0", "readme"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_removed_while_open(mount: Mount, name: str, when: str) -> None:
    """Whether it was committed before or not: its handles read on, over commits, and may write."""
    mount.write(name, NOISE)
    if when == "before":
        mount.tree.commit("")
    handle = mount.open(name, write=True)
    reader = mount.open(name)
    mount.tree.unlink(mount.folder, name)
    assert held(mount.tree) <= HELD
    mount.write("other", b"x")
    mount.tree.commit("")
    assert shows(reader, NOISE)
    handle.write(3, b"changed")
    mount.tree.commit("")
    assert shows(handle, NOISE[:3] + b"changed" + NOISE[10:])
    reader.release()
    end(handle)
    assert mount.tree.lookup(mount.folder, name) is None


def test_a_commit_while_it_is_written_takes_the_old_content(mount: Mount) -> None:
    mount.write("0", NOISE)
    handle = mount.open("0", write=True)
    written(handle, NOISE[::-1])
    mount.tree.commit("")
    assert shows(handle, NOISE[::-1])
    older = Container.open(mount.url)
    array = older.get(next(name for name in older.names_of_arrays() if "chunks" in name))
    assert older.read(array, (0,)) == bytes(4) + SIZE.to_bytes(4, "little") + NOISE
    older.close()
    end(handle)
    mount.again(crash=True)
    assert mount.reads("0", NOISE[::-1])


def test_a_large_native_chunk(mount: Mount) -> None:
    """Stored byte by byte where it lies inside the shape, and cut where it does not."""
    length = SIZE // 4 + 1
    document = DOCUMENT | {
        "data_type": "float32", "shape": [length + 5],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
    }  # fmt: skip
    folder = mount.tree.mkdir(ROOT, "n", 0o755).ino
    mount.write("zarr.json", json.dumps(document).encode(), folder=folder)
    chunks = mount.tree.mkdir(folder, "c", 0o755).ino
    content = NOISE + b"x" * (4 * length - SIZE)
    for name in ("0", "1"):
        mount.write(name, content, folder=chunks)
    assert mount.reads("0", content, folder=chunks)
    mount.tree.commit("")
    assert mount.reads("0", content, folder=chunks)
    assert mount.reads("1", content[:20] + bytes(4 * length - 20), folder=chunks)
    mount.write("0", b"1234", 8, folder=chunks)
    assert mount.reads("0", content[:8] + b"1234" + content[12:], folder=chunks)


def test_where_the_disk_has_no_room_the_write_is_refused_and_what_was_there_stays(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount.write("0", NOISE)
    mount.tree.commit("")
    handle = mount.open("0", write=True)
    with monkeypatch.context() as full:
        full.setattr(Scratch, "write", failing(errno.ENOSPC))
        with pytest.raises(OSError, match="no room") as caught:
            written(handle, NOISE[::-1])
        assert caught.value.errno == errno.ENOSPC
        assert held(mount.tree) <= HELD
        with pytest.raises(OSError, match="no room"):
            handle.flush()
    written(handle, NOISE[::-1])
    end(handle)
    mount.again()
    assert mount.reads("0", NOISE[::-1])


def failing(code: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, "no room")

    return fail


def test_many_files_that_are_written_at_once_share_the_memory(mount: Mount) -> None:
    handles = [mount.begin(f"file{number}") for number in range(12)]
    for step in range(3):
        for number, handle in enumerate(handles):
            handle.write(step * PIECE_SIZE, bytes([number]) * PIECE_SIZE)
            assert held(mount.tree) <= HELD
    for number, handle in enumerate(handles):
        assert shows(handle, bytes([number]) * 3 * PIECE_SIZE)
        end(handle)
    mount.again()
    assert all(mount.reads(f"file{number}", bytes([number]) * 3 * PIECE_SIZE) for number in range(12))
