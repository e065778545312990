"""The sections of an extension block <-> fields of `Extension`, one table row per tag.

A section's layout never changes: what is new gets a new tag. (docs/FORMAT.md, "Sections")
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.extension_model import ID_SIZE, Extension, MergedVersion, TagChange
from arrayfs.format.rkyv import encode_text

_IDENTITY = struct.Struct("<16s16s16sQq")  # layer, parent and container id; version; time in ns
_FOOTER = struct.Struct("<I4xQ")  # CRC-32C and size of the footer that follows
_MERGED = struct.Struct("<Qq16s")  # version, time in ns, layer id; then message, author, tags
_TAG = struct.Struct("<QI")  # version; bits; then the tag
_TAKEN_AWAY = 1
_HERE = (1 << 32) - 1  # in the place of a block's id: what would be in the block follows
_U32 = struct.Struct("<I")
_PAIR = struct.Struct("<II")

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Section:
    """One kind of section. encode gives b"" where the section is left out; decode gives the fields that it fills.

    field: the one that it fills, "" if there are several.
    """

    tag: int
    name: str
    encode: Callable[[Extension], bytes]
    decode: Callable[[bytes], Fields]
    field: str = ""


class _Cursor:
    """Takes a section apart from front to back; a FormatError instead of anything beyond its end."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self._data = data
        self.position = position

    def unpack(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size))

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def text(self) -> str:
        return _decode_text(self.take(self.number()))

    def texts(self) -> tuple[str, ...]:
        return tuple([self.text() for _ in range(self.number())])

    def end(self) -> None:
        if self.position != len(self._data):
            raise FormatError(f"{len(self._data)} bytes, but its content ends at {self.position}")

    def take(self, size: int) -> bytes:
        start, self.position = self.position, self.position + size
        if self.position > len(self._data):
            raise FormatError(f"{len(self._data)} bytes, but its content goes on to {self.position}")
        return self._data[start : self.position]


def _encode_identity(ext: Extension) -> bytes:
    ids = (ext.layer_id, ext.parent_id, ext.container_id)
    if any(len(one) != ID_SIZE for one in ids):
        raise LimitError(f"ids of {', '.join(str(len(one)) for one in ids)} bytes, not {ID_SIZE}")
    return _IDENTITY.pack(*ids, ext.version, ext.time_ns)


def _decode_identity(data: bytes) -> Fields:
    names = ("layer_id", "parent_id", "container_id", "version", "time_ns")
    return dict(zip(names, _unpack_whole(_IDENTITY, data), strict=True))


def _encode_footer(ext: Extension) -> bytes:
    return _FOOTER.pack(ext.footer_crc, ext.footer_size)


def _decode_footer(data: bytes) -> Fields:
    return dict(zip(("footer_crc", "footer_size"), _unpack_whole(_FOOTER, data), strict=True))


def _encode_tags(ext: Extension) -> bytes:
    return _texts(ext.tags) if ext.tags else b""


def _decode_tags(data: bytes) -> Fields:
    cursor = _Cursor(data)
    tags = cursor.texts()
    cursor.end()
    return {"tags": tags}


def _encode_merged(ext: Extension) -> bytes:
    if not ext.merged:
        return b""
    parts = [_U32.pack(len(ext.merged))]
    for one in ext.merged:
        if len(one.layer_id) != ID_SIZE:
            raise LimitError(f"merged version {one.number}: id of {len(one.layer_id)} bytes, not {ID_SIZE}")
        parts.append(_MERGED.pack(one.number, one.time_ns, one.layer_id))
        parts.append(_text(one.message) + _text(one.author) + _texts(one.tags))
    return b"".join(parts)


def _decode_merged(data: bytes) -> Fields:
    cursor = _Cursor(data)
    merged = []
    for _ in range(cursor.number()):
        number, time_ns, layer_id = cursor.unpack(_MERGED)
        merged.append(MergedVersion(number, layer_id, time_ns, cursor.text(), cursor.text(), cursor.texts()))
    cursor.end()
    return {"merged": tuple(merged)}


def _encode_block_crcs(ext: Extension) -> bytes:
    return ext.block_crcs.astype("<u4", casting="safe").tobytes()


def _decode_block_crcs(data: bytes) -> Fields:
    return {"block_crcs": _column(data, "<u4")}


def _encode_holes(ext: Extension) -> bytes:
    if ext.holes.ndim != 2 or ext.holes.shape[1] != 3:
        raise LimitError(f"holes of shape {ext.holes.shape}, not (n, 3)")
    return ext.holes.astype("<u4", casting="safe").tobytes()


def _decode_holes(data: bytes) -> Fields:
    if len(data) % 12:
        raise FormatError(f"{len(data)} bytes are no multiple of 12")
    return {"holes": _column(data, "<u4").reshape(-1, 3)}


def _encode_renamed(ext: Extension) -> bytes:
    if not ext.renamed_from:
        return b""
    rows = [_U32.pack(index) + _text(name) for index, name in sorted(ext.renamed_from.items())]
    return _U32.pack(len(rows)) + b"".join(rows)


def _decode_renamed(data: bytes) -> Fields:
    cursor = _Cursor(data)
    rows = [(cursor.number(), cursor.text()) for _ in range(cursor.number())]
    cursor.end()
    return {"renamed_from": _by_place(rows)}


def _encode_columns(columns: Mapping[int, np.ndarray], dtype: str) -> bytes:
    if not columns:
        return b""
    rows = sorted(columns.items())
    heads = b"".join([_PAIR.pack(index, len(column)) for index, column in rows])
    return (
        _PAIR.pack(len(rows), 0)
        + heads
        + b"".join([column.astype(dtype, casting="safe").tobytes() for _, column in rows])
    )


def _decode_columns(data: bytes, dtype: str, what: tuple[str, str]) -> dict[int, Any]:
    """what: whose columns they are, and of what, for messages."""
    cursor = _Cursor(data)
    count, _ = cursor.unpack(_PAIR)
    heads = list(_PAIR.iter_unpack(cursor.take(_PAIR.size * count)))
    ends = list(accumulate([length for _, length in heads], initial=0))
    if len(data) - cursor.position != np.dtype(dtype).itemsize * ends[-1]:
        raise FormatError(f"{len(data)} bytes for {count} {what[0]}s with {ends[-1]} {what[1]}s")
    values = _column(data[cursor.position :], dtype)
    rows = [(index, values[begin:end]) for (index, _), (begin, end) in zip(heads, pairwise(ends), strict=True)]
    return _by_place(rows, what[0])


def _encode_mtimes(ext: Extension) -> bytes:
    return _encode_columns(ext.chunk_mtimes, "<i8")


def _decode_mtimes(data: bytes) -> Fields:
    return {"chunk_mtimes": _decode_columns(data, "<i8", ("array", "chunk"))}


def _encode_piece_crcs(ext: Extension) -> bytes:
    return _encode_columns(ext.piece_crcs, "<u4")


def _decode_piece_crcs(data: bytes) -> Fields:
    return {"piece_crcs": _decode_columns(data, "<u4", ("block", "piece"))}


def _encode_marks(ext: Extension) -> bytes:
    return b"".join([_PAIR.pack(index, marks) for index, marks in sorted(ext.array_marks.items())])


def _decode_marks(data: bytes) -> Fields:
    if len(data) % _PAIR.size:
        raise FormatError(f"{len(data)} bytes are no multiple of {_PAIR.size}")
    return {"array_marks": _by_place(list(_PAIR.iter_unpack(data)))}


def _encode_figures(ext: Extension) -> bytes:
    said = ext.chunk_figures
    if said is None:
        return b""
    return _PAIR.pack(said, 0) if isinstance(said, int) else _PAIR.pack(_HERE, 0) + said


def _decode_figures(data: bytes) -> Fields:
    cursor = _Cursor(data)
    block, _ = cursor.unpack(_PAIR)
    if block == _HERE:
        return {"chunk_figures": data[cursor.position :]}
    cursor.end()
    return {"chunk_figures": block}


def _encode_tag_changes(ext: Extension) -> bytes:
    if not ext.tag_changes:
        return b""
    rows = [
        _TAG.pack(one.version or 0, _TAKEN_AWAY if one.version is None else 0) + _text(one.name)
        for one in ext.tag_changes
    ]
    return _U32.pack(len(rows)) + b"".join(rows)


def _decode_tag_changes(data: bytes) -> Fields:
    cursor = _Cursor(data)
    changes = []
    for _ in range(cursor.number()):
        version, bits = cursor.unpack(_TAG)
        changes.append(TagChange(cursor.text(), None if bits & _TAKEN_AWAY else version))
    cursor.end()
    return {"tag_changes": tuple(changes)}


def _by_place(rows: list[tuple[int, Any]], what: str = "array") -> dict[int, Any]:
    places = dict(rows)
    if len(places) != len(rows):
        raise FormatError(f"the same {what} is named twice")
    return places


def _column(data: bytes, dtype: str) -> Any:
    size = np.dtype(dtype).itemsize
    if len(data) % size:
        raise FormatError(f"{len(data)} bytes are no multiple of {size}")
    return np.frombuffer(data, dtype)


def _unpack_whole(layout: struct.Struct, data: bytes) -> tuple[Any, ...]:
    if len(data) != layout.size:
        raise FormatError(f"{len(data)} bytes, not {layout.size}")
    return layout.unpack(data)


def _text(text: str) -> bytes:
    raw = encode_text(text, "text")
    return _U32.pack(len(raw)) + raw


def _texts(texts: Iterable[str]) -> bytes:
    parts = [_text(text) for text in texts]
    return _U32.pack(len(parts)) + b"".join(parts)


def _decode_text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise FormatError("text is not UTF-8") from None


def _text_section(tag: int, field: str) -> Section:
    return Section(
        tag, field, lambda ext: encode_text(getattr(ext, field), field), lambda raw: {field: _decode_text(raw)}, field
    )


# In the order of their tags, which is the order in the block.
SECTIONS: tuple[Section, ...] = (
    Section(1, "identity", _encode_identity, _decode_identity),
    Section(
        2,
        "message",
        lambda ext: encode_text(ext.message, "message"),
        lambda raw: {"message": _decode_text(raw)},
        "message",
    ),
    Section(
        3, "author", lambda ext: encode_text(ext.author, "author"), lambda raw: {"author": _decode_text(raw)}, "author"
    ),
    Section(4, "tags", _encode_tags, _decode_tags, "tags"),
    Section(5, "merged versions", _encode_merged, _decode_merged, "merged"),
    Section(6, "block checksums", _encode_block_crcs, _decode_block_crcs, "block_crcs"),
    Section(7, "footer", _encode_footer, _decode_footer),
    Section(8, "holes", _encode_holes, _decode_holes, "holes"),
    Section(9, "renamed from", _encode_renamed, _decode_renamed, "renamed_from"),
    Section(10, "chunk times", _encode_mtimes, _decode_mtimes, "chunk_mtimes"),
    Section(11, "array marks", _encode_marks, _decode_marks, "array_marks"),
    Section(12, "figures of chunks", _encode_figures, _decode_figures, "chunk_figures"),
    Section(13, "tag changes", _encode_tag_changes, _decode_tag_changes, "tag_changes"),
    Section(14, "piece checksums", _encode_piece_crcs, _decode_piece_crcs, "piece_crcs"),
)
SECTION_BY_TAG = {section.tag: section for section in SECTIONS}
