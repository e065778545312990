"""What an extension block says about its layer, as values; everything in it may be missed without loss of content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

ID_SIZE = 16  # bytes of a layer's or container's id
NO_PARENT = bytes(ID_SIZE)  # parent id of a container's first layer
_NO_HOLES: NDArray[np.uint32] = np.zeros((0, 3), np.uint32)  # of nearly all layers
CHECKED_PIECE = 1 << 20  # bytes of a large block that have a checksum of their own
MARK_OPAQUE = 1  # bit of an array's marks: its chunks are kept as a client encoded them


@dataclass(frozen=True, slots=True)
class MergedVersion:
    """A version that a compacted layer stands for and that can no longer be read by itself."""

    number: int
    layer_id: bytes
    time_ns: int
    message: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TagChange:
    """From this layer on the tag `name` names `version`; None: it names nothing any more."""

    name: str
    version: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Extension:
    """The extension block of one layer.

    layer_id, parent_id, container_id: 16 bytes each; version: the layer's version number; time_ns: since 1970, UTC.
    block_crcs: (n,) uint32, CRC-32C of each block as stored, in the order of the footer's block table, 0 for the
    extension block itself; empty if not known. footer_crc, footer_size: of the footer that follows the block.
    holes: (n, 3) uint32, addresses (block id, offset, size) that stand for "no chunk here any more".
    renamed_from, chunk_mtimes, array_marks: keyed by an array's place in the footer's list; chunk_mtimes: int64, ns,
    one for each of the array's chunk entries in table order. tags: of this version; tag_changes: of any version, in
    order. piece_crcs: keyed by a block's place in the block table, (n,) uint32 CRC-32C of each CHECKED_PIECE bytes of
    it as stored. chunk_figures: those of the layer's chunks (`format/figures.py`), or the id of the block that has
    them; None if none are kept. unknown: (tag, bytes) of sections of a later version.
    """

    layer_id: bytes
    parent_id: bytes
    container_id: bytes
    version: int
    time_ns: int
    message: str = ""
    author: str = ""
    tags: tuple[str, ...] = ()
    merged: tuple[MergedVersion, ...] = ()
    block_crcs: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, np.uint32))
    footer_crc: int = 0
    footer_size: int = 0
    holes: NDArray[np.uint32] = field(default_factory=lambda: _NO_HOLES)
    renamed_from: Mapping[int, str] = field(default_factory=dict)
    chunk_mtimes: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)
    array_marks: Mapping[int, int] = field(default_factory=dict)
    tag_changes: tuple[TagChange, ...] = ()
    piece_crcs: Mapping[int, NDArray[np.uint32]] = field(default_factory=dict)
    chunk_figures: bytes | int | None = None
    unknown: tuple[tuple[int, bytes], ...] = ()
