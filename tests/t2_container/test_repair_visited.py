"""Somebody commits or compacts while a repair reads: the new container is of one version, the old one unharmed."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest

from arrayfs.container.compact import compact
from arrayfs.container.repair import salvage
from arrayfs.container.verify import verify
from tests.conftest import Tell
from tests.t2_container.damage import Objects, flipped, objects_at, original, put_objects, repair
from tests.t2_container.faults import FaultStore, VisitedFault
from tests.t2_container.making import State, i32, open_container, state_at

Act = Callable[[str], object]


def commit(url: str) -> None:
    container = open_container(url)
    container.put(container.get("a"), (5,), i32(50, 51), 4000)
    container.remove(container.get("empty"))
    container.commit("meanwhile")
    container.close()


def after(objects: Objects, act: Act) -> Objects:
    url = put_objects(objects)
    act(url)
    return objects_at(url)


def visited(monkeypatch: pytest.MonkeyPatch, objects: Objects, at: int, act: Act) -> tuple[FaultStore, State, bool]:
    """What a repair makes into which somebody comes at one call, and whether it says that nothing is lost."""
    store = FaultStore(objects)
    store.fault = VisitedFault(visited=at, visitor=lambda: act(f"{store.inner.url}/t.af"))
    monkeypatch.setattr("arrayfs.container.repair.open_store", lambda _url: (store, "t.af"))
    url = f"memory://{uuid.uuid4().hex}/new.af"
    with salvage("any") as found:
        list(found.into(url))
        whole = found.whole
    assert [str(finding) for finding in verify(url)] == []
    return store, state_at(url), whole


@pytest.mark.parametrize(("damage", "act"), [(True, commit), (False, commit), (False, compact)])
def test_a_repair_is_of_one_version_whoever_comes_in(
    monkeypatch: pytest.MonkeyPatch, damage: bool, act: Act, tell: Tell
) -> None:
    objects = dict(original())
    if damage:
        objects["t.2.af"] = flipped(objects["t.2.af"], 3)
    ended = after(objects, act)
    states = [repair(objects).state, repair(ended).state]
    store, _, _ = visited(monkeypatch, objects, 0, act)
    calls = store.fault.calls
    for at in range(1, calls + 1):
        store, state, whole = visited(monkeypatch, objects, at, act)
        assert state in states, (at, store.fault.log)
        assert whole != damage, (at, store.fault.log)
        left = objects_at(f"{store.inner.url}/t.af")
        assert repair(left).state == states[1]
        assert act is compact or left.items() >= objects.items()
    tell(f"{calls} visits of {act.__name__} to a repair")
