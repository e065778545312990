"""A store's life: what becomes a version when, what readers and copies see, what a process leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import cpu
from zarr.core.sync import sync

from arrayfs import ZarrStore
from arrayfs.api import connection
from arrayfs.container.container import Container
from arrayfs.container.verify import verify
from arrayfs.errors import ConflictError, ReadOnlyError, RefusedError, VersionError
from arrayfs.view import keys
from arrayfs.view.tree import open_tree
from tests.t4_fuse.promises import ZARRSTORE, keeps


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "s.af")


def put(store: ZarrStore, key: str, content: bytes) -> None:
    store.set_sync(key, cpu.Buffer.from_bytes(content))


def get(store: ZarrStore, key: str) -> bytes | None:
    found = store.get_sync(key)
    return None if found is None else found.to_bytes()


def committed(path: str, key: str) -> bytes | None:
    """A value as the newest version has it, whoever is writing."""
    tree = open_tree(path)
    try:
        reading = keys.Keys(tree).plan(key)
        return None if reading is None else bytes(reading.fetch())
    finally:
        tree.close()


def versions(path: str) -> list[str]:
    with Container.open(path) as container:
        return [version.message for version in container.versions()]


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """A program of its own that uses the store."""
    begin = "import os, sys, pickle\nfrom arrayfs import ZarrStore\nfrom zarr.core.buffer import cpu\n"
    put = "def put(store, key, content): store.set_sync(key, cpu.Buffer.from_bytes(content))\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        [sys.executable, "-c", begin + put + code, *arguments],
        check=False,
        capture_output=True,
        timeout=60,
        env=environment,
    )


def forked(work: Callable[[], object]) -> int:
    """Do something in a process that is killed right after it; the signal, or 0 where it failed before."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        child = os.fork()
    if not child:
        try:
            work()
            os.kill(os.getpid(), SIGKILL)
        finally:
            os._exit(1)
    return os.WTERMSIG(os.waitpid(child, 0)[1])


# --- versions ---------------------------------------------------------------------------------------------------------


@keeps("One commit is one new file, however many chunks it has.", page=ZARRSTORE)
def test_what_is_set_is_a_version_after_commit(path: str) -> None:
    with ZarrStore(path) as store:
        put(store, "a/x", b"one")
        assert committed(path, "a/x") is None
        report = store.commit("first")
        assert report is not None
        assert report.version == store.version == 1
        assert committed(path, "a/x") == b"one"
        assert store.commit() is None
    assert versions(path) == ["", "first"]


@keeps("What is set is a version with commit(message), when the store is closed", page=ZARRSTORE)
def test_closing_commits_and_the_store_can_be_used_again(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")
    store.close()
    store.close()
    assert committed(path, "x") == b"1"
    assert get(store, "x") == b"1"
    put(store, "x", b"2")
    store.close()
    assert committed(path, "x") == b"2"


@keeps("when nobody has it any more", page=ZARRSTORE)
def test_a_store_that_nobody_has_any_more_commits(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")
    del store
    assert committed(path, "x") == b"1"


@keeps("and at the end of the interpreter.", "and at the end of its process", page=ZARRSTORE)
def test_the_end_of_the_interpreter_commits(path: str, tmp_path: Path) -> None:
    handed = tmp_path / "pickle"
    handed.write_bytes(pickle.dumps(ZarrStore(path, autocommit=60)))
    code = (
        "store = ZarrStore(sys.argv[1]); put(store, 'x', bytes(200_000))\n"
        "copy = pickle.load(open(sys.argv[2], 'rb')); put(copy, 'y', b'copy')"
    )
    done = run(code, path, str(handed))
    assert (done.returncode, done.stderr) == (0, b"")
    assert committed(path, "x") == bytes(200_000)
    assert committed(path, "y") == b"copy"


@pytest.mark.parametrize("is_copy", [False, True])
@keeps("a process that is killed loses nothing that was set", "its journal covers a kill", page=ZARRSTORE)
def test_what_a_killed_process_had_set_is_there_for_the_next_writer(path: str, is_copy: bool) -> None:
    handed = pickle.dumps(ZarrStore(path, autocommit=60))
    held = []

    def child() -> None:
        held.append(pickle.loads(handed) if is_copy else ZarrStore(path))
        put(held[0], "a/x", b"kept")

    assert forked(child) == SIGKILL
    assert committed(path, "a/x") is None
    with ZarrStore(path) as store:
        assert get(store, "a/x") == b"kept"


@keeps("read a version by number, tag or time", page=ZARRSTORE)
def test_earlier_versions_are_checked_out(path: str) -> None:
    store = ZarrStore(path)
    for content in (b"one", b"two"):
        put(store, "x", content)
        store.commit()
    older = store.checkout(1)
    assert get(older, "x") == b"one"
    assert older.read_only
    assert get(ZarrStore(path, version=2), "x") == b"two"
    with pytest.raises(ValueError, match="read-only"):
        put(older, "x", b"three")
    with pytest.raises(VersionError):
        get(store.checkout(7), "x")
    with pytest.raises(ReadOnlyError):
        older.tree.commit()


@keeps(
    "A store goes on with the version that it began with. refresh() shows what others committed since", page=ZARRSTORE
)
def test_what_others_commit_shows_after_refresh(path: str) -> None:
    one, other = ZarrStore(path), ZarrStore(path)
    put(one, "x", b"1")
    assert get(other, "x") is None
    one.commit()
    assert get(other, "x") is None
    assert other.refresh()
    assert get(other, "x") == b"1"
    assert not other.refresh()


@keeps("Where both changed the same, commit raises ConflictError and what was set stays", page=ZARRSTORE)
def test_a_conflict_keeps_what_was_set(path: str) -> None:
    one, other = ZarrStore(path), ZarrStore(path, on_conflict="ours")
    for store, content in ((one, b"1"), (other, b"2")):
        put(store, "x", content)
    other.commit()
    with pytest.raises(ConflictError, match="x"):
        one.commit()
    assert get(one, "x") == b"1"
    with pytest.raises(ConflictError):
        one.close()
    assert committed(path, "x") == b"2"


@keeps("shares the store's own view, with what it has set and not committed", page=ZARRSTORE)
def test_reading_stores_share_what_the_writer_has_set(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")
    reader = store.with_read_only(True)
    assert get(reader, "x") == b"1"
    store.close()
    assert get(reader, "x") == b"1"
    with pytest.raises(ValueError, match="read-only"):
        put(reader, "x", b"2")


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["plain", "chunk", "pending chunk"])
def test_parts_of_values(path: str, where: str) -> None:
    store, key = ZarrStore(path), "x" if where == "plain" else "c/0"
    if where != "plain":
        zarr.create_array(store, shape=(8,), chunks=(8,), dtype="u1", compressors=None, fill_value=9)
    put(store, key, b"01234567")
    if where != "pending chunk":
        store.commit()
    for part, expected in (
        (RangeByteRequest(2, 5), b"234"),
        (RangeByteRequest(6, 99), b"67"),
        (OffsetByteRequest(5), b"567"),
        (SuffixByteRequest(3), b"567"),
        (SuffixByteRequest(99), b"01234567"),
        (None, b"01234567"),
    ):
        assert store.get_sync(key, byte_range=part).to_bytes() == expected
        assert asyncio.run(store.get(key, byte_range=part)).to_bytes() == expected
    assert asyncio.run(store.getsize(key)) == 8


@pytest.mark.parametrize("key", ["", "/x", "a//b", "a/../b", ".", "x/", ".arrayfs/status.json", "a" * 256, "\udcff"])
@keeps('nor can "", a//b or ..', page=ZARRSTORE)
def test_keys_that_no_path_can_be_have_no_value(path: str, key: str) -> None:
    store = ZarrStore(path)
    assert get(store, key) is None
    assert not asyncio.run(store.exists(key))
    with pytest.raises(RefusedError):
        put(store, key, b"")
    assert store.commit() is None


def test_a_value_of_many_records(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ONE_RECORD", 10)
    monkeypatch.setattr(keys, "PIECE", 7)
    store, content = ZarrStore(path), bytes(range(100))
    put(store, "a/b/large", content)
    put(store, "a/b/large", content[::-1])
    assert get(store, "a/b/large") == content[::-1]
    store.close()
    assert committed(path, "a/b/large") == content[::-1]


@keeps("is one step, however many chunks there are", page=ZARRSTORE)
def test_an_array_is_removed_in_one_step(path: str) -> None:
    store = ZarrStore(path)
    array = zarr.create_array(store, name="g/a", shape=(300,), chunks=(1,), dtype="u1", compressors=None)
    array[:] = 7
    store.commit()
    assert len(os.listdir(os.path.dirname(path))) <= 4  # base, sidecar, lock, journal: not a file for each chunk
    sync(store.delete_dir("g"))
    assert sync(store.is_empty("g"))
    report = store.commit()
    assert report is not None
    assert report.chunks == 0  # a tombstone, not a hole for each chunk
    assert [str(finding) for finding in verify(path)] == []
    zarr.create_array(store, name="g/a", shape=(300,), chunks=(1,), dtype="u1", compressors=None, fill_value=3)
    assert (zarr.open_array(store, path="g/a")[:] == 3).all()


def test_chunks_of_one_row_are_removed(path: str) -> None:
    store = ZarrStore(path)
    array = zarr.create_array(store, name="a", shape=(4, 4), chunks=(2, 2), dtype="u1", compressors=None, fill_value=1)
    array[:] = 7
    for commit in (store.commit, lambda: None):
        array[:2] = 7
        commit()
        sync(store.delete_dir("a/c/0"))
        assert (array[:2] == 1).all()
        assert (array[2:] == 7).all()


@keeps("writes each operation down, one JSON object a line", page=ZARRSTORE)
def test_stats_and_log_say_what_was_done(path: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    store = ZarrStore(path, log=log)
    put(store, "x", b"123")
    get(store, "x")
    get(store, "y")
    store.delete_sync("x")
    assert store.stats() == {
        "set": {"count": 1, "bytes": 3, "missing": 0},
        "get": {"count": 2, "bytes": 3, "missing": 1},
        "delete": {"count": 1, "bytes": 0, "missing": 0},
    }
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["op"], line["key"], line.get("bytes")) for line in lines] == [
        ("set", "x", 3),
        ("get", "x", 3),
        ("get", "y", None),
        ("delete", "x", None),
    ]
    assert lines[2]["missing"]


# --- copies -----------------------------------------------------------------------------------------------------------


def copy(store: ZarrStore) -> ZarrStore:
    made: ZarrStore = pickle.loads(pickle.dumps(store))
    return made


@keeps("A store that is pickled commits first, so that every copy sees what it saw.", page=ZARRSTORE)
def test_pickling_commits_so_that_every_copy_sees_it(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")
    other = copy(store)
    assert committed(path, "x") == get(other, "x") == b"1"
    assert other == store
    put(store, "x", b"2")
    assert get(copy(store), "x") == b"2"  # they share a tree, which has to go on


def test_a_copy_sees_what_was_handed_over_though_another_has_changes(path: str) -> None:
    store = ZarrStore(path, autocommit=60)
    put(copy(store), "theirs", b"1")
    put(store, "x", b"2")
    other = copy(store)
    assert get(other, "x") == b"2"
    assert get(other, "theirs") == b"1"
    connection.close_all()


@keeps("it commits when nothing was set for autocommit seconds", page=ZARRSTORE)
def test_an_idle_copy_commits_by_itself(path: str) -> None:
    store = ZarrStore(path, autocommit=0.05)
    other = copy(store)
    put(other, "x", b"1")
    assert store.refresh(wait=30)
    assert get(store, "x") == b"1"


def test_a_copy_commits_when_it_is_closed(path: str) -> None:
    store = ZarrStore(path, autocommit=60)
    other = copy(store)
    put(other, "x", b"1")
    other.close()
    assert committed(path, "x") == b"1"
    connection.close_all()


@keeps("opens the container anew", page=ZARRSTORE)
def test_a_forked_child_opens_a_tree_of_its_own(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")
    store.commit()

    def child() -> None:
        put(store, "child", get(store, "x") or b"")
        store.commit()

    assert forked(child) == SIGKILL
    put(store, "y", b"2")
    store.commit()
    assert [committed(path, key) for key in ("x", "child", "y")] == [b"1", b"1", b"2"]


@keeps("it is refused every operation rather than be shown less than the parent sees", page=ZARRSTORE)
def test_a_forked_child_is_refused_what_its_parent_had_not_committed(path: str) -> None:
    store = ZarrStore(path)
    put(store, "x", b"1")

    def child() -> None:
        with pytest.raises(RefusedError, match="not committed"):
            get(store, "x")

    assert forked(child) == SIGKILL
    store.close()
    assert committed(path, "x") == b"1"


# --- sessions ---------------------------------------------------------------------------------------------------------


@keeps(
    "all that was set through the session by whichever process is published as one version",
    "What is set by a copy after the session's end is refused.",
    page=ZARRSTORE,
)
def test_a_session_is_one_version(path: str) -> None:
    store = ZarrStore(path)
    with store.session("all at once") as s:
        array = zarr.create_array(s, name="a", shape=(6,), chunks=(1,), dtype="i4", compressors=None, fill_value=0)
        copies = [copy(s) for _ in range(3)]
        for number, other in enumerate(copies):
            zarr.open_array(other, path="a", mode="r+")[number * 2 : number * 2 + 2] = number + 1
        array[0] = 9
        assert committed(path, "a/zarr.json") is None
    assert zarr.open_array(store, path="a", mode="r")[:].tolist() in ([1, 1, 2, 2, 3, 3], [9, 1, 2, 2, 3, 3])
    assert versions(path) == ["", "all at once"]
    assert [name for name in os.listdir(os.path.dirname(path)) if "session" in name] == []
    with pytest.raises(RefusedError, match="is over"):
        put(copies[0], "late", b"")


def test_a_session_belongs_to_the_process_that_began_it(path: str) -> None:
    with ZarrStore(path).session() as s:

        def child() -> None:
            with pytest.raises(RefusedError, match="pickle"):
                put(s, "x", b"1")

        assert forked(child) == SIGKILL
        put(s, "y", b"2")
    with pytest.raises(RefusedError, match="is over"):
        put(s, "z", b"3")
    assert [committed(path, key) for key in "xyz"] == [None, b"2", None]


@keeps("Copies of a session see what the session's own process had set when they were pickled.", page=ZARRSTORE)
def test_parts_of_a_session_are_merged(path: str) -> None:
    with ZarrStore(path).session() as s:
        other = copy(s)
        put(other, "x", b"1")
        first = other.part()
        put(other, "y", b"2")
        s.merge([first, None])
        assert (get(s, "x"), get(s, "y")) == (b"1", None)
        s.merge([other.part()])
        assert get(s, "y") == b"2"
        assert get(copy(s), "y") == b"2"
        assert s.part() is None
        with pytest.raises(RefusedError):
            other.merge([])
    assert [committed(path, key) for key in "xy"] == [b"1", b"2"]


def write_two(store: ZarrStore, content: bytes) -> None:
    put(store, "same", b"")
    put(store, "x", content)


@keeps("Two that set one key to different values make the end of the block raise ConflictError", page=ZARRSTORE)
def test_pieces_that_differ_are_not_published(path: str) -> None:
    store = ZarrStore(path)
    with pytest.raises(ConflictError, match="differ in 1 files: x"), store.session() as s:  # noqa: PT012
        handed = pickle.dumps(s)
        for number in range(2):
            assert forked(lambda: write_two(pickle.loads(handed), b"%d" % number)) == SIGKILL  # noqa: B023
    assert store.refresh() is False
    assert versions(path) == [""]


@keeps("by an exception, or when the process that began it is killed, nothing of it", page=ZARRSTORE)
def test_a_session_that_ends_by_an_exception_leaves_nothing(path: str) -> None:
    store = ZarrStore(path)
    with pytest.raises(KeyError), store.session() as s:  # noqa: PT012
        put(s, "x", b"1")
        put(copy(s), "y", b"2")
        raise KeyError
    assert versions(path) == [""]
    assert sorted(os.listdir(os.path.dirname(path))) == ["s.af", "s.lock"]


def test_what_a_killed_session_left_is_removed_by_the_next(path: str) -> None:
    def begin() -> None:
        session = ZarrStore(path).session()
        put(session.__enter__(), "x", b"1")
        os.kill(os.getpid(), SIGKILL)

    assert forked(begin) == SIGKILL
    assert [name for name in os.listdir(os.path.dirname(path)) if "session" in name]
    store = ZarrStore(path)
    with store.session() as s:
        assert get(s, "x") is None
    assert sorted(os.listdir(os.path.dirname(path))) == ["s.af", "s.lock"]


def test_values_are_what_they_were_for_every_look(path: str) -> None:
    """The store's arrays are native ones: a client without zarr sees them as numbers."""
    with ZarrStore(path) as store:
        array = zarr.create_array(store, name="a", shape=(3, 5), chunks=(2, 2), dtype="i2", compressors=None)
        array[:] = np.arange(15).reshape(3, 5)
    with Container.open(path) as container:
        assert container.get("a").spec.dtype.name == "Int16"
    two = zarr.open_array(ZarrStore(path, read_only=True, zarr_format=2), path="a", mode="r")
    assert np.array_equal(two[:], np.arange(15).reshape(3, 5))
