"""What a metadata document says, whichever Zarr format it is in: shapes, how chunk keys are spelled, what is stored.

`zarr3.py` and `zarr2.py` turn bytes into these values and back. Nothing here knows one format's member names, but for
what both share: JSON text, limits, and how a container's array looks in Zarr's terms.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from arrayfs.container.array import ArraySpec
from arrayfs.container.grid import Grid
from arrayfs.errors import FormatError
from arrayfs.format.dtypes import BINARY, ELEMENTS, element_size, leaf
from arrayfs.format.model import AttributeValue, DType

U32_LIMIT = 1 << 32
# numpy 1.26 has 32 axes at most, and a chunk is cut with its elements' bytes as one axis more.
MAX_NATIVE_RANK = 31
# Sizes of files are signed numbers of 64 bits.
MAX_FILE_SIZE = 1 << 62
# Far above any array; keeps hostile documents from costing more than their own length.
MAX_RANK = 255
# Real documents have less than ten levels; json, dumps and comparisons each take one C frame per level.
MAX_DEPTH = 256
# Bytes. A larger file of a document's name is kept like any file and says nothing: as JSON it would take ten times its
# size of memory. An array's document has a few hundred, the consolidated metadata of 50,000 arrays this much.
DOCUMENT_LIMIT = 64 << 20
# The attribute that says which element type the variable-length bytes of a List array hold.
ELEMENT_TYPE_ATTRIBUTE = "arrayfs_element_type"

_MOST_DIGITS = 10  # of a number below U32_LIMIT
_LONGEST_INT = 4000  # digits; above 4300 Python refuses to convert


@dataclass(frozen=True, slots=True)
class KeyStyle:
    """How chunk keys are spelled below the array's directory.

    prefix: "c" (v3's default encoding) or "" (v2's); separator: "/" or ".".
    """

    prefix: str
    separator: str

    def components(self, coord: Sequence[int]) -> tuple[str, ...]:
        """The names from the array's directory down to the chunk file. (Zarr v3, chunk key encoding)."""
        parts = [self.prefix] if self.prefix else []
        parts += map(str, coord)
        if not parts:
            parts = ["0"]  # a scalar in the v2 encoding
        return tuple(parts) if self.separator == "/" else (self.separator.join(parts),)

    def parse(self, components: Sequence[str], rank: int) -> tuple[int, ...] | None:
        """The inverse of `components` for an array of this rank; None for every name that it does not make."""
        parts = components if self.separator == "/" else _split_one(components, self.separator)
        if self.prefix:
            if not parts or parts[0] != self.prefix:
                return None
            parts = parts[1:]
        elif not rank:
            return () if tuple(parts) == ("0",) else None
        if len(parts) != rank:
            return None
        coord = []
        for part in parts:
            number = chunk_number(part)
            if number is None:
                return None
            coord.append(number)
        return tuple(coord)


def chunk_number(name: str) -> int | None:
    """The coordinate along one axis that is spelled so; None for every name that no number makes."""
    if not name.isdecimal() or not name.isascii() or len(name) > _MOST_DIGITS or (name[0] == "0" and name != "0"):
        return None
    number = int(name)
    return number if number < U32_LIMIT else None


def _split_one(components: Sequence[str], separator: str) -> list[str]:
    return components[0].split(separator) if len(components) == 1 else []


@dataclass(frozen=True, slots=True)
class ArrayDocument:
    """An array as its document describes it.

    shape: Zarr's, elements. chunk_shape: elements of one chunk file (the outer grid where sharded).
    native: what the container stores as numbers; None: opaque, chunk files are kept as the client encoded them.
    attributes: all of them as JSON values, in order. typed: those that the format has a type for.
    """

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    keys: KeyStyle
    native: ArraySpec | None
    attributes: dict[str, object] = field(default_factory=dict)
    typed: dict[str, AttributeValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupDocument:
    """A group: its attributes as JSON values, and those that the format has a type for."""

    attributes: dict[str, object] = field(default_factory=dict)
    typed: dict[str, AttributeValue] = field(default_factory=dict)


def opaque_spec(document: ArrayDocument) -> ArraySpec:
    """An opaque array: one Binary element for each chunk file."""
    counts = tuple(-(-n // c) if c else 0 for n, c in zip(document.shape, document.chunk_shape, strict=True))
    axes = tuple(f"chunk_{axis}" for axis in range(len(counts)))
    return ArraySpec(BINARY, counts, (1,) * len(counts), axes)


# --- JSON text ------------------------------------------------------------------------------------------------------


def first_json(data: bytes) -> object:
    """The first JSON value of a document; what an in-place writer left behind it is ignored.

    NaN and Infinity are taken as zarr-python writes them. Raises ValueError if no value is complete, if it is not
    UTF-8, or nested deeper than MAX_DEPTH.
    """
    # surrogateescape: the old tail may begin in the middle of a character; the value itself must be whole
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    start = len(text) - len(text.lstrip(" \t\r\n"))
    try:
        value, end = _DECODER.raw_decode(text, start)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    text[start:end].encode()
    # brackets bound the depth; only documents with many are worth a walk
    if text.count("[", start, end) + text.count("{", start, end) > MAX_DEPTH and _is_deep(value):
        raise ValueError(f"the JSON is nested more than {MAX_DEPTH} levels deep")
    return value


def _parse_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INT else float(digits)


_DECODER = json.JSONDecoder(parse_int=_parse_int)


def _is_deep(value: object) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        below: list[dict[str, object] | list[object]] = []
        for node in level:
            children = node.values() if isinstance(node, dict) else node
            below += [child for child in children if isinstance(child, dict | list)]
        if not below:
            return False
        level = below
    return True


def dump_json(value: object) -> bytes:
    """A document's bytes. ASCII, so that lone surrogates survive; NaN and Infinity as zarr-python writes them."""
    return json.dumps(value, indent=2).encode() + b"\n"


def same_json(one: object, other: object) -> bool:
    """Whether two values have the same JSON text: 1 is not 1.0 nor true, 0.0 is not -0.0, NaN is NaN."""
    return json.dumps(one) == json.dumps(other)


def patch_members(
    document: Mapping[str, object], said: Mapping[str, object], now: Mapping[str, object]
) -> dict[str, object]:
    """The document with those members replaced that differ between what it said and what is so now."""
    patched = dict(document)
    patched.update({key: value for key, value in now.items() if key not in said or not same_json(said[key], value)})
    return patched


# --- numbers --------------------------------------------------------------------------------------------------------


def lengths(value: object) -> tuple[int, ...] | None:
    """A JSON list of numbers of elements, None if it is none."""
    if not isinstance(value, list) or len(value) > MAX_RANK:
        return None
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in value):
        return None
    return tuple(value)


def grid_fits(shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> bool:
    """Whether the chunks of such an array can be coordinates in a container, be it as opaque ones."""
    if len(shape) != len(chunk_shape) or not all(chunk_shape):
        return False
    try:
        grid = Grid(shape, chunk_shape)
    except (FormatError, OverflowError):
        return False
    return all(count < U32_LIMIT for count in grid.counts)


def native_spec(said: ArraySpec) -> ArraySpec | None:
    """The spec if the format's limits hold it, else None: u32 extents, chunks below 4 GiB."""
    if len(said.shape) > MAX_NATIVE_RANK or any(n >= U32_LIMIT for n in said.shape + said.chunk_shape):
        return None
    return said if _full_size(said.dtype, said.chunk_shape) < U32_LIMIT else None


def _full_size(dtype: DType, chunk_shape: tuple[int, ...]) -> int:
    """Bytes of a full chunk; for elements of varying size, of one with empty elements."""
    size = element_size(dtype)
    count = math.prod(chunk_shape)
    return 4 * (count + 1) if size is None else size * count


# --- dimension names --------------------------------------------------------------------------------------------------


def complete_names(names: object, rank: int) -> tuple[str, ...]:
    """One name for each axis: those of `names` (a JSON value or a tuple of a container), made up where it has none.

    Deterministic, so that deriving again gives the same. A list of another length than `rank` is cut or completed.
    """
    given = list(names)[:rank] if isinstance(names, list | tuple) else []
    known = [name if isinstance(name, str) and _is_text(name) else None for name in given]
    taken = {name for name in known if name is not None}
    complete = []
    for axis in range(rank):
        name = known[axis] if axis < len(known) else None
        if name is None:
            name = f"dim_{axis}"
            while name in taken:
                name += "_"
        complete.append(name)
    return tuple(complete)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


# --- the container's arrays in Zarr's terms ---------------------------------------------------------------------------


def zarr_look(spec: ArraySpec) -> ArraySpec:
    """A container's array as Zarr sees it: one of the table's element types, every axis named, chunk extents from 1.

    FixedSizeList is one more inner axis for each level, List is Binary. A chunk extent that no file could have (4 GiB
    and more) is cut to the shape, of which there is one chunk then.
    Raises FormatError for element types whose stored layout is not settled, and for what no file can show.
    """
    base, inner = _shown_type(spec.dtype)
    shape = spec.shape + inner
    if len(shape) > MAX_NATIVE_RANK:
        raise FormatError(f"an array of {len(shape)} axes, more than the {MAX_NATIVE_RANK} that can be shown")
    chunk_shape = tuple(chunk or 1 for chunk in container_chunk_shape(spec) + inner)
    if _full_size(base, chunk_shape) > MAX_FILE_SIZE:
        raise FormatError(f"a chunk file of {_full_size(base, chunk_shape)} bytes cannot be shown")
    return ArraySpec(base, shape, chunk_shape, complete_names(spec.dimension_names, len(shape)), spec.fill_value)


def _shown_type(dtype: DType) -> tuple[DType, tuple[int, ...]]:
    base, inner = leaf(dtype)
    if base.name == "List" and base.child is not None and not inner and element_size(base.child):
        return BINARY, ()
    if base.name not in ELEMENTS or (inner and not ELEMENTS[base.name].size):
        raise FormatError(f"the layout of {describe_type(dtype)} is not settled: it cannot be shown")
    return base, inner


def container_chunk_shape(spec: ArraySpec) -> tuple[int, ...]:
    """Elements of a chunk file, without the inner axes of FixedSizeList."""
    chunk_shape = tuple(chunk or 1 for chunk in spec.chunk_shape)
    if _full_size(spec.dtype, chunk_shape) < U32_LIMIT:
        return chunk_shape
    return tuple(min(chunk, max(length, 1)) for chunk, length in zip(chunk_shape, spec.shape, strict=True))


def describe_type(dtype: DType) -> str:
    """A type's name with what is in it, e.g. `List<Int32>` or `FixedSizeList<Float32, 3>`."""
    if dtype.child is None:
        return dtype.name
    inner = describe_type(dtype.child)
    return f"{dtype.name}<{inner}, {dtype.size}>" if dtype.name == "FixedSizeList" else f"{dtype.name}<{inner}>"


def continue_spec(said: ArraySpec, current: ArraySpec, *, same_fill: bool) -> ArraySpec:
    """What a document says in Zarr's terms, in the terms of the array that is there, where it is that array's look.

    So a client that rewrites a document loses neither FixedSizeList nor List, and what it did not change stays exactly
    as it is. same_fill: the document's fill value is the look's. A document of another array is returned as it is.
    """
    try:
        look = zarr_look(current)
    except FormatError:
        return said
    rank = len(current.shape)
    if (said.dtype, said.chunk_shape, said.shape[rank:]) != (look.dtype, look.chunk_shape, look.shape[rank:]):
        return said
    same_names = said.dimension_names == look.dimension_names
    kept = replace(
        current,
        shape=said.shape[:rank],
        chunk_shape=tuple(chunk or 1 if said.shape[axis] else chunk for axis, chunk in enumerate(current.chunk_shape)),
        dimension_names=current.dimension_names if same_names else said.dimension_names[:rank],
        fill_value=current.fill_value if same_fill else said.fill_value,
    )
    return kept if zarr_look(kept).chunk_shape == said.chunk_shape else said
