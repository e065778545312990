"""The block table of a layer <-> bytes, in a large table without a Python step per block.

Blocks name their codec one by one, but use few: distinct 24-byte codec records are looked for column-wise, and only a
name that does not fit its record is read by itself. (docs/FORMAT.md, "Block")
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError
from arrayfs.format.model import BlockTable
from arrayfs.format.rkyv import STRING_SIZE, ArchiveReader, ArchiveWriter, encode_text, string_form, whole_texts

_BLOCK = np.dtype(
    {
        "names": ["id", "file_offset", "compressed_size", "uncompressed_size", "tag", "head", "tail"],
        "formats": ["<u4", "<u8", "<u8", "<u8", "u1", "<u8", "<u8"],
        "offsets": [0, 8, 16, 24, 32, 40, 48],
        "itemsize": 56,
    }
)
Codecs = tuple[NDArray[np.uint32], tuple[str | None, ...]]
_CODEC_OFFSET = 40  # of the name's form in the record
_LAST = struct.Struct("<8xQQ8xB7x16s")
_CODEC, _CODEC_SIZE = 32, 24
# The codecs of up to so many blocks are looked up as a whole: thousands of layers have the same.
_FEW, _KNOWN = 16, 256
# Passes over the table for distinct codec records; what is left (only a hostile file has any) is read one by one.
_MAX_PASSES = 16


class LastBlock(NamedTuple):
    """The last block of a table of `blocks`, as its record has it. codec: None also where the name is a long one."""

    blocks: int
    codec: str | None
    file_offset: int
    compressed_size: int


def glance_at_blocks(reader: ArchiveReader, position: int, pointer: int, count: int) -> LastBlock:
    """Return the last block of the table whose pointer stands at `position`; moves the window past the table."""
    start = reader.target(position, pointer, _BLOCK.itemsize * count, 8, "blocks")
    reader.low = start + _BLOCK.itemsize * count
    if not count:
        return LastBlock(0, None, 0, 0)
    offset, size, tag, form = _LAST.unpack_from(reader.data, reader.low - _BLOCK.itemsize)
    names = whole_texts(form) if tag == 1 else None
    return LastBlock(count, names[0] if names else None, offset, size)


def decode_blocks(reader: ArchiveReader, position: int, pointer: int, count: int) -> BlockTable:
    """Return the Vec<BlockMeta> whose pointer stands at `position`; its columns are copies."""
    start = reader.target(position, pointer, _BLOCK.itemsize * count, 8, "blocks")
    if not count:
        reader.low = start
        return BlockTable.empty()
    outer = reader.descend(start)
    records = np.frombuffer(reader.data, _BLOCK, count, start)
    known = _known_codecs(reader.data, start, count) if count <= _FEW else None
    codecs, names = known or _decode_codecs(reader, records, start)
    reader.ascend(outer, start + _BLOCK.itemsize * count)
    return BlockTable(
        records["id"].copy(),
        records["file_offset"].copy(),
        records["compressed_size"].copy(),
        records["uncompressed_size"].copy(),
        codecs,
        names,
    )


def encode_blocks(writer: ArchiveWriter, table: BlockTable) -> int:
    """Append the table; return the position of its first record."""
    count = len(table)
    if not count:
        return writer.align(8)
    raws = [None if name is None else encode_text(name, "codec name") for name in table.codec_names]
    lengths = np.array([0 if raw is None or len(raw) <= STRING_SIZE else len(raw) for raw in raws], np.int64)
    text_sizes = lengths[table.codecs]
    first_text = writer.put_bytes(_long_texts(raws, table.codecs[text_sizes > 0]))
    start = writer.align(8)
    records = np.zeros(count, _BLOCK)
    # Safe: a column of a wider type is an error of the caller, not something to cut down.
    np.copyto(records["id"], table.ids, casting="safe")
    np.copyto(records["file_offset"], table.file_offsets, casting="safe")
    np.copyto(records["compressed_size"], table.compressed_sizes, casting="safe")
    np.copyto(records["uncompressed_size"], table.uncompressed_sizes, casting="safe")
    records["tag"] = np.array([raw is not None for raw in raws], np.uint8)[table.codecs]
    # Forms as if they stood at 0 with their text at 0: right for short names, and for the length word of long ones.
    forms = np.frombuffer(b"".join(bytes(16) if raw is None else string_form(raw, 0, 0) for raw in raws), "<u8")
    records["head"], records["tail"] = forms.reshape(-1, 2)[table.codecs].T
    long = text_sizes > 0
    if long.any():
        texts = first_text + np.cumsum(text_sizes) - text_sizes
        forms_at = start + _CODEC_OFFSET + np.arange(count, dtype=np.int64) * _BLOCK.itemsize
        records["tail"][long] = (texts - forms_at)[long].view(np.uint64)
    return writer.put(records.tobytes(), _BLOCK.itemsize * count, 8)


def _long_texts(raws: list[bytes | None], codecs: NDArray[np.uint32]) -> bytes:
    return b"".join([raws[codec] or b"" for codec in codecs.tolist()])


def _known_codecs(data: bytes, start: int, count: int) -> Codecs | None:
    """What `_decode_codecs` gives, where no name lies outside its record and nothing is wrong."""
    size = _BLOCK.itemsize
    return _whole_codecs(b"".join([data[at + _CODEC : at + size] for at in range(start, start + size * count, size)]))


@lru_cache(_KNOWN)
def _whole_codecs(records: bytes) -> Codecs | None:
    names: dict[str | None, int] = {}
    codecs = []
    for at in range(0, len(records), _CODEC_SIZE):
        tag, name = records[at], whole_texts(records[at + 8 : at + _CODEC_SIZE])
        if tag > 1 or (tag and name is None):
            return None
        codecs.append(names.setdefault(name[0] if tag and name else None, len(names)))
    column = np.array(codecs, np.uint32)
    column.flags.writeable = False  # it belongs to many tables
    return column, tuple(names)


def _decode_codecs(reader: ArchiveReader, records: NDArray[np.void], start: int) -> Codecs:
    """Return each block's codec as an index into the names, and the names; moves the window past the names' texts."""
    tags, heads, tails = records["tag"], records["head"], records["tail"]
    names: dict[str | None, int] = {}
    if int(tags.max()) > 1:
        index = int((tags > 1).argmax())
        raise FormatError(f"block {index}: codec tag is {int(tags[index])}, not 0 or 1")
    codecs = np.zeros(len(records), np.uint32)
    named = tags == 1
    if not named.all():
        codecs[~named] = names.setdefault(None, 0)
    inline = named & (heads & np.uint64(0xC0) != 0x80)
    for _ in range(_MAX_PASSES):
        index = int(inline.argmax())
        if not inline[index]:
            break
        same = inline & (heads == heads[index]) & (tails == tails[index])
        codecs[same] = _name_index(reader, start, index, names)
        inline &= ~same
        named &= ~same
    # Left are long names, which have to be followed in the archive's order, and records beyond the passes.
    for index in np.flatnonzero(named).tolist():
        codecs[index] = _name_index(reader, start, index, names)
    return codecs, tuple(names)


def _name_index(reader: ArchiveReader, start: int, index: int, names: dict[str | None, int]) -> int:
    position = start + _BLOCK.itemsize * index + _CODEC_OFFSET
    form = reader.data[position : position + STRING_SIZE]
    return names.setdefault(reader.string(form, position, f"block {index} codec name"), len(names))
