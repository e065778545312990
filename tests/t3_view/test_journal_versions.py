"""Versions and crashes between the calls about one thing: what an earlier mount knew, and a later one has to find out.

Each of these was a loss, or an answer that was wrong, in a run of scripts/torture.
"""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from arrayfs.container import commit
from arrayfs.container.container import Container
from arrayfs.container.layer import Layer
from arrayfs.errors import StaleError
from arrayfs.store import open_store
from arrayfs.store.memory import MemoryPart
from arrayfs.view.attr import Attr
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.numbers import ROOT
from arrayfs.view.takeup import take_up
from tests.t3_view.test_journal_crash import Client, State, put, shown
from tests.t3_view.test_journal_machine import image_of
from tests.t3_view.tree_model import v3

CHUNKS = [("mkdir", "x/c"), ("mkdir", "x/c/0"), *put("x/c/0/0", b"a"), ("mkdir", "x/c/2"), *put("x/c/2/0", b"b")]


class Mounts:
    """A container in memory and its client: `remount` ends normally, `crash` without a word."""

    def __init__(self) -> None:
        self.url = f"memory://{uuid.uuid4().hex}/t.af"
        Container.create(self.url)
        self._open()

    def _open(self) -> None:
        container = Container.open(self.url, "a")
        take_up(container)
        self.reports = container.warnings
        self.tree = JournaledTree(container)
        self.client = Client(self.tree)

    def do(self, *calls: tuple[object, ...]) -> None:
        for call in calls:
            self.client.do(call)

    def state(self) -> State:
        return shown(self.tree)

    def remount(self) -> None:
        self.tree.close()
        self._open()

    def crash(self, image: str | None = None) -> None:
        """image: where what was left behind is, by default all that is there now."""
        after = image or image_of(self.url)
        self.tree.container.close()
        self.url = after
        self._open()


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    made = Mounts()
    yield made
    made.tree.container.close()


def test_a_file_without_a_name_is_written_after_a_commit(mounts: Mounts) -> None:
    mounts.do(("create", "f"), ("unlink", "f"), ("mkdir", "d"), ("commit",))
    mounts.client.handles["f"].write(0, b"nobody finds it")
    mounts.do(("mkdir", "e"), ("flush", "f"), ("release", "f"), ("mkdir", "g"))
    mounts.crash()
    assert mounts.state() == {"d": None, "e": None, "g": None}


def test_a_directory_whose_only_file_is_not_closed_is_in_a_version(mounts: Mounts) -> None:
    mounts.do(("mkdir", "d"), ("mkdir", "d/e"), ("create", "d/e/f"), ("write", "d/e/f", 0, b"open"), ("commit",))
    mounts.do(("mkdir", "g"))
    mounts.crash()
    assert mounts.state() == {"d": None, "d/e": None, "d/e/f": b"open", "g": None}
    mounts.do(("unlink", "d/e/f"), ("rmdir", "d/e"), ("rmdir", "d"))
    mounts.remount()
    assert mounts.state() == {"g": None}


@pytest.mark.parametrize("mounted_again", [False, True])
def test_directories_stay_when_their_chunks_are_cut_off(mounts: Mounts, mounted_again: bool) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS, ("commit",))
    if mounted_again:
        mounts.remount()
    smaller = v3((1, 3), (1, 1)).content
    mounts.do(*put("x/t", smaller), ("rename", "x/t", "x/zarr.json"))
    expected = {"x": None, "x/zarr.json": smaller, "x/c": None, "x/c/0": None, "x/c/0/0": b"a", "x/c/2": None}
    assert mounts.state() == expected
    mounts.remount()
    assert mounts.state() == expected
    mounts.do(("rmdir", "x/c/2"))
    mounts.crash()
    del expected["x/c/2"]
    assert mounts.state() == expected


def test_an_array_whose_document_went_before_a_version_can_be_removed(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), ("commit",))
    mounts.do(("unlink", "x/zarr.json"), ("commit",), ("rmdir", "x"))
    mounts.crash()
    assert mounts.state() == {}


@pytest.mark.parametrize("native", [True, False])
def test_a_group_moves_with_arrays_that_nobody_has_looked_at(mounts: Mounts, native: bool) -> None:
    document = v3((3, 3), (1, 1), native=native).content
    mounts.do(("mkdir", "x"), *put("x/zarr.json", document), *CHUNKS, ("mkdir", "g"), ("rename", "x", "g/x"))
    mounts.remount()
    mounts.do(("rename", "g", "h"))
    expected = {"h": None, "h/x": None, "h/x/zarr.json": document, "h/x/c": None}
    expected |= {"h/x/c/0": None, "h/x/c/0/0": b"a", "h/x/c/2": None, "h/x/c/2/0": b"b"}
    assert mounts.state() == expected
    mounts.crash()
    assert mounts.state() == expected


def test_a_chunk_known_by_its_handle_is_removed_after_a_new_shape(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS)
    mounts.remount()
    mounts.do(("open", "x/c/0/0"), ("write", "x/c/0/0", 0, b"A"), ("flush", "x/c/0/0"), ("release", "x/c/0/0"))
    mounts.do(*put("x/t", v3((3, 1), (1, 1)).content), ("rename", "x/t", "x/zarr.json"))
    mounts.do(("unlink", "x/c/0/0"), ("rmdir", "x/c/0"))
    mounts.crash()
    assert sorted(mounts.state()) == ["x", "x/c", "x/c/2", "x/c/2/0", "x/zarr.json"]


def test_a_chunk_keeps_the_number_it_is_known_by_when_its_array_outgrows_them(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS)
    mounts.remount()
    known = mounts.client.ino("x/c/0/0")
    mounts.do(*put("x/t", v3((3, 5), (1, 1)).content), ("rename", "x/t", "x/zarr.json"))
    handle = mounts.tree.open(known, write=False, truncate=False)
    assert handle.ino == known == mounts.client.ino("x/c/0/0")
    assert bytes(handle.read(0, 9)) == b"a"
    handle.release()


def test_a_directory_is_known_by_its_number_when_its_array_outgrew_that_and_went(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS)
    mounts.remount()
    known = mounts.client.ino("x/c/2")
    mounts.do(*put("x/t", v3((3, 5), (1, 1)).content), ("rename", "x/t", "x/zarr.json"))
    mounts.do(("unlink", "x/zarr.json"), ("commit",))
    mounts.tree.unlink(known, "0")
    mounts.do(("rmdir", "x/c/2"))
    assert mounts.state() == {"x": None, "x/c": None, "x/c/0": None, "x/c/0/0": b"a"}


def test_what_a_new_shape_cut_off_is_not_opened_by_its_old_number(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS)
    cut = mounts.client.ino("x/c/2/0")
    handle = mounts.tree.open(cut, write=False, truncate=False)
    mounts.do(*put("x/t", v3((1, 3), (1, 1)).content), ("rename", "x/t", "x/zarr.json"))
    with pytest.raises(StaleError):
        mounts.tree.open(cut, write=False, truncate=False)
    handle.release()


def test_half_of_a_rewrite_is_no_whole_chunk_after_a_version(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((8,), (4,)).content), ("mkdir", "x/c"), *put("x/c/0", b"abcd"))
    mounts.do(("open", "x/c/0"), ("write", "x/c/0", 1, b"X"), ("commit",), ("mkdir", "d"))
    mounts.crash()
    assert mounts.state()["x/c/0"] == b"abcd"


def test_a_chunk_begun_before_a_version_and_ended_after_it_is_whole(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((8,), (4,)).content), ("mkdir", "x/c"), *put("x/c/0", b"abcd"))
    mounts.do(
        ("open", "x/c/0"), ("write", "x/c/0", 0, b"AB"), ("commit",), ("write", "x/c/0", 2, b"CD"), ("mkdir", "d")
    )
    mounts.crash()
    assert mounts.state()["x/c/0"] == b"ABCD"


@pytest.mark.parametrize("late", [False, True], ids=["before it is published", "after"])
def test_what_nobody_has_closed_survives_an_end_within_a_commit(
    mounts: Mounts, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    mounts.do(*put("f", b"old"), ("open", "f"), ("write", "f", 3, b" and new"), ("mkdir", "d"))
    images = []
    publish = Container._publish

    def publish_and_look(container: Container, *arguments: object) -> object:
        if not late:
            images.append(image_of(mounts.url))
        layer = publish(container, *arguments)  # type: ignore[arg-type]
        if late:
            images.append(image_of(mounts.url))
        return layer

    monkeypatch.setattr(Container, "_publish", publish_and_look)
    mounts.do(("commit",))
    monkeypatch.undo()
    mounts.crash(images[0])
    assert mounts.state() == {"d": None, "f": b"old and new"}
    assert not [name for name in mounts.tree.container.store.list() if ".log-" in name]


def test_a_commit_that_failed_and_happened_all_the_same_ends_its_journal(
    mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts.do(("mkdir", "d"))
    publish = commit.publish

    def published_and_failed(*arguments: object) -> object:
        published = publish(*arguments)  # type: ignore[arg-type]
        assert published is not None
        for kept in published:
            kept.close() if isinstance(kept, Layer) else kept.release()
        raise OSError(errno.EIO, "the reply was lost")

    monkeypatch.setattr("arrayfs.container.container.publish", published_and_failed)
    with pytest.raises(OSError, match="the reply was lost"):
        mounts.tree.commit("message")
    monkeypatch.undo()
    mounts.do(("mkdir", "e"))
    mounts.crash()
    assert mounts.state() == {"d": None, "e": None}


def test_a_journal_begun_within_a_commit_goes_before_the_one_that_it_repeats(
    mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts.do(*put("f", b"f"), ("open", "f"), ("commit",), ("mkdir", "d"))
    images = []
    publish = Container._publish

    def look_and_publish(container: Container, *arguments: object) -> object:
        images.append(image_of(mounts.url))
        return publish(container, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Container, "_publish", look_and_publish)
    mounts.do(("commit",))
    monkeypatch.undo()
    store, _ = open_store(images[0])
    assert len([name for name in store.list() if ".log-" in name]) == 2
    calls = count(1)
    discard = MemoryPart.discard

    def discard_first(part: MemoryPart) -> None:
        if next(calls) > 1:
            raise OSError(errno.EIO, "the process has ended")
        discard(part)

    monkeypatch.setattr(MemoryPart, "discard", discard_first)
    container = Container.open(images[0], "a")
    with pytest.raises(OSError, match="the process has ended"):
        take_up(container)
    container.close()
    monkeypatch.undo()
    mounts.crash(images[0])
    assert mounts.state() == {"d": None, "f": b"f"}
    assert not any("left alone" in report for report in mounts.reports)
    assert not [name for name in store.list() if ".log-" in name]


def test_a_commit_of_nothing_keeps_what_nobody_has_closed(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts.do(("create", "f"), ("write", "f", 0, b"new"), ("mkdir", "d"), ("commit",))
    mounts.do(("create", "g"), ("unlink", "g"))
    images = []
    discard = MemoryPart.discard

    def look_and_discard(part: MemoryPart) -> None:
        images.append(image_of(mounts.url))
        discard(part)
        images.append(image_of(mounts.url))

    monkeypatch.setattr(MemoryPart, "discard", look_and_discard)
    mounts.do(("commit",))
    monkeypatch.undo()
    assert len(images) == 2
    for image in images:
        mounts.crash(image)
        assert mounts.state() == {"d": None, "f": b"new"}
        assert not [name for name in mounts.tree.container.store.list() if ".log-" in name]


@pytest.mark.parametrize("native", [True, False], ids=["native", "opaque"])
def test_another_name_of_a_chunk_stays_when_the_chunk_goes(mounts: Mounts, native: bool) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((4,), (2,), native=native).content), ("mkdir", "x/c"))
    mounts.do(*put("x/c/0", b"ab"), *put("x/c/1", b"cd"), ("commit",))
    mounts.remount()
    mounts.do(("link", "x/c/0", "a"), ("unlink", "x/c/0"), ("link", "x/c/1", "b"), *put("new", b"ef"))
    mounts.do(("rename", "new", "x/c/1"))
    for _ in range(2):
        state = mounts.state()
        assert (state["a"], state["b"], state["x/c/1"], "x/c/0" in state) == (b"ab", b"cd", b"ef", False)
        mounts.crash()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("x/c/0", b"ab", b"cd"), ("x/zarr.json", v3((4,), (2,)).content, v3((3,), (2,)).content), ("f", b"ab", b"")],
    ids=["chunk", "document", "plain"],
)
def test_what_is_written_by_the_second_name_of_a_file_after_a_commit(
    mounts: Mounts, name: str, old: bytes, new: bytes
) -> None:
    """The version has two files; the journal that came after it knew one of the names, and wrote to that."""
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((4,), (2,)).content), ("mkdir", "x/c"))
    mounts.do(*put(name, old), ("link", name, "other"), ("commit",))
    mounts.do(("open", "other"), ("truncate", "other", 0), ("write", "other", 0, new), ("flush", "other"))
    mounts.do(("release", "other"))
    assert mounts.state()["other"] == mounts.state()[name] == new
    before = mounts.state()
    mounts.crash()
    assert mounts.state() == before


def test_a_commit_waits_until_a_new_file_is_open(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    """In between it left out the file, which nobody had closed, and the next journal began without it."""
    tree, create = mounts.tree, mounts.tree.create
    with ThreadPoolExecutor(1) as commits:

        def create_while_another_commits(parent: int, name: str, mode: int, exclusive: bool) -> Attr:
            made = create(parent, name, mode, exclusive)
            commit = commits.submit(commit_if_free, tree)
            assert not commit.result()
            return made

        monkeypatch.setattr(tree, "create", create_while_another_commits)
        _, file = tree.make(ROOT, "new", 0o644, exclusive=True, write=True, truncate=False)
    file.write(0, b"content")
    file.flush()
    mounts.crash()
    assert mounts.state()["new"] == b"content"


def commit_if_free(tree: JournaledTree) -> bool:
    if not tree.container.lock.acquire(blocking=False):
        return False
    tree.commit()
    tree.container.lock.release()
    return True
