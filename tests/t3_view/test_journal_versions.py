"""Versions and crashes between the calls about one thing: what an earlier mount knew, and a later one has to find out.

Each of these was a loss, or an answer that was wrong, in a run of scripts/torture.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import StaleError
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.takeup import take_up
from tests.t3_view.test_journal_crash import Client, State, put, shown
from tests.t3_view.test_journal_machine import image_of
from tests.t3_view.tree_model import v3

CHUNKS = [("mkdir", "x/c"), ("mkdir", "x/c/0"), *put("x/c/0/0", b"a"), ("mkdir", "x/c/2"), *put("x/c/2/0", b"b")]


class Mounts:
    """A container in memory and its client: `remount` ends normally, `crash` without a word."""

    def __init__(self) -> None:
        self._url = f"memory://{uuid.uuid4().hex}/t.af"
        Container.create(self._url)
        self._open()

    def _open(self) -> None:
        container = Container.open(self._url, "a")
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

    def crash(self) -> None:
        after = image_of(self._url)
        self.tree.container.close()
        self._url = after
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


def test_what_a_new_shape_cut_off_is_not_opened_by_its_old_number(mounts: Mounts) -> None:
    mounts.do(("mkdir", "x"), *put("x/zarr.json", v3((3, 3), (1, 1)).content), *CHUNKS)
    cut = mounts.client.ino("x/c/2/0")
    handle = mounts.tree.open(cut, write=False, truncate=False)
    mounts.do(*put("x/t", v3((1, 3), (1, 1)).content), ("rename", "x/t", "x/zarr.json"))
    with pytest.raises(StaleError):
        mounts.tree.open(cut, write=False, truncate=False)
    handle.release()
