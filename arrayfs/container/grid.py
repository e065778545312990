"""The chunk grid of one array: coordinates, the place of each in C order, and how far each chunk reaches.

A *key* is a chunk's place in the grid in C order, one integer, so that a sorted column of keys is a sorted listing and
everything below one leading coordinate is one slice of it.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError, LimitError

Coord = tuple[int, ...]
# Keys are kept as unsigned 64-bit numbers and reused in inode numbers, which need a few bits of room.
MAX_CHUNKS = 1 << 60


@dataclass(frozen=True, slots=True)
class Grid:
    """shape and chunk_shape: elements per dimension; counts: chunks per dimension; whole: those of full length among
    them; strides: keys per step.

    Raises FormatError if the two shapes do not belong together, LimitError if the grid has 2^60 chunks or more.
    """

    shape: tuple[int, ...]
    chunk_shape: tuple[int, ...]
    counts: tuple[int, ...] = field(init=False)
    whole: tuple[int, ...] = field(init=False)
    strides: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.chunk_shape):
            raise FormatError(f"shape {self.shape} and chunk shape {self.chunk_shape} have different lengths")
        if any(length and not chunk for length, chunk in zip(self.shape, self.chunk_shape, strict=True)):
            raise FormatError(f"chunk shape {self.chunk_shape} has a zero where the shape {self.shape} has none")
        # an empty axis may have chunk extent 0 (format chapter 6): no chunks there, and nothing to divide by
        counts = tuple(
            -(-length // chunk) if length else 0 for length, chunk in zip(self.shape, self.chunk_shape, strict=True)
        )
        strides, step = [], 1
        for count in reversed(counts):
            strides.append(step)
            step *= max(count, 1)
        if step >= MAX_CHUNKS:
            raise LimitError(f"a grid of {counts} chunks has more than {MAX_CHUNKS}")
        whole = (length // chunk if chunk else 0 for length, chunk in zip(self.shape, self.chunk_shape, strict=True))
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "whole", tuple(whole))
        object.__setattr__(self, "strides", tuple(reversed(strides)))

    @property
    def total(self) -> int:
        """The number of chunks that the grid has room for."""
        return math.prod(self.counts)

    def __contains__(self, coord: Coord) -> bool:
        return self.key_inside(coord) is not None

    def key_inside(self, coord: Coord) -> int | None:
        """`key` of a whole coordinate, None if it lies outside the grid."""
        if len(coord) != len(self.counts):
            return None
        key = 0
        for c, count in zip(coord, self.counts):  # noqa: B905  strict takes as long as all of this, which each file asks
            if not 0 <= c < count:
                return None
            key = key * count + c
        return key

    def key(self, coord: Coord) -> int:
        """The place of a coordinate (or of the first chunk below a leading part of one)."""
        return sum(c * s for c, s in zip(coord, self.strides, strict=False))

    def coord(self, key: int) -> Coord:
        """The inverse of `key` for whole coordinates."""
        out = []
        for stride in self.strides:
            step, key = divmod(key, stride)
            out.append(step)
        return tuple(out)

    def keys(self, coords: NDArray[np.uint32]) -> NDArray[np.uint64]:
        """`key` for a column of coordinates, (n, rank), all inside the grid."""
        out = np.zeros(len(coords), np.uint64)
        for axis, stride in enumerate(self.strides):
            out += coords[:, axis].astype(np.uint64) * np.uint64(stride)
        return out

    def coords(self, keys: NDArray[np.uint64]) -> NDArray[np.uint32]:
        """The inverse of `keys`."""
        out = np.empty((len(keys), len(self.strides)), np.uint32)
        rest = keys
        for axis, stride in enumerate(self.strides):
            step, rest = np.divmod(rest, np.uint64(stride))
            out[:, axis] = step
        return out

    def elements(self, coords: NDArray[np.uint32]) -> NDArray[np.float64]:
        """How many elements each chunk has when it is clipped to the shape; outside of it none.

        Floats, which neither wrap nor lose anything below 2^53; a chunk has fewer than 2^32 bytes.
        """
        counts = np.ones(len(coords))
        for axis, (length, chunk) in enumerate(zip(self.shape, self.chunk_shape, strict=True)):
            counts *= np.clip(length - coords[:, axis].astype(np.int64) * chunk, 0, chunk)
        return counts

    def extent(self, coord: Coord) -> tuple[int, ...]:
        """How many elements a chunk really has in each dimension: clipped to the shape."""
        if self.whole != self.counts:
            for c, whole in zip(coord, self.whole):  # noqa: B905  as above
                if c >= whole:
                    return self._clipped(coord)
        return self.chunk_shape

    def _clipped(self, coord: Coord) -> tuple[int, ...]:
        return tuple(
            min(chunk, length - c * chunk) for c, chunk, length in zip(coord, self.chunk_shape, self.shape, strict=True)
        )


@functools.lru_cache(maxsize=1024)
def grid_of(shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> Grid:
    """`Grid`, made once for arrays of the same shapes: of small files there may be a million."""
    return Grid(shape, chunk_shape)
