"""Arrays as the clients make them: a Zarr v3 document, the chunk files that it allows, and what is kept of each."""

from __future__ import annotations

import json
import math
import random
from dataclasses import dataclass, replace

import numpy as np

DOCUMENT = "zarr.json"
_TYPES = {1: "uint8", 4: "float32"}


@dataclass(frozen=True, slots=True)
class Grid:
    """shape, chunk: elements; itemsize: 1 (uint8) or 4 (float32); native: no codec has touched the chunk files."""

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    itemsize: int
    native: bool

    @staticmethod
    def any(rng: random.Random) -> Grid:
        """Two to nine chunks, mostly with clipped edges."""
        rank = rng.randint(1, 2)
        chunk = tuple(rng.choice((3, 8, 40, 100)) for _ in range(rank))
        grid = Grid((), chunk, rng.choice((1, 4)), rng.random() < 0.8)
        return grid.reshaped(rng)

    def reshaped(self, rng: random.Random) -> Grid:
        """The same with another shape."""
        return replace(self, shape=tuple(rng.randint(1, 3 * n) for n in self.chunk))

    @property
    def size(self) -> int:
        """Bytes of a chunk file."""
        return math.prod(self.chunk) * self.itemsize

    def coords(self) -> list[tuple[int, ...]]:
        """All chunks of the grid."""
        return list(np.ndindex(*(-(-s // n) for s, n in zip(self.shape, self.chunk, strict=True))))

    def coord(self, key: str) -> tuple[int, ...] | None:
        """The chunk that `0/1` spells, None if the array has none such."""
        parts = key.split("/")
        if len(parts) != len(self.shape) or not all(map(str.isdecimal, parts)):
            return None
        coord = tuple(map(int, parts))
        return coord if all(c * n < s for c, n, s in zip(coord, self.chunk, self.shape, strict=True)) else None

    def takes(self, size: int) -> bool:
        """Whether a file of this size can be a chunk."""
        return not self.native or size == self.size

    def clip(self, coord: tuple[int, ...], data: bytes) -> bytes:
        """A chunk file with the fill value, 0, outside the shape."""
        if not self.native:
            return data
        out = np.zeros((*self.chunk, self.itemsize), np.uint8)
        inside = tuple(slice(min(n, s - c * n)) for c, n, s in zip(coord, self.chunk, self.shape, strict=True))
        out[inside] = np.frombuffer(data, np.uint8).reshape(out.shape)[inside]
        return out.tobytes()

    def document(self) -> str:
        """The array's zarr.json."""
        inner: dict[str, object] = {"name": "bytes"}
        if self.itemsize > 1:
            inner["configuration"] = {"endian": "little"}
        return json.dumps(
            {
                "zarr_format": 3,
                "node_type": "array",
                "shape": self.shape,
                "data_type": _TYPES[self.itemsize],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": self.chunk}},
                "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
                "fill_value": 0 if self.itemsize == 1 else 0.0,
                "codecs": [inner] if self.native else [inner, {"name": "gzip", "configuration": {"level": 1}}],
                "attributes": {"shape was": str(self.shape)},
            }
        )

    @staticmethod
    def parse(data: bytes) -> Grid | None:
        """What a document says, None if it is none of ours or torn."""
        try:
            words = json.loads(data)
            chunk = tuple(words["chunk_grid"]["configuration"]["chunk_shape"])
            itemsize = next(size for size, name in _TYPES.items() if name == words["data_type"])
            return Grid(tuple(words["shape"]), chunk, itemsize, len(words["codecs"]) == 1)
        except (ValueError, KeyError, TypeError):
            return None
