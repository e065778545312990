"""The extension block: what arrayfs adds to a layer, in one uncompressed block directly before the footer.

Header, section table, sections; a reader skips and keeps tags that it does not know. The crate never looks at the
block, as no chunk lies in it. (docs/FORMAT.md, "Extension block")
"""

from __future__ import annotations

import struct

from arrayfs.errors import ChecksumError, FormatError, LimitError
from arrayfs.format.checksums import crc32c
from arrayfs.format.correction import correct_byte
from arrayfs.format.extension_model import ID_SIZE, MARK_OPAQUE, NO_PARENT, Extension, MergedVersion, TagChange
from arrayfs.format.extension_sections import SECTION_BY_TAG, SECTIONS, Fields

__all__ = [
    "EXTENSION_CODEC",
    "EXTENSION_MAGIC",
    "HEADER_SIZE",
    "ID_SIZE",
    "MARK_OPAQUE",
    "NO_PARENT",
    "Extension",
    "MergedVersion",
    "TagChange",
    "corrected_extension",
    "decode_extension",
    "encode_extension",
    "extension_size",
    "stated_size",
]

EXTENSION_CODEC = "arrayfs.ext1"  # the block's codec in the footer; another number is another layout
EXTENSION_MAGIC = b"AFX1"
_HEADER = struct.Struct("<4sIQI12x")  # magic, CRC-32C of the block with this field zero, the block's size, sections
_CRC_FIELD = slice(4, 8)
_ROW = struct.Struct("<I4xQQ")  # tag; where the section begins in the block; its size
_ALIGNMENT = 8
HEADER_SIZE = _HEADER.size
_HEAD_CRC = crc32c(EXTENSION_MAGIC + bytes(4))  # of what stands before the rest, the checksum taken as zero


def encode_extension(extension: Extension) -> bytes:
    """Return the block. Raises LimitError if a value does not fit its field."""
    sections = _encode_sections(extension)
    rows, parts = [], []
    position = _HEADER.size + _ROW.size * len(sections)
    for tag, raw in sections:
        rows.append(_ROW.pack(tag, position, len(raw)))
        parts.append(raw + bytes(-len(raw) % _ALIGNMENT))
        position += len(parts[-1])
    body = b"".join(rows + parts)
    header = _HEADER.pack(EXTENSION_MAGIC, 0, position, len(sections))
    return _HEADER.pack(EXTENSION_MAGIC, crc32c(body, crc32c(header)), position, len(sections)) + body


def extension_size(extension: Extension) -> int:
    """Return the size in bytes of `encode_extension(extension)`.

    It depends on no checksum: the footer, which names the block's size, can be made with the final size before
    `dataclasses.replace(extension, footer_crc=…, footer_size=…)` fills in what only the finished footer tells.
    """
    sections = _encode_sections(extension)
    padded = sum(len(raw) + -len(raw) % _ALIGNMENT for _, raw in sections)
    return _HEADER.size + _ROW.size * len(sections) + padded


def decode_extension(data: bytes | memoryview) -> Extension:
    """Return what the block says. data: exactly the block's bytes.

    Raises ChecksumError if they are not the bytes that were written, FormatError if the layout is not followed.
    """
    try:
        return _decode_block(bytes(data))
    except ChecksumError:
        raise
    except FormatError as error:
        raise FormatError(f"extension block: {error}") from None


def stated_size(head: bytes | memoryview) -> int | None:
    """Return the size of the block that begins with these `HEADER_SIZE` bytes, None if no block begins so."""
    magic, _, size, _ = _HEADER.unpack_from(head)
    return int(size) if magic == EXTENSION_MAGIC else None


def corrected_extension(data: bytes) -> bytes | None:
    """Return the block as it was written, if one byte of it is damaged and tells itself by the checksum, else None."""
    if len(data) < _HEADER.size:
        return None
    _, stated, _, _ = _HEADER.unpack_from(data)
    head, rest = data[: _CRC_FIELD.start], data[_CRC_FIELD.stop :]
    body = correct_byte(b"".join((head, bytes(4), rest)), stated)
    return None if body is None else b"".join((body[: _CRC_FIELD.start], data[_CRC_FIELD], body[_CRC_FIELD.stop :]))


def _encode_sections(extension: Extension) -> list[tuple[int, bytes]]:
    known = [tag for tag, _ in extension.unknown if tag in SECTION_BY_TAG]
    if known or len(dict(extension.unknown)) != len(extension.unknown):
        raise LimitError(f"extension block: unknown sections with tags {[tag for tag, _ in extension.unknown]}")
    sections = list(extension.unknown)
    for section in SECTIONS:
        try:
            raw = section.encode(extension)
        except (LimitError, struct.error) as error:
            raise LimitError(f"extension block: {section.name}: {error}") from None
        if raw:
            sections.append((section.tag, raw))
    return sorted(sections)


def _decode_block(data: bytes) -> Extension:
    fields: Fields = {}
    unknown = []
    for tag, start, size in _read_table(data, _check_header(data)):
        raw = data[start : start + size]
        section = SECTION_BY_TAG.get(tag)
        if section is None:
            unknown.append((tag, raw))
            continue
        try:
            fields.update(section.decode(raw))
        except FormatError as error:
            raise FormatError(f"section {tag} ({section.name}): {error}") from None
    if "layer_id" not in fields:
        raise FormatError("section 1 (identity) is missing")
    return Extension(**fields, unknown=tuple(unknown))


def _check_header(data: bytes) -> int:
    """Return the number of sections of a block that is whole."""
    if len(data) < _HEADER.size:
        raise FormatError(f"{len(data)} bytes have no room for the header")
    magic, stated, size, count = _HEADER.unpack_from(data)
    if magic != EXTENSION_MAGIC:
        raise FormatError(f"magic is {magic!r}, not {EXTENSION_MAGIC!r}")
    if size != len(data):
        raise FormatError(f"{len(data)} bytes, {size} were written")
    found = crc32c(data[_CRC_FIELD.stop :], _HEAD_CRC)
    if found != stated:
        raise ChecksumError(f"extension block: CRC-32C is {found:08x}, {stated:08x} was written")
    return int(count)


def _read_table(data: bytes, count: int) -> list[tuple[int, int, int]]:
    """Return (tag, start, size) of each section: ascending tags, one after another inside the block."""
    size, free = len(data), _HEADER.size + _ROW.size * count
    if free > size:
        raise FormatError(f"{count} sections in {size} bytes")
    sections: list[tuple[int, int, int]] = []
    for tag, start, length in _ROW.iter_unpack(data[_HEADER.size : free]):
        # No overlaps: so a block cannot unfold into more memory than it has bytes.
        if start < free or start % _ALIGNMENT or start + length > size:
            raise FormatError(f"section {tag} at {start} with {length} bytes does not lie between {free} and {size}")
        if sections and tag <= sections[-1][0]:
            raise FormatError(f"section {tag} stands after section {sections[-1][0]}")
        sections.append((tag, start, length))
        free = start + length
    return sections
