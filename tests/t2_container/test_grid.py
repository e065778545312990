"""The grid: coordinates and keys are inverses, prefixes are slices, extents are clipped."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from arrayfs.container.grid import Coord, Grid
from arrayfs.errors import FormatError, LimitError

GRIDS = [
    # shape, chunk shape, chunks per axis, keys per step
    ((), (), (), ()),
    ((5,), (2,), (3,), (1,)),
    ((4,), (2,), (2,), (1,)),
    ((3,), (9,), (1,), (1,)),
    ((0,), (3,), (0,), (1,)),
    ((0,), (0,), (0,), (1,)),
    ((5, 4), (2, 3), (3, 2), (2, 1)),
    ((5, 0, 4), (2, 1, 3), (3, 0, 2), (2, 2, 1)),
    ((2, 3, 4), (1, 1, 1), (2, 3, 4), (12, 4, 1)),
    ((2**32 - 1, 7), (1, 7), (2**32 - 1, 1), (1, 1)),
]


@pytest.mark.parametrize(("shape", "chunk_shape", "counts", "strides"), GRIDS)
def test_grid(shape: Coord, chunk_shape: Coord, counts: Coord, strides: Coord) -> None:
    grid = Grid(shape, chunk_shape)
    assert grid.counts == counts
    assert grid.strides == strides
    assert grid.total == np.prod(counts, dtype=object)
    if grid.total > 1000:
        return
    coords = list(itertools.product(*map(range, counts)))
    assert [grid.key(coord) for coord in coords] == list(range(len(coords)))
    assert [grid.coord(key) for key in range(len(coords))] == coords
    table = np.array(coords, np.uint32).reshape(len(coords), len(counts))
    assert grid.keys(table).tolist() == list(range(len(coords)))
    assert np.array_equal(grid.coords(np.arange(len(coords), dtype=np.uint64)), table)
    assert all(coord in grid for coord in coords)
    for axis in range(len(counts)):
        beyond = tuple(counts[a] if a == axis else 0 for a in range(len(counts)))
        assert beyond not in grid
    assert (*counts, 0) not in grid


def test_key_of_a_leading_part_is_that_of_the_first_chunk_below_it() -> None:
    grid = Grid((2, 3, 4), (1, 1, 1))
    assert grid.key((1,)) == grid.key((1, 0, 0)) == 12
    assert grid.key((1, 2)) == grid.key((1, 2, 0)) == 20
    assert grid.key(()) == 0


@pytest.mark.parametrize(
    ("coord", "extent"), [((0, 0), (2, 3)), ((1, 0), (2, 3)), ((2, 0), (1, 3)), ((2, 1), (1, 1)), ((0, 1), (2, 1))]
)
def test_extent_is_clipped_to_the_shape(coord: Coord, extent: tuple[int, ...]) -> None:
    assert Grid((5, 4), (2, 3)).extent(coord) == extent


@pytest.mark.parametrize(
    ("shape", "chunk_shape", "error"),
    [
        ((4,), (2, 2), FormatError),
        ((4,), (0,), FormatError),
        ((2**30, 2**30), (1, 1), LimitError),
        ((2**32 - 1, 2**32 - 1), (1, 1), LimitError),
    ],
)
def test_grid_that_cannot_be(shape: Coord, chunk_shape: Coord, error: type[Exception]) -> None:
    with pytest.raises(error, match="chunk"):
        Grid(shape, chunk_shape)


def test_large_keys_are_exact() -> None:
    grid = Grid((2**32 - 1, 2**27), (1, 1))
    coord = (2**32 - 2, 2**27 - 1)
    key = grid.key(coord)
    assert key == grid.total - 1 > 1 << 58
    assert grid.coord(key) == coord
    table = np.array([coord], np.uint32)
    assert grid.keys(table).tolist() == [key]
    assert np.array_equal(grid.coords(np.array([key], np.uint64)), table)
