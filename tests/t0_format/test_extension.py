"""The extension block built by hand from the tables in docs/FORMAT.md, and everything that can be wrong with one."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.errors import ChecksumError, FormatError, LimitError
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension import (
    EXTENSION_CODEC,
    MARK_OPAQUE,
    NO_PARENT,
    Extension,
    MergedVersion,
    TagChange,
    decode_extension,
    encode_extension,
    extension_size,
)

LAYER, PARENT, CONTAINER, OLD = (bytes((byte,)) * 16 for byte in (1, 2, 3, 4))
TIME = 1_700_000_000_123_456_789

FULL = Extension(
    layer_id=LAYER,
    parent_id=PARENT,
    container_id=CONTAINER,
    version=7,
    time_ns=TIME,
    message="first day, grün",
    author="Ada",
    tags=("v1", ""),
    merged=(MergedVersion(5, OLD, -1, "m", "", ("t",)), MergedVersion(6, LAYER, 2)),
    block_crcs=np.array([0xDEADBEEF, 0], np.uint32),
    footer_crc=0x12345678,
    footer_size=576,
    holes=np.array([[1, 2, 3], [4, 5, 2**32 - 1]], np.uint32),
    renamed_from={2: "old/name"},
    chunk_mtimes={1: np.array([10, -20], np.int64), 3: np.array([30], np.int64)},
    array_marks={0: MARK_OPAQUE, 9: 6},
    tag_changes=(TagChange("v2", 5), TagChange("v1", None)),
    piece_crcs={0: np.array([1, 0xFFFFFFFF], np.uint32), 7: np.array([2], np.uint32)},
    chunk_figures=b"figures",
    unknown=((15, b"of a later version"), (4_000_000_000, b"")),
)


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()


FULL_SECTIONS: list[tuple[int, bytes]] = [
    (1, LAYER + PARENT + CONTAINER + struct.pack("<Qq", 7, TIME)),
    (2, "first day, grün".encode()),
    (3, b"Ada"),
    (4, struct.pack("<I", 2) + text("v1") + text("")),
    (
        5,
        struct.pack("<IQq16s", 2, 5, -1, OLD)
        + text("m")
        + text("")
        + struct.pack("<I", 1)
        + text("t")
        + struct.pack("<Qq16s", 6, 2, LAYER)
        + text("")
        + text("")
        + struct.pack("<I", 0),
    ),
    (6, struct.pack("<II", 0xDEADBEEF, 0)),
    (7, struct.pack("<I4xQ", 0x12345678, 576)),
    (8, struct.pack("<6I", 1, 2, 3, 4, 5, 2**32 - 1)),
    (9, struct.pack("<II", 1, 2) + text("old/name")),
    (10, struct.pack("<I4x4I3q", 2, 1, 2, 3, 1, 10, -20, 30)),
    (11, struct.pack("<4I", 0, 1, 9, 6)),
    (12, struct.pack("<II", 2**32 - 1, 0) + b"figures"),
    (13, struct.pack("<IQI", 2, 5, 0) + text("v2") + struct.pack("<QI", 0, 1) + text("v1")),
    (14, struct.pack("<I4x4I3I", 2, 0, 2, 7, 1, 1, 0xFFFFFFFF, 2)),
    (15, b"of a later version"),
    (4_000_000_000, b""),
]
MINIMAL = Extension(LAYER, NO_PARENT, CONTAINER, 0, TIME)
MINIMAL_SECTIONS = [(1, LAYER + bytes(16) + CONTAINER + struct.pack("<Qq", 0, TIME)), (7, bytes(16))]


def block(sections: list[tuple[int, bytes]]) -> bytes:
    """Lay out a block as docs/FORMAT.md says."""
    position = 32 + 24 * len(sections)
    table, body = b"", b""
    for tag, raw in sections:
        table += struct.pack("<I4xQQ", tag, position + len(body), len(raw))
        body += raw + bytes(-len(raw) % 8)
    return sealed(b"AFX1" + struct.pack("<IQI12x", 0, position + len(body), len(sections)) + table + body)


def sealed(data: bytes) -> bytes:
    """Put the right checksum in."""
    zeroed = data[:4] + bytes(4) + data[8:]
    return data[:4] + struct.pack("<I", crc32c(zeroed)) + data[8:]


def plain(extension: Extension) -> dict[str, Any]:
    """Return the fields as things that compare."""
    fields = {field.name: getattr(extension, field.name) for field in dataclasses.fields(extension)}
    fields["chunk_mtimes"] = {index: times.tolist() for index, times in extension.chunk_mtimes.items()}
    fields["piece_crcs"] = {row: crcs.tolist() for row, crcs in extension.piece_crcs.items()}
    return fields | {"block_crcs": extension.block_crcs.tolist(), "holes": extension.holes.tolist()}


FIGURES_ELSEWHERE = dataclasses.replace(MINIMAL, chunk_figures=3)
FIGURES_ELSEWHERE_SECTIONS = [*MINIMAL_SECTIONS, (12, struct.pack("<II", 3, 0))]


@pytest.mark.parametrize(
    ("extension", "sections"),
    [(FULL, FULL_SECTIONS), (MINIMAL, MINIMAL_SECTIONS), (FIGURES_ELSEWHERE, FIGURES_ELSEWHERE_SECTIONS)],
)
def test_a_block_is_what_the_tables_say_both_ways(extension: Extension, sections: list[tuple[int, bytes]]) -> None:
    assert encode_extension(extension) == block(sections)
    assert plain(decode_extension(block(sections))) == plain(extension)
    assert extension_size(extension) == len(block(sections))


def test_the_codec_name_stands_in_its_form() -> None:
    assert len(EXTENSION_CODEC) <= 16


def test_the_size_is_known_before_the_checksums() -> None:
    later = dataclasses.replace(
        FULL, footer_crc=0xFFFFFFFF, footer_size=2**64 - 1, block_crcs=np.array([1, 2], np.uint32)
    )
    assert extension_size(later) == extension_size(FULL) == len(encode_extension(later))


def test_any_buffer_is_decoded_and_none_is_kept() -> None:
    buffer = bytearray(encode_extension(FULL))
    decoded = decode_extension(memoryview(buffer))
    buffer.clear()  # fails while something still looks into it
    assert plain(decoded) == plain(FULL)


def test_every_flipped_byte_and_every_truncation_is_noticed() -> None:
    data = block(FULL_SECTIONS)
    for place in range(len(data)):
        with pytest.raises(FormatError, match=r"^extension block: "):
            decode_extension(data[:place] + bytes((data[place] ^ 0x10,)) + data[place + 1 :])
        with pytest.raises(FormatError, match=r"^extension block: "):
            decode_extension(data[:place])


def test_damage_is_told_from_a_wrong_layout() -> None:
    data = block(FULL_SECTIONS)
    with pytest.raises(ChecksumError, match=r"CRC-32C is [0-9a-f]{8}, [0-9a-f]{8} was written"):
        decode_extension(data[:-30] + b"\xff" + data[-29:])
    with pytest.raises(FormatError, match="magic is b'AFX2'"):
        decode_extension(b"AFX2" + data[4:])
    with pytest.raises(FormatError, match="bytes, 0 were written"):
        decode_extension(sealed(data[:8] + bytes(8) + data[16:]))


def test_reserved_fields_are_ignored() -> None:
    data = bytearray(block(MINIMAL_SECTIONS))
    data[20:32] = b"\xaa" * 12
    data[36:40] = b"\xaa" * 4
    assert plain(decode_extension(sealed(bytes(data)))) == plain(MINIMAL)


SECTION_ERRORS = [
    (1, bytes(63), r"section 1 \(identity\): 63 bytes, not 64"),
    (2, b"\xff", r"section 2 \(message\): text is not UTF-8"),
    (3, b"\xc0\x80", r"section 3 \(author\): text is not UTF-8"),
    (4, struct.pack("<I", 2**32 - 1), r"section 4 \(tags\): 4 bytes, but its content goes on to 8"),
    (4, struct.pack("<II", 1, 2**32 - 1), r"section 4 \(tags\): 8 bytes, but its content goes on"),
    (4, struct.pack("<II", 0, 0), r"section 4 \(tags\): 8 bytes, but its content ends at 4"),
    (5, struct.pack("<IQ", 1, 1), r"section 5 \(merged versions\): 12 bytes, but its content goes on to 36"),
    (6, bytes(5), r"section 6 \(block checksums\): 5 bytes are no multiple of 4"),
    (7, bytes(12), r"section 7 \(footer\): 12 bytes, not 16"),
    (8, bytes(8), r"section 8 \(holes\): 8 bytes are no multiple of 12"),
    (9, struct.pack("<I", 2) + (struct.pack("<I", 5) + text("a")) * 2, "named twice"),
    (10, struct.pack("<I4x2I", 1, 0, 2), r"section 10 \(chunk times\): 16 bytes for 1 arrays with 2 chunks"),
    (10, struct.pack("<I4x2Iq", 2**32 - 1, 0, 1, 5), r"section 10 \(chunk times\): .* goes on to"),
    (10, struct.pack("<I4x4I", 2, 1, 0, 1, 0), "named twice"),
    (11, bytes(12), r"section 11 \(array marks\): 12 bytes are no multiple of 8"),
    (11, struct.pack("<4I", 1, 1, 1, 2), "named twice"),
    (12, bytes(4), r"section 12 \(figures of chunks\): 4 bytes, but its content goes on to 8"),
    (12, bytes(9), r"section 12 \(figures of chunks\): 9 bytes, but its content ends at 8"),
    (14, struct.pack("<I4x2II", 1, 0, 2, 5), r"section 14 \(piece checksums\): 20 bytes for 1 blocks with 2 pieces"),
    (14, struct.pack("<I4x4I", 2, 1, 0, 1, 0), "named twice"),
]


@pytest.mark.parametrize(("tag", "raw", "message"), SECTION_ERRORS)
def test_a_section_that_cannot_be_is_named(tag: int, raw: bytes, message: str) -> None:
    sections = dict(MINIMAL_SECTIONS) | {tag: raw}
    with pytest.raises(FormatError, match=f"^extension block: .*{message}"):
        decode_extension(block(sorted(sections.items())))


def test_the_identity_must_be_there() -> None:
    with pytest.raises(FormatError, match=r"section 1 \(identity\) is missing"):
        decode_extension(block(MINIMAL_SECTIONS[1:]))


def test_sections_must_not_overlap_or_leave_the_block() -> None:
    data = block([*MINIMAL_SECTIONS, (20, bytes(64))])
    first_row = 32 + 24 * 2
    for start, size in ((0, 8), (80, 8), (168, 64), (190, 8), (184, 72), (184, 2**64 - 1), (2**64 - 8, 16)):
        row = struct.pack("<I4xQQ", 20, start, size)
        with pytest.raises(FormatError, match=r"section 20 at .* does not lie between"):
            decode_extension(sealed(data[:first_row] + row + data[first_row + 24 :]))


@pytest.mark.parametrize("tags", [(1, 1), (7, 1)])
def test_tags_ascend(tags: tuple[int, int]) -> None:
    with pytest.raises(FormatError, match="section 1 stands after section"):
        decode_extension(block([(tag, MINIMAL_SECTIONS[0][1]) for tag in tags]))


def test_more_sections_than_bytes_are_refused() -> None:
    data = b"AFX1" + struct.pack("<IQI12x", 0, 40, 2**32 - 1) + bytes(8)
    with pytest.raises(FormatError, match="4294967295 sections in 40 bytes"):
        decode_extension(sealed(data))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer_id": b"short"}, "identity: ids of 5, 16, 16 bytes"),
        ({"version": -1}, "identity: "),
        ({"footer_crc": 2**32}, "footer: "),
        ({"array_marks": {-1: 1}}, "array marks: "),
        ({"holes": np.zeros(3, np.uint32)}, r"holes: holes of shape \(3,\)"),
        ({"merged": (MergedVersion(1, b"", 0),)}, "merged versions: merged version 1: id of 0 bytes"),
        ({"message": "\ud800"}, "message: .* has no UTF-8 form"),
        ({"unknown": ((8, b""),)}, "unknown sections with tags"),
        ({"unknown": ((80, b""), (80, b"x"))}, "unknown sections with tags"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(LimitError, match=f"^extension block: {message}"):
        encode_extension(dataclasses.replace(FULL, **change))


def test_a_column_of_a_wider_type_is_not_cut_down() -> None:
    with pytest.raises(TypeError, match="Cannot cast"):
        encode_extension(dataclasses.replace(FULL, block_crcs=np.array([2**32])))


TEXTS = st.text(max_size=20)
IDS = st.binary(min_size=16, max_size=16)
I64 = st.integers(-(2**63), 2**63 - 1)
U32 = st.integers(0, 2**32 - 1)
EXTENSIONS = st.builds(
    Extension,
    layer_id=IDS,
    parent_id=IDS,
    container_id=IDS,
    version=st.integers(0, 2**64 - 1),
    time_ns=I64,
    message=TEXTS,
    author=TEXTS,
    tags=st.lists(TEXTS, max_size=3).map(tuple),
    merged=st.lists(
        st.builds(
            MergedVersion, st.integers(0, 2**64 - 1), IDS, I64, TEXTS, TEXTS, st.lists(TEXTS, max_size=2).map(tuple)
        ),
        max_size=3,
    ).map(tuple),
    block_crcs=st.lists(U32, max_size=5).map(lambda row: np.array(row, np.uint32)),
    footer_crc=U32,
    footer_size=st.integers(0, 2**64 - 1),
    holes=st.lists(st.tuples(U32, U32, U32), max_size=4).map(lambda rows: np.array(rows, np.uint32).reshape(-1, 3)),
    renamed_from=st.dictionaries(U32, TEXTS, max_size=3),
    chunk_mtimes=st.dictionaries(U32, st.lists(I64, max_size=4).map(lambda row: np.array(row, np.int64)), max_size=3),
    array_marks=st.dictionaries(U32, U32, max_size=3),
    piece_crcs=st.dictionaries(U32, st.lists(U32, max_size=4).map(lambda row: np.array(row, np.uint32)), max_size=3),
    chunk_figures=st.none() | st.integers(0, 2**32 - 2) | st.binary(max_size=20),
    unknown=st.dictionaries(st.integers(15, 2**32 - 1), st.binary(max_size=20), max_size=3).map(
        lambda rows: tuple(sorted(rows.items()))
    ),
)


@settings(max_examples=100, deadline=None)
@given(EXTENSIONS)
def test_what_is_encoded_is_what_is_decoded(extension: Extension) -> None:
    data = encode_extension(extension)
    assert len(data) == extension_size(extension)
    assert len(data) % 8 == 0
    assert plain(decode_extension(data)) == plain(extension)
