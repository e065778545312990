"""Where there are many layers, what another writer puts on top is seen without a list of all files."""

from __future__ import annotations

import pytest

from arrayfs.container import newest
from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.errors import ConflictError, FormatError
from arrayfs.store import MemoryStore
from tests.t2_container.making import attributes, filled, i32, new_container, open_container, state, state_at


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every container counts as one of many layers; grows by an entry with each list of all files."""
    lists: list[int] = []
    whole = MemoryStore.list

    def counted(store: MemoryStore) -> list[str]:
        lists.append(1)
        return whole(store)

    monkeypatch.setattr(newest, "MANY", 0)
    monkeypatch.setattr(newest, "EVERY", 3600.0)
    monkeypatch.setattr(MemoryStore, "list", counted)
    return lists


def two_versions() -> tuple[Container, Array]:
    container = new_container()
    array = filled(container)
    container.commit()
    return container, array


def test_commits_and_refreshes_ask_for_two_names(listed: list[int]) -> None:
    container, array = two_versions()
    del listed[:]
    for number in range(5):
        container.put(array, (0,), i32(number, 7), 1)
        report = container.commit()
        assert report is not None
        assert report.sidecar == f"t.{number + 2}.af"
        assert not container.refresh()
    assert listed == []
    assert state(container) == state_at(f"{container.store.url}/t.af")
    container.close()


def test_another_writers_commit_is_seen(listed: list[int]) -> None:
    container, array = two_versions()
    with open_container(f"{container.store.url}/t.af") as other:
        other.put(other.get("a"), (1,), i32(8, 8), 1)
    assert container.refresh()
    assert bytes(container.read(array, (1,)) or b"") == i32(8, 8)
    with open_container(f"{container.store.url}/t.af") as other:
        other.define("b", array.spec, attributes(n=1))
    container.put(array, (0,), i32(9, 9), 1)
    report = container.commit()
    assert report is not None
    assert report.sidecar == "t.4.af"
    assert "b" in container
    container.close()


def test_a_commit_that_comes_between_is_not_overwritten(listed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The other publishes after this writer has looked, before it has the lock."""
    container, array = two_versions()
    url = f"{container.store.url}/t.af"
    take = MemoryStore.lock

    def first_the_other(store: MemoryStore, name: str) -> object:
        monkeypatch.setattr(MemoryStore, "lock", take)
        with open_container(url) as other:
            other.put(other.get("a"), (1,), i32(8, 8), 1)
        return take(store, name)

    container.put(array, (0,), i32(9, 9), 1)
    monkeypatch.setattr(MemoryStore, "lock", first_the_other)
    report = container.commit()
    assert report is not None
    assert report.sidecar == "t.3.af"
    wanted = {(0,): i32(9, 9), (1,): i32(8, 8)}
    assert {coord: state_at(url)["a"][2][coord] for coord in wanted} == wanted
    container.close()


def test_a_newest_layer_that_went_is_a_conflict(listed: list[int]) -> None:
    container, array = two_versions()
    container.store.delete("t.1.af")
    container.put(array, (0,), i32(9, 9), 1)
    with pytest.raises(ConflictError, match=r"t\.1\.af was removed"):
        container.commit()
    container.close()


def test_a_sidecar_of_a_later_number_is_seen_by_the_next_list(
    listed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    container, array = two_versions()
    blob = container.store.open("t.1.af")
    container.store.put("t.9.af", blob.read(0, blob.size), replace=False)
    assert not container.refresh()
    monkeypatch.setattr(newest, "EVERY", 0.0)
    container.put(array, (0,), i32(9, 9), 1)
    for _ in range(2):
        with pytest.raises(FormatError, match=r"t\.9\.af.*missing or foreign"):
            container.commit()
    container.store.delete("t.9.af")
    assert container.commit() is not None
    container.close()


def test_with_few_layers_all_names_are_looked_at_each_time(listed: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newest, "MANY", 2)
    container, array = two_versions()
    del listed[:]
    assert not container.refresh()
    assert len(listed) == 1
    container.put(array, (0,), i32(9, 9), 1)
    container.commit()  # now there are many
    del listed[:]
    assert not container.refresh()
    assert listed == []
    container.close()
