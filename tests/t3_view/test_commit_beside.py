"""Others go on while a commit packs and syncs."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import open_tree
from tests.t2_container.faults import Fault, FaultStore, use

# Seconds after which something that should not wait is taken to wait.
PATIENCE = 30
OLD, NEW = b"o" * 4096, b"n" * 4096


@dataclass(slots=True)
class Meanwhile(Fault):
    """`act` is done, in another thread, before the first call `name` after `armed` is set."""

    name: str = ""
    act: Callable[[], None] = lambda: None
    armed: bool = False
    failure: list[BaseException] = field(default_factory=list)
    done: bool = False

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        if self.armed and name == self.name:
            self.armed = False
            thread = threading.Thread(target=self._run, daemon=True)
            thread.start()
            thread.join(PATIENCE)
            self.done = not thread.is_alive()
        with Fault.call(self, name):
            yield

    def _run(self) -> None:
        try:
            self.act()
        except BaseException as error:  # noqa: BLE001  shown by the test
            self.failure.append(error)


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> Iterator[JournaledTree]:
    """With one committed file, `old`, and one that is not committed yet, `new`."""
    for name, value in (("WORTH", 1), ("STEP", 1), ("PAUSE", 0)):
        monkeypatch.setattr(f"arrayfs.container.prepare.{name}", value)
    store = FaultStore()
    Container.create(f"{store.url}/t.af")
    container = Container.open(use(monkeypatch, store), "a", ContainerOptions(PoolOptions()))
    tree = JournaledTree(container)
    put(tree, "old", OLD)
    tree.commit()
    put(tree, "new", NEW)
    yield tree
    tree.close()


def put(tree: JournaledTree, name: str, data: bytes) -> None:
    made = tree.create(ROOT, name, 0o644, False)
    handle = tree.open(made.ino, write=True, truncate=True)
    handle.write(0, data)
    handle.flush()
    handle.release()


def get(tree: JournaledTree, name: str) -> bytes:
    found = tree.lookup(ROOT, name)
    assert found is not None, name
    handle = tree.open(found.ino, write=False, truncate=False)
    data = bytes(handle.read(0, 1 << 20))
    handle.release()
    return data


def commit_with(tree: JournaledTree, act: Callable[[], None], call: str = "sync") -> Meanwhile:
    store = tree.container.store
    assert isinstance(store, FaultStore)
    store.fault = meanwhile = Meanwhile(name=call, act=act, armed=True)
    tree.commit()
    store.fault = Fault()
    assert not meanwhile.failure
    return meanwhile


@pytest.mark.parametrize("name", ["old", "new"])
def test_readers_do_not_wait_for_the_sync_of_a_commit(tree: JournaledTree, name: str) -> None:
    read: list[bytes] = []
    assert commit_with(tree, lambda: read.append(get(tree, name))).done
    assert read == [{"old": OLD, "new": NEW}[name]]


def test_what_is_written_during_the_sync_is_in_the_version(tree: JournaledTree) -> None:
    assert commit_with(tree, lambda: put(tree, "late", b"late")).done
    with open_tree(f"{tree.container.store.url}/t.af").container as reader:
        assert ".arrayfs/files/late" in reader


@pytest.mark.parametrize("act", ["rewrite", "remove"])
def test_what_is_packed_and_then_changes_is_committed_as_it_is(tree: JournaledTree, act: str) -> None:
    acts = {"rewrite": lambda: put(tree, "new", b"newer"), "remove": lambda: tree.unlink(ROOT, "new")}
    assert commit_with(tree, acts[act]).done
    with open_tree(f"{tree.container.store.url}/t.af").container as reader:
        assert (".arrayfs/files/new" in reader) == (act == "rewrite")
    if act == "rewrite":
        assert get(tree, "new") == b"newer"


@pytest.mark.parametrize("act", ["look", "rewrite", "remove", "rename back", "rename on"])
def test_blocks_of_what_was_renamed_are_copied_before_the_lock(tree: JournaledTree, act: str) -> None:
    tree.rename(ROOT, "old", ROOT, "moved", no_replace=False)
    copied: list[int] = []

    def meanwhile() -> None:
        copied.append(len(tree.container.pool.part))
        if act == "rewrite":
            put(tree, "moved", b"newer")
        elif act == "remove":
            tree.unlink(ROOT, "moved")
        elif act != "look":
            tree.rename(ROOT, "moved", ROOT, {"rename back": "old", "rename on": "further"}[act], no_replace=False)

    assert commit_with(tree, meanwhile).done
    assert copied == [2]  # one block of `new`, and one of `old`
    layer = tree.container.stack.newest
    of_rewriting, of_extension = int(act == "rewrite"), 1
    assert len(layer.footer.blocks) == copied[0] + of_rewriting + of_extension
    with open_tree(f"{tree.container.store.url}/t.af").container as reader:
        files = {name.removeprefix(".arrayfs/files/") for name in reader.names_of_arrays()}
    name = {"rename back": "old", "rename on": "further", "remove": None}.get(act, "moved")
    assert files == {"new", name} - {None}
    if name is not None:
        assert get(tree, name) == (b"newer" if act == "rewrite" else OLD)


def test_copies_of_a_commit_that_came_second_are_made_again(
    tree: JournaledTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arrayfs.container.prepare.WORTH", 1 << 40)
    tree.rename(ROOT, "old", ROOT, "moved", no_replace=False)

    def be_first() -> None:
        with open_tree(f"{tree.container.store.url}/t.af", mode="a").container as other:
            other.define("other", other.get(".arrayfs/files/old").spec, {})

    assert commit_with(tree, be_first).done
    assert tree.container.stack.newest.name == "t.3.af"
    assert get(tree, "moved") == OLD


def test_two_commits_at_once_are_one_after_the_other(tree: JournaledTree) -> None:
    second = threading.Thread(target=tree.commit, daemon=True)
    commit_with(tree, second.start)
    second.join(PATIENCE)
    assert not second.is_alive()
    assert tree.container.version == 2
    assert get(tree, "new") == NEW


def test_a_sync_that_fails_before_the_commit_is_the_answer_and_the_next_commit_works(tree: JournaledTree) -> None:
    store = tree.container.store
    assert isinstance(store, FaultStore)

    def fail_next() -> None:
        store.fault.at, store.fault.code = store.fault.calls + 1, errno.EIO

    with pytest.raises(OSError, match="Input/output"):
        commit_with(tree, fail_next)
    assert store.fault.log[-1] == "sync"
    store.fault = Fault()
    report = tree.commit()
    assert report is not None
    assert report.sidecar == "t.2.af"
    assert get(tree, "new") == NEW
