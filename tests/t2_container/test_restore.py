"""Restoring: only what differs is written, a cut leaves old or new, and damage is no way to lose more."""

from __future__ import annotations

import pytest

from arrayfs.container.container import Container
from arrayfs.container.restore import restore
from arrayfs.errors import FormatError
from arrayfs.store import open_store
from tests.t2_container.faults import FaultStore, Stop, use
from tests.t2_container.making import attributes, filled, i32, new_container, open_container, spec, state, state_at
from tests.t2_container.test_crash import SMALL, first, objects_of, second
from tests.t4_fuse.promises import keeps


def bring_back(url: str, number: int) -> None:
    container = Container.open(url, "a", SMALL)
    try:
        restore(container, container.at(container.versions().numbered(number)))
        container.commit(f"restore {number}")
    finally:
        container.close()


@pytest.fixture(scope="module")
def two_versions() -> dict[str, bytes]:
    """The files of a container whose second version changed everything that a version can change."""
    container = new_container()
    url = f"{container.store.url}/t.af"
    first(container)
    container.commit("first")
    second(container)
    container.commit("second")
    container.close()
    return objects_of(url)


@keeps("When it is cut off, either nothing has happened or all of it.", "what came between stays a version")
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("unsynced", [False, True], ids=["lost", "kept"])
def test_a_restore_that_stops_at_any_store_call_leaves_old_or_new(
    monkeypatch: pytest.MonkeyPatch, two_versions: dict[str, bytes], late: bool, unsynced: bool
) -> None:
    url = use(monkeypatch, FaultStore(two_versions))
    states = [state_of(url, number) for number in (2, 1)]
    whole = FaultStore(two_versions)
    url = use(monkeypatch, whole)
    bring_back(url, 1)
    count = len(whole.fault.log)
    assert state_at(url) == states[1] != states[0]
    assert [state_of(url, number) for number in (2, 1, 3)] == [*states, states[1]]
    seen = []
    for at in range(1, count + 1):
        store = FaultStore(two_versions)
        url = use(monkeypatch, store)
        store.fault.at, store.fault.late = at, late
        with pytest.raises(Stop):
            bring_back(url, 1)
        url = use(monkeypatch, FaultStore(store.left(unsynced=unsynced)))
        seen.append(states.index(state_at(url)))
        bring_back(url, 1)
        assert state_at(url) == states[1]
    assert seen == sorted(seen)
    assert {*seen} == {0, 1}


def state_of(url: str, number: int) -> object:
    container = Container.open(url, version=number)
    try:
        return state(container)
    finally:
        container.close()


def test_only_what_differs_is_written() -> None:
    with new_container() as container:
        url = f"{container.store.url}/t.af"
        array = filled(container, count=100)
        other = filled(container, "b")
        container.commit("first")
        container.put(array, (3,), i32(1, 2), 5)
        container.set_attributes(other, attributes(units="km"))
        container.commit("second")
        restore(container, container.at(container.versions().numbered(1)))
        assert sum(len(changed.changes) for changed in container.pool.arrays) == 1
        report = container.commit("third")
        assert report is not None
        assert (report.arrays, report.chunks) == (2, 1)
        restore(container, container.at(container.versions().numbered(1)))
        assert container.commit("nothing") is None
    assert state_of(url, 3) == state_of(url, 1)


def test_restored_chunks_have_the_times_that_they_had() -> None:
    with new_container() as container:
        array = filled(container)
        container.commit("first")
        container.put(array, (1,), i32(9, 9), 77)
        container.commit("second")
        restore(container, container.at(container.versions().numbered(1)))
        container.commit("third")
        assert [container.get("a").mtime_ns((number,)) for number in range(4)] == [1000, 1001, 1002, 1003]


def test_single_arrays_come_back_and_others_stay() -> None:
    with new_container() as container:
        filled(container, "a")
        filled(container, "b")
        container.commit("first")
        before = state(container)
        for name in ("a", "b"):
            container.remove(container.get(name))
        container.define("c", spec((4,), (2,)))
        container.commit("second")
        restore(container, container.at(container.versions().numbered(1)), lambda name: name in ("a", "c"))
        container.commit("third")
        assert state(container) == {"a": before["a"]}


def damage(url: str, name: str) -> None:
    """Turn over the first byte of a layer, which lies in its first block."""
    store, _ = open_store(url)
    blob = store.open(name)
    content = bytearray(blob.read(0, blob.size))
    content[0] ^= 0xFF
    store.put(name, bytes(content), replace=True)


def test_damage_of_now_does_not_keep_the_older_version_from_coming_back() -> None:
    with new_container(codec=None) as container:
        url = f"{container.store.url}/t.af"
        array = filled(container, count=2, size=3)
        container.commit("first")
        container.put(array, (1,), i32(5, 5, 5), 5)
        container.respec(array, spec((5,), (3,), -1), 6)
        container.commit("second")
    damage(url, "t.2.af")
    with pytest.raises(FormatError):
        state_at(url)
    bring_back(url, 1)
    assert state_at(url) == state_of(url, 1)


def test_a_damaged_older_version_is_not_restored_in_part() -> None:
    with new_container(codec=None) as container:
        url = f"{container.store.url}/t.af"
        array = filled(container)
        container.commit("first")
        for number in range(4):
            container.put(array, (number,), i32(8, 8), 5)
        container.commit("second")
    damage(url, "t.1.af")
    before = state_at(url)
    container = open_container(url)
    with pytest.raises(FormatError, match=r"t\.1\.af"):
        restore(container, container.at(container.versions().numbered(1)))
    container.discard()
    container.close()
    assert state_at(url) == before
