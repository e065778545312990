"""What a commit writes: only what changed, so that arrayfs and the crate read it right, if nobody was first."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest

from arrayfs.container.container import Container
from arrayfs.container.dictionary import ATTRIBUTE_BUDGET, AttributeDictionary
from arrayfs.container.index import is_hole
from arrayfs.errors import ArrayNotFoundError, ConflictError, EntryExistsError, ReadOnlyError
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import ArrayMeta, BlockTable, Footer
from arrayfs.store import MemoryStore
from tests.t2_container.crate_reader import CrateReader
from tests.t2_container.making import (
    STRING,
    attributes,
    chunks_of,
    filled,
    i32,
    int_fill,
    new_container,
    new_url,
    open_container,
    spec,
    state,
    state_at,
    texts,
)


def newest(container: Container) -> Footer:
    return container.stack.newest.footer


def entry(container: Container, name: str = "a") -> ArrayMeta:
    """The newest layer's word on an array."""
    return next(meta for meta in newest(container).arrays if meta.name == name and not meta.deleted)


def holes(container: Container, name: str = "a") -> dict[tuple[int, ...], bytes]:
    """Coordinates that the newest layer points at holes, and what these hold."""
    layer, chunks = container.stack.newest, entry(container, name).chunks
    found = {}
    for row in np.flatnonzero(is_hole(layer, chunks)):
        block = layer.read_block(layer.block_row(int(chunks.block_ids[row])), container.cache)
        start = int(chunks.offsets[row])
        found[tuple(chunks.coords[row].tolist())] = bytes(block[start : start + int(chunks.sizes[row])])
    return found


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


# --- attributes -------------------------------------------------------------------------------------------------------


def test_every_entry_has_the_whole_set_in_its_own_dictionaries() -> None:
    container = new_container()
    array = container.define("a", spec((4,), (2,)), attributes(x=1, y="m", z=1))
    container.define("b", spec((4,), (2,)), attributes(y="m"))
    container.commit()
    container.put(array, (0,), i32(1, 2), 1)
    container.commit()
    footer, pairs = newest(container), entry(container).attribute_pairs
    assert pairs.dtype == np.uint16
    assert (np.diff(pairs[:, 0].astype(int)) > 0).all()
    found = {footer.attr_keys[key]: footer.attr_values[value] for key, value in pairs.tolist()}
    assert found == attributes(x=1, y="m", z=1)
    container.close()


def test_dictionaries_begin_with_those_below_while_these_are_small() -> None:
    container = new_container()
    array = container.define("a", spec((4,), (2,)), attributes(x=1))
    before: list[Footer] = []
    large = ""
    for number in range(40):
        before.append(newest(container))
        large = "l" * 1000
        container.set_attributes(array, attributes(n=number, text=f"{number}{large}"))
        container.commit()
        below, now = before[-1], newest(container)
        size = sum(24 + len(key) for key in below.attr_keys) + sum(24 + len(v.payload) for v in below.attr_values)
        begins = (
            now.attr_keys[: len(below.attr_keys)] == below.attr_keys
            and now.attr_values[: len(below.attr_values)] == below.attr_values
        )
        assert begins == (size <= ATTRIBUTE_BUDGET), number
        assert array.attributes == attributes(n=number, text=f"{number}{large}")
    container.close()


def test_dictionaries_keep_the_numbers_of_a_layer_that_holds_a_thing_twice() -> None:
    value = attribute_from_python("Int8", 1)
    below = Footer(5, BlockTable.empty(), (), ("k", "k"), (value, value))
    made = AttributeDictionary(below)
    assert made.pairs({"k": value, "new": value}).tolist() == [[0, 0], [2, 0]]
    assert made.keys == ["k", "k", "new"]
    assert made.values == [value, value]


@pytest.mark.parametrize(("count", "width"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_index_widths_grow_where_they_must(count: int, width: type) -> None:
    container = new_container()
    values = {"k": attribute_from_python("StringList", ["x"])}
    many = {f"{n:05}": attribute_from_python("Int32", n) for n in range(count - 1)}
    array = container.define("a", spec((4,), (2,)), many | values)
    container.commit()
    assert entry(container).attribute_pairs.dtype == width
    assert array.attributes == many | values
    url = f"{container.store.url}/t.af"
    container.close()
    assert state_at(url)["a"][1] == many | values


def test_attributes_of_one_array_do_not_widen_those_of_another() -> None:
    made = AttributeDictionary()
    made.pairs({f"{n}": attribute_from_python("Int32", n) for n in range(70_000)})
    assert made.pairs({"0": attribute_from_python("Int32", 5)}).dtype == np.uint16
    assert made.pairs({}).shape == (0, 2)


# --- chunks that go ---------------------------------------------------------------------------------------------------


def test_one_hole_for_each_clipped_extent() -> None:
    container = new_container()
    array = container.define("a", spec((5, 5), (2, 2), fill=-7))
    for coord in np.ndindex(*array.grid.counts):
        container.put(array, coord, i32(*[1] * math.prod(array.grid.extent(coord))), 1)
    container.commit()
    for coord in np.ndindex(*array.grid.counts):
        container.put(array, coord, None, 2)
    container.commit()
    found = holes(container)
    assert found == {
        coord: i32(*[-7] * math.prod(array.grid.extent(coord))) for coord in np.ndindex(*array.grid.counts)
    }
    layer = container.stack.newest
    assert layer.extension is not None
    assert sorted(layer.extension.holes[:, 2].tolist()) == [4, 8, 8, 16]
    assert len(newest(container).blocks) == 5
    assert not len(array.coords())
    container.close()


def test_no_hole_where_no_layer_has_a_chunk() -> None:
    container = new_container()
    array = container.define("a", spec((8,), (2,)))
    container.put(array, (1,), i32(1, 1), 1)
    container.put(array, (1,), None, 1)
    container.put(array, (2,), i32(1, 1), 1)
    container.commit()
    assert holes(container) == {}
    container.put(array, (3,), None, 1)
    assert container.commit() is None
    container.close()


def test_hole_of_text_is_empty_text() -> None:
    container = new_container()
    array = container.define("a", spec((3,), (2,), dtype=STRING))
    container.put(array, (0,), texts("one", "two"), 1)
    container.put(array, (1,), texts("three"), 1)
    container.commit()
    container.put(array, (0,), None, 1)
    container.put(array, (1,), None, 1)
    container.commit()
    assert holes(container) == {(0,): texts("", ""), (1,): texts("")}
    container.close()


def test_changed_fill_value_is_what_the_crate_reads_in_old_holes() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.put(array, (1,), None, 5)
    container.commit()
    container.respec(array, spec((8,), (2,), 77), 6)
    container.commit()
    assert holes(container) == {(1,): i32(77, 77)}
    assert entry(container).chunks.coords.tolist() == [[1]]
    assert entry(container).fill_value == int_fill(77)
    container.close()


def test_whole_array_goes_with_a_tombstone_and_no_holes() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.remove(array)
    container.commit()
    assert [(meta.name, meta.deleted, len(meta.chunks)) for meta in newest(container).arrays] == [("a", True, 0)]
    assert len(newest(container).blocks) == 1
    assert "a" not in container
    container.close()


# --- shapes -----------------------------------------------------------------------------------------------------------


def test_chunks_at_the_edge_are_cut_anew() -> None:
    container = new_container()
    array = container.define("a", spec((5,), (2,), fill=-1))
    for number, content in enumerate((i32(0, 1), i32(2, 3), i32(4))):
        container.put(array, (number,), content, 1)
    container.commit()
    container.respec(array, spec((8,), (2,), fill=-1), 2)
    assert chunks_of(container, array) == {(0,): i32(0, 1), (1,): i32(2, 3), (2,): i32(4, -1)}
    container.commit()
    assert entry(container).chunks.coords.tolist() == [[2]]
    container.respec(array, spec((3,), (2,), fill=-1), 3)
    container.commit()
    assert chunks_of(container, array) == {(0,): i32(0, 1), (1,): i32(2)}
    assert sorted(entry(container).chunks.coords.tolist()) == [[1], [2]]
    assert set(holes(container)) == {(2,)}
    container.respec(array, spec((6,), (2,), fill=-1), 4)
    assert chunks_of(container, array) == {(0,): i32(0, 1), (1,): i32(2, -1)}
    container.commit()
    url = f"{container.store.url}/t.af"
    container.close()
    assert state_at(url)["a"][2] == {(0,): i32(0, 1), (1,): i32(2, -1)}


def test_growing_by_whole_chunks_rewrites_nothing() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.respec(array, spec((20,), (2,), -1), 2)
    container.commit()
    assert len(entry(container).chunks) == 0
    assert entry(container).shape == (20,)
    container.close()


def test_growing_after_a_redefinition_covers_what_lies_below() -> None:
    """Regression: chunks of an array deleted long ago showed through in the crate when its successor grew."""
    container = new_container()
    filled(container)
    container.commit()
    container.remove(container.get("a"))
    container.commit()
    array = container.define("a", spec((2,), (2,), -1))
    container.commit()
    assert set(holes(container)) == {(0,)}
    container.respec(array, spec((8,), (2,), -1), 5)
    container.commit()
    assert set(holes(container)) == {(1,), (2,), (3,)}
    reader = CrateReader(container.stack)
    meta = reader.visible()["a"]
    assert [reader.chunk(meta, (n,)) for n in range(4)] == [i32(-1, -1)] * 4
    container.close()


def test_redefined_array_inherits_nothing() -> None:
    container = new_container()
    filled(container)
    container.commit()
    container.remove(container.get("a"))
    array = container.define("a", spec((6,), (2,), 5))
    container.put(array, (1,), i32(8, 9), 1)
    container.commit()
    assert [(meta.name, meta.deleted) for meta in newest(container).arrays] == [("a", True), ("a", False)]
    assert holes(container) == {(0,): i32(5, 5), (2,): i32(5, 5)}
    assert chunks_of(container, array) == {(1,): i32(8, 9)}
    container.close()


def test_chunk_shape_beyond_any_memory_makes_no_large_hole() -> None:
    """The crate allows a chunk shape far beyond the shape: what is cut off costs a hole of one element."""
    container = new_container()
    array = container.define("a", spec((4,), (2**32 - 1,), -1))
    container.put(array, (0,), i32(1, 2, 3, 4), 1)
    container.commit()
    container.respec(array, spec((0,), (2**32 - 1,), -1), 2)
    container.commit()
    assert holes(container) == {(0,): i32(-1)}
    container.respec(array, spec((3,), (2**32 - 1,), -1), 2)
    container.commit()
    assert holes(container) == {(0,): i32(-1, -1, -1)}
    container.close()


# --- another writer ---------------------------------------------------------------------------------------------------


def other_writer(container: Container, name: str = "t.2.af") -> None:
    """A writer that takes no locks (the crate) flushes a sidecar."""
    blob = container.store.open("t.1.af")
    container.store.put(name, blob.read(0, blob.size), replace=False)


@pytest.mark.parametrize("name", ["t.2.af", "t.9.af", "t.+02.af"])
def test_sidecar_that_appeared_is_a_conflict_and_the_changes_are_kept(name: str) -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.store.put("t.stats", b"x", replace=False)
    container.put(array, (0,), i32(50, 51), 1)
    other_writer(container, name)
    before = state(container)
    for _ in range(2):
        with pytest.raises(ConflictError, match=name.replace("+", r"\+")):
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


def test_conflict_that_is_not_settled_leaves_the_work_in_the_part() -> None:
    container = new_container()
    url = f"{container.store.url}/t.af"
    array = filled(container)
    container.commit()
    container.put(array, (0,), i32(50, 51), 1)
    other_writer(container)
    with pytest.raises(ConflictError):
        container.commit()
    container.close()
    container.store.delete("t.2.af")
    left = [name for name in container.store.list() if "part" in name]
    assert len(left) == 1
    for _ in range(2):
        again = open_container(url)
        assert [left[0] in warning and "kept" in warning for warning in again.warnings] == [True]
        again.close()
    assert left[0] in container.store.list()


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
