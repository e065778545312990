"""Stored chunk <-> chunk file: padding, clipping, sizes known without reading, and what is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.container.array import ArraySpec
from arrayfs.errors import ChunkFileError, FormatError, LimitError
from arrayfs.format.chunkdata import join_elements
from arrayfs.format.dtypes import element_size
from arrayfs.format.model import DType, FillValue
from arrayfs.view import chunks as chunks_module
from arrayfs.view.chunks import NativeChunks, OpaqueChunks
from tests.t3_view.zarr_python import LEAF_NAMES, VEC3

LIST = DType("List", DType("Int16"))
INT_FILL = FillValue("Int", (7).to_bytes(8, "little"))


def native(
    dtype: str | DType, shape: tuple[int, ...], chunk: tuple[int, ...], fill: FillValue | None = None
) -> NativeChunks:
    return NativeChunks(ArraySpec(DType(dtype) if isinstance(dtype, str) else dtype, shape, chunk, (), fill))


def vlen_stored(*elements: bytes) -> bytes:
    offsets = np.cumsum([0, *map(len, elements)]).astype(np.int64)
    return join_elements(DType("Binary"), offsets, b"".join(elements))


def vlen_file(*elements: bytes) -> bytes:
    return struct.pack("<I", len(elements)) + b"".join(struct.pack("<I", len(e)) + e for e in elements)


# --- fixed sizes ----------------------------------------------------------------------------------------------------


def test_a_whole_chunk_is_not_copied() -> None:
    chunks = native("Int32", (8,), (4,))
    content = bytes(range(16))
    assert chunks.to_file(content, (4,)) is content
    assert chunks.from_file(content, (4,)) is content


def test_the_edge_is_padded_with_the_fill_value_and_cut_again() -> None:
    chunks = native("Int16", (3, 3), (2, 2), INT_FILL)
    stored = np.array([[1], [2]], "<i2").tobytes()
    file = chunks.to_file(stored, (2, 1))
    assert np.frombuffer(file, "<i2").tolist() == [1, 7, 2, 7]
    written = np.array([1, 99, 2, 99], "<i2").tobytes()
    assert bytes(chunks.from_file(written, (2, 1))) == stored


def test_a_scalar() -> None:
    chunks = native("Float64", (), ())
    assert chunks.to_file(b"8 bytes!", ()) == b"8 bytes!"
    assert chunks.file_size(8, ()) == 8


def test_inner_dimensions_are_whole_in_every_chunk() -> None:
    chunks = native(VEC3, (5,), (2,))
    assert chunks.size == 24
    stored = np.arange(3, dtype="<f4").tobytes()
    assert np.frombuffer(chunks.to_file(stored, (1,)), "<f4").tolist() == [0, 1, 2, 0, 0, 0]


def test_a_chunk_extent_of_zero_is_one() -> None:
    assert native("Int8", (0, 4), (0, 2)).chunk_shape == (1, 2)


def test_a_chunk_shape_beyond_every_file_is_cut_to_the_shape() -> None:
    """The crate may have chunk shapes beyond the shape without limit; its chunks are stored clipped."""
    chunks = native("Int64", (3, 2), (0xFFFFFFFF, 0xFFFFFFFF))
    assert chunks.chunk_shape == (3, 2)
    assert chunks.file_size(48, (3, 2)) == 48


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_file_of_another_length_is_no_chunk(size: int) -> None:
    chunks = native("Int32", (8,), (4,))
    assert chunks.accepts(size) is False
    with pytest.raises(ChunkFileError, match=f"{size} bytes"):
        chunks.from_file(bytes(size), (4,))


def test_exactly_one_length_is_a_chunk() -> None:
    assert native("Int32", (8,), (4,)).accepts(16) is True


def test_a_damaged_stored_chunk_is_named() -> None:
    with pytest.raises(FormatError, match="15 bytes"):
        native("Int32", (8,), (4,)).to_file(bytes(15), (4,))


# --- varying sizes --------------------------------------------------------------------------------------------------


def test_elements_of_varying_size() -> None:
    chunks = native("Binary", (3, 3), (2, 2))
    stored = vlen_stored(b"one", b"two2")
    file = vlen_file(b"one", b"", b"two2", b"")
    assert chunks.to_file(stored, (2, 1)) == file
    assert chunks.from_file(vlen_file(b"one", b"dropped", b"two2", b"too"), (2, 1)) == stored
    assert chunks.file_size(len(stored), (2, 1)) == len(file)


def test_text_is_padded_with_the_text_that_the_document_promises() -> None:
    chunks = native("String", (3,), (4,), FillValue("String", b"no"))
    stored = vlen_stored(b"a", b"", b"c")
    assert chunks.to_file(stored, (3,)) == vlen_file(b"a", b"", b"c", b"no")
    assert chunks.file_size(len(stored), (3,)) == len(vlen_file(b"a", b"", b"c", b"no"))


def test_lists_are_the_bytes_of_their_values() -> None:
    chunks = native(LIST, (2,), (2,))
    stored = np.array([0, 1, 3], "<u4").tobytes() + np.array([5, 6, 7], "<i2").tobytes()
    file = vlen_file(b"\5\0", b"\6\0\7\0")
    assert chunks.to_file(stored, (2,)) == file
    assert chunks.from_file(file, (2,)) == stored
    with pytest.raises(ChunkFileError, match="multiple of the 2 bytes"):
        chunks.from_file(vlen_file(b"\5", b"\6\0\7"), (2,))


GOOD = vlen_file(b"ab", b"", b"cde")
BAD_FILES = {
    "empty": b"",
    "only a count": GOOD[:4],
    "count too small": vlen_file(b"ab", b""),
    "count too large": vlen_file(b"ab", b"", b"cde", b""),
    "cut in a length": GOOD[:8],
    "cut in the last element": GOOD[:-1],
    "trailing byte": GOOD + b"x",
    "length beyond the end": GOOD[:4] + b"\xff\xff\xff\xff" + GOOD[8:],
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_file_of_another_structure_is_no_chunk(data: bytes) -> None:
    with pytest.raises(ChunkFileError):
        native("String", (3,), (3,)).from_file(data, (3,))


def test_every_truncation_is_refused() -> None:
    chunks = native("String", (3,), (3,))
    for size in range(len(GOOD)):
        with pytest.raises(ChunkFileError):
            chunks.from_file(GOOD[:size], (3,))


def test_a_huge_count_allocates_nothing() -> None:
    with pytest.raises(ChunkFileError, match="4294967295"):
        native("String", (3,), (3,)).from_file(b"\xff" * 64, (3,))


def test_whether_a_length_can_be_a_chunk_is_known_only_below_the_least() -> None:
    chunks = native("String", (3,), (3,))
    assert chunks.accepts(15) is False
    assert chunks.accepts(16) is None


def test_a_damaged_stored_chunk_of_varying_size_is_named() -> None:
    with pytest.raises(FormatError, match="offsets"):
        native("String", (1,), (1,)).to_file(struct.pack("<II", 0, 9), (1,))


def test_a_column_of_sizes_is_there_only_where_they_do_not_vary() -> None:
    sizes = np.array([4, 16], np.int64)
    assert native("Int32", (5,), (4,)).file_sizes(sizes).tolist() == [16, 16]
    assert OpaqueChunks().file_sizes(np.array([8, 20], np.int64)).tolist() == [0, 12]
    assert native("String", (5,), (4,)).varies
    with pytest.raises(TypeError, match="String"):
        native("String", (5,), (4,)).file_sizes(sizes)


@pytest.mark.parametrize("dtype", [DType("List", DType("String")), DType("FixedSizeList", DType("String"), 2)])
def test_types_without_a_settled_layout_are_refused(dtype: DType) -> None:
    with pytest.raises(FormatError, match="cannot be shown"):
        native(dtype, (2,), (2,))


# --- round trips ----------------------------------------------------------------------------------------------------


@st.composite
def stored_chunk(draw: st.DrawFn) -> tuple[ArraySpec, tuple[int, ...], bytes]:
    dtype = draw(st.sampled_from([*map(DType, LEAF_NAMES), VEC3, LIST]))
    chunk = tuple(draw(st.lists(st.integers(1, 4), max_size=3)))
    extent = tuple(draw(st.integers(1, n)) for n in chunk)
    count = int(np.prod(extent))
    size = element_size(dtype)
    fill = draw(st.sampled_from([None, INT_FILL, FillValue("String", "fü".encode())]))
    spec = ArraySpec(dtype, extent, chunk, (), fill)
    if size is not None:
        return spec, extent, draw(st.binary(min_size=count * size, max_size=count * size))
    unit = 2 if dtype == LIST else 1
    elements = [e * unit for e in draw(st.lists(st.binary(max_size=5), min_size=count, max_size=count))]
    offsets = np.cumsum([0, *map(len, elements)]).astype(np.int64)
    return spec, extent, join_elements(dtype, offsets, b"".join(elements))


@settings(deadline=None)
@given(stored_chunk())
def test_a_stored_chunk_comes_back_from_its_file(example: tuple[ArraySpec, tuple[int, ...], bytes]) -> None:
    spec, extent, stored = example
    chunks = NativeChunks(spec)
    file = chunks.to_file(stored, extent)
    assert len(file) == chunks.file_size(len(stored), extent)
    assert chunks.accepts(len(file)) is not False
    assert bytes(chunks.from_file(file, extent)) == stored


# --- opaque ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"x", b"shard" * 1000])
def test_an_opaque_chunk_is_one_binary_element(content: bytes) -> None:
    chunks = OpaqueChunks()
    stored = chunks.from_file(content, (1,))
    assert stored == vlen_stored(content)
    assert chunks.to_file(stored, (1,)) == content
    assert chunks.file_size(len(stored), (1,)) == len(content)
    assert chunks.accepts(len(content)) is True


@pytest.mark.parametrize(
    "stored", [b"", bytes(7), struct.pack("<II", 0, 5) + b"abcd", struct.pack("<II", 1, 4) + b"abcd"]
)
def test_a_damaged_opaque_chunk_is_named(stored: bytes) -> None:
    with pytest.raises(FormatError, match="one element"):
        OpaqueChunks().to_file(stored, (1,))


def test_an_opaque_chunk_beyond_the_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert chunks_module.MAX_OPAQUE_SIZE == 2**32 - 8
    monkeypatch.setattr(chunks_module, "MAX_OPAQUE_SIZE", 100)
    assert OpaqueChunks().accepts(99) is True
    assert OpaqueChunks().accepts(100) is False
    with pytest.raises(LimitError, match="100 bytes"):
        OpaqueChunks().from_file(bytes(100), (1,))
