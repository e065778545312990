"""Arrays and their chunks: values, encoded chunks, shapes, metadata, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.container.part import LayerPart
from arrayfs.format.codecs import compress, decompress

TYPES = [
    ("b1", [True, False]), ("i1", [-128, 127]), ("i2", [-1, 2]), ("i4", [-1, 2]), ("i8", [-(2**63), 2**63 - 1]),
    ("u1", [0, 255]), ("u2", [1, 2]), ("u4", [1, 2]), ("u8", [0, 2**64 - 1]), ("f4", [0.1, np.nan]),
    ("f8", [0.1, -np.inf]), ("M8[ns]", ["2026-01-02T03", "NaT"]), (str, ["", "hé\0llo"]), (bytes, [b"ab", b"\xff"]),
    (">i4", [-1, 2]), ("string", ["a", "b"]),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "pair"), TYPES)
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_every_type_comes_back(path: str, dtype: Any, pair: list[Any], codec: str | None) -> None:
    one, other = pair
    with arrayfs.open(path, "x", codec=codec) as container:
        array = container.create("t", shape=(5,), chunks=(2,), dtype=dtype, fill_value=np.array(pair)[0].item()
                                 if isinstance(one, str | bytes) and dtype in (str, bytes, "string") else
                                 np.array(one, dtype)[()])  # fmt: skip
        array[1::2] = other
        before = array[...]
    with arrayfs.open(path) as container:
        array = container["t"]
        kind = object if dtype in (str, bytes, "string") else np.dtype(dtype).newbyteorder("<")
        expected = np.array([one, other, one, other, one], kind)
        assert array.dtype == kind
        np.testing.assert_array_equal(array[...], expected)
        np.testing.assert_array_equal(before, expected)
        np.testing.assert_array_equal(array.fill_value, expected[0])


@pytest.mark.parametrize("dtype", ["f2", "c16", "M8[s]", "m8[ns]", "S3", [("a", "i4")], object, "f16"])
def test_a_type_that_the_format_does_not_have_is_refused(container: arrayfs.Container, dtype: Any) -> None:
    with pytest.raises(arrayfs.FormatError, match="is no type of the format"):
        container.create("t", shape=(1,), dtype=dtype)
    assert "t" not in container


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shape": (2,), "chunks": (1, 1)}, ValueError, "1 numbers are wanted"),
        ({"shape": (-1,)}, ValueError, "lengths from 0"),
        ({"shape": (2,), "chunks": (0,)}, ValueError, "chunks from 1"),
        ({"shape": (2**32,), "chunks": (1,)}, arrayfs.FormatError, "beyond the format's limits"),
        ({"shape": (2,), "fill_value": 300}, arrayfs.FormatError, "beyond the format's limits"),
        ({"shape": (2,), "fill_value": 1.5}, ValueError, "no integer"),
        ({"shape": (2,), "fill_value": [1]}, ValueError, "no single value"),
        ({"shape": (2,), "dimension_names": ["x", "y"]}, ValueError, "2 dimension names for 1 axes"),
        ({"shape": (2,), "codec": "gzip"}, arrayfs.FormatError, "unknown codec 'gzip'"),
        ({"shape": (2,), "attributes": {"a": object()}}, TypeError, "has no JSON form"),
        ({"shape": (2,), "attributes": {1: 2}}, TypeError, "not all text"),
        ({}, TypeError, "needs a shape and a dtype"),
    ],
)
def test_what_cannot_be_created(
    container: arrayfs.Container, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        container.create("g/t", dtype="u1", **options)
    assert list(container) == []


def test_without_chunks_the_whole_array_is_one(container: arrayfs.Container) -> None:
    assert container.create("t", shape=(5, 0, 3), dtype="i4").chunks == (5, 1, 3)
    scalar = container.create("s", shape=(), dtype="i4", fill_value=4)
    assert (scalar.chunks, scalar[()], scalar.list_chunks()) == ((), 4, [])
    scalar[...] = 7
    assert (scalar[()], scalar.list_chunks(), np.asarray(scalar)) == (7, [()], 7)
    text = container.create("text", shape=(), dtype=str)
    text[()] = "x"
    assert text[()] == "x"


# --- chunks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def array(container: arrayfs.Container) -> arrayfs.Array:
    """5 x 7 in chunks of 2 x 4, filled with 9."""
    return container.create("t", shape=(5, 7), chunks=(2, 4), dtype="i4", fill_value=9)


def test_chunks_one_by_one(array: arrayfs.Array) -> None:
    assert (array.chunk_grid_shape, array.retrieve_chunk_if_exists((0, 0))) == ((3, 2), None)
    np.testing.assert_array_equal(array.retrieve_chunk((2, 1)), np.full((1, 3), 9))
    array.store_chunk((2, 1), np.arange(8).reshape(2, 4))  # a whole chunk: what lies outside is dropped
    np.testing.assert_array_equal(array[4:, 4:], [[0, 1, 2]])
    array.store_chunk((2, 1), [[5, 6, 7]])
    np.testing.assert_array_equal(array.retrieve_chunk((2, 1)), [[5, 6, 7]])
    array.store_chunk_subset((0, 0), (1, slice(1, 3)), [3, 4])
    np.testing.assert_array_equal(array.retrieve_chunk_subset((0, 0), (1, slice(None))), [9, 3, 4, 9])
    array.store_chunk_subset((0, 0), (slice(0), 0), 1)
    assert array.list_chunks() == [(0, 0), (2, 1)]
    assert array.erase_chunk((0, 0))
    assert not array.erase_chunk((0, 0))
    assert array.list_chunks() == [(2, 1)]
    np.testing.assert_array_equal(array[:2], np.full((2, 7), 9))


def test_many_chunks_at_once_with_progress(array: arrayfs.Array) -> None:
    told: list[tuple[int, int]] = []
    array.store_chunks({(0, c): np.full((2, 4), c) for c in range(2)}, lambda *done: told.append(done))
    array.store_chunks((((1, c), np.full((2, 4), c)) for c in range(2)), lambda *done: told.append(done))
    assert told == [(1, 2), (2, 2), (1, 1), (2, 2)]
    told.clear()
    np.testing.assert_array_equal(
        array.retrieve_array_subset(np.s_[:4], lambda *done: told.append(done)),
        np.tile(np.repeat([0, 1], 4)[:7], (4, 1)),
    )
    assert told[-1] == (4, 4)
    told.clear()
    array.store_array_subset(..., 1, lambda *done: told.append(done))
    assert told == [(n, 6) for n in range(1, 7)]


@pytest.mark.parametrize("coord", [(3, 0), (0, 2), (0,), (-1, 0)])
def test_a_chunk_outside_the_grid_is_an_index_error(array: arrayfs.Array, coord: tuple[int, ...]) -> None:
    for call in (array.retrieve_chunk, array.erase_chunk, lambda c: array.store_chunk(c, 0)):
        with pytest.raises(IndexError, match="has no chunk"):
            call(coord)


def test_a_chunk_of_another_shape_is_refused(array: arrayfs.Array) -> None:
    with pytest.raises(
        ValueError, match=r"chunk \(2, 1\) of 't': values of shape \(2, 3\), wanted \(2, 4\) or \(1, 3\)"
    ):
        array.store_chunk((2, 1), np.zeros((2, 3)))


@pytest.mark.parametrize("committed", [False, True])
@pytest.mark.parametrize("codec", [None, "lz4", "zstd"])
def test_an_encoded_chunk_goes_in_and_out_as_it_is(path: str, codec: str | None, committed: bool) -> None:
    raw = np.arange(8, dtype="<i4").reshape(2, 4)
    data = bytes(compress(codec, raw.tobytes()))
    with arrayfs.open(path, "x", codec="lz4") as container:
        array = container.create("t", shape=(4, 4), chunks=(2, 4), dtype="i4", codec=codec)
        array.store_encoded_chunk((0, 0), data)
        array.store_encoded_chunk((1, 0), arrayfs.EncodedChunk(codec, data, 32))
        if committed:
            container.commit()
        found = array.retrieve_encoded_chunk((1, 0))
        assert found == arrayfs.EncodedChunk(codec, data, 32)
        again = array.retrieve_encoded_chunk((0, 0), "zstd")
        assert again is not None
        assert decompress("zstd", again.data, 32) == raw.tobytes()
        np.testing.assert_array_equal(array[:2], raw)
    with arrayfs.open(path, "a") as container:
        assert container["t"].codec == codec  # that of its newest chunk
        np.testing.assert_array_equal(container["t"][2:], raw)


def test_a_chunk_that_shares_its_block_is_encoded_alone(path: str) -> None:
    with arrayfs.open(path, "x") as container:
        array = container.create("t", shape=(4, 8), chunks=(1, 8), dtype="u1")
        array[...] = np.arange(32).reshape(4, 8)
        assert array.retrieve_encoded_chunk((5 - 4, 0)) is not None
    with arrayfs.open(path) as container:
        found = container["t"].retrieve_encoded_chunk((1, 0))
        assert found is not None
        assert (found.codec, decompress("lz4", found.data, found.size)) == ("lz4", bytes(range(8, 16)))


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (arrayfs.EncodedChunk("lz4", compress("lz4", bytes(31)), 32), "32 bytes, but the data hold 31"),
        (arrayfs.EncodedChunk(None, bytes(31), 31), "31 bytes, but a chunk there has 32"),
        (arrayfs.EncodedChunk("gzip", bytes(32), 32), "unknown codec 'gzip'"),
        (arrayfs.EncodedChunk("lz4", b"", 32), "has no length"),
        (arrayfs.EncodedChunk("zstd", b"nothing", 32), "codec zstd"),
    ],
)
def test_an_encoded_chunk_that_cannot_be_right_is_refused(
    array: arrayfs.Array, chunk: arrayfs.EncodedChunk, message: str
) -> None:
    with pytest.raises(arrayfs.FormatError, match=message):
        array.store_encoded_chunk((0, 0), chunk)
    assert array.list_chunks() == []


# --- shapes and documents ---------------------------------------------------------------------------------------------


def test_append_and_resize(array: arrayfs.Array) -> None:
    array[...] = 1
    assert array.append([[2] * 7]) == (6, 7)
    assert array.append(np.full((6, 2), 3), axis=1) == (6, 9)
    np.testing.assert_array_equal(array[4:, 5:], [[1, 1, 3, 3], [2, 2, 3, 3]])
    array.resize((1, 2))
    array.resize((2, 3))
    np.testing.assert_array_equal(array[...], [[1, 1, 9], [9, 9, 9]])
    for wrong, message in (((1,), "cannot have the shape"), ((-1, 2), "cannot have the shape")):
        with pytest.raises(ValueError, match=message):
            array.resize(wrong)
    with pytest.raises(ValueError, match="other axes"):
        array.append(np.zeros((1, 4)))
    with pytest.raises(arrayfs.LimitError, match="beyond the format's limits"):
        array.resize((2**40, 3))
    assert array.shape == (2, 3)


def test_metadata_is_the_document_and_takes_effect(array: arrayfs.Array) -> None:
    array[0, 0] = 1
    document = array.read_metadata()
    assert (document["shape"], document["fill_value"], document["codecs"][0]["name"]) == ([5, 7], 9, "bytes")
    document |= {"shape": [1, 1], "dimension_names": ["y", None], "attributes": {"u": [1, {"x": None}]}, "extra": 5}
    array.write_metadata(document)
    assert (array.shape, array.dimension_names, dict(array.attrs)) == ((1, 1), ("y", None), {"u": [1, {"x": None}]})
    assert array.read_metadata() == document
    with pytest.raises(ValueError, match="describes no array"):
        array.write_metadata({"zarr_format": 3, "node_type": "group"})
    assert array.read_metadata() == document


def test_an_array_that_its_client_encodes_has_chunks_and_no_values(array: arrayfs.Array) -> None:
    document = array.read_metadata()
    array.write_metadata(document | {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]})
    assert (array.is_opaque, array.shape, array.chunks, array.codec) == (True, (5, 7), (2, 4), "client")
    assert "opaque" in repr(array)
    array.store_encoded_chunk((0, 0), b"whatever")
    assert array.retrieve_encoded_chunk((0, 0)) == arrayfs.EncodedChunk("client", b"whatever", 8)
    assert (array.retrieve_encoded_chunk((0, 1)), array.list_chunks()) == (None, [(0, 0)])
    array.attrs["a"] = 1
    array.resize((1, 1))
    assert (array.shape, dict(array.attrs)) == ((1, 1), {"a": 1})
    for call in (lambda: array[0], lambda: array.__setitem__(0, 1), lambda: array.dtype, lambda: array.fill_value):
        with pytest.raises(arrayfs.OpaqueArrayError, match="kept as their client encoded them"):
            call()


def test_what_is_got_is_the_callers_own(array: arrayfs.Array) -> None:
    given = np.arange(8, dtype="i4").reshape(2, 4)
    array.store_chunk((0, 0), given)
    given[:] = 0
    for got in (array[:2, :4], array.retrieve_chunk((0, 0)), array[...]):
        got[:] = -1
    np.testing.assert_array_equal(array[:2, :4], np.arange(8).reshape(2, 4))


def test_a_large_assignment_is_kept_though_it_cannot_be_packed(
    container: arrayfs.Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = container.create("t", shape=(6 << 20,), chunks=(1 << 20,), dtype="u1")
    given = np.full(array.shape, 3, "u1")

    def full(*_: Any) -> range:
        raise OSError(28, "no room")

    with monkeypatch.context() as patch:
        patch.setattr(LayerPart, "add_blocks", full)
        with pytest.raises(OSError, match="no room"):
            array[...] = given
    given[:] = 0
    assert (array[...] == 3).all()
    array[...] = given
    assert not array[...].any()


def test_a_wrong_element_of_a_text_array_is_refused(container: arrayfs.Container) -> None:
    array = container.create("s", shape=(2,), dtype=str, fill_value="-")
    array[...] = ["a", "b"]
    with pytest.raises(TypeError, match="1 is no str"):
        array[0] = 1
    assert array[...].tolist() == ["a", "b"]
