"""Arrays into NumPy files: one (`.npy`), several (`.npz`), or an array's bare bytes, little-endian in C order.

Boxes are written where they belong, so that every chunk is unpacked once, whatever the order of the file. Where there
are no chunks and the fill value is zero, the file has a hole.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from arrayfs.copying.beside import Beside
from arrayfs.copying.values import Box, ValueArray, Values, contents
from arrayfs.copying.zip_writer import STEP, ZipWriter, read_all, write_all
from arrayfs.errors import TargetError

_MEMBER_MODE = 0o100644
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_GZIP_LEVEL = 5
# Told the bytes of elements that are done, piece by piece.
Told = Callable[[int], None]


def accept(array: ValueArray) -> None:
    """Raise TargetError for an array that a NumPy file cannot hold without running code when it is read."""
    if array.kind in ("text", "bytes") or array.dtype.hasobject:
        what = "text" if array.kind == "text" else "byte strings"
        raise TargetError(f"{array.path}: {what} of varying length, which a NumPy file can only hold pickled")


def size_of(array: ValueArray) -> int:
    """Bytes of all elements."""
    return math.prod(array.shape) * array.dtype.itemsize


def header(array: ValueArray) -> bytes:
    """What stands before the elements in a `.npy` file."""
    out = io.BytesIO()
    said = {"descr": np.lib.format.dtype_to_descr(_little(array.dtype)), "fortran_order": False, "shape": array.shape}
    try:
        np.lib.format.write_array_header_1_0(out, said)
    except ValueError:  # more than 64 KiB of field names
        out = io.BytesIO()
        np.lib.format.write_array_header_2_0(out, said)
    return out.getvalue()


def write_npy(place: Beside, arrays: Sequence[ValueArray], jobs: int, told: Told) -> None:
    """One array as a `.npy` file."""
    (array,) = arrays
    front = header(array)
    write_all(place.fd, 0, front)
    _write(place.fd, len(front), array, jobs, told)


def write_npz(place: Beside, arrays: Sequence[ValueArray], jobs: int, told: Told) -> None:
    """Arrays as members of an archive, as numpy.savez makes it; in groups they have `/` in their names."""
    archive = ZipWriter(place.fd)
    try:
        for array in arrays:
            front = header(array)
            size = len(front) + size_of(array)
            offset = archive.begin(f"{array.path or 'array'}.npy", size, _MEMBER_MODE, 0)
            write_all(place.fd, offset, front)
            _write(place.fd, offset + len(front), array, jobs, told)
            archive.end(size)
        archive.close()
    finally:
        archive.discard()


def write_raw(place: Beside, arrays: Sequence[ValueArray], jobs: int, told: Told) -> None:
    """The bytes of one array."""
    (array,) = arrays
    _write(place.fd, 0, array, jobs, told)


def write_raw_gz(place: Beside, arrays: Sequence[ValueArray], jobs: int, told: Told) -> None:
    """The same compressed, by way of a file without a name: compressing goes from the start to the end."""
    (array,) = arrays
    with open(os.open(place.dest.parent, os.O_TMPFILE | os.O_RDWR, 0o600), "r+b") as raw:
        _write(raw.fileno(), 0, array, jobs, told)
        compress = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
        offset, size = 0, size_of(array)
        for start in range(0, size, STEP):
            part = compress.compress(read_all(raw.fileno(), start, min(STEP, size - start)))
            write_all(place.fd, offset, part)
            offset += len(part)
        write_all(place.fd, offset, compress.flush())


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _write(fd: int, base: int, array: ValueArray, jobs: int, told: Told) -> None:
    """Write the elements of an array from `base` on."""
    size = size_of(array)
    if size:
        os.ftruncate(fd, max(os.fstat(fd).st_size, base + size))
    fill = np.asarray(array.fill if array.fill is not None else 0, array.dtype)
    for box, values in contents(array, jobs, everything=any(fill.tobytes())):
        _write_box(fd, base, array.shape, box, np.ascontiguousarray(values, _little(array.dtype)))
        told(values.nbytes)


def _write_box(fd: int, base: int, shape: tuple[int, ...], box: Box, values: Values) -> None:
    """Write a box in runs, each from its first axis that is cut on."""
    axis = len(shape)
    while axis and values.shape[axis - 1] == shape[axis - 1]:
        axis -= 1
    axis = max(axis - 1, 0)
    strides = [math.prod(shape[k + 1 :]) * values.itemsize for k in range(len(shape))]
    first = sum(a * stride for a, stride in zip(box.start, strides, strict=True))
    for place in np.ndindex(values.shape[:axis]):
        offset = first + sum(a * stride for a, stride in zip(place, strides, strict=False))
        write_all(fd, base + offset, values[place].reshape(-1).view(np.uint8).data)
