"""An array of numbers as one NumPy file (format version 1.0), of which any range is made when it is asked for.

Behind the header stand the elements in C order. What is here is one state of the array: index and layers never change,
and of changes that are not committed a copy is kept, so all ranges are of one moment, whatever becomes of the array.
Bytes count as one more axis, the innermost, so that a range may begin within an element.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array, Found
from arrayfs.container.cache import BlockCache, Key
from arrayfs.container.grid import Coord
from arrayfs.container.large import Spilled
from arrayfs.errors import FormatError
from arrayfs.format.chunkdata import stored_size
from arrayfs.format.dtypes import element_size, fill_element, leaf, numpy_dtype
from arrayfs.format.model import DType

# The sizes of files are signed numbers of 64 bits.
MOST_BYTES = (1 << 63) - 1


@lru_cache(maxsize=256)
def header(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """What stands before the elements. shape: elements, without the inner axes of FixedSizeList."""
    out = io.BytesIO()
    said = {
        "descr": np.lib.format.dtype_to_descr(numpy_dtype(dtype)),
        "fortran_order": False,
        "shape": shape + leaf(dtype)[1],
    }
    np.lib.format.write_array_header_1_0(out, said)
    return out.getvalue()


def file_size(dtype: DType, shape: tuple[int, ...]) -> int | None:
    """Bytes of the file; None where an element has no fixed size, or no file system could say how many they are."""
    element = element_size(dtype)
    if element is None:
        return None
    size = element * math.prod(shape)
    return None if size > MOST_BYTES - (64 << 10) else len(header(dtype, shape)) + size


class Piece(NamedTuple):
    """Elements of one chunk on their way: `target.size` bytes from `start` on of what was found for it."""

    found: Found
    coord: Coord
    start: int
    target: NDArray[np.uint8]


class Range(NamedTuple):
    """A range of the file before it is made: what is known of it already, and where the rest comes from."""

    data: NDArray[np.uint8]
    pieces: list[Piece]


class NpyFile:
    """One state of an array as a file. The caller has the container's lock; what it then calls needs none."""

    def __init__(self, array: Array, cache: BlockCache) -> None:
        """Raises FormatError if the layers' word on the array's chunks is damaged."""
        spec = array.spec
        self._array, self._cache = array, cache
        self._dtype, self._grid, self._index = spec.dtype, array.grid, array.index
        self._changes = dict(array.changes)
        self._header = header(spec.dtype, spec.shape)
        self._fill = np.frombuffer(fill_element(spec.dtype, spec.fill_value), np.uint8)
        # what is whole in every chunk: the inner axes of FixedSizeList, and the bytes
        self._inner = (*leaf(spec.dtype)[1], len(self._fill))
        self._shape, self._chunk_shape = spec.shape + self._inner, spec.chunk_shape + self._inner
        self._last = LastBlock()
        self.size = len(self._header) + math.prod(self._shape)

    def plan(self, offset: int, size: int) -> Range:
        """The bytes from `offset`, fewer at the end. Raises FormatError for a chunk whose entry names no block."""
        size = max(0, min(size, self.size - offset))
        data = np.empty(size, np.uint8)
        front = self._header[offset : offset + size]
        data[: len(front)] = np.frombuffer(front, np.uint8)
        start = max(offset - len(self._header), 0)
        pieces: list[Piece] = []
        position = len(front)
        for first, stop in boxes(self._shape, start, start + size - len(front)):
            shape = [b - a for a, b in zip(first, stop, strict=True)]
            end = position + math.prod(shape)
            pieces += self._pieces(first, stop, data[position:end].reshape(shape))
            position = end
        return Range(data, pieces)

    def box(self, first: Coord, stop: Coord) -> NDArray[np.uint8]:
        """The bytes of the elements from `first` to `stop` (excluded), along the innermost axis.

        Both are without the inner axes. The box lies in one chunk, and its axes behind the first that is longer than
        one are whole there.
        """
        data = np.empty([*[b - a for a, b in zip(first, stop, strict=True)], *self._inner], np.uint8)
        start = (*first, *[0] * len(self._inner))
        self.fetch(Range(data, list(self._pieces(start, stop + self._inner, data))))
        return data

    def is_ready(self, wanted: Range) -> bool:
        """Whether `fetch` has nothing to read or to unpack."""
        return all(self._is_here(piece.found) for piece in wanted.pieces)

    def _is_here(self, found: Found) -> bool:
        if not isinstance(found, tuple):
            return not isinstance(found, Spilled)
        key = (found[0].serial, found.row)
        return key in self._cache or key in self._last

    def fetch(self, wanted: Range) -> memoryview:
        """Make the range. Raises FormatError, naming file, array and chunk, for bytes that are damaged."""
        for piece in wanted.pieces:
            stored = self._stored(piece)
            piece.target[...] = np.frombuffer(stored, np.uint8).reshape(piece.target.shape)
        return wanted.data.data

    def _pieces(self, first: Coord, stop: Coord, out: NDArray[np.uint8]) -> Iterator[Piece]:
        """A box cut at the borders of chunks; where there is no chunk, the fill value is put in.

        All of a box but its outermost axes that are longer than one is whole, so what lies in one chunk stands there
        without gaps.
        """
        sides = zip(first, stop, self._chunk_shape, strict=True)
        for place in itertools.product(*[range(a // chunk, -(-b // chunk)) for a, b, chunk in sides]):
            coord = place[: -len(self._inner)]
            extent = self._grid.extent(coord) + self._inner
            start, where = 0, []
            for number, chunk, length, a, b in zip(place, self._chunk_shape, extent, first, stop, strict=True):
                low = number * chunk
                inner = max(a - low, 0)
                start = start * length + inner
                where.append(slice(low + inner - a, min(low + length, b) - a))
            target = out[tuple(where)]
            change = self._changes.get(coord)
            found = self._index.find(coord) if change is None else change.content
            if found is None:
                target[...] = self._fill[first[-1] : stop[-1]]
            else:
                yield Piece(found, coord, start, target)

    def _stored(self, piece: Piece) -> bytes | memoryview:
        """The bytes of a piece, as they stand in the chunk."""
        found, coord, start, target = piece
        size = found.size if isinstance(found, tuple) else 0 if found is None else len(found)
        wanted = stored_size(self._dtype, self._grid.extent(coord))
        read = self._array.ranges(found, coord, self._cache) if size == wanted else None
        if read is not None:
            stored = read(start, target.size)
        else:
            is_kept = not isinstance(found, tuple) or found[0].block_size(found.row) * 4 <= self._cache.limit
            whole = self._array.fetch(found, coord, self._grid, self._cache if is_kept else self._last)
            stored = memoryview(b"" if whole is None else whole)[start : start + target.size]
        if len(stored) != target.size:
            raise FormatError(f"array {self._array.name!r}: chunk {coord}: {size} bytes, its extent needs {wanted}")
        return stored


class LastBlock(BlockCache):
    """The one block that was read last: who reads on in a large one finds it here; the cache would not keep it."""

    def __init__(self) -> None:
        super().__init__(0)

    def put(self, key: Key, block: memoryview) -> None:
        with self._lock:
            self._blocks.clear()
            self._blocks[key] = block


def boxes(shape: Coord, start: int, stop: int) -> Iterator[tuple[Coord, Coord]]:
    """The boxes, from corner to corner, that elements start to stop (excluded) in C order make, one after another.

    The last axes of each are whole, all before them but one have one element: twice the number of axes is the most.
    """
    strides = [1]
    for length in reversed(shape[1:]):
        strides.append(strides[-1] * length)
    strides.reverse()
    while start < stop:
        rest, first = start, []
        for stride in strides:
            step, rest = divmod(rest, stride)
            first.append(step)
        axis = next(k for k, stride in enumerate(strides) if not start % stride and start + stride <= stop)
        count = min((stop - start) // strides[axis], shape[axis] - first[axis])
        end = [step + 1 for step in first[:axis]] + [first[axis] + count, *shape[axis + 1 :]]
        yield tuple(first), tuple(end)
        start += count * strides[axis]
