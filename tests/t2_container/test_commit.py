"""What a commit writes: only what changed, under the next number, and only if nobody was first."""

from __future__ import annotations

import time

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import ArrayNotFoundError, ConflictError, EntryExistsError, FormatError, ReadOnlyError
from arrayfs.format.model import ArrayMeta, DType
from arrayfs.store import MemoryStore
from tests.t2_container.making import (
    attributes,
    chunks_of,
    filled,
    i32,
    layer_bytes,
    new_container,
    new_url,
    open_container,
    spec,
    state,
    state_at,
    table,
)
from tests.t2_container.newest_layer import entry, holes, newest

# --- versions ---------------------------------------------------------------------------------------------------------


def test_nothing_changed_no_sidecar() -> None:
    container = new_container()
    assert container.commit() is None
    array = filled(container)
    assert container.dirty
    report = container.commit()
    assert report is not None
    assert (report.sidecar, report.version, report.arrays, report.chunks) == ("t.1.af", 1, 1, 4)
    assert not container.dirty
    assert container.commit() is None
    container.put(array, (0,), i32(0, 0), 5)
    container.set_attributes(array, attributes(units="m"))
    container.respec(array, array.spec, 5)
    assert container.commit() is None
    assert container.store.list() == ["t.1.af", "t.af", "t.lock"]
    container.close()


def test_taking_a_change_back_leaves_nothing_to_commit() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.rename(array, "b")
    container.rename(array, "a")
    container.remove(container.define("c", spec((2,), (2,))))
    assert container.commit() is None
    container.close()


def test_versions_are_numbered_and_their_times_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1000)
    container = new_container()
    array = filled(container)
    for number in range(3):
        container.put(array, (0,), i32(number + 5, 0), 1)
        report = container.commit(f"message {number}")
        assert report is not None
        assert report.version == container.version == number + 1
    layers = container.stack.layers
    ids = [layer.extension for layer in layers]
    assert [ext.version for ext in ids if ext] == [0, 1, 2, 3]
    assert [ext.message for ext in ids if ext] == ["", "message 0", "message 1", "message 2"]
    times = [layer.time_ns for layer in layers]
    assert times[1:] == [times[0] + n for n in (1, 2, 3)]  # the clock stands before the container was made
    assert [ext.parent_id for ext in ids if ext][1:] == [layer.id for layer in layers[:-1]]
    assert len({ext.container_id for ext in ids if ext}) == 1
    assert [layer.footer.overlay_index for layer in layers] == [0, 1, 2, 3]
    assert [layer.footer.base_file_hint for layer in layers] == ["", "t.af", "t.af", "t.af"]
    container.close()


def test_next_sidecar_is_the_highest_and_one() -> None:
    url = new_url()
    container = new_container(url)
    array = filled(container)
    container.commit()
    container.close()
    store = MemoryStore(url.split("/")[2])
    blob = store.open("t.1.af")
    store.put("t.7.af", blob.read(0, blob.size), replace=False)
    store.delete("t.1.af")
    container = open_container(url)
    container.put(container.get("a"), (0,), i32(9, 9), 1)
    report = container.commit()
    assert report is not None
    assert report.sidecar == "t.8.af"
    assert report.version == 2
    assert chunks_of(container, container.get("a")) == {(0,): i32(9, 9)} | {(n,): i32(n, n) for n in (1, 2, 3)}
    container.close()
    assert array.name == "a"


def test_only_what_changed_is_written() -> None:
    container = new_container()
    filled(container, "a")
    other = filled(container, "b")
    container.commit()
    container.put(other, (2,), i32(7, 7), 1)
    container.commit()
    assert [meta.name for meta in newest(container).arrays] == ["b"]
    assert entry(container, "b").chunks.coords.tolist() == [[2]]
    assert len(newest(container).blocks) == 2  # the chunk's, and the extension
    container.close()


def test_statistics_of_the_version_before_are_removed_first() -> None:
    container = new_container()
    filled(container)
    container.store.put("t.stats", b"anything", replace=False)
    container.commit()
    assert "t.stats" not in container.store.list()
    container.close()


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "a"])
def test_an_array_that_went_is_something_to_commit(name: str) -> None:
    container = new_container()
    array = filled(container, name)
    container.commit()
    container.remove(array)
    assert container.dirty
    assert not container.refresh()
    assert container.commit() is not None
    assert not container.dirty
    assert name not in container


def test_rename_copies_blocks_as_they_are() -> None:
    container = new_container(codec="zstd")
    array = filled(container)
    container.commit()
    container.put(array, (1,), i32(8, 8), 5)
    container.commit()
    stored = [layer.read_stored(0) for layer in container.stack.layers[1:]]
    before = chunks_of(container, array)
    times = array.index.mtimes(0, 4).tolist()
    container.rename(array, "b")
    container.put(array, (3,), None, 6)
    del before[3,]
    assert chunks_of(container, array) == before
    report = container.commit()
    assert report is not None
    assert chunks_of(container, array) == before
    assert [(meta.name, meta.deleted) for meta in newest(container).arrays] == [("a", True), ("b", False)]
    copies = [container.stack.newest.read_stored(row) for row in range(len(newest(container).blocks) - 1)]
    assert copies == stored
    assert array.index.mtimes(0, 3).tolist() == times[:3]
    assert array.attributes == attributes(units="m")
    assert holes(container, "b") == {}
    container.close()


@pytest.mark.parametrize("data", [b"", b"abcd"], ids=["no blocks", "another block"])
def test_a_chunk_without_its_block_is_damaged_under_its_new_name_too(data: bytes) -> None:
    url = new_url()
    meta = ArrayMeta("a", DType("UInt8"), (4,), (4,), ("x",), table(((0,), 7, 0, 4)))
    MemoryStore(url.split("/")[2]).put("t.af", layer_bytes(meta, data=data), replace=False)
    with open_container(url) as container:
        container.rename(container.get("a"), "b")
        container.commit()
    with Container.open(url) as container, pytest.raises(FormatError, match="block"):
        container.read(container.get("b"), (0,))


def test_names_change_places() -> None:
    container = new_container()
    one, other = filled(container, "a", 2), filled(container, "b", 3)
    container.commit()
    container.rename(one, "c")
    container.rename(other, "a")
    container.rename(one, "b")
    container.commit()
    url = f"{container.store.url}/t.af"
    container.close()
    found = state_at(url)
    assert sorted(found) == ["a", "b"]
    assert len(found["a"][2]) == 3
    assert len(found["b"][2]) == 2


def test_name_that_is_taken_or_not_there() -> None:
    container = new_container()
    array = filled(container)
    other = filled(container, "b")
    with pytest.raises(EntryExistsError, match="'a'"):
        container.define("a", array.spec)
    with pytest.raises(EntryExistsError, match="'a'"):
        container.rename(other, "a")
    with pytest.raises(ArrayNotFoundError, match="'c'"):
        container.get("c")
    container.commit()
    container.remove(array)
    with pytest.raises(ArrayNotFoundError, match="'a'"):
        container.get("a")
    assert "a" not in container
    container.close()


def test_reader_changes_nothing() -> None:
    container = new_container()
    filled(container)
    container.commit()
    url = f"{container.store.url}/t.af"
    container.close()
    with Container.open(url) as reader:
        array = reader.get("a")
        for change in (
            lambda: reader.put(array, (0,), None, 1),
            lambda: reader.define("b", array.spec),
            lambda: reader.remove(array),
            lambda: reader.rename(array, "b"),
            lambda: reader.respec(array, array.spec, 1),
            lambda: reader.set_attributes(array, {}),
            reader.commit,
        ):
            with pytest.raises(ReadOnlyError, match=r"t\.af"):
                change()


def test_leaving_by_an_exception_discards_leaving_normally_commits() -> None:
    url = new_url()

    def leave_by_an_exception() -> None:
        with new_container(url) as container:
            filled(container)
            raise KeyError("x")

    with pytest.raises(KeyError):
        leave_by_an_exception()
    assert state_at(url) == {}
    with open_container(url) as container:
        filled(container)
    assert sorted(state_at(url)) == ["a"]
    assert container.store.list() == ["t.1.af", "t.af", "t.lock"]


# --- another writer ---------------------------------------------------------------------------------------------------


def foreign_layer(container: Container, name: str = "t.2.af") -> None:
    """A sidecar that was not made on top of the newest one."""
    blob = container.store.open("t.1.af")
    container.store.put(name, blob.read(0, blob.size), replace=False)


@pytest.mark.parametrize("name", ["t.2.af", "t.9.af", "t.+02.af"])
def test_foreign_sidecar_that_appeared_is_refused_and_the_changes_are_kept(name: str) -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.store.put("t.stats", b"x", replace=False)
    container.put(array, (0,), i32(50, 51), 1)
    foreign_layer(container, name)
    before = state(container)
    for _ in range(2):
        with pytest.raises(FormatError, match=name.replace("+", r"\+") + ".*missing or foreign"):
            container.commit()
        assert state(container) == before
        assert container.dirty
    assert "t.stats" in container.store.list()
    # when the other's sidecar is moved away the same changes can be committed
    container.store.delete(name)
    report = container.commit()
    assert report is not None
    assert report.sidecar == "t.2.af"
    assert state(container) == before
    container.close()


@pytest.mark.parametrize("name", ["t.2.af", "t.9.af", "t.+02.af"])
def test_a_writer_without_locks_came_first(name: str) -> None:
    """The crate takes none; what it flushed lies below our commit."""
    container = new_container()
    array = filled(container)
    container.commit()
    theirs = layer_bytes(ArrayMeta("theirs", DType("UInt8"), (4,), (4,), ("x",), table(((0,), 0, 0, 4))), data=b"abcd")
    container.put(array, (0,), i32(50, 51), 1)
    container.store.put(name, theirs, replace=False)
    report = container.commit()
    assert report is not None
    assert report.sidecar == ("t.10.af" if "9" in name else "t.3.af")
    assert report.version == 3
    assert bytes(container.read(container.get("theirs"), (0,)) or b"") == b"abcd"
    assert state(container) == state_at(f"{container.store.url}/t.af")
    container.close()


def test_conflict_that_is_not_settled_leaves_no_finished_layer() -> None:
    container = new_container()
    url = f"{container.store.url}/t.af"
    array = filled(container)
    container.commit()
    container.put(array, (0,), i32(50, 51), 1)
    with open_container(url) as other:
        other.put(other.get("a"), (0,), i32(60, 61), 1)
    with pytest.raises(ConflictError):
        container.commit()
    container.close()
    again = open_container(url)
    assert [name for name in again.store.list() if "part" in name] == []
    again.close()


def test_newest_layer_that_vanished_is_a_conflict() -> None:
    """The crate's compaction deletes sidecars: what was changed on top of them has lost its ground."""
    container = new_container()
    array = filled(container)
    container.commit()
    container.put(array, (0,), i32(50, 51), 1)
    container.store.delete("t.1.af")
    with pytest.raises(ConflictError, match=r"t\.1\.af was removed"):
        container.commit()
    assert "t.2.af" not in container.store.list()
    container.close()
