"""Random footers: what was encoded is what is decoded, whatever the types, widths, texts and numbers of entries."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from arrayfs.format.array_list import DTYPE_NAMES
from arrayfs.format.attributes import KINDS_OF_VERSION
from arrayfs.format.footer import decode_footer, encode_footer
from arrayfs.format.model import ArrayMeta, AttributeValue, BlockTable, ChunkTable, DType, FillValue, Footer
from tests.t0_format.golden import described

U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
# Lengths around the step from 16 to 17 bytes, and any letters that UTF-8 has.
TEXTS = st.one_of(st.text(max_size=6), st.text("aé☃", min_size=5, max_size=20), st.just("x" * 300))


def columns(dtype: type, numbers: st.SearchStrategy[int], count: int) -> st.SearchStrategy[NDArray[Any]]:
    return st.lists(numbers, min_size=count, max_size=count).map(lambda row: np.array(row, dtype))


@st.composite
def block_tables(draw: st.DrawFn) -> BlockTable:
    count = draw(st.integers(0, 20))
    names = tuple(draw(st.lists(st.none() | TEXTS, min_size=1, max_size=4, unique=True)))
    wide = columns(np.uint64, U64, count)
    codecs = draw(columns(np.uint32, st.integers(0, len(names) - 1), count))
    return BlockTable(draw(columns(np.uint32, U32, count)), draw(wide), draw(wide), draw(wide), codecs, names)


@st.composite
def chunk_tables(draw: st.DrawFn, rank: int) -> ChunkTable:
    count = draw(st.integers(0, 6))
    narrow = columns(np.uint32, U32, count)
    coords = draw(columns(np.uint32, U32, count * rank)).reshape(count, rank)
    return ChunkTable(coords, draw(narrow), draw(narrow), draw(narrow))


DTYPES = st.recursive(
    st.sampled_from([DType(name) for name in DTYPE_NAMES if not name.endswith("List")]),
    lambda inner: (
        st.builds(lambda child: DType("List", child), inner)
        | st.builds(lambda child, size: DType("FixedSizeList", child, size), inner, U32)
    ),
    max_leaves=4,
)
FILLS = st.one_of(
    st.none(),
    st.sampled_from([FillValue("Bool", b"\0"), FillValue("Bool", b"\1")]),
    st.builds(FillValue, st.sampled_from(["Int", "UInt", "Float", "TimestampNs"]), st.binary(min_size=8, max_size=8)),
    TEXTS.map(lambda text: FillValue("String", text.encode())),
)


@st.composite
def arrays(draw: st.DrawFn) -> ArrayMeta:
    rank = draw(st.integers(0, 4))
    extents = st.lists(U32, min_size=rank, max_size=rank).map(tuple)
    width: Any = draw(st.sampled_from([np.uint16, np.uint32, np.uint64]))
    pairs = draw(st.lists(st.integers(0, int(np.iinfo(width).max)), max_size=6))
    return ArrayMeta(
        draw(TEXTS),
        draw(DTYPES),
        draw(extents),
        draw(extents),
        tuple(draw(st.lists(TEXTS, max_size=4))),
        draw(chunk_tables(rank)),
        draw(FILLS),
        draw(st.booleans()),
        np.array(pairs[: len(pairs) // 2 * 2], width).reshape(-1, 2),
    )


@st.composite
def attribute_values(draw: st.DrawFn, version: int) -> AttributeValue:
    kind = draw(st.sampled_from(KINDS_OF_VERSION[version]))
    count = draw(st.integers(0, 5)) if kind.is_list else 1
    if not kind.element:
        raws = TEXTS.map(str.encode) if kind.name.startswith("String") else st.binary(max_size=30)
        drawn = tuple(draw(raws) for _ in range(count))
        return AttributeValue(kind.name, drawn if kind.is_list else drawn[0])
    bools = st.lists(st.booleans(), min_size=count, max_size=count).map(bytes)
    size = count * kind.size
    return AttributeValue(kind.name, draw(bools if kind.element == "?" else st.binary(min_size=size, max_size=size)))


@st.composite
def footers(draw: st.DrawFn) -> Footer:
    version = draw(st.sampled_from([4, 5]))
    return Footer(
        version,
        draw(block_tables()),
        tuple(draw(st.lists(arrays(), max_size=4))),
        tuple(draw(st.lists(TEXTS, max_size=4))),
        tuple(draw(st.lists(attribute_values(version), max_size=5))),
        draw(U32),
        draw(TEXTS),
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(footers())
def test_what_is_encoded_is_what_is_decoded(footer: Footer) -> None:
    data = encode_footer(footer)
    decoded = decode_footer(data)
    assert described(decoded) == described(footer)
    assert [value.payload for value in decoded.attr_values] == [value.payload for value in footer.attr_values]
    assert encode_footer(decoded) == data
    assert len(data) % 8 == 0
