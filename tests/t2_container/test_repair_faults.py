"""Whatever store call of a repair fails or is its last one: there is no new container, or the whole one."""

from __future__ import annotations

import errno
import uuid

import pytest

from arrayfs.container.repair import salvage
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from arrayfs.store.protocol import Store
from tests.t2_container.damage import flipped, no_container_at, original, put_objects, repair
from tests.t2_container.faults import FaultStore, Stop
from tests.t2_container.making import State, state_at
from tests.t4_fuse.promises import keeps


@pytest.fixture(scope="module")
def damaged() -> dict[str, bytes]:
    objects = dict(original())
    return {**objects, "t.3.af": flipped(objects["t.3.af"], 3)}


@pytest.fixture(scope="module")
def whole(damaged: dict[str, bytes]) -> State:
    return repair(damaged).state


def onto(monkeypatch: pytest.MonkeyPatch, store: FaultStore, damaged: dict[str, bytes]) -> None:
    """Repair into a store that fails."""

    def open_it(_url: str) -> tuple[Store, str]:
        return store, "t.af"

    monkeypatch.setattr("arrayfs.container.repair_target.open_store", open_it)
    with salvage(put_objects(damaged)) as found:
        list(found.into("memory://any/t.af"))


def outcome(left: dict[str, bytes], whole: State) -> bool:
    """Whether the new container is there; if so it is whole."""
    url = put_objects(left)
    if no_container_at(url):
        return False
    assert [str(finding) for finding in verify(url)] == []
    assert state_at(url) == whole
    return True


def calls_of(monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes]) -> list[str]:
    store = FaultStore()
    onto(monkeypatch, store, damaged)
    return store.fault.log


@keeps("A repair that does not end leaves no container")
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("unsynced", [False, True], ids=["synced", "all"])
def test_a_repair_that_stops_leaves_no_container_or_the_whole_one(
    monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes], whole: State, late: bool, unsynced: bool
) -> None:
    calls = calls_of(monkeypatch, damaged)
    done = 0
    for at in range(1, len(calls) + 1):
        store = FaultStore()
        store.fault.at, store.fault.late = at, late
        with pytest.raises(Stop):
            onto(monkeypatch, store, damaged)
        done += outcome(store.left(unsynced=unsynced), whole)
    # the base is the last thing that is written: only the end of that call makes a container
    assert done == (1 if late else 0)
    assert calls[-1] == "put t.af"


@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_repair_that_fails_leaves_nothing_that_looks_like_a_container(
    monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes], whole: State, late: bool, code: int
) -> None:
    calls = calls_of(monkeypatch, damaged)
    for at in range(1, len(calls) + 1):
        store = FaultStore()
        store.fault.at, store.fault.late, store.fault.code = at, late, code
        try:
            onto(monkeypatch, store, damaged)
        except (OSError, ArrayFSError):
            assert not outcome(store.left(unsynced=True), whole), calls[at - 1]
            # and the next try has the place for itself
            store.fault.at = 0
            onto(monkeypatch, store, damaged)
        assert outcome(store.left(unsynced=True), whole), calls[at - 1]


def test_a_medium_that_goes_on_failing_leaves_no_container(
    monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes], whole: State
) -> None:
    calls = calls_of(monkeypatch, damaged)
    for at in range(1, len(calls) + 1):
        store = FaultStore()
        store.fault.at, store.fault.last, store.fault.code = at, 1 << 20, errno.EIO
        with pytest.raises((OSError, ArrayFSError)):
            onto(monkeypatch, store, damaged)
        assert not outcome(store.left(unsynced=True), whole), calls[at - 1]


def test_a_base_that_somebody_else_made_meanwhile_is_not_touched(
    monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes]
) -> None:
    store = FaultStore()
    put = store.put

    def put_after_another(name: str, data: bytes, *, replace: bool) -> None:
        store.inner.put(name, b"another's", replace=False)
        put(name, data, replace=replace)

    monkeypatch.setattr(store, "put", put_after_another)
    with pytest.raises(ArrayFSError):
        onto(monkeypatch, store, damaged)
    left = store.left(unsynced=True)
    assert left.pop("t.af") == b"another's"
    assert list(left) == ["t.lock"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENXIO])
def test_a_damaged_file_that_cannot_be_read_in_places_is_read_in_the_others(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Every single read of the damaged files fails once: what it would have given is named, the rest is there."""
    objects = dict(original())
    whole = state_at(put_objects(objects))

    def attempt(at: int) -> tuple[FaultStore, State, dict[str, set[object]], list[str]]:
        store = FaultStore(objects)
        store.fault.code, store.fault.at = code, at
        monkeypatch.setattr("arrayfs.container.repair.open_store", lambda _url: (store, "t.af"))
        url = f"memory://{uuid.uuid4().hex}/new.af"
        named: dict[str, set[object]] = {}
        with salvage("any") as found:
            for loss in found.into(url):
                named.setdefault(loss.array, set()).add(loss.coord)
            states = [one.state for one in found.layers]
        return store, state_at(url), named, states

    log = attempt(0)[0].fault.log
    for at, call in enumerate(log, 1):
        if not call.startswith("read "):
            continue
        _, made, named, states = attempt(at)
        if "lost" in states:
            continue  # its tail could not be read
        for name, (_, _, chunks) in whole.items():
            missing = {coord for coord in chunks if made[name][2].get(coord) != chunks[coord]}
            assert missing <= named.get(name, set()), (call, name)
        assert named, call


def test_the_files_are_opened_for_reading_only(monkeypatch: pytest.MonkeyPatch, damaged: dict[str, bytes]) -> None:
    """Nothing but list, open and read is asked of their store."""
    store = FaultStore(damaged)
    monkeypatch.setattr("arrayfs.container.repair.open_store", lambda _url: (store, "t.af"))
    with salvage("any") as found:
        list(found.into(f"memory://{uuid.uuid4().hex}/new.af"))
    assert {call.split()[0] for call in store.fault.log} == {"list", "open", "read"}
