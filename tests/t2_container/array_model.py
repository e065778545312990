"""A container as a dict: what arrays, attributes and chunks have to be, in as few lines as possible."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.container.grid import Coord
from arrayfs.format.model import AttributeValue, DType, FillValue

# (type, fill value, what an element then is): None stands for elements of varying size.
TYPES: list[tuple[DType, FillValue | None, bytes]] = [
    (DType("Int16"), FillValue("Int", struct.pack("<q", -3)), struct.pack("<h", -3)),
    (DType("UInt8"), None, b"\0"),
    (DType("Float64"), FillValue("Float", struct.pack("<d", float("nan"))), struct.pack("<d", float("nan"))),
    (DType("Bool"), FillValue("Bool", b"\1"), b"\1"),
    (DType("TimestampNs"), FillValue("TimestampNs", struct.pack("<q", 7)), struct.pack("<q", 7)),
    (
        DType("FixedSizeList", DType("Float32"), 3),
        FillValue("Float", struct.pack("<d", 1.5)),
        struct.pack("<f", 1.5) * 3,
    ),
    (DType("String"), FillValue("String", b"none"), b""),
    (DType("Binary"), None, b""),
]
VARYING = ("String", "Binary")


@dataclass(slots=True)
class ModelArray:
    """fill: one element of a chunk that is not there. chunks: elements as bytes, in arrays of the chunk's extent."""

    spec: ArraySpec
    fill: bytes
    attributes: dict[str, AttributeValue] = field(default_factory=dict)
    chunks: dict[Coord, NDArray[np.object_]] = field(default_factory=dict)

    def copy(self) -> ModelArray:
        return ModelArray(self.spec, self.fill, dict(self.attributes), dict(self.chunks))

    def coords(self) -> list[Coord]:
        """All places of the grid."""
        axes = zip(self.spec.shape, self.spec.chunk_shape, strict=True)
        return list(itertools.product(*(range(-(-length // chunk)) for length, chunk in axes)))

    def extent(self, coord: Coord) -> tuple[int, ...]:
        axes = zip(coord, self.spec.shape, self.spec.chunk_shape, strict=True)
        return tuple(len(range(c * chunk, min(length, (c + 1) * chunk))) for c, length, chunk in axes)

    def chunk(self, coord: Coord, seed: int) -> NDArray[np.object_]:
        """Elements that depend on `seed`, for one place of the grid."""
        rng = np.random.default_rng(seed)
        out = np.empty(self.extent(coord), object)
        for place in np.ndindex(out.shape):
            if self.spec.dtype.name in VARYING:
                out[place] = bytes(rng.integers(97, 123, rng.integers(0, 6), np.uint8))
            elif self.spec.dtype.name == "Bool":
                out[place] = bytes([int(rng.integers(2))])
            else:
                out[place] = rng.bytes(len(self.fill))
        return out

    def stored(self, elements: NDArray[np.object_]) -> bytes:
        """A chunk as the container stores it."""
        flat = list(elements.ravel())
        if self.spec.dtype.name not in VARYING:
            return b"".join(flat)
        offsets = np.cumsum([0, *map(len, flat)])
        return struct.pack(f"<{len(offsets)}I", *offsets) + b"".join(flat)

    def stored_fill(self, coord: Coord) -> bytes:
        """What a chunk of nothing but fill values would be stored as."""
        return self.stored(self._full_of(self.fill, coord))

    def stored_chunks(self) -> dict[Coord, bytes]:
        return {coord: self.stored(elements) for coord, elements in self.chunks.items()}

    def reshape(self, shape: tuple[int, ...]) -> None:
        """What lies outside the new shape is gone; what comes in chunks that are there is fill."""
        self.spec = replace(self.spec, shape=shape)
        inside = set(self.coords())
        self.chunks = {coord: self._recut(coord, old) for coord, old in self.chunks.items() if coord in inside}

    def _full_of(self, element: bytes, coord: Coord) -> NDArray[np.object_]:
        out = np.empty(self.extent(coord), object)
        for place in np.ndindex(out.shape):  # np.full would take the zeros off the end of a bytes value
            out[place] = element
        return out

    def _recut(self, coord: Coord, old: NDArray[np.object_]) -> NDArray[np.object_]:
        # a text that is the fill value is written where a chunk grows, though the crate reads no text where none is
        fill = self.spec.fill_value
        text = fill.payload if fill is not None and fill.kind == "String" else None
        new = self._full_of(self.fill if text is None else text, coord)
        common = tuple(slice(min(a, b)) for a, b in zip(old.shape, new.shape, strict=True))
        new[common] = old[common]
        return new
