"""The array list of a layer <-> bytes: fixed 168-byte records and what they point to.

What lies outside a record comes in the order of its fields, all of it before the first record.
(docs/FORMAT.md, "Array")
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.chunk_table import TablePlace, decode_small_tables, decode_table, encode_chunks, locate_chunks
from arrayfs.format.model import ArrayMeta, DType, FillValue
from arrayfs.format.rkyv import STRING_SIZE, ArchiveReader, ArchiveWriter, encode_text, string_form, whole_texts

ARRAY_SIZE = 168  # bytes of a record
# What one array's record says before its chunks is the same in thousands of small layers: so many are kept, with shape,
# dimension names and chunk shape of up to so many bytes. With more arrays in one layer than `_FEW`, looking them up
# takes longer than it saves.
_KNOWN, _LARGEST_OUTSIDE, _FEW = 1024, 512, 64
MAX_DTYPE_DEPTH = 64  # lists in lists; real ones have one or two levels, and Python's own recursion must not end it
DTYPE_NAMES = (
    *("Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float32", "Float64"),
    *("String", "Binary", "FixedSizeList", "List", "TimestampNs"),
)
FILL_KINDS = ("Bool", "Int", "UInt", "Float", "String", "TimestampNs")
_PAIR_TYPES: tuple[np.dtype[np.unsignedinteger], ...] = (np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))

_FIXED_SIZE_LIST, _LIST = DTYPE_NAMES.index("FixedSizeList"), DTYPE_NAMES.index("List")
_DTYPES = tuple(DType(name) for name in DTYPE_NAMES)  # those without a child are shared by all arrays
_DTYPE_TAGS = {name: tag for tag, name in enumerate(DTYPE_NAMES)}
_DTYPE = struct.Struct("<B7xqI4x")
_PAIRS_TAG_BY_SIZE = {2: 0, 4: 1, 8: 2}

_RECORD = struct.Struct("<16sB7xqI4xqQqQqQqQB7xBB6x16sB7xB7xqQ")
# Where in the record each pointer stands.
_DTYPE_CHILD, _SHAPE, _DIMENSION_NAMES, _CHUNK_SHAPE, _CHUNKS, _FILL_TEXT, _PAIRS = 24, 40, 56, 72, 88, 120, 152


class _Record(NamedTuple):
    """The fields of a record as they stand there; pointers are relative to their own place."""

    name: bytes
    dtype_tag: int
    dtype_child: int
    dtype_size: int
    shape: int
    shape_count: int
    dimension_names: int
    dimension_names_count: int
    chunk_shape: int
    chunk_shape_count: int
    chunks: int
    chunks_count: int
    fill_tag: int
    fill_kind: int
    fill_bool: int
    fill_payload: bytes
    deleted: int
    pairs_tag: int
    pairs: int
    pairs_count: int


_Before = tuple[str, DType, tuple[int, ...], tuple[int, ...], tuple[str, ...]]
_After = tuple[FillValue | None, bool, NDArray[np.unsignedinteger]]


class _Partly(NamedTuple):
    """An array decoded but for its chunks: ArrayMeta's fields before and after them."""

    before: _Before
    chunks: TablePlace
    after: _After


def decode_arrays(reader: ArchiveReader, position: int, pointer: int, count: int) -> tuple[ArrayMeta, ...]:
    """Return the Vec<ArrayMeta> whose pointer stands at `position`. A FormatError names the array by place and name."""
    partly = _decode_records(reader, position, pointer, count)
    tables = decode_small_tables(reader.data, [array.chunks for array in partly])
    arrays = []
    for index, (before, place, after) in enumerate(partly):
        try:
            arrays.append(ArrayMeta(*before, tables[index] or decode_table(reader.data, place), *after))
        except FormatError as error:
            raise _named(index, before[0], error) from None
    return tuple(arrays)


def _decode_records(reader: ArchiveReader, position: int, pointer: int, count: int) -> list[_Partly]:
    start = reader.target(position, pointer, ARRAY_SIZE * count, 8, "arrays")
    end = start + ARRAY_SIZE * count
    outer = reader.descend(start)
    partly: list[_Partly] = []
    for place in range(start, end, ARRAY_SIZE):
        record = _Record._make(_RECORD.unpack_from(reader.data, place))
        name = None
        try:
            before = _known_before(reader, place, record) if count <= _FEW else None
            if before is None:
                name = reader.string(record.name, place, "name")
                before = _decode_before(reader, place, name, record)
            name = before[0]
            partly.append(_Partly(before, *_decode_after(reader, place, record, len(before[2]))))
        except FormatError as error:
            raise _named(len(partly), name, error) from None
    reader.ascend(outer, end)
    return partly


def _named(index: int, name: str | None, error: FormatError) -> FormatError:
    shown = "" if name is None else f" {name[:80]!r}"
    return FormatError(f"array {index}{shown}: {error}")


def _known_before(reader: ArchiveReader, place: int, record: _Record) -> _Before | None:
    """What `_decode_before` gives, looked up by the bytes that say it; None where they are not all together."""
    start = place + _SHAPE + record.shape
    end = place + _CHUNK_SHAPE + record.chunk_shape + 4 * record.chunk_shape_count
    if not reader.low <= start <= end <= reader.high or end - start > _LARGEST_OUTSIDE:
        return None
    before = _before(reader.data[place : place + _CHUNKS], reader.data[start:end])
    if before is not None:
        reader.low = end
    return before


@lru_cache(_KNOWN)
def _before(head: bytes, outside: bytes) -> _Before | None:
    """The fields before the chunks, of a record that begins with `head`. outside: all from the shape to the chunk
    shape. None where something is elsewhere, or wrong.
    """
    record = _Record._make(_RECORD.unpack(head.ljust(ARRAY_SIZE, b"\0")))
    rank, start = record.shape_count, _SHAPE + record.shape
    dims, last = _DIMENSION_NAMES + record.dimension_names, _CHUNK_SHAPE + record.chunk_shape
    dims_end = dims + STRING_SIZE * record.dimension_names_count
    name, names = whole_texts(record.name), whole_texts(outside[dims - start : dims_end - start])
    in_order = start + 4 * rank <= dims and dims_end <= last and not (start % 4 or dims % 8 or last % 4)
    has_child = record.dtype_tag in (_FIXED_SIZE_LIST, _LIST)
    if name is None or names is None or not in_order or has_child or rank != record.chunk_shape_count:
        return None
    if record.dtype_tag >= len(_DTYPES):
        return None
    shape = struct.unpack_from(f"<{rank}I", outside)
    return name[0], _DTYPES[record.dtype_tag], shape, struct.unpack_from(f"<{rank}I", outside, last - start), names


def _decode_before(reader: ArchiveReader, place: int, name: str, record: _Record) -> _Before:
    dtype = _decode_dtype(reader, place + _DTYPE_CHILD, record.dtype_tag, record.dtype_child, record.dtype_size)
    shape = _decode_u32s(reader, place + _SHAPE, record.shape, record.shape_count, "shape")
    dimension_names = reader.strings(
        place + _DIMENSION_NAMES, record.dimension_names, record.dimension_names_count, "dimension names"
    )
    chunk_shape = _decode_u32s(
        reader, place + _CHUNK_SHAPE, record.chunk_shape, record.chunk_shape_count, "chunk_shape"
    )
    if len(chunk_shape) != len(shape):
        raise FormatError(f"chunk_shape has {len(chunk_shape)} numbers, shape {len(shape)}")
    return name, dtype, shape, chunk_shape, dimension_names


def _decode_after(reader: ArchiveReader, place: int, record: _Record, rank: int) -> tuple[TablePlace, _After]:
    chunks = locate_chunks(reader, place + _CHUNKS, record.chunks, record.chunks_count, rank)
    fill_value = _decode_fill(reader, place + _FILL_TEXT, record) if record.fill_tag else None
    if record.deleted > 1:
        raise FormatError(f"deleted is {record.deleted}, not 0 or 1")
    pairs = _decode_pairs(reader, place + _PAIRS, record)
    return chunks, (fill_value, bool(record.deleted), pairs)


def _decode_u32s(reader: ArchiveReader, position: int, pointer: int, count: int, what: str) -> tuple[int, ...]:
    return struct.unpack(f"<{count}I", reader.leaf(position, pointer, 4 * count, 4, what))


def _decode_dtype(
    reader: ArchiveReader, position: int, tag: int, child: int, size: int, depth: int = MAX_DTYPE_DEPTH
) -> DType:
    """position: that of the child's pointer."""
    if tag not in (_FIXED_SIZE_LIST, _LIST):
        if tag >= len(DTYPE_NAMES):
            raise FormatError(f"dtype: tag is {tag}, not 0 to {len(DTYPE_NAMES) - 1}")
        return _DTYPES[tag]
    if not depth:
        raise FormatError(f"dtype: more than {MAX_DTYPE_DEPTH} lists in each other")
    start = reader.target(position, child, _DTYPE.size, 8, "dtype child")
    outer = reader.descend(start)
    inner_tag, inner_child, inner_size = _DTYPE.unpack_from(reader.data, start)
    inner = _decode_dtype(reader, start + 8, inner_tag, inner_child, inner_size, depth - 1)
    reader.ascend(outer, start + _DTYPE.size)
    return DType(DTYPE_NAMES[tag], inner, size if tag == _FIXED_SIZE_LIST else 0)


def _decode_fill(reader: ArchiveReader, position: int, record: _Record) -> FillValue:
    """position: that of the payload if it is a string."""
    if record.fill_tag > 1:
        raise FormatError(f"fill value: option tag is {record.fill_tag}, not 0 or 1")
    if record.fill_kind >= len(FILL_KINDS):
        raise FormatError(f"fill value: tag is {record.fill_kind}, not 0 to {len(FILL_KINDS) - 1}")
    kind = FILL_KINDS[record.fill_kind]
    if kind == "String":
        return FillValue(kind, reader.string(record.fill_payload, position, "fill value").encode())
    if kind != "Bool":
        return FillValue(kind, record.fill_payload[:8])
    if record.fill_bool > 1:
        raise FormatError(f"fill value: bool is {record.fill_bool}, not 0 or 1")
    return FillValue(kind, bytes((record.fill_bool,)))


def _decode_pairs(reader: ArchiveReader, position: int, record: _Record) -> NDArray[np.unsignedinteger]:
    if record.pairs_tag >= len(_PAIR_TYPES):
        raise FormatError(f"attributes: tag is {record.pairs_tag}, not 0 to {len(_PAIR_TYPES) - 1}")
    dtype = _PAIR_TYPES[record.pairs_tag]
    width = dtype.itemsize
    raw = reader.leaf(position, record.pairs, 2 * width * record.pairs_count, width, "attributes")
    return np.frombuffer(raw, dtype).reshape(-1, 2)


def encode_arrays(writer: ArchiveWriter, arrays: tuple[ArrayMeta, ...]) -> int:
    """Append the arrays; return the position of the first record.

    Raises LimitError naming the array if a value has no place in the format, TypeError if a column has not its type.
    """
    outsides = []
    for index, array in enumerate(arrays):
        try:
            _check(array)
            outsides.append(_put_outside(writer, array))
        except (LimitError, struct.error) as error:
            raise LimitError(f"array {index} {array.name[:80]!r}: {error}") from None
    start = writer.align(8)
    places = range(start, start + ARRAY_SIZE * len(arrays), ARRAY_SIZE)
    return writer.put_bytes(b"".join(map(_pack_record, arrays, outsides, places)))


class _Outside(NamedTuple):
    """Where the parts of an array outside its record were put."""

    name: bytes
    name_text: int
    dtype_child: int
    shape: int
    dimension_names: int
    chunk_shape: int
    chunks: int
    fill_text: int
    pairs: int


def _check(array: ArrayMeta) -> None:
    """Refuse what no reader could read again."""
    if len(array.chunk_shape) != len(array.shape):
        raise LimitError(f"chunk_shape has {len(array.chunk_shape)} numbers, shape {len(array.shape)}")
    for dtype in _chain(array.dtype):
        if dtype.name not in _DTYPE_TAGS or (dtype.name in ("FixedSizeList", "List")) != (dtype.child is not None):
            raise LimitError(f"dtype {dtype} is not one of the format")
        if not 0 <= dtype.size < 2**32:
            raise LimitError(f"dtype: a list of {dtype.size} elements")
    fill = array.fill_value
    if fill is None:
        return
    wanted = {"Bool": 1, "String": len(fill.payload)}.get(fill.kind, 8)
    if fill.kind not in FILL_KINDS or len(fill.payload) != wanted:
        raise LimitError(f"fill value {fill} is not one of the format")
    if fill.kind == "String":
        fill.payload.decode()


def _put_outside(writer: ArchiveWriter, array: ArrayMeta) -> _Outside:
    """Append what lies outside the record, in the order of the fields (the arguments are evaluated in order)."""
    fill, pairs = array.fill_value, array.attribute_pairs
    name = encode_text(array.name, "name")
    return _Outside(
        name=name,
        name_text=writer.put_text(name),
        dtype_child=_put_dtype_child(writer, array.dtype),
        shape=_put_u32s(writer, array.shape),
        dimension_names=writer.put_strings([encode_text(text, "dimension name") for text in array.dimension_names]),
        chunk_shape=_put_u32s(writer, array.chunk_shape),
        chunks=encode_chunks(writer, array.chunks, len(array.shape)),
        fill_text=writer.put_text(fill.payload) if fill and fill.kind == "String" else 0,
        pairs=writer.put_bytes(pairs.astype(pairs.dtype.newbyteorder("<")).tobytes(), pairs.dtype.itemsize),
    )


def _put_u32s(writer: ArchiveWriter, numbers: tuple[int, ...]) -> int:
    return writer.put_bytes(struct.pack(f"<{len(numbers)}I", *numbers), 4)


def _put_dtype_child(writer: ArchiveWriter, dtype: DType) -> int:
    """Append the types below `dtype`, innermost first; return the place of its child, 0 if it has none."""
    child = 0
    for inner in reversed(_chain(dtype)[1:]):
        place = writer.align(8)
        child = writer.put_bytes(_pack_dtype(inner, place, child))
    return child


def _chain(dtype: DType) -> list[DType]:
    """Return the type, its child, the child's child, …; no deeper than may be written."""
    chain = [dtype]
    while chain[-1].child is not None:
        chain.append(chain[-1].child)
        if len(chain) > MAX_DTYPE_DEPTH + 1:
            raise LimitError(f"dtype: more than {MAX_DTYPE_DEPTH} lists in each other")
    return chain


def _pack_dtype(dtype: DType, place: int, child: int) -> bytes:
    tag = _DTYPE_TAGS[dtype.name]
    return _DTYPE.pack(tag, child - place - 8 if dtype.child else 0, dtype.size if tag == _FIXED_SIZE_LIST else 0)


def _pack_record(array: ArrayMeta, outside: _Outside, place: int) -> bytes:
    fill_tag, fill_kind, fill_bool, fill_payload = _pack_fill(array.fill_value, place + _FILL_TEXT, outside.fill_text)
    return _RECORD.pack(
        string_form(outside.name, place, outside.name_text),
        *_DTYPE.unpack(_pack_dtype(array.dtype, place + 16, outside.dtype_child)),
        outside.shape - place - _SHAPE,
        len(array.shape),
        outside.dimension_names - place - _DIMENSION_NAMES,
        len(array.dimension_names),
        outside.chunk_shape - place - _CHUNK_SHAPE,
        len(array.chunk_shape),
        outside.chunks - place - _CHUNKS,
        len(array.chunks),
        fill_tag,
        fill_kind,
        fill_bool,
        fill_payload,
        array.deleted,
        _PAIRS_TAG_BY_SIZE[array.attribute_pairs.dtype.itemsize],
        outside.pairs - place - _PAIRS,
        len(array.attribute_pairs),
    )


def _pack_fill(fill: FillValue | None, position: int, text: int) -> tuple[int, int, int, bytes]:
    """Return option tag, kind tag, bool and the payload that stands at `position`."""
    if fill is None:
        return 0, 0, 0, b""
    kind = FILL_KINDS.index(fill.kind)
    if fill.kind == "Bool":
        return 1, kind, fill.payload[0], b""
    payload = string_form(fill.payload, position, text) if fill.kind == "String" else fill.payload
    return 1, kind, 0, payload
