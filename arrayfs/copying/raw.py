"""Raw numbers in a file, of which the user says type and shape; also compressed by gzip, which is read as a stream."""

from __future__ import annotations

import gzip
import os
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from arrayfs.copying.npy import chunks_of, numbers
from arrayfs.copying.numeric import NumberSource
from arrayfs.copying.streams import Header, Mapped, Stream
from arrayfs.errors import SourceError

if TYPE_CHECKING:
    from arrayfs.copying.opening import SourceOptions


def opened(path: str, options: SourceOptions, *, is_gzip: bool) -> NumberSource:
    """One array, called like the file without its last suffixes unless a name is said. Raises SourceError."""
    if options.dtype is None or options.shape is None:
        raise SourceError(f"{path}: raw numbers need both a dtype and a shape")
    try:
        dtype = np.dtype(options.dtype)
    except TypeError as error:
        raise SourceError(f"{path}: {options.dtype!r} is no dtype of numpy: {error}") from None
    if dtype.hasobject:
        raise SourceError(f"{path}: {dtype} is no type of raw numbers")
    if options.offset < 0:
        raise SourceError(f"{path}: offset {options.offset}: bytes from the start of the file are wanted, from 0 on")
    if any(length < 0 for length in options.shape):
        raise SourceError(f"{path}: shape {options.shape} has a negative length")
    if options.order not in ("C", "F"):
        raise SourceError(f"{path}: order {options.order!r} is neither C nor F")
    fortran = options.order == "F" and len(options.shape) > 1
    header = Header(options.shape, fortran, dtype, options.offset)
    name = options.name or os.path.basename(path).partition(".")[0] or os.path.basename(path)
    chunks = chunks_of(path, header, options.chunks)
    if is_gzip:
        open_at = partial(_unzipped, path, options.offset)
        array = numbers(path, name, header, chunks, Stream(path, open_at, header, chunks).read)
        return NumberSource(path, [array], options.zarr_format, threads=1)
    there = os.path.getsize(path) - options.offset
    if there != header.size:
        raise SourceError(f"{path}: {there} bytes from {options.offset} on; {dtype} {header.shape} needs {header.size}")
    array = numbers(path, name, header, chunks, Mapped(path, header).read)
    return NumberSource(path, [array], options.zarr_format)


def _unzipped(path: str, offset: int) -> BinaryIO:
    file = cast("BinaryIO", gzip.GzipFile(path, "rb"))
    while offset:
        skipped = len(file.read(min(offset, 1 << 20)))
        if not skipped:
            raise SourceError(f"{path}: ends {offset} bytes before its first element")
        offset -= skipped
    return file
