"""Chunks that go, and shapes that change, as a commit writes them: so that the crate reads them right, too."""

from __future__ import annotations

import math

import numpy as np

from tests.t2_container.crate_reader import CrateReader
from tests.t2_container.making import (
    STRING,
    chunks_of,
    filled,
    i32,
    int_fill,
    new_container,
    spec,
    state_at,
    texts,
)
from tests.t2_container.newest_layer import entry, holes, newest

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
