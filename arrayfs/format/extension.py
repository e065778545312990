"""The extension block: what arrayfs adds to a layer, in one uncompressed block directly before the footer.

Header, section table, sections; a reader skips and keeps tags that it does not know. The crate never looks at the
block, as no chunk lies in it. (docs/FORMAT.md, "Extension block")
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

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
_AT_ONCE = frozenset((1, 7))  # the sections that are decoded at once: identity, footer
_BLOCK_CRCS = 6
_NOWHERE = range(0)
_KNOWN_TABLES = 256  # thousands of layers have one section table
_TABLE_KEY = 8  # all from here to the end of the table says where the sections are
_TAG_OF_FIELD = {section.field: section.tag for section in SECTIONS if section.field}
_NOTHING_SAID = Extension(NO_PARENT, NO_PARENT, NO_PARENT, 0, 0)
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


def glance_at_extension(data: bytes, file: str, blocks: int) -> Extension:
    """As `decode_extension`, but only the header, the identity and what it says of the footer are decoded now.

    Everything else is when it is asked for; a FormatError then comes from the attribute and names `file`.
    blocks: in the footer's table. Raises FormatError also if the checksums are not those of so many.
    """
    count = _check_header(data)
    sections = _known_table(data[_TABLE_KEY : _HEADER.size + _ROW.size * count], len(data), count)
    if not sections.keys() >= _AT_ONCE or len(sections.get(_BLOCK_CRCS, _NOWHERE)) not in (0, 4 * blocks):
        raise FormatError("identity or footer is missing, or there are checksums of other blocks")
    extension = object.__new__(_LateExtension)
    put = object.__setattr__
    put(extension, "data", data)
    put(extension, "sections", sections)
    put(extension, "file", file)
    for tag in _AT_ONCE:
        place = sections[tag]
        for name, value in SECTION_BY_TAG[tag].decode(data[place.start : place.stop]).items():
            put(extension, name, value)
    return extension


class _LateExtension(Extension):
    """An extension block whose sections are decoded when what they say is asked for. sections: where, by tag."""

    __slots__ = ("data", "file", "sections")

    data: bytes
    file: str
    sections: dict[int, range]

    def __getattr__(self, name: str) -> Any:
        """Asked only for what is not there yet."""
        if name == "unknown":
            unknown = [(tag, place) for tag, place in self.sections.items() if tag not in SECTION_BY_TAG]
            value: Any = tuple([(tag, self.data[place.start : place.stop]) for tag, place in unknown])
        elif name in _TAG_OF_FIELD:
            value = self._decode(name, _TAG_OF_FIELD[name])
        else:
            raise AttributeError(name)
        object.__setattr__(self, name, value)
        return value

    def _decode(self, name: str, tag: int) -> Any:
        place = self.sections.get(tag)
        if place is None:
            return getattr(_NOTHING_SAID, name)
        section = SECTION_BY_TAG[tag]
        try:
            return section.decode(self.data[place.start : place.stop])[name]
        except FormatError as error:
            text = f"{self.file}: extension block: section {tag} ({section.name}): {error}"
            raise FormatError(text) from None


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
    for tag, start, size in _read_table(data, len(data), _check_header(data)):
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


@lru_cache(_KNOWN_TABLES)
def _known_table(head: bytes, size: int, count: int) -> dict[int, range]:
    """Where each section is, by tag. head: the block from `_TABLE_KEY` to the end of its table."""
    rows = _read_table(bytes(_TABLE_KEY) + head, size, count)
    return {tag: range(start, start + length) for tag, start, length in rows}


def _read_table(data: bytes, size: int, count: int) -> list[tuple[int, int, int]]:
    """Return (tag, start, size) of each section: ascending tags, one after another inside a block of `size` bytes."""
    free = _HEADER.size + _ROW.size * count
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
