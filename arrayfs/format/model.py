"""One layer file as values: what a footer says, and nothing about where it came from.

Tables with an entry per chunk or per block are numpy columns, because a container has millions of them; everything of
which there are few is a frozen dataclass. Values whose bits matter (floats, NaN payloads) are kept as their
little-endian bytes, so that equality is equality of bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class DType:
    """An element type. `child` is set for FixedSizeList and List, `size` (elements) for FixedSizeList only."""

    name: str
    child: DType | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class FillValue:
    """kind: Bool, Int, UInt, Float, String or TimestampNs; payload: its little-endian bytes (1, 8 or UTF-8)."""

    kind: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """kind: the variant's name in the format, e.g. `Int32` or `StringList`.

    payload: little-endian bytes of the scalar or of the packed list; UTF-8 for String; raw for Binary; a tuple of bytes
    for StringList and BinaryList. Two values are the same value exactly if they are equal here.
    """

    kind: str
    payload: bytes | tuple[bytes, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ChunkTable:
    """The chunk entries of one array in one layer, in file order: n entries of rank r.

    coords: (n, r) uint32; block_ids, offsets (bytes in the unpacked block), sizes (bytes): (n,) uint32.
    """

    coords: NDArray[np.uint32]
    block_ids: NDArray[np.uint32]
    offsets: NDArray[np.uint32]
    sizes: NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.block_ids)

    @staticmethod
    def empty(rank: int) -> ChunkTable:
        none = np.zeros(0, np.uint32)
        return ChunkTable(np.zeros((0, rank), np.uint32), none, none, none)


@dataclass(frozen=True, slots=True, eq=False)
class BlockTable:
    """The blocks of one layer, in file order: n entries.

    ids: (n,) uint32, neither dense nor sorted by rule; of equal ids the first counts. file_offsets, compressed_sizes,
    uncompressed_sizes: (n,) uint64, bytes. codecs: (n,) uint32 indices into codec_names, None: not compressed.
    """

    ids: NDArray[np.uint32]
    file_offsets: NDArray[np.uint64]
    compressed_sizes: NDArray[np.uint64]
    uncompressed_sizes: NDArray[np.uint64]
    codecs: NDArray[np.uint32]
    codec_names: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @staticmethod
    def empty() -> BlockTable:
        small, large = np.zeros(0, np.uint32), np.zeros(0, np.uint64)
        return BlockTable(small, large, large, large, small, ())


@dataclass(frozen=True, slots=True, eq=False)
class ArrayMeta:
    """One entry of a layer's array list: everything about the array, but only the chunks that this layer wrote.

    attribute_pairs: (n, 2) of uint16, uint32 or uint64: indices into the layer's attr_keys and attr_values, sorted by
    key index; the column type is the width on disk. fill_value None: the format's default.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    dimension_names: tuple[str, ...] = ()
    chunks: ChunkTable = field(default_factory=lambda: ChunkTable.empty(0))
    fill_value: FillValue | None = None
    deleted: bool = False
    attribute_pairs: NDArray[np.unsignedinteger] = field(default_factory=lambda: np.zeros((0, 2), np.uint16))


@dataclass(frozen=True, slots=True, eq=False)
class Footer:
    """The footer of one layer file. overlay_index and base_file_hint are informative; nobody compares them."""

    version: int
    blocks: BlockTable
    arrays: tuple[ArrayMeta, ...]
    attr_keys: tuple[str, ...] = ()
    attr_values: tuple[AttributeValue, ...] = ()
    overlay_index: int = 0
    base_file_hint: str = ""
