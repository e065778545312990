"""Whatever store call fails or is the last one of a process: the container is as before or as after, never between."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.errors import ArrayFSError, MissingObjectError
from arrayfs.store import MemoryStore
from tests.t2_container.faults import FaultStore, Stop, use
from tests.t2_container.making import attributes, filled, i32, new_container, open_container, spec, state, state_at

# Every second chunk fills the pool: most is packed long before the commit.
SMALL = ContainerOptions(PoolOptions(dirty_limit=24, block_size=16))


def first(container: Container) -> None:
    filled(container, "kept")
    filled(container, "dropped")
    filled(container, "moved")


def second(container: Container, again: Callable[[Callable[[], object]], object] = lambda call: call()) -> None:
    """Everything that a version can hold; `again` runs each change, which may fail and has been made all the same."""
    kept = container.get("kept")
    for number in range(3):
        again(lambda number=number: container.put(kept, (number,), i32(7, number), 5))  # type: ignore[misc]
    again(lambda: container.put(kept, (3,), None, 6))
    again(lambda: container.remove(container.get("dropped")) if "dropped" in container else None)
    again(lambda: container.rename(container.get("moved"), "there") if "moved" in container else None)
    again(lambda: container.respec(container.get("there"), spec((7,), (2,), -1), 8))
    again(lambda: container.set_attributes(kept, attributes(units="km", n=3)))
    new = container.define("new", spec((4, 4), (2, 2)))
    for row in range(2):
        again(lambda row=row: container.put(new, (row, 1), i32(*[row] * 4), 9))  # type: ignore[misc]


def objects_of(url: str) -> dict[str, bytes]:
    store = MemoryStore(url.split("/")[2])
    found = {}
    for name in store.list():
        blob = store.open(name)
        found[name] = blob.read(0, blob.size)
    return found


@pytest.fixture(scope="module")
def before() -> dict[str, bytes]:
    """The files of a container of one version, with a statistics file."""
    container = new_container()
    url = f"{container.store.url}/t.af"
    first(container)
    container.commit("first")
    container.close()
    return {**objects_of(url), "t.stats": b"anything"}


@pytest.fixture(scope="module")
def states(before: dict[str, bytes]) -> tuple[object, object]:
    """What the container says before and after the second version."""
    store = FaultStore(before)
    url = f"{store.url}/t.af"
    old = state_at(url)
    container = open_container(url)
    second(container)
    container.commit("second")
    container.close()
    return old, state_at(url)


def work(url: str) -> None:
    container = Container.open(url, "a", SMALL)
    second(container)
    container.commit("second")
    container.close()


def calls_of(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes], action: Callable[[str], None] = work
) -> list[str]:
    """The store calls of an action that nothing disturbs."""
    store = FaultStore(before)
    action(use(monkeypatch, store))
    return store.fault.log


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("unsynced", [False, True], ids=["lost", "kept"])
def test_process_that_stops_at_any_store_call_leaves_old_or_new(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes], states: tuple[object, object], late: bool, unsynced: bool
) -> None:
    count = len(calls_of(monkeypatch, before))
    assert count > 20
    seen = []
    for at in range(1, count + 1):
        store = FaultStore(before)
        store.fault.at, store.fault.late = at, late
        with pytest.raises(Stop):
            work(use(monkeypatch, store))
        left = FaultStore(store.left(unsynced=unsynced))
        url = use(monkeypatch, left)
        reader = Container.open(url)
        seen.append(states.index(state(reader)))
        has_stats = "t.stats" in left.inner.list()
        assert not (has_stats and seen[-1]), "statistics of the version before"
        reader.close()
        # the next writer goes on from there, and what was left of the first one is in nobody's way
        container = Container.open(url, "a", SMALL)
        if not seen[-1]:
            second(container)
            container.commit("second, again")
        container.close()
        assert state_at(url) == states[1]
        container = Container.open(url, "a", SMALL)
        container.put(container.get("new"), (0, 0), i32(1, 2, 3, 4), 1)
        assert container.commit("third").version == 3  # type: ignore[union-attr]
        container.close()
    assert seen == sorted(seen)
    assert set(seen) == {0, 1}


class Again:
    """Runs an action until it succeeds, and notes how it failed before."""

    def __init__(self) -> None:
        self.errors: list[int | None] = []

    def __call__(self, action: Callable[[], object]) -> None:
        for _ in range(6):
            try:
                action()
            except OSError as error:
                self.errors.append(error.errno)
            else:
                return
        raise AssertionError("it fails for good")


def open_into(opened: list[Container], url: str) -> None:
    opened.append(Container.open(url, "a", SMALL))


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_store_call_that_fails_loses_nothing_and_the_same_container_commits_later(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes], states: tuple[object, object], late: bool, code: int
) -> None:
    count = len(calls_of(monkeypatch, before))
    failed = 0
    for at in range(1, count + 1):
        for length in (1, 4):
            store = FaultStore(before)
            fault = store.fault
            fault.late, fault.code = late, code
            fault.at, fault.last = at, at + length - 1
            url = use(monkeypatch, store)
            again = Again()
            opened: list[Container] = []
            again(partial(open_into, opened, url))
            container = opened[0]
            second(container, again)
            again(partial(container.commit, "second"))
            fault.at = 0
            assert not container.dirty
            assert state(container) == states[1]
            container.close()
            assert state_at(url) == states[1], (at, fault.log[at - 1])
            assert container.version == 2
            failed += code in again.errors
    assert failed > count  # what fails while cleaning up is no failure


def test_full_disk_at_commit_then_more_changes_then_commit(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes]
) -> None:
    calls = calls_of(monkeypatch, before)
    for at in range(calls.index("create_part") + 1, len(calls) + 1):
        store = FaultStore(before)
        url = use(monkeypatch, store)
        container = Container.open(url, "a", SMALL)
        store.fault.code, store.fault.at, store.fault.last = errno.ENOSPC, at, 1 << 20
        fail_then_go_on(container)
        store.fault.at = 0
        container.put(container.get("kept"), (0,), i32(40, 41), 7)
        container.put(container.get("kept"), (1,), None, 7)
        expected = state(container)
        container.commit("second")
        container.close()
        assert state_at(url) == expected, at
        # a commit that failed after its sidecar had its name is a version; its part goes with the next writer
        Container.open(url, "a").close()
        versions = 1 + (calls[at - 1] in ("unlink", "hold") or calls[at - 1].startswith("open t.2"))
        assert store.inner.list() == [*(f"t.{n + 1}.af" for n in range(1 + versions)), "t.af", "t.lock"], calls[at - 1]


def fail_then_go_on(container: Container) -> None:
    """The changes of `second` on a disk that becomes full and stays it, and a commit that fails."""

    def once(call: Callable[[], object]) -> None:
        with suppress(OSError):
            call()

    second(container, once)
    once(partial(container.commit, "fails"))


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_create_that_stops_leaves_nothing_or_an_empty_container(monkeypatch: pytest.MonkeyPatch, late: bool) -> None:
    for at in range(1, len(calls_of(monkeypatch, {}, Container.create)) + 1):
        store = FaultStore()
        store.fault.at, store.fault.late = at, late
        with pytest.raises(Stop):
            Container.create(use(monkeypatch, store))
        url = use(monkeypatch, FaultStore(store.left(unsynced=False)))
        try:
            container = Container.open(url, "a")
        except MissingObjectError:
            Container.create(url)
            container = Container.open(url, "a")
        assert state(container) == {}
        filled(container)
        container.commit()
        container.close()


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_open_for_writing_that_stops_while_it_clears_up(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes], states: tuple[object, object], late: bool
) -> None:
    """Left-overs of three kinds: torn, whole but never published, and published already."""
    left = {
        **before,
        f"t.part-{'0' * 32}": b"torn",
        f"t.part-{'1' * 32}": before["t.1.af"],
        f"t.part-{'2' * 32}": b"",
    }

    def open_it(url: str) -> None:
        Container.open(url, "a").close()

    for at in range(1, len(calls_of(monkeypatch, left, open_it)) + 1):
        store = FaultStore(left)
        store.fault.at, store.fault.late = at, late
        with pytest.raises(Stop):
            open_it(use(monkeypatch, store))
        again = FaultStore(store.left(unsynced=False))
        url = use(monkeypatch, again)
        open_it(url)
        assert state_at(url) == states[0]
        assert again.inner.list() == ["t.1.af", "t.af", "t.lock", "t.stats"]


def test_left_over_that_cannot_be_removed_is_named_and_in_nobody_s_way(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes], states: tuple[object, object]
) -> None:
    left = {**before, f"t.part-{'0' * 32}": b"torn"}

    def open_it(url: str) -> None:
        Container.open(url, "a").close()

    calls = calls_of(monkeypatch, left, open_it)
    store = FaultStore(left)
    store.fault.at, store.fault.code = calls.index("remove_abandoned") + 1, errno.EACCES
    container = Container.open(use(monkeypatch, store), "a")
    assert [f"t.part-{'0' * 32}" in warning for warning in container.warnings] == [True]
    assert state(container) == states[0]
    container.close()


def test_errors_are_those_of_the_medium(monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes]) -> None:
    calls = calls_of(monkeypatch, before)
    store = FaultStore(before)
    store.fault.at, store.fault.code = calls.index("sync") + 1, errno.EDQUOT
    with pytest.raises(OSError, match="quota") as caught:
        work(use(monkeypatch, store))
    assert not isinstance(caught.value, ArrayFSError)
