"""Array documents as any client may write them, drawn by hypothesis from the words of the Zarr specifications.

With each comes what it is to the container, from the tables here: "native", "opaque", or "files" (no chunk grid that
can be told from the document, so chunk files are plain ones).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

MISSING: Any = ...
LITTLE = {"name": "bytes", "configuration": {"endian": "little"}}
BIG = {"name": "bytes", "configuration": {"endian": "big"}}
BARE = {"name": "bytes"}


@dataclass(frozen=True, slots=True)
class Drawn:
    """documents: by name. keys: the chunk files of the first and the last chunk, below the array's directory."""

    documents: dict[str, bytes]
    kind: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Type3:
    """A data type. size: bytes of an element, 0 where they vary. raw: the codec chains that store it as a container
    does; none, if the container has no such type. inexact: fill values that it cannot give back.
    """

    name: Any
    size: int
    fills: tuple[Any, ...]
    raw: tuple[Any, ...] = ()
    inexact: tuple[Any, ...] = ()


def _number(name: str, size: int, *fills: Any, inexact: tuple[Any, ...] = (True, "x", [1])) -> Type3:
    raw = ([BARE], ["bytes"], [LITTLE], [BIG]) if size == 1 else ([LITTLE],)
    return Type3(name, size, (0, None, *fills), raw, inexact)


_NAMED = ("NaN", "Infinity", "-Infinity")
_WITH_UNIT = {"unit": "s", "scale_factor": 1}
TYPES3 = (
    Type3("bool", 1, (False, True, None), ([BARE], ["bytes"], [LITTLE]), (0, "true")),
    *(_number(f"int{8 * n}", n, -1, 3.0, -(1 << (8 * n - 1))) for n in (1, 2, 4, 8)),
    *(_number(f"uint{8 * n}", n, (1 << 8 * n) - 1, inexact=(-1, 1 << 8 * n, 0.5)) for n in (1, 2, 4, 8)),
    _number("float32", 4, -0.0, 0.1, *_NAMED, "0x7fc00001", inexact=("0x7f800001", "0x7fc0", "nan")),
    _number("float64", 8, 1e300, *_NAMED, "0x7ff8000000000123", "0xfff0000000000000", inexact=("inf", True)),
    Type3("string", 0, ("", "é", None), (["vlen-utf8"], [{"name": "vlen-utf8", "configuration": {}}]), (0,)),
    Type3("variable_length_bytes", 0, ("", "YWI="), ([{"name": "vlen-bytes"}],), ("/w==", "a", 1)),
    Type3("bytes", 0, ("",), (["vlen-bytes"],), ([1, 2],)),
    Type3(
        {"name": "numpy.datetime64", "configuration": {"unit": "ns", "scale_factor": 1}}, 8, (0, "NaT", 5), ([LITTLE],)
    ),
    Type3("float16", 2, (0.0, "NaN", "0x7e01")),
    Type3("bfloat16", 2, (0.0,)),
    Type3("int4", 1, (0,)),
    Type3("complex64", 8, ([0.0, 0.0], ["NaN", "-Infinity"], [1, "0x7fc00001"])),
    Type3("complex128", 16, ([0.0, 0.0],)),
    Type3("r8", 1, ([0],)),
    Type3("r24", 3, ([1, 2, 3],)),
    Type3({"name": "numpy.datetime64", "configuration": _WITH_UNIT}, 8, (0, "NaT")),
    Type3({"name": "numpy.timedelta64", "configuration": _WITH_UNIT | {"unit": "ns"}}, 8, (0, "NaT")),
    Type3({"name": "fixed_length_utf32", "configuration": {"length_bytes": 8}}, 8, ("", "ab")),
    Type3({"name": "null_terminated_bytes", "configuration": {"length_bytes": 3}}, 3, ("", "YWI=")),
    Type3({"name": "raw_bytes", "configuration": {"length_bytes": 3}}, 3, ("AAAA",)),
    Type3({"name": "structured", "configuration": {"fields": [["a", "int32"], ["b", "float64"]]}}, 12, ("A" * 16,)),
    Type3({"name": "vendor.packed", "configuration": {"bits": 3}, "must_understand": True}, 1, (None, {"x": 1})),
)
ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
GZIP = {"name": "gzip", "configuration": {"level": 1}}
BLOSC = {
    "name": "blosc",
    "configuration": {"typesize": 1, "cname": "lz4", "clevel": 1, "shuffle": "noshuffle", "blocksize": 0},
}
SMALLER = ({"name": "crc32c"}, ZSTD, GZIP, BLOSC)


def _not_raw(kind: Type3, rank: int, chunks: list[int]) -> st.SearchStrategy[Any]:
    """Codec chains that store something else than a container would."""
    plain = {"string": "vlen-utf8", "variable_length_bytes": "vlen-bytes", "bytes": "vlen-bytes"}
    to_bytes = {"name": plain[kind.name]} if isinstance(kind.name, str) and kind.name in plain else LITTLE
    sharded = {
        "name": "sharding_indexed",
        "configuration": {
            "chunk_shape": [1] * rank,
            "codecs": [to_bytes, ZSTD],
            "index_codecs": [LITTLE, {"name": "crc32c"}],
            "index_location": "end",
        },
    }
    transposed = {"name": "transpose", "configuration": {"order": list(reversed(range(rank)))}}
    chains = [
        *([to_bytes, codec] for codec in SMALLER),
        [to_bytes, ZSTD, {"name": "crc32c"}],
        [transposed, to_bytes],
        [sharded],
        [],
        MISSING,
        [{"name": "vendor.codec", "configuration": {"x": [None, 1.0]}}],
        [to_bytes, {"name": "vendor.codec", "must_understand": False}],
    ]
    if kind.size > 1:
        chains += [[BIG], [BARE]]
    return st.sampled_from(chains)


KEYS3: tuple[tuple[Any, str, str], ...] = (
    ({"name": "default", "configuration": {"separator": "/"}}, "c", "/"),
    (MISSING, "c", "/"),
    ("default", "c", "/"),
    ({"name": "default"}, "c", "/"),
    ({"name": "default", "configuration": {}}, "c", "/"),
    ({"name": "default", "configuration": {"separator": "."}}, "c", "."),
    ({"name": "v2"}, "", "."),
    ("v2", "", "."),
    ({"name": "v2", "configuration": {"separator": "/"}}, "", "/"),
)
UNKNOWN_KEYS3: tuple[Any, ...] = ({"name": "hilbert"}, {"name": "default", "configuration": {"separator": "-"}}, 5)
EXTRAS = ("comment", "vendor.x", "consolidated_metadata")
ATTRIBUTES = st.dictionaries(
    st.sampled_from(("units", "é", "_FillValue", "b", "a")),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers(), max_size=2)
    ),
    max_size=4,
)


@st.composite
def documents3(draw: st.DrawFn) -> Drawn:
    """Of Zarr v3."""
    kind, shape, chunks = draw(st.sampled_from(TYPES3)), *draw(_grids())
    fill, exact = _fill(draw, kind.fills, kind.inexact)
    raw = bool(kind.raw) and draw(st.integers(0, 3)) > 0
    codecs = draw(st.sampled_from(kind.raw) if raw else _not_raw(kind, len(shape), chunks))
    document: dict[str, Any] = {"zarr_format": 3, "node_type": "array", "shape": shape}
    document["data_type"] = (
        draw(st.sampled_from((*(kind.name,) * 4, {"name": kind.name}))) if _is_short(kind) else kind.name
    )
    grid_known, document["chunk_grid"] = _chunk_grid(draw, shape, chunks)
    keys_known = draw(st.integers(0, 9)) > 0
    encoding, prefix, separator = draw(st.sampled_from(KEYS3)) if keys_known else (MISSING, "c", "/")
    document["chunk_key_encoding"] = encoding if keys_known else draw(st.sampled_from(UNKNOWN_KEYS3))
    document |= {"fill_value": fill, "codecs": codecs, **_optional_members(draw, len(shape))}
    understood = _add_extra(draw, document)
    native = raw and exact and understood and document["storage_transformers"] in (MISSING, [])
    known = grid_known and keys_known
    return Drawn(
        {"zarr.json": _text(draw, document)},
        ("native" if native else "opaque") if known else "files",
        _keys(shape, chunks, prefix, separator),
    )


def _is_short(kind: Type3) -> bool:
    return isinstance(kind.name, str)


def _fill(draw: st.DrawFn, fills: tuple[Any, ...], inexact: tuple[Any, ...]) -> tuple[Any, bool]:
    exact = not inexact or draw(st.integers(0, 5)) > 0
    return draw(st.sampled_from(fills if exact else inexact)), exact


@st.composite
def _grids(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Shape and chunk shape."""
    rank = draw(st.integers(0, 3))
    return [draw(st.integers(0, 5)) for _ in range(rank)], [draw(st.integers(1, 3)) for _ in range(rank)]


def _chunk_grid(draw: st.DrawFn, shape: list[int], chunks: list[int]) -> tuple[bool, Any]:
    if draw(st.integers(0, 9)):
        return True, {"name": "regular", "configuration": {"chunk_shape": chunks}}
    inline = {"kind": "inline", "chunk_shapes": [[n] if n else [] for n in shape]}
    return False, draw(st.sampled_from(({"name": "rectilinear", "configuration": inline}, MISSING, {"name": "vendor"})))


def _optional_members(draw: st.DrawFn, rank: int) -> dict[str, Any]:
    names = [None, "x", "", "y"][:rank]
    return {
        "attributes": draw(st.one_of(st.just(MISSING), ATTRIBUTES)),
        "dimension_names": draw(st.sampled_from((MISSING, names, [f"d{axis}" for axis in range(rank)]))),
        "storage_transformers": draw(
            st.sampled_from((MISSING, MISSING, MISSING, MISSING, [], [], [], [{"name": "vendor.shift"}]))
        ),
    }


def _add_extra(draw: st.DrawFn, document: dict[str, Any]) -> bool:
    """An extension's member, mostly none. Returns whether chunks mean the same to who does not know it."""
    value, harmless = draw(
        st.sampled_from(
            (
                *((MISSING, True),) * 8,
                ("text", True),
                ({"must_understand": False, "x": None}, True),
                ({"name": "vendor"}, False),
                ({"must_understand": True}, False),
            )
        )
    )
    document[draw(st.sampled_from(EXTRAS))] = value
    return bool(harmless)


def _text(draw: st.DrawFn, document: dict[str, Any]) -> bytes:
    """The document as one of many writers spells it, in any order of members."""
    members = [(key, value) for key, value in document.items() if value is not MISSING]
    plain = ("", None, "")
    odd = (("\ufeff", 1, ""), (" \n\t", None, '"old": 1}}'), ("", 4, "\0\0"))
    head, indent, tail = draw(st.sampled_from((*(plain,) * 5, ("", 2, "\n"), *odd)))
    shuffled = dict(draw(st.permutations(members)))
    return (head + json.dumps(shuffled, indent=indent, ensure_ascii=draw(st.booleans())) + tail).encode()


def _keys(shape: list[int], chunks: list[int], prefix: str, separator: str) -> tuple[str, ...]:
    if 0 in shape:
        return ()
    coords = ([0] * len(shape), [(length - 1) // chunk for length, chunk in zip(shape, chunks, strict=True)])
    spelled = [separator.join(([prefix] if prefix else []) + list(map(str, coord))) or "0" for coord in coords]
    return tuple(dict.fromkeys(spelled))


# --- Zarr v2 ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Type2:
    """A dtype. filters: those that make it one of the container's; None where the container has no such type."""

    name: Any
    fills: tuple[Any, ...]
    filters: tuple[Any, ...] | None = None
    inexact: tuple[Any, ...] = ()


_NO_FILTERS = (None, [], MISSING)
TYPES2 = (
    Type2("|b1", (None, False, True), _NO_FILTERS, (0,)),
    *(Type2(f"{order}{kind}1", (None, 0, 5), _NO_FILTERS, ("x",)) for kind in "iu" for order in "|<>"),
    *(Type2(f"<{kind}{n}", (None, 0, 5), _NO_FILTERS, (1 << 70,)) for kind in "iu" for n in (2, 4, 8)),
    *(Type2(f"<f{n}", (None, 0, 0.5, *_NAMED), _NO_FILTERS, ("x",)) for n in (4, 8)),
    Type2("<M8[ns]", (None, 0, "NaT"), _NO_FILTERS),
    Type2("|O", (None, "", "é"), ([{"id": "vlen-utf8"}],), (0,)),
    Type2("|O", (None, "", "YWI="), ([{"id": "vlen-bytes"}],), ("a",)),
    *(Type2(name, (None, 0)) for name in (">i4", ">f8", "<f2", ">M8[ns]", "<M8[s]", "<m8[ns]", "=i4")),
    Type2("<c8", (None, [0.0, "NaN"])),
    Type2("|S3", (None, "", "YWJj")),
    Type2("<U2", (None, "", "ab")),
    Type2("|V3", (None, "AAAA")),
    Type2([["a", "<i4"], ["b", "<f8", [2]]], (None, "A" * 28)),
    Type2("|O", (None, 0)),
)
COMPRESSORS = (
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
    {"id": "zlib", "level": 1},
    {"id": "gzip", "level": 1},
    {"id": "bz2", "level": 1},
    {"id": "zstd", "level": 0},
    {"id": "lz4", "acceleration": 1},
    {"id": "vendor"},
    MISSING,
)
FILTERS = (
    [{"id": "delta", "dtype": "<i4", "astype": "<i4"}],
    [{"id": "pickle", "protocol": 5}],
    [{"id": "json2", "encoding": "utf-8"}],
    [{"id": "msgpack2"}],
    [{"id": "vlen-array", "dtype": "<i4"}],
    [{"id": "categorize", "dtype": "|O", "astype": "|u1", "labels": ["a", "b"]}],
)


@st.composite
def documents2(draw: st.DrawFn) -> Drawn:
    """Of Zarr v2."""
    kind, (shape, chunks) = draw(st.sampled_from(TYPES2)), draw(_grids())
    fill, exact = _fill(draw, kind.fills, kind.inexact)
    raw = kind.filters is not None and draw(st.integers(0, 3)) > 0
    rank = len(shape)
    order = draw(st.sampled_from(("C", "C", "C", "F")))
    separator, spelled = draw(st.sampled_from(((".", "."), (".", MISSING), (".", None), ("/", "/"))))
    compressor, filters = None, draw(st.sampled_from(kind.filters)) if raw else None
    if not raw:
        compressor, filters = draw(
            st.one_of(
                st.tuples(st.sampled_from(COMPRESSORS), st.sampled_from((None, *FILTERS))),
                st.tuples(st.just(None), st.sampled_from(FILTERS)),
            )
        )
    document: dict[str, Any] = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunks,
        "dtype": kind.name,
        "compressor": compressor,
        "fill_value": MISSING if fill is None and draw(st.booleans()) else fill,
        "order": order,
        "filters": filters,
        "dimension_separator": spelled,
    }
    _add_extra(draw, document)  # v2 knows no extensions: readers ignore what they do not know
    documents = {".zarray": _text(draw, document)}
    attributes = draw(st.one_of(st.none(), ATTRIBUTES))
    if attributes is not None:
        names = draw(st.sampled_from((MISSING, [f"d{axis}" for axis in range(rank)], ["too", "many", "of", "them"])))
        documents[".zattrs"] = _text(draw, {**attributes, "_ARRAY_DIMENSIONS": names})
    native = raw and exact and (order == "C" or rank < 2)
    return Drawn(documents, "native" if native else "opaque", _keys(shape, chunks, "", separator))
