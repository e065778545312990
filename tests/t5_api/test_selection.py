"""Selections against numpy itself."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import basic_indices

from arrayfs.api.selection import Pieces, one_piece, select
from tests.profiles import examples

shapes = st.lists(st.integers(1, 6), max_size=3).map(tuple)


@examples(150)
@given(st.data(), shapes)
def test_what_a_key_selects_and_sets_is_what_numpy_does(data: st.DataObject, shape: tuple[int, ...]) -> None:
    key = data.draw(basic_indices(shape, allow_newaxis=True, max_dims=6))
    chunks = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    values = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    selection = select(key, shape)
    parts = list(Pieces(selection, shape, chunks))
    assert one_piece(selection, shape, chunks) == (
        parts[0]._replace(outer=(slice(None),) * len(shape)) if len(parts) == 1 else None
    )

    def chunk(array: np.ndarray, coord: tuple[int, ...]) -> np.ndarray:
        return array[(*(slice(c * n, (c + 1) * n) for c, n in zip(coord, chunks, strict=True)), ...)]

    got = np.full(selection.shape, -1)
    for piece in parts:
        assert chunk(values, piece.coord).shape == piece.extent
        assert piece.whole == (chunk(values, piece.coord)[piece.inner].shape == piece.extent)
        got[piece.outer] = chunk(values, piece.coord)[piece.inner]
    np.testing.assert_array_equal(got[selection.view], values[key])

    new = np.arange(values[key].size).reshape(values[key].shape) + 1000
    given_ = data.draw(st.sampled_from([new, np.array(7), *([new[None], new[..., :1]] if new.ndim else [])]))
    expected, set_ = values.copy(), values.copy()
    expected[key] = given_
    spread = selection.spread(given_)
    for piece in parts:
        chunk(set_, piece.coord)[piece.inner] = spread[piece.outer]
    np.testing.assert_array_equal(set_, expected)


@examples(50)
@given(st.integers(1, 40), st.integers(1, 7), st.integers(1, 9), st.integers(1, 50))
def test_batches_of_pieces_are_the_pieces_with_their_places(length: int, chunk: int, step: int, most: int) -> None:
    parts = Pieces(select((slice(None, None, step), slice(3)), (length, 5)), (length, 5), (chunk, 2))
    batches = list(parts.batches(most))
    assert [piece for batch, _ in batches for piece in batch] == list(parts)
    assert [tuple(row) for _, coords in batches for row in coords.tolist()] == [piece.coord for piece in parts]
    assert sum(len(batch) for batch, _ in batches) == len(parts)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (4, "index 4 is out of bounds for axis 0 with 4 elements"),
        (-5, "index -5 is out of bounds"),
        ((0, 0, 0), "3 indices for an array of 2 axes"),
        ((..., ...), "single ellipsis"),
        (True, "no masks"),
        ([0, 1], "selects nothing"),
        (np.array([True, False]), "no masks"),
        ("x", "'x' selects nothing"),
        (1.0, "1.0 selects nothing"),
    ],
)
def test_what_selects_nothing_is_an_index_error(key: Any, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        select(key, (4, 3))


def test_values_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        select((0, slice(None)), (2, 3)).spread(np.zeros(2))
