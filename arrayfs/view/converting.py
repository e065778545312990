"""Opaque arrays become native ones: their chunks decoded, cut to the new chunk shape and stored as numbers.

What is read is a version, which never changes; what is written are changes of a container, which one commit then makes
a version: before it nothing has happened. Memory is bounded by the chunk files of one region and its elements. What was
stored is read back and compared before the old chunks go.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord, Grid
from arrayfs.errors import ArrayFSError, ChecksumError, UnconvertibleError
from arrayfs.format.chunkdata import join_elements
from arrayfs.format.dtypes import element_size, fill_array, numpy_dtype
from arrayfs.view import plain
from arrayfs.view.conversion import Conversion, NativeForm
from arrayfs.view.draft import Draft
from arrayfs.view.fills import padding_element
from arrayfs.view.regions import TEXT_SIZE, Region, chunks_of, regions

# Bytes of elements decoded at a time: many blocks, and little beside what a pool keeps.
REGION_SIZE = 32 << 20
_MODULUS = 1 << 128


class Decoder(Protocol):
    """Decodes the chunks of one array."""

    def read(self, chunks: Mapping[str, bytes | memoryview], region: tuple[slice, ...]) -> NDArray[Any]:
        """The elements of a region, of these chunk files by their keys; what lies in none of them is the fill value.

        Raises whatever the codecs raise.
        """


OpenDecoder = Callable[[Mapping[str, bytes]], Decoder]


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of one array, or would. codecs: their names; encoded: bytes of its chunk files; shape: elements."""

    path: str
    codecs: str
    encoded: int
    chunk_shape: tuple[int, ...]


def encoded_size(conversion: Conversion) -> int:
    """Bytes of all chunk files of an opaque array."""
    index = conversion.zarr.array.index
    return int(conversion.zarr.chunks.file_sizes(index.stored_sizes(0, len(index)).astype(np.int64)).sum())


def planned(conversion: Conversion) -> Converted:
    """What a conversion would come to."""
    form = conversion.form
    return Converted(form.path, form.codecs, encoded_size(conversion), form.spec.chunk_shape)


def convert(
    container: Container, conversion: Conversion, open_decoder: OpenDecoder, progress: Callable[[int], None]
) -> Converted:
    """Have `container`, open for writing, hold the array as a native one; no commit yet.

    progress: told the bytes of chunk files that are done, piece by piece. Raises UnconvertibleError if the values
    cannot be had, or kept exactly; FormatError if a chunk is damaged; both name array and chunk. Discard the changes
    then.
    """
    done, form = planned(conversion), conversion.form
    # what the crate has set since the document was written goes before it, and keeps its type
    attributes = form.now.typed | dict(conversion.zarr.array.attributes)
    new = container.define(conversion.name, form.spec, attributes)
    stored = 0
    for region, values in _decoded(conversion, open_decoder(form.decoding), progress):
        for coord, content in cut(form, region, values):
            if content is None:
                continue
            container.put(new, coord, content, conversion.zarr.array.mtime_ns(file_of(form, coord)))
            stored += _mark(coord, content)
    _check(container, new, stored % _MODULUS)
    container.remove(container.get(conversion.zarr.array.name))
    _rewrite(container, conversion)
    return done


# --- reading ----------------------------------------------------------------------------------------------------------


def _decoded(
    conversion: Conversion, decoder: Decoder, progress: Callable[[int], None]
) -> Iterator[tuple[Region, NDArray[Any]]]:
    zarr = conversion.zarr
    coords = [tuple(coord) for coord in zarr.listed_coords(()).tolist()]
    files: dict[str, bytes | memoryview] = {}
    for region in regions_of(conversion.form, coords):
        files = files or {"/".join(zarr.keys.components(coord)): zarr.read(coord) for coord in region.coords}
        yield region, decode(conversion.form, region, files, decoder)
        if region.last:
            progress(sum(map(len, files.values())))
            files = {}


def regions_of(form: NativeForm, coords: Sequence[Coord]) -> Iterator[Region]:
    """The regions in which an array is decoded of which there are these chunk files, in C order."""
    grid, spec = Grid(form.spec.shape, form.outer), form.spec
    return regions(grid, spec.chunk_shape, coords, element_size(spec.dtype) or TEXT_SIZE, REGION_SIZE)


def decode(form: NativeForm, region: Region, files: Mapping[str, bytes | memoryview], decoder: Decoder) -> NDArray[Any]:
    """The elements of a region, little-endian. files: its chunk files by their keys.

    Raises UnconvertibleError, naming array and chunks, for what cannot be decoded, or decodes to another type.
    """
    try:
        values = decoder.read(files, tuple(map(slice, region.start, region.stop)))
    except ArrayFSError:
        raise
    except Exception as error:  # whatever a codec says of bytes that are not its own
        which = " to ".join(dict.fromkeys(map(str, (region.coords[0], region.coords[-1]))))
        text = f"{form.path}: chunk {which} cannot be decoded: {type(error).__name__}: {error}"
        raise UnconvertibleError(text) from error
    return _as_stored(form, values)


def _as_stored(form: NativeForm, values: NDArray[Any]) -> NDArray[Any]:
    """The values little-endian, as they are otherwise. Raises UnconvertibleError for another type."""
    dtype = form.spec.dtype
    varies = element_size(dtype) is None
    # text and bytes of fixed length lose zeros at their end
    fits = values.dtype.kind not in "SU" if varies else values.dtype.newbyteorder("<") == numpy_dtype(dtype)
    if not fits:
        raise UnconvertibleError(f"{form.path}: its chunks decode to {values.dtype}, not to {dtype.name}")
    return values if varies else values.astype(numpy_dtype(dtype), copy=False)


# --- writing ----------------------------------------------------------------------------------------------------------


def cut(form: NativeForm, region: Region, values: NDArray[Any]) -> Iterator[tuple[Coord, bytes | None]]:
    """The stored chunks of a region: coordinate and content, as far as there were chunk files.

    None: no chunk; of a shard, which says nothing of what it does not have, what is nothing but fill.
    """
    spec, outer, there = form.spec, form.outer, set(region.coords)
    for coord in chunks_of(region, spec.chunk_shape):
        if file_of(form, coord) not in there:
            continue
        first = tuple(c * n for c, n in zip(coord, spec.chunk_shape, strict=True))
        box = zip(first, spec.chunk_shape, region.start, region.stop, strict=True)
        place: tuple[Any, ...] = tuple(slice(a - s, min(a + n, e) - s) for a, n, s, e in box)
        part = values[(*place, ...)]  # `...`: a scalar stays an array
        content = _content(form.path, spec, part)
        yield coord, None if outer != spec.chunk_shape and content == _fill(spec, part.shape) else content


def file_of(form: NativeForm, coord: Coord) -> Coord:
    """The chunk file that a native chunk comes out of."""
    return tuple(c * n // m for c, n, m in zip(coord, form.spec.chunk_shape, form.outer, strict=True))


def _content(path: str, spec: ArraySpec, part: NDArray[Any]) -> bytes:
    if element_size(spec.dtype) is not None:
        return part.tobytes()
    elements = part.ravel().tolist()
    strange = {type(element).__name__ for element in elements if not isinstance(element, str | bytes)}
    if strange:
        raise UnconvertibleError(f"{path}: elements of {', '.join(sorted(strange))}, neither text nor bytes")
    try:
        return _join(spec, [element.encode() if isinstance(element, str) else element for element in elements])
    except UnicodeEncodeError as error:
        raise UnconvertibleError(f"{path}: a text that is not Unicode: {error}") from None


def _join(spec: ArraySpec, elements: list[bytes]) -> bytes:
    return join_elements(spec.dtype, np.cumsum([0, *map(len, elements)], dtype=np.int64), b"".join(elements))


@functools.lru_cache(maxsize=8)
def _fill(spec: ArraySpec, extent: tuple[int, ...]) -> bytes:
    """The stored chunk of fill values alone."""
    count = math.prod(extent)
    if element_size(spec.dtype) is None:
        return _join(spec, [padding_element(spec.dtype, spec.fill_value)] * count)
    return fill_array(spec.dtype, spec.fill_value, count).tobytes()


def _check(container: Container, array: Array, stored: int) -> None:
    """Read all chunks back. Raises ChecksumError unless they are what was stored."""
    read = 0
    for coord in map(tuple, array.coords().tolist()):
        content = container.read(array, coord)
        read += _mark(coord, b"" if content is None else content)
    if read % _MODULUS != stored:
        raise ChecksumError(f"array {array.name!r}: what was stored reads back as something else")


def _mark(coord: Coord, content: bytes | memoryview) -> int:
    """A digest of one chunk; the sum of all is one of the array, whatever their order."""
    digest = blake2b(repr(coord).encode(), digest_size=16)
    digest.update(content)
    return int.from_bytes(digest.digest(), "little")


def _rewrite(container: Container, conversion: Conversion) -> None:
    """Put the new document in the place of the old one; its mode and what else is kept with it stay."""
    form = conversion.form
    place = f"{form.path}/" if form.path else ""
    array = container.get(f"{plain.FILES}{place}{form.document_name}")
    draft = Draft(None, 0)
    draft.write(0, form.document)
    mtime_ns = container.stack.newest.time_ns
    _, mode, _ = plain.read_attributes(array)
    plain.store(container, array, draft, mtime_ns)
    container.set_attributes(array, array.attributes | plain.attributes_of(draft.size, mode, mtime_ns))
