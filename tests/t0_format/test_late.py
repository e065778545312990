"""What is decoded when it is asked for is what decoding everything at once gives, and is refused as that is."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest

from arrayfs.errors import ChecksumError, FormatError
from arrayfs.format.extension import decode_extension, encode_extension, glance_at_extension
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import decode_footer, encode_footer, glance_at_footer
from tests.t0_format.golden import all_footers, described
from tests.t0_format.test_extension import FULL, MINIMAL, block, plain
from tests.t0_format.test_footer import GRID, GRID_BYTES

FOOTERS = {name: data for name, data in all_footers().items() if len(data) < 1 << 16}
LATE = ("blocks", "attr_keys", "attr_values", "base_file_hint")


@pytest.mark.parametrize("first", LATE)
def test_a_footer_says_the_same_whatever_is_asked_for_first(first: str) -> None:
    for name, data in FOOTERS.items():
        late, _ = glance_at_footer(data, "t.af")
        getattr(late, first)
        assert json.dumps(described(late)) == json.dumps(described(decode_footer(data))), name


def test_the_last_block_is_the_last_of_the_table() -> None:
    for name, data in FOOTERS.items():
        blocks = decode_footer(data).blocks
        _, last = glance_at_footer(data, "t.af")
        assert last.blocks == len(blocks), name
        if len(blocks):
            codec = blocks.codec_names[blocks.codecs[-1]]
            place = int(blocks.file_offsets[-1]), int(blocks.compressed_sizes[-1])
            assert (last.file_offset, last.compressed_size) == place
            assert last.codec == (codec if codec is None or len(codec) <= 16 else None)


def test_damage_in_what_is_late_is_told_with_the_file_when_it_is_asked_for() -> None:
    """Each byte of a footer changed: what is refused at once is refused late or at once, and nothing else is."""
    late_errors = 0
    for place in range(len(GRID_BYTES)):
        for bit in (0x01, 0x80):
            data = bytearray(GRID_BYTES)
            data[place] ^= bit
            try:
                wanted = described(decode_footer(bytes(data)))
            except FormatError as error:
                with pytest.raises(FormatError) as caught:
                    _all_of(bytes(data))
                late_errors += str(caught.value) == f"t.af: {error}"
            else:
                assert described(_all_of(bytes(data))) == wanted, place
    assert late_errors > 20


def _all_of(data: bytes):  # type: ignore[no-untyped-def]
    footer, _ = glance_at_footer(data, "t.af")
    for name in LATE:
        getattr(footer, name)
    return footer


def test_a_footer_has_no_other_attributes() -> None:
    late, _ = glance_at_footer(GRID_BYTES, "t.af")
    assert not hasattr(late, "color")
    assert encode_footer(late) == encode_footer(GRID)


@pytest.mark.parametrize("extension", [FULL, MINIMAL])
@pytest.mark.parametrize("first", [field.name for field in fields(Extension)])
def test_an_extension_block_says_the_same_whatever_is_asked_for_first(extension: Extension, first: str) -> None:
    late = glance_at_extension(encode_extension(extension), "t.af", len(extension.block_crcs))
    getattr(late, first)
    assert plain(late) == plain(extension)
    assert encode_extension(late) == encode_extension(extension)
    assert not hasattr(late, "color")


def test_a_section_that_breaks_its_layout_is_told_with_the_file_when_it_is_asked_for() -> None:
    sections = {1: bytes(64), 2: b"\xff", 7: bytes(16), 9: b"\1\0\0\0"}
    data = block(sorted(sections.items()))
    late = glance_at_extension(data, "t.af", 0)
    assert late.author == ""
    with pytest.raises(FormatError, match=r"^t\.af: extension block: section 2 \(message\): text is not UTF-8"):
        _ = late.message
    with pytest.raises(FormatError, match=r"^t\.af: extension block: section 9 \(renamed from\)"):
        _ = late.renamed_from
    with pytest.raises(FormatError):
        decode_extension(data)


@pytest.mark.parametrize("missing", [1, 7])
def test_what_is_needed_at_once_has_to_be_there(missing: int) -> None:
    sections = {1: bytes(64), 7: bytes(16)}
    del sections[missing]
    with pytest.raises(FormatError):
        glance_at_extension(block(sorted(sections.items())), "t.af", 0)


def test_checksums_of_other_blocks_are_refused_at_once() -> None:
    data = encode_extension(FULL)
    glance_at_extension(data, "t.af", len(FULL.block_crcs))
    with pytest.raises(FormatError):
        glance_at_extension(data, "t.af", len(FULL.block_crcs) + 1)


def test_an_extension_block_that_is_damaged_is_refused_at_once() -> None:
    data = encode_extension(FULL)
    for place in range(len(data)):
        changed = data[:place] + bytes((data[place] ^ 0x10,)) + data[place + 1 :]
        with pytest.raises((FormatError, ChecksumError)):
            glance_at_extension(changed, "t.af", len(FULL.block_crcs))
