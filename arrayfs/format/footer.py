"""The end of a layer file: trailer and footer <-> model.

The footer is an archive whose root is its last 96 bytes; the version stands first in the root and is read before
anything it governs. Nothing here opens a file. (docs/FORMAT.md, "Trailer" and "Footer")
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.array_list import decode_arrays, encode_arrays
from arrayfs.format.attributes import KINDS_OF_VERSION, decode_values, encode_values
from arrayfs.format.block_table import LastBlock, decode_blocks, encode_blocks, glance_at_blocks
from arrayfs.format.model import AttributeValue, Footer
from arrayfs.format.rkyv import ArchiveReader, ArchiveWriter, encode_text, string_form

MAGIC = b"ARRF"
TRAILER = struct.Struct("<Q4s")  # footer's size in bytes, magic
VERSIONS = tuple(KINDS_OF_VERSION)  # the footer versions that are read and written


class _Root(NamedTuple):
    """The fields of the root as they stand there; pointers are relative to their own place."""

    version: int
    blocks: int
    block_count: int
    arrays: int
    array_count: int
    keys: int
    key_count: int
    values: int
    value_count: int
    overlay_index: int
    hint: bytes


_ROOT = struct.Struct("<I4xqQqQqQqQI4x16s")
_BLOCKS, _ARRAYS, _ATTR_KEYS, _ATTR_VALUES, _HINT = 8, 24, 40, 56, 80  # where in the root the pointers stand
_WORDS = ("attr_keys", "attr_values", "base_file_hint")
_FROZEN_ROOT_SIZE = 72  # of the crate's later one-file design, whose version stands there as u32 and padding
_FROZEN_VERSION = (6).to_bytes(8, "little")


def decode_trailer(tail: bytes, file_size: int) -> range:
    """Return where the footer lies, as byte offsets into the layer file.

    tail: the last `TRAILER.size` bytes; file_size: in bytes.
    Raises FormatError if the magic is wrong or the footer would begin before byte 0. (docs/FORMAT.md, "Trailer")
    """
    if len(tail) < TRAILER.size or file_size < TRAILER.size:
        raise FormatError(f"trailer: a file of {file_size} bytes has no room for it")
    footer_size, magic = TRAILER.unpack(tail[-TRAILER.size :])
    if magic != MAGIC:
        raise FormatError(f"trailer: magic is {magic!r}, not {MAGIC!r}")
    end = file_size - TRAILER.size
    if footer_size > end:
        raise FormatError(f"trailer: footer of {footer_size} bytes in a file of {file_size}")
    return range(end - footer_size, end)


def encode_trailer(footer_size: int) -> bytes:
    """Return the bytes that follow a footer of `footer_size` bytes."""
    return TRAILER.pack(footer_size, MAGIC)


def decode_footer(data: bytes | memoryview) -> Footer:
    """Return what the footer says. data: exactly the footer's bytes.

    Raises FormatError, naming the place, on everything that the format does not allow. Work and memory are bounded by
    the footer's size; the result holds no view of `data`.
    """
    try:
        return _decode_root(bytes(data))
    except FormatError as error:
        raise FormatError(f"footer: {error}") from None


def encode_footer(footer: Footer) -> bytes:
    """Return the footer's bytes, in the order in which the crate writes them.

    Raises LimitError if a value does not fit the format or its version.
    """
    kinds = KINDS_OF_VERSION.get(footer.version)
    if kinds is None:
        raise LimitError(f"footer: version {footer.version} is not written, only {VERSIONS}")
    hint = encode_text(footer.base_file_hint, "base file hint")
    writer = ArchiveWriter()
    blocks = encode_blocks(writer, footer.blocks)
    arrays = encode_arrays(writer, footer.arrays)
    attr_keys = writer.put_strings([encode_text(key, "attribute key") for key in footer.attr_keys])
    attr_values = encode_values(writer, footer.attr_values, kinds)
    hint_text = writer.put_text(hint)
    root = writer.align(8)
    writer.put_bytes(
        _ROOT.pack(
            footer.version,
            blocks - root - _BLOCKS,
            len(footer.blocks),
            arrays - root - _ARRAYS,
            len(footer.arrays),
            attr_keys - root - _ATTR_KEYS,
            len(footer.attr_keys),
            attr_values - root - _ATTR_VALUES,
            len(footer.attr_values),
            footer.overlay_index,
            string_form(hint, root + _HINT, hint_text),
        )
    )
    return writer.getvalue()


def _decode_root(data: bytes) -> Footer:
    reader, root = _read_root(data)
    blocks = decode_blocks(reader, reader.high + _BLOCKS, root.blocks, root.block_count)
    arrays = decode_arrays(reader, reader.high + _ARRAYS, root.arrays, root.array_count)
    keys, values, hint = _decode_words(reader, root)
    return Footer(root.version, blocks, arrays, keys, values, root.overlay_index, hint)


def _read_root(data: bytes) -> tuple[ArchiveReader, _Root]:
    if data[-_FROZEN_ROOT_SIZE:][:8] == _FROZEN_VERSION:
        raise FormatError(f"version 6 is not read, only {VERSIONS}")
    reader = ArchiveReader(data, _ROOT.size)
    root = _Root._make(_ROOT.unpack_from(data, reader.high))
    if root.version not in KINDS_OF_VERSION:
        raise FormatError(f"version {root.version} is not read, only {VERSIONS}")
    return reader, root


def _decode_words(reader: ArchiveReader, root: _Root) -> tuple[tuple[str, ...], tuple[AttributeValue, ...], str]:
    """Return what follows the arrays: attribute keys, attribute values, base file hint."""
    at = reader.high
    return (
        reader.strings(at + _ATTR_KEYS, root.keys, root.key_count, "attribute keys"),
        decode_values(reader, at + _ATTR_VALUES, root.values, root.value_count, KINDS_OF_VERSION[root.version]),
        reader.string(root.hint, at + _HINT, "base file hint"),
    )


# --- decoded when it is asked for -------------------------------------------------------------------------------------


def glance_at_footer(data: bytes, file: str) -> tuple[Footer, LastBlock]:
    """As `decode_footer`, but what no stack of layers needs is decoded when it is asked for; and the last block.

    A FormatError then comes from the attribute and names `file`. The footer keeps `data`.
    """
    reader, root = _read_root(data)
    last = glance_at_blocks(reader, reader.high + _BLOCKS, root.blocks, root.block_count)
    footer = object.__new__(_LateFooter)
    put = object.__setattr__
    put(footer, "version", root.version)
    put(footer, "overlay_index", root.overlay_index)
    put(footer, "arrays", decode_arrays(reader, reader.high + _ARRAYS, root.arrays, root.array_count))
    put(footer, "after_arrays", reader.low)
    put(footer, "data", data)
    put(footer, "file", file)
    return footer, last


class _LateFooter(Footer):
    """A footer whose block table, dictionaries and hint are decoded when they are asked for."""

    __slots__ = ("after_arrays", "data", "file")

    after_arrays: int
    data: bytes
    file: str

    def __getattr__(self, name: str) -> Any:
        """Asked only for what is not there yet."""
        if name not in ("blocks", *_WORDS):
            raise AttributeError(name)
        try:
            reader, root = _read_root(self.data)
            found: dict[str, Any]
            if name == "blocks":
                found = {name: decode_blocks(reader, reader.high + _BLOCKS, root.blocks, root.block_count)}
            else:
                reader.low = self.after_arrays
                found = dict(zip(_WORDS, _decode_words(reader, root), strict=True))
        except FormatError as error:
            raise FormatError(f"{self.file}: footer: {error}") from None
        for field, value in found.items():
            object.__setattr__(self, field, value)
        return found[name]
