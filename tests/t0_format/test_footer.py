"""Footers built by hand, byte by byte, next to the model that they are: docs/FORMAT.md, table by table."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.array_list import MAX_DTYPE_DEPTH
from arrayfs.format.footer import TRAILER, decode_footer, decode_trailer, encode_footer, encode_trailer
from arrayfs.format.model import ArrayMeta, AttributeValue, BlockTable, ChunkTable, DType, FillValue, Footer
from tests.t0_format.golden import VECTORS, described, footer_bytes


def vec(place: int, target: int, count: int) -> bytes:
    return struct.pack("<qQ", target - place, count)


def short(text: str) -> bytes:
    return text.encode().ljust(16, b"\xff")


def root(place: int, version: int, targets: list[tuple[int, int]], overlay_index: int, hint: bytes) -> bytes:
    vecs = [vec(place + 8 + 16 * index, *target) for index, target in enumerate(targets)]
    return struct.pack("<I4x", version) + b"".join(vecs) + struct.pack("<I4x", overlay_index) + hint


EMPTY = Footer(5, BlockTable.empty(), ())
EMPTY_BYTES = root(0, 5, [(0, 0)] * 4, 0, short(""))

GRID = Footer(
    version=5,
    blocks=BlockTable(
        np.array([0], np.uint32),
        np.array([0], np.uint64),
        np.array([50], np.uint64),
        np.array([48], np.uint64),
        np.array([0], np.uint32),
        ("lz4",),
    ),
    arrays=(
        ArrayMeta(
            name="grid",
            dtype=DType("Float32"),
            shape=(3, 4),
            chunk_shape=(2, 2),
            dimension_names=("y", "x"),
            chunks=ChunkTable(
                np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.uint32),
                np.zeros(4, np.uint32),
                np.array([0, 16, 32, 40], np.uint32),
                np.array([16, 16, 8, 8], np.uint32),
            ),
            fill_value=FillValue("Float", struct.pack("<d", -1.0)),
            attribute_pairs=np.array([[0, 0]], np.uint16),
        ),
    ),
    attr_keys=("units",),
    attr_values=(AttributeValue("String", b"m"),),
    overlay_index=1,
    base_file_hint="t.af",
)


def chunk(place: int, coord: int, rank: int, block: int, offset: int, size: int) -> bytes:
    return vec(place, coord, rank) + struct.pack("<III4x", block, offset, size)


GRID_BYTES = b"".join(
    [
        struct.pack("<I4xQQQB7x", 0, 0, 50, 48, 1) + short("lz4"),  # 0: block
        struct.pack("<2I", 3, 4),  # 56: shape
        short("y") + short("x"),  # 64: dimension names
        struct.pack("<2I", 2, 2),  # 96: chunk shape
        struct.pack("<8I", 0, 0, 0, 1, 1, 0, 1, 1),  # 104: coordinates
        chunk(136, 104, 2, 0, 0, 16),
        chunk(168, 112, 2, 0, 16, 16),
        chunk(200, 120, 2, 0, 32, 8),
        chunk(232, 128, 2, 0, 40, 8),
        struct.pack("<HH4x", 0, 0),  # 264: attribute pair, padding
        short("grid") + struct.pack("<B23x", 9),  # 272: array
        vec(312, 56, 2) + vec(328, 64, 2) + vec(344, 96, 2) + vec(360, 136, 4),
        struct.pack("<B7xB7xd8x", 1, 3, -1.0) + struct.pack("<B7xB7x", 0, 0) + vec(424, 264, 1),
        short("units"),  # 440: keys
        struct.pack("<B7x", 11) + short("m"),  # 456: values
        root(480, 5, [(0, 1), (272, 1), (440, 1), (456, 1)], 1, short("t.af")),
    ]
)

# Everything that may stand outside its field does; two levels of lists; a scalar.
FAR = Footer(
    version=4,
    blocks=BlockTable.empty(),
    arrays=(
        ArrayMeta(
            name="a name of 22 bytes ...",
            dtype=DType("FixedSizeList", DType("List", DType("Int8")), 3),
            shape=(),
            chunk_shape=(),
            chunks=ChunkTable(np.zeros((1, 0), np.uint32), *np.array([[7], [8], [9]], np.uint32)),
            fill_value=FillValue("String", b"a fill of 17 byte"),
            deleted=True,
            attribute_pairs=np.array([[1, 2]], np.uint64),
        ),
    ),
)
FAR_BYTES = b"".join(
    [
        b"a name of 22 bytes ...\0\0",  # 0
        struct.pack("<B23x", 1),  # 24: Int8
        struct.pack("<B7xq8x", 14, 24 - 56),  # 48: List
        # 72: shape, names, chunk shape and coordinate are empty and stand here
        chunk(72, 72, 0, 7, 8, 9),
        b"a fill of 17 byte".ljust(24, b"\0"),  # 104
        struct.pack("<QQ", 1, 2),  # 128: pair
        struct.pack("<Qq", 22 | 0x80, 0 - 144),  # 144: array: name
        struct.pack("<B7xqI4x", 13, 48 - 168, 3),
        vec(184, 72, 0) + vec(200, 72, 0) + vec(216, 72, 0) + vec(232, 72, 1),
        struct.pack("<B7xB7xQq", 1, 4, 17 | 0x80, 104 - 264) + struct.pack("<B7xB7x", 1, 2) + vec(296, 128, 1),
        root(312, 4, [(0, 0), (144, 1), (312, 0), (312, 0)], 0, short("")),
    ]
)

TABLE = {"empty": (EMPTY, EMPTY_BYTES), "grid": (GRID, GRID_BYTES), "far": (FAR, FAR_BYTES)}


@pytest.mark.parametrize("name", TABLE)
def test_a_footer_encodes_to_its_bytes(name: str) -> None:
    footer, data = TABLE[name]
    assert encode_footer(footer) == data


@pytest.mark.parametrize("name", TABLE)
def test_the_bytes_decode_to_the_footer(name: str) -> None:
    footer, data = TABLE[name]
    assert described(decode_footer(data)) == described(footer)


def test_the_grid_is_the_footer_that_the_other_implementation_writes() -> None:
    assert footer_bytes((VECTORS / "v5/flushed/t.1.af").read_bytes()) == GRID_BYTES


def test_a_column_of_a_wider_type_is_not_cut_down() -> None:
    table = ChunkTable(np.zeros((1, 1), np.uint32), *np.array([[2**32], [0], [0]]))
    with pytest.raises(TypeError, match="Cannot cast"):
        encode_footer(Footer(5, BlockTable.empty(), (ArrayMeta("a", DType("Int8"), (1,), (1,), chunks=table),)))


def test_padding_is_ignored() -> None:
    padded = bytearray(GRID_BYTES)
    for place in (4, 33, 164, 268, 289, 377, 385, 400, 409, 417, 457, 484, 556):
        padded[place] = 0xAA
    assert encode_footer(decode_footer(bytes(padded))) == GRID_BYTES


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (32, 2, "block 0: codec tag is 2"),
        (288, 16, "array 0 'grid': dtype: tag is 16"),
        (320, 1, "array 0 'grid': chunk_shape has 2 numbers, shape 1"),
        (144, 3, "array 0 'grid': chunk 0: coordinate of 3 numbers in an array of 2 dimensions"),
        (240, 1, "array 0 'grid': chunk 3: coordinate of 1 numbers in an array of 2 dimensions"),
        (376, 2, "array 0 'grid': fill value: option tag is 2"),
        (384, 6, "array 0 'grid': fill value: tag is 6"),
        (408, 2, "array 0 'grid': deleted is 2"),
        (416, 3, "array 0 'grid': attributes: tag is 3"),
        (456, 26, "attribute value: tag is 26, not 0 to 25"),
        (480, 6, "version 6 is not read"),
        (136, 0xE4, r"array 0 'grid': chunk 1 coordinate: pointer to 112, not 8 aligned bytes within 116 to 136"),
        (232, 0x90, r"array 0 'grid': chunk 3 coordinate: pointer to 120, not 8 aligned bytes within 128 to 136"),
    ],
)
def test_an_error_names_the_place(place: int, value: int, message: str) -> None:
    data = bytearray(GRID_BYTES)
    data[place] = value
    with pytest.raises(FormatError, match=f"^footer: {message}"):
        decode_footer(bytes(data))


def test_version_4_has_no_lists_among_its_attributes() -> None:
    data = bytearray(GRID_BYTES)
    data[480] = 4
    assert decode_footer(bytes(data)).version == 4
    data[456] = 12
    with pytest.raises(FormatError, match="tag is 12, not 0 to 11"):
        decode_footer(bytes(data))
    with pytest.raises(LimitError, match="'Binary' is not one of this footer version"):
        encode_footer(Footer(4, BlockTable.empty(), (), ("k",), (AttributeValue("Binary", b""),)))


def test_the_later_one_file_format_is_named() -> None:
    frozen = bytes(104) + struct.pack("<I4x64x", 6)
    with pytest.raises(FormatError, match="version 6 is not read"):
        decode_footer(frozen)


def nested(depth: int) -> DType:
    dtype = DType("Int8")
    for _ in range(depth):
        dtype = DType("List", dtype)
    return dtype


def test_lists_in_lists_are_bounded() -> None:
    deepest = Footer(5, BlockTable.empty(), (ArrayMeta("a", nested(MAX_DTYPE_DEPTH), (), ()),))
    assert decode_footer(encode_footer(deepest)).arrays[0].dtype == nested(MAX_DTYPE_DEPTH)
    with pytest.raises(LimitError, match="more than 64 lists in each other"):
        encode_footer(Footer(5, BlockTable.empty(), (ArrayMeta("a", nested(MAX_DTYPE_DEPTH + 1), (), ()),)))


def test_deeper_lists_than_arrayfs_writes_are_refused() -> None:
    # Each type points to the one before it.
    chain = b"".join(struct.pack("<B7xq8x", 14, -32) for _ in range(10_000))
    chain = struct.pack("<B23x", 1) + chain
    place = len(chain)
    record = (
        short("a") + struct.pack("<B7xq8x", 14, -48) + b"".join(vec(place + at, place, 0) for at in (40, 56, 72, 88))
    )
    record += bytes(40) + struct.pack("<B7x", 0) + vec(place + 152, place, 0)
    end = place + len(record)
    data = chain + record + root(end, 5, [(0, 0), (place, 1), (end, 0), (end, 0)], 0, short(""))
    with pytest.raises(FormatError, match="array 0 'a': dtype: more than 64 lists in each other"):
        decode_footer(data)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (ArrayMeta("big", DType("Int8"), (2**32,), (1,)), "array 0 'big'"),
        (ArrayMeta("big", DType("Int8"), (1,), (1, 1)), "chunk_shape has 2 numbers, shape 1"),
        (
            ArrayMeta("a", DType("Complex"), (), ()),
            r"array 0 'a': dtype DType\(name='Complex', .* is not one of the format",
        ),
        (ArrayMeta("a", DType("List"), (), ()), "is not one of the format"),
        (ArrayMeta("a", DType("Int8", DType("Int8")), (), ()), "is not one of the format"),
        (ArrayMeta("a", DType("FixedSizeList", DType("Int8"), 2**32), (), ()), "a list of 4294967296 elements"),
        (ArrayMeta("a", DType("Int8"), (), (), fill_value=FillValue("Int", b"\1")), "fill value .* is not one of"),
        (ArrayMeta("a", DType("Int8"), (), (), fill_value=FillValue("Real", bytes(8))), "fill value .* is not one of"),
        (ArrayMeta("\ud800", DType("Int8"), (), ()), "has no UTF-8 form"),
        (
            ArrayMeta("a", DType("Int8"), (1,), (1,), chunks=ChunkTable(*[np.zeros(1, np.uint32)] * 4)),
            r"coordinates of shape \(1,\) for 1 chunks of rank 1",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused(array: ArrayMeta, message: str) -> None:
    with pytest.raises(LimitError, match=message):
        encode_footer(Footer(5, BlockTable.empty(), (array,)))


def test_only_known_versions_are_written() -> None:
    with pytest.raises(LimitError, match="version 6 is not written"):
        encode_footer(Footer(6, BlockTable.empty(), ()))


@pytest.mark.parametrize(
    ("tail", "file_size", "place"),
    [
        ("6000000000000000 41525246", 108, range(96)),
        ("4002000000000000 41525246", 638, range(50, 626)),
        ("0000000000000000 41525246", 12, range(0)),
    ],
)
def test_the_trailer_says_where_the_footer_lies(tail: str, file_size: int, place: range) -> None:
    assert decode_trailer(bytes.fromhex(tail), file_size) == place
    assert encode_trailer(len(place)) == bytes.fromhex(tail)


@pytest.mark.parametrize(
    ("footer_size", "magic", "file_size", "problem"),
    [
        (97, b"ARRF", 108, "footer of 97 bytes in a file of 108"),
        (2**64 - 1, b"ARRF", 108, "footer of 18446744073709551615 bytes"),
        (96, b"ARRX", 108, "magic is b'ARRX', not b'ARRF'"),
    ],
)
def test_a_trailer_that_cannot_be_is_refused(footer_size: int, magic: bytes, file_size: int, problem: str) -> None:
    with pytest.raises(FormatError, match=f"^trailer: {problem}"):
        decode_trailer(TRAILER.pack(footer_size, magic), file_size)
