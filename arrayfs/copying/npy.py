"""NumPy's files: `.npy`, mapped piece by piece, and the members of `.npz`, read as streams. Nothing is unpickled."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from arrayfs.copying.key_paths import above
from arrayfs.copying.numeric import GroupOf, Numbers, NumberSource, Read, chunk_shape
from arrayfs.copying.source import Item
from arrayfs.copying.streams import Header, Mapped, Stream
from arrayfs.copying.zarr_types import zarr_type
from arrayfs.copying.zipped import DAMAGE, Zipped
from arrayfs.errors import SourceError

if TYPE_CHECKING:
    from arrayfs.copying.opening import SourceOptions

_SUFFIX = ".npy"


def read_header(name: str, file: BinaryIO) -> Header:
    """Read what a `.npy` file begins with (numpy.lib.format). Raises SourceError for what is none, or has objects."""
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version[0]}.{version[1]}, which only structures need")
        shape, fortran, dtype = read(file)
    except (ValueError, *DAMAGE) as error:
        raise SourceError(f"{name}: no .npy file that can be read: {error}") from None
    if dtype.hasobject:
        raise SourceError(f"{name}: it holds pickled objects, which are never unpacked")
    return Header(shape, fortran and len(shape) > 1, dtype, file.tell())


def opened(path: str, options: SourceOptions) -> NumberSource:
    """One array of a `.npy` file, called like the file unless a name is said. Raises SourceError."""
    with open(path, "rb") as file:
        header = read_header(path, file)
    name = options.name or os.path.basename(path).removesuffix(_SUFFIX)
    mapped = Mapped(path, header)
    chunks = chunks_of(path, header, options.chunks)
    return NumberSource(path, [numbers(path, name, header, chunks, mapped.read)], options.zarr_format)


def numbers(source: str, name: str, header: Header, chunks: tuple[int, ...], read: Read) -> Numbers:
    """An array of which there is nothing but its elements. Raises SourceError for types that cannot be kept."""
    fill = np.zeros((), header.dtype)[()]
    try:
        kind = zarr_type(header.dtype)
        return Numbers(name.strip("/"), kind, header.shape, chunks, fill, read, fortran=header.fortran)
    except SourceError as error:
        raise SourceError(f"{source}: {name}: {error}") from None


def chunks_of(source: str, header: Header, chunks: tuple[int, ...] | None) -> tuple[int, ...]:
    """The chunk shape that was said, or one that suits. Raises SourceError for one of another rank."""
    if chunks is None:
        return chunk_shape(header.shape, header.dtype.itemsize, fortran=header.fortran)
    if len(chunks) != len(header.shape) or any(length < 1 for length in chunks):
        wanted = f"{len(header.shape)} lengths are wanted"
        raise SourceError(f"{source}: chunks {chunks} for the shape {header.shape}: {wanted}")
    return chunks


# --- .npz -------------------------------------------------------------------------------------------------------------


def is_npz(archive: Zipped) -> bool:
    """Whether a zip archive is one of `.npy` files and nothing else."""
    names = [item.key for item in archive.items()]
    return bool(names) and all(name.endswith(_SUFFIX) for name in names)


def opened_npz(archive: Zipped, options: SourceOptions) -> NumberSource:
    """The arrays of a `.npz` file. Raises SourceError."""
    return _Npz(archive, [_member(archive, item, options) for item in archive.items()], options.zarr_format)


class _Npz(NumberSource):
    """Members are compressed one by one, so each is read from its start to its end."""

    def __init__(self, archive: Zipped, arrays: list[Numbers], look: int) -> None:
        groups = {path for array in arrays for path in above(array.path) if path}
        groups -= {array.path for array in arrays}  # as the crate has them, arrays may lie in others
        nodes: list[GroupOf | Numbers] = [*(GroupOf(path, {}) for path in sorted(groups)), *arrays]
        super().__init__(archive.name, nodes, look, threads=1)
        self._archive = archive

    def close(self) -> None:
        self._archive.close()


def _member(archive: Zipped, item: Item, options: SourceOptions) -> Numbers:
    name = item.key.removesuffix(_SUFFIX)
    place = f"{archive.name}: {item.key}"
    with archive.opened(item.key) as file:
        header = read_header(place, file)
    chunks = chunks_of(archive.name, header, None)
    stream = Stream(place, partial(_behind, archive, item.key, header.offset), header, chunks)
    return numbers(archive.name, name, header, chunks, stream.read)


def _behind(archive: Zipped, key: str, offset: int) -> BinaryIO:
    file = archive.opened(key)
    file.read(offset)
    return file
