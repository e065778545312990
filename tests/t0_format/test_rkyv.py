"""The archive's primitives as (value, bytes) pairs, and the rule that tells where a pointer may lead."""

from __future__ import annotations

import pytest

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.rkyv import VEC, ArchiveReader, ArchiveWriter, encode_text, string_form

STRING_FORMS = [
    ("", b"\xff" * 16),
    ("lz4", b"lz4" + b"\xff" * 13),
    ("grün", b"gr\xc3\xbcn" + b"\xff" * 11),
    ("exactly sixteen.", b"exactly sixteen."),
]
LENGTH_WORDS = [(17, "9100"), (63, "bf00"), (64, "8001"), (300, "ac04")]


@pytest.mark.parametrize(("text", "form"), STRING_FORMS)
def test_a_text_of_up_to_16_bytes_stands_in_its_form(text: str, form: bytes) -> None:
    assert string_form(text.encode(), 0, 0) == form
    assert ArchiveReader(bytes(16), 16).string(form, 0, "name") == text


@pytest.mark.parametrize(("length", "word"), LENGTH_WORDS)
def test_a_longer_text_stands_elsewhere(length: int, word: str) -> None:
    raw = b"x" * length
    form = string_form(raw, 512, 8)
    assert form == bytes.fromhex(word).ljust(8, b"\0") + (8 - 512).to_bytes(8, "little", signed=True)
    reader = ArchiveReader(bytes(8) + raw.ljust(504, b"\0") + form, 16)
    assert reader.string(form, 512, "name") == raw.decode()
    assert reader.low == 8 + length


def test_what_follows_the_first_ff_of_a_short_text_is_ignored() -> None:
    assert ArchiveReader(bytes(16), 16).string(b"ab\xff" + b"\xfe" * 13, 0, "name") == "ab"


@pytest.mark.parametrize("form", [b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\x80"])
def test_text_that_is_not_utf8_is_refused(form: bytes) -> None:
    with pytest.raises(FormatError, match="name: not UTF-8"):
        ArchiveReader(bytes(16), 16).string(form.ljust(16, b"\xff"), 0, "name")


@pytest.mark.parametrize("length", [0, 5, 16])
def test_a_short_text_elsewhere_is_refused(length: int) -> None:
    form = bytes((0x80 | length, 0, 0, 0, 0, 0, 0, 0)) + (-32).to_bytes(8, "little", signed=True)
    with pytest.raises(FormatError, match=f"a text of {length} bytes stands outside"):
        ArchiveReader(bytes(48), 16).string(form, 32, "name")


def test_a_lone_surrogate_cannot_be_written() -> None:
    with pytest.raises(LimitError, match=r"name: .* has no UTF-8 form"):
        encode_text("file-\udcff", "name")


def test_a_list_of_texts_is_texts_padding_forms() -> None:
    writer = ArchiveWriter()
    long = b"seventeen letters"
    start = writer.put_strings([b"a", long])
    data = writer.getvalue()
    assert (start, data[:24]) == (24, long + bytes(7))
    assert data[24:] == b"a" + b"\xff" * 15 + b"\x91" + bytes(7) + (-40).to_bytes(8, "little", signed=True)
    root = VEC.pack(start - len(data), 2)
    assert ArchiveReader(data + root, 16).strings(len(data), start - len(data), 2, "names") == ("a", long.decode())


# A window of 16 to 48 in an archive of 64 bytes, whose pointer stands at 48.
@pytest.mark.parametrize(
    ("target", "size", "alignment", "problem"),
    [
        (-8, 8, 8, "outside the archive"),
        (56, 16, 8, "outside the archive"),
        (16, 2**60, 8, "outside the archive"),
        (20, 8, 8, "not 8-aligned"),
        (17, 2, 2, "not 2-aligned"),
        (8, 8, 8, "order, which allows 16 to 48"),
        (40, 16, 8, "order, which allows 16 to 48"),
        (48, 8, 8, "order, which allows 16 to 48"),
        (8, 0, 8, "order, which allows 16 to 48"),
    ],
)
def test_a_pointer_must_lead_into_the_window(target: int, size: int, alignment: int, problem: str) -> None:
    reader = ArchiveReader(bytes(64), 16)
    reader.low = 16
    message = rf"^shape: pointer .*{problem}.* \(position 48, target {target}, {size} bytes\)$"
    for follow in (reader.target, reader.leaf):
        with pytest.raises(FormatError, match=message):
            follow(48, target - 48, size, alignment, "shape")


@pytest.mark.parametrize(("target", "size", "alignment"), [(16, 32, 8), (48, 0, 8), (16, 0, 4), (47, 1, 1)])
def test_the_window_may_be_filled(target: int, size: int, alignment: int) -> None:
    reader = ArchiveReader(bytes(64), 16)
    reader.low = 16
    assert reader.target(48, target - 48, size, alignment, "shape") == target
    assert len(reader.leaf(48, target - 48, size, alignment, "shape")) == size
    assert reader.low == target + size


@pytest.mark.parametrize(("size", "problem"), [(88, "cannot hold"), (100, "no multiple of 8")])
def test_an_archive_has_room_for_its_root_and_is_aligned(size: int, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        ArchiveReader(bytes(size), 96)
