"""Arrays into NumPy files: one (`.npy`), several (`.npz`), or an array's bare bytes, little-endian in C order.

Boxes are written where they belong, so that every chunk is unpacked once, whatever the order of the file. Where there
are no chunks and the fill value is zero, the file has a hole.
"""

from __future__ import annotations

import io
import math
import os
from typing import IO, Any

import numpy as np

from arrayfs.copying import zarr_codecs
from arrayfs.copying.beside import Beside
from arrayfs.copying.boxes import contents
from arrayfs.copying.positioned import STEP, read_all, write_all
from arrayfs.copying.value_export import Box, ValueArray, ValueExport, Values, size_of
from arrayfs.copying.zip_writer import ZipWriter
from arrayfs.errors import TargetError

_MEMBER_MODE = 0o100644


def accept(export: ValueExport) -> None:
    """Raise TargetError for an array that a NumPy file cannot hold without running code when it is read."""
    for array in export.arrays:
        if array.kind in ("text", "bytes") or array.dtype.hasobject:
            what = "text" if array.kind == "text" else "byte strings"
            raise TargetError(f"{array.path}: {what} of varying length, which a NumPy file can only hold pickled")


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


def write_npy(place: Beside, export: ValueExport) -> None:
    """One array as a `.npy` file."""
    (array,) = export.arrays
    front = header(array)
    write_all(place.fd, 0, front)
    _write(place.fd, len(front), array, export)


def write_npz(place: Beside, export: ValueExport) -> None:
    """Arrays as members of an archive, as numpy.savez makes it; in groups they have `/` in their names."""
    archive = ZipWriter(place.fd)
    try:
        for array in export.arrays:
            front = header(array)
            size = len(front) + size_of(array)
            offset = archive.begin(f"{array.path or 'array'}.npy", size, _MEMBER_MODE, 0)
            write_all(place.fd, offset, front)
            _write(place.fd, offset + len(front), array, export)
            archive.end(size)
        archive.close()
    finally:
        archive.discard()


def is_packed(place: Beside) -> bool:
    """Whether the bytes of an array are to be compressed, by the name of the file."""
    return place.dest.name.lower().endswith(".gz")


def write_raw(place: Beside, export: ValueExport) -> None:
    """The bytes of one array; compressed by way of a file without a name, for that goes from the start to the end."""
    (array,) = export.arrays
    if not is_packed(place):
        _write(place.fd, 0, array, export)
        return
    with nameless(place) as raw:
        _write(raw.fileno(), 0, array, export)
        offset, size = 0, size_of(array)
        parts = (read_all(raw.fileno(), start, min(STEP, size - start)) for start in range(0, size, STEP))
        for part in zarr_codecs.encoded("gzip", parts, size):
            write_all(place.fd, offset, part)
            offset += len(part)


def nameless(place: Beside) -> IO[bytes]:
    """A file without a name, in the folder that a place is in."""
    return open(os.open(place.dest.parent, os.O_TMPFILE | os.O_RDWR, 0o600), "w+b")


def _little(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return dtype.newbyteorder("<")


def _write(fd: int, base: int, array: ValueArray, export: ValueExport) -> None:
    """Write the elements of an array from `base` on."""
    size = size_of(array)
    if size:
        os.ftruncate(fd, max(os.fstat(fd).st_size, base + size))
    fill = np.asarray(array.fill if array.fill is not None else 0, array.dtype)
    for box, values in contents(array, export.jobs, everything=any(fill.tobytes())):
        _write_box(fd, base, array.shape, box, np.ascontiguousarray(values, _little(array.dtype)))
        export.told(values.nbytes)


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
