"""Another writer, or a reader, is let in at every store call: what either side was told is there afterwards."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass

import pytest

from arrayfs.container import opening
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.verify import verify
from arrayfs.errors import ConflictError, EntryExistsError
from arrayfs.format.naming import ContainerNames
from arrayfs.store import MemoryStore
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.takeup import take_up
from arrayfs.view.tree import Tree, open_tree
from tests.conftest import Tell
from tests.t2_container.faults import Fault, FaultStore, Stop, VisitedFault, is_locked
from tests.t3_view.test_journal_crash import CALLS, OPTIONS, Client, State, abandon, empty, opened, run, shown, states

__all__ = ["empty", "states"]  # fixtures

NAMES = ContainerNames("t")
THEIRS = {"theirs/note": b"of the visitor", "theirs": None}


def container_in(store: MemoryStore, *, read_only: bool = False, on_conflict: str = "fail") -> Container:
    """The container as another process sees it, without the faults."""
    options = ContainerOptions(OPTIONS.pool, OPTIONS.cache_size, on_conflict)  # type: ignore[arg-type]
    container = Container(store, NAMES, opening.open_stack(store, NAMES), options, read_only=read_only)
    if not read_only:
        take_up(container)
    return container


@dataclass
class Writer:
    """Commits a file of its own. acknowledged: it was told that this is durable."""

    store: MemoryStore
    path: str = "theirs/note"
    acknowledged: bool = False
    refused: bool = False

    def __call__(self) -> None:
        if is_locked(self.store):
            return
        container = container_in(self.store)
        tree = JournaledTree(container)
        client = Client(tree)
        directory, _, _ = self.path.rpartition("/")
        if directory and tree.lookup(1, directory) is None:
            client.do(("mkdir", directory))
        client.do(("create", self.path))
        client.do(("open", self.path))
        client.do(("write", self.path, 0, b"of the visitor"))
        client.do(("flush", self.path))
        client.do(("release", self.path))
        try:
            tree.commit("a visit")
            self.acknowledged = True
        except ConflictError:
            self.refused = True
        if self.refused:
            container.discard()
        tree.close()


def recovered(store: FaultStore, *, unsynced: bool, on_conflict: str = "fail") -> State:
    image = MemoryStore(f"{store.url.removeprefix('memory://')}-{unsynced}-{on_conflict}")
    for name, data in store.left(unsynced=unsynced).items():
        if not name.endswith(".lock"):
            image.put(name, data, replace=False)
    tree = JournaledTree(container_in(image, on_conflict=on_conflict))
    state = shown(tree)
    assert not [name for name in image.list() if ".log-" in name], tree.warnings
    tree.close()
    assert list(verify(f"{image.url}/t.af")) == []
    for name in image.list():
        image.delete(name)
    return state


def test_a_writer_that_comes_in_at_any_call_and_a_process_that_stops_at_any_later_one(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State], tell: Tell
) -> None:
    explored = landed = 0
    for at in range(1, 10_000):
        came = False
        for later in (0, (1, 2, 5, 17)[at % 4]):
            store = FaultStore(empty)
            client = Client(opened(monkeypatch, store))
            writer = Writer(store.inner)
            stop = at + later if later else 0
            store.fault = VisitedFault(at=stop, late=bool(stop % 2), visited=at, visitor=writer)
            with suppress(Stop):
                run(client, CALLS)
            came = store.fault.calls >= at
            theirs = THEIRS if writer.acknowledged else {}
            landed += writer.acknowledged
            for unsynced in (True, False):
                low, high = client.safe if unsynced else client.synced, client.made + 1
                expected = [state | theirs for state in states[low : high + 1]]
                assert recovered(store, unsynced=unsynced) in expected, (at, later, client.made)
                explored += 1
            abandon(client)
            if not came:
                break
        if not came:
            break
    assert landed > 100
    tell(f"{explored} states after a visit")


def test_a_writer_of_the_same_file_that_comes_in_at_any_call(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State]
) -> None:
    """The second is refused, and its work is in its journal; whoever settles it so that it wins has all of it."""
    ours_refused = 0
    for at in range(1, 10_000):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        writer = Writer(store.inner, "e")
        store.fault = VisitedFault(visited=at, visitor=writer)
        try:
            run(client, CALLS)
        except ConflictError:
            ours_refused += 1
            assert writer.acknowledged
            with client.tree.container.lock:
                client.tree.journal.write()
            won = recovered(store, unsynced=True, on_conflict="ours")
            assert won == won | states[client.made], at
        except EntryExistsError:
            pass  # the visitor came so early that a commit showed its file before ours was made
        came = store.fault.calls >= at
        abandon(client)
        if not came:
            break
    assert ours_refused


def test_a_reader_that_comes_in_at_any_call_sees_one_version(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes]
) -> None:
    versions: list[State] = [{}]
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    for call in CALLS:
        client.do(call)
        if call[0] == "commit":
            with closing(open_tree(f"{store.inner.url}/t.af")) as tree:
                versions.append(shown(tree))
    client.tree.close()
    with closing(open_tree(f"{store.inner.url}/t.af")) as tree:
        versions.append(shown(tree))
    for at in range(1, 10_000):
        store = FaultStore(empty)
        client = Client(opened(monkeypatch, store))
        following = Tree(container_in(store.inner, read_only=True))
        seen: list[State] = []

        def look(store: FaultStore = store, following: Tree = following, seen: list[State] = seen) -> None:
            fresh = Tree(container_in(store.inner, read_only=True))
            following.refresh()
            seen.extend((shown(fresh), shown(following)))
            fresh.close()

        store.fault = VisitedFault(visited=at, visitor=look)
        run(client, CALLS)
        client.tree.close()
        if not seen:
            break
        assert seen[0] == seen[1]
        assert seen[0] in versions, at
        following.refresh()
        assert shown(following) == versions[-1]
        following.close()


@pytest.mark.parametrize("end", [18, len(CALLS) - 8])
def test_a_writer_that_comes_in_while_a_journal_is_taken_up(
    monkeypatch: pytest.MonkeyPatch, empty: dict[str, bytes], states: list[State], end: int
) -> None:
    """Both find the journal. Whichever takes it up, it is done once, and the visitor's commit is there as well."""
    store = FaultStore(empty)
    client = Client(opened(monkeypatch, store))
    run(client, CALLS[:end])
    with client.tree.container.lock:
        client.tree.journal.write()
    left = store.left(unsynced=True)
    abandon(client)
    for at in range(1, 10_000):
        came = False
        for later in (0, (1, 3, 8)[at % 3]):
            again = FaultStore(left)
            writer = Writer(again.inner)
            stop = at + later if later else 0
            again.fault = VisitedFault(at=stop, late=bool(stop % 2), visited=at, visitor=writer)
            tree = None
            with suppress(Stop):
                tree = opened(monkeypatch, again)
            came = again.fault.calls >= at
            again.fault = Fault()
            expected = states[end] | (THEIRS if writer.acknowledged else {})
            if tree is not None:
                assert shown(tree) in (expected, states[end]), at
                tree.container.close()
            assert recovered(again, unsynced=True) == expected, (at, later)
        if not came:
            break
    assert at > 10
