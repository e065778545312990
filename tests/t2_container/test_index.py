"""Which entry of which layer a chunk comes from: the newest, the first of two in one table, and none past a shrink."""

from __future__ import annotations

import numpy as np
import pytest

from arrayfs.container.grid import Coord, Grid
from arrayfs.container.index import ChunkIndex, SpanEntry, build_index
from arrayfs.container.layer import Layer, open_layer
from arrayfs.errors import FormatError
from arrayfs.format.model import ArrayMeta, BlockTable, ChunkTable, Footer
from arrayfs.store import MemoryStore
from tests.t2_container.making import INT32, filled, layer_bytes, new_container, spec, table

SHAPE = (8,)


def layer(chunks: ChunkTable, shape: tuple[int, ...] = SHAPE, chunk_shape: tuple[int, ...] | None = None) -> SpanEntry:
    """A layer with one array `a`, whose chunks lie at these places of one block of 64 bytes."""
    store = MemoryStore(f"index-{np.random.default_rng().integers(1 << 62)}")
    meta = ArrayMeta("a", INT32, shape, chunk_shape or (2,) * len(shape), chunks=chunks)
    store.put("t.af", layer_bytes(meta, data=bytes(64)), replace=False)
    return SpanEntry(open_layer(0, store.open("t.af")), 0)


def places(index: ChunkIndex) -> dict[Coord, tuple[int, int]]:
    """Coordinate -> (span entry, offset in its block)."""
    return {
        index.grid.coord(int(key)): (int(entry), index.ref(place).offset)
        for place, (key, entry) in enumerate(zip(index.keys, index.entries, strict=True))
    }


# Tables of the layers, oldest first; where each chunk is found.
SPANS = {
    "one layer, not sorted": ([table(((2,), 0, 0, 8), ((0,), 0, 8, 8))], {(0,): (0, 8), (2,): (0, 0)}),
    "of two with one coordinate the first counts": (
        [table(((1,), 0, 8, 8), ((1,), 0, 16, 8), ((0,), 0, 0, 8))],
        {(0,): (0, 0), (1,): (0, 8)},
    ),
    "the newest layer counts": (
        [table(((0,), 0, 0, 8), ((1,), 0, 8, 8)), table(((1,), 0, 16, 8)), table(((3,), 0, 24, 8), ((1,), 0, 32, 8))],
        {(0,): (0, 0), (1,): (2, 32), (3,): (2, 24)},
    ),
    "outside the grid": ([table(((4,), 0, 0, 8), ((0,), 0, 8, 8), ((2**32 - 1,), 0, 0, 8))], {(0,): (0, 8)}),
    "no chunks": ([table(), table()], {}),
}


@pytest.mark.parametrize("case", SPANS)
def test_newest_entry_counts(case: str) -> None:
    tables, want = SPANS[case]
    span = tuple(map(layer, tables))
    index = build_index(span)
    assert places(index) == want
    assert (np.diff(index.keys.astype(np.int64)) > 0).all()
    pushed = build_index(span[:1])
    for length in range(2, len(span) + 1):
        pushed = pushed.push(span[:length])
    assert places(pushed) == want


def test_find() -> None:
    index = build_index((layer(table(((1,), 0, 8, 4))),))
    found = index.find((1,))
    assert found is not None
    assert found[1:] == (0, 8, 4)
    for coord in ((0,), (4,), (9,), (-1,), (), (1, 0)):
        assert index.find(coord) is None
        assert index.place(coord) is None


def test_block_that_is_not_there_is_named_when_it_is_needed() -> None:
    index = build_index((layer(table(((0,), 5, 0, 8), ((1,), 0, 0, 8))),))
    assert index.find((1,)) is not None
    with pytest.raises(FormatError, match=r"t\.af: array 'a': chunk \(0,\).* in block 5, which is not there"):
        index.find((0,))


def test_prefixes_are_slices() -> None:
    coords = [(row, column) for row in (0, 2, 3) for column in (0, 1, 3)]
    entry = layer(table(*((coord, 0, 0, 8) for coord in coords)), (8, 8))
    index = build_index((entry,))
    for prefix, want in {(): coords, (0,): coords[:3], (1,): [], (2,): coords[3:6], (3,): coords[6:], (4,): []}.items():
        low, high = index.slice(prefix)
        assert [tuple(c) for c in index.grid.coords(index.keys[low:high]).tolist()] == want, prefix
    low, high = index.slice((2, 1))
    assert (low, high) == (4, 5)
    assert index.stored_sizes(0, 3).tolist() == [8, 8, 8]


def test_what_lay_outside_the_shape_of_any_layer_since_is_gone() -> None:
    full = table(*(((n,), 0, 0, 8) for n in range(4)))
    shrunk, grown = layer(table(), (3,)), layer(table(), (8,))
    assert set(places(build_index((layer(full), shrunk)))) == {(0,), (1,)}
    assert set(places(build_index((layer(full), shrunk, grown)))) == {(0,), (1,)}
    again = layer(table(((3,), 0, 0, 8)), (8,))
    assert places(build_index((layer(full), shrunk, again)))[3,] == (2, 0)
    assert set(places(build_index((layer(full), grown)))) == {(0,), (1,), (2,), (3,)}


def test_regrid_keeps_what_is_inside() -> None:
    coords = [(row, column) for row in range(4) for column in range(4)]
    entry = layer(table(*((coord, 0, 0, 8) for coord in coords)), (8, 8))
    index = build_index((entry,))
    smaller = index.regrid(Grid((4, 2), (2, 2)))
    assert list(places(smaller)) == [(0, 0), (1, 0)]
    larger = smaller.regrid(Grid((100, 100), (2, 2)))
    assert list(places(larger)) == [(0, 0), (1, 0)]
    assert larger.find((1, 0)) == index.find((1, 0))
    assert index.regrid(Grid((8, 8), (2, 2))) is index
    assert len(index.regrid(Grid((0, 8), (2, 2)))) == 0


def test_holes_are_no_chunks_and_hide_those_below() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.put(array, (1,), None, 5)
    container.commit()
    assert set(places(build_index(array.span))) == {(0,), (2,), (3,)}
    assert set(places(array.index)) == {(0,), (2,), (3,)}
    container.put(array, (1,), bytes(8), 6)
    container.commit()
    assert places(array.index)[1,][0] == 2
    container.close()


def test_scalar_has_one_chunk() -> None:
    container = new_container()
    array = container.define("s", spec((), ()))
    container.put(array, (), bytes(4), 5)
    container.commit()
    assert array.index.slice(()) == (0, 1)
    assert array.index.mtime_ns(0) == 5
    assert array.coords().shape == (1, 0)
    container.close()


def test_times_are_those_of_the_chunks_else_of_the_layer() -> None:
    container = new_container()
    array = filled(container)
    container.commit()
    container.put(array, (2,), bytes(8), 77)
    container.commit()
    assert array.index.mtimes(0, 4).tolist() == [1000, 1001, 77, 1003]
    assert [array.mtime_ns((n,)) for n in range(4)] == [1000, 1001, 77, 1003]
    container.close()
    crate = build_index((layer(table(((0,), 0, 0, 8))),))
    assert isinstance(crate.span[0].layer, Layer)
    assert crate.mtime_ns(0) == crate.span[0].layer.blob.mtime_ns


def test_block_ids_need_not_be_places() -> None:
    """Of two blocks with one id the first counts; ids have any order."""
    ids, wide, small = np.array([9, 3, 7, 3], np.uint32), np.zeros(4, np.uint64), np.zeros(4, np.uint32)
    footer = Footer(5, BlockTable(ids, wide, wide, wide, small, (None,)), ())
    other = Layer(0, layer(table()).layer.blob, footer, None, 0)
    assert other.block_rows(np.array([3, 7, 9, 0, 8, 10], np.uint32)).tolist() == [1, 2, 0, -1, -1, -1]
    assert [other.block_row(number) for number in (3, 7, 9, 0, 8, 10)] == [1, 2, 0, -1, -1, -1]
