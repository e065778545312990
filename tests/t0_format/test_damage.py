"""Damaged bytes: a FormatError that names the place, never another exception, never a wrong kind of answer."""

from __future__ import annotations

import struct

import pytest

from arrayfs.errors import FormatError
from arrayfs.format.footer import TRAILER, decode_footer, decode_trailer, encode_footer
from tests.t0_format.golden import CORRUPT, VECTORS, all_footers, expected, footer_bytes

_FOOTERS = all_footers()
SMALL = ["v5/layers_redefine/t.1.af", "v4/flushed/t.1.af", "v5/lists/t.af"]
# A container whose layers disagree is nothing that one footer can show.
_NOT_IN_ONE_FILE = {"footer_version_4_in_5"}
OPENING = [
    name for name in CORRUPT if expected(f"corrupt/{name}")["must_fail_at"] == "open" and name not in _NOT_IN_ONE_FILE
]
MESSAGES = {
    "bad_magic": "trailer: magic is b'ARRX', not b'ARRF'",
    "empty_file": "trailer: a file of 0 bytes has no room for it",
    "footer_size_too_big": "trailer: footer of 638 bytes in a file of 638",
    "footer_version_99": r"footer: version 99 is not read, only \(4, 5\)",
    "rkyv_bad_bool": "footer: array 0 'grid': deleted is 2, not 0 or 1",
    "rkyv_bad_tag": "footer: array 0 'grid': dtype: tag is 32, not 0 to 15",
    "rkyv_bad_utf8": r"footer: array 0: name: not UTF-8 \(position 272\)",
    "rkyv_bitflip_pointer": r"footer: arrays: pointer leads outside the archive \(position 504, target 1099511628280,",
    "rkyv_pointer_unaligned": "footer: arrays: pointer leads to a place that is not 8-aligned",
    "rkyv_shared_subtree": "footer: array 0 'grid': chunk_shape: pointer breaks the archive's order, .* 96 to 272",
    "rkyv_short_string": "footer: array 0: name: a text of 5 bytes stands outside its form",
}


def _decode_damaged(name: str) -> None:
    data = (VECTORS / "corrupt" / name / expected(f"corrupt/{name}")["file"]).read_bytes()
    decode_footer(footer_bytes(data))


@pytest.mark.parametrize("name", OPENING)
def test_what_must_not_open_does_not_decode(name: str) -> None:
    with pytest.raises(FormatError, match=MESSAGES.get(name, "^(footer|trailer): ")):
        _decode_damaged(name)


@pytest.mark.parametrize("name", sorted(set(CORRUPT) - set(OPENING) - {"stats_bad_magic", "stats_bad_magic_v4"}))
def test_a_defect_elsewhere_leaves_the_footer_readable(name: str) -> None:
    _decode_damaged(name)


@pytest.mark.parametrize("name", SMALL)
def test_every_truncation_is_an_error_or_a_footer(name: str) -> None:
    footer = _FOOTERS[name]
    for size in range(len(footer)):
        with pytest.raises(FormatError):
            decode_footer(footer[:size])
        _decodes_or_refuses(footer[size:])


@pytest.mark.parametrize("name", SMALL)
def test_every_flipped_byte_is_an_error_or_a_footer(name: str) -> None:
    footer = _FOOTERS[name]
    decoded = sum(
        _decodes_or_refuses(footer[:place] + bytes((footer[place] ^ flip,)) + footer[place + 1 :])
        for place in range(len(footer))
        for flip in (0x01, 0xFF)
    )
    # Numbers, letters and padding may be anything; tags, pointers and counts may not.
    assert 0 < decoded < 2 * len(footer)


@pytest.mark.parametrize("value", [2**63, 2**63 - 1, 2**64 - 1, 2**64 - 8, 2**32, 1 << 61])
def test_huge_words_anywhere_allocate_nothing(value: int) -> None:
    footer = _FOOTERS["v5/layers_redefine/t.1.af"]
    word = struct.pack("<Q", value)
    for place in range(0, len(footer), 8):
        _decodes_or_refuses(footer[:place] + word + footer[place + 8 :])


def test_bytes_before_the_archive_are_ignored() -> None:
    footer = _FOOTERS["v5/layers_redefine/t.1.af"]
    assert encode_footer(decode_footer(bytes(64) + footer)) == footer


def test_bytes_after_the_archive_are_an_error() -> None:
    footer = _FOOTERS["v5/layers_redefine/t.1.af"]
    for size in range(1, 65):
        with pytest.raises(FormatError):
            decode_footer(footer + bytes(size))


@pytest.mark.parametrize("size", range(12))
def test_a_trailer_needs_its_twelve_bytes(size: int) -> None:
    with pytest.raises(FormatError, match="no room"):
        decode_trailer(TRAILER.pack(0, b"ARRF")[:size], size)


def _decodes_or_refuses(data: bytes) -> bool:
    try:
        footer = decode_footer(data)
    except FormatError:
        return False
    encode_footer(footer)  # whatever was decoded is a whole model
    return True
