"""Files of values read back and compared with what was exported, before they get their names."""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from arrayfs.copying import target_hdf5, target_numpy
from arrayfs.copying.beside import Beside
from arrayfs.copying.boxes import boxes, read_ahead
from arrayfs.copying.positioned import STEP, read_all
from arrayfs.copying.value_export import Box, ValueArray, ValueExport, Values, size_of
from arrayfs.copying.zip_writer import read_member
from arrayfs.errors import TargetError

Read = Callable[[Box], Values]


def verify_values(place: Beside, kind: str, export: ValueExport) -> None:
    """Raise TargetError, naming the array, if one reads back as something else."""
    for array, read in _readers(place, kind, export.arrays):
        for box, values in read_ahead(array, boxes(array, everything=True), export.jobs):
            if not _same(array, values, read(box)):
                raise TargetError(f"{array.path}: reads back as something else, elements {box.start} to {box.stop}")


def _readers(place: Beside, kind: str, arrays: Sequence[ValueArray]) -> Iterator[tuple[ValueArray, Read]]:
    if kind in ("hdf5", "netcdf"):
        with target_hdf5.require().File(place.path, "r", locking=False) as file:
            for array in arrays:
                yield array, _read_dataset(file[array.path or "array"])
        return
    if kind == "raw" and target_numpy.is_packed(place):
        with _unpacked(place) as raw:
            yield arrays[0], _read_mapped(raw, arrays[0], 0, os.fstat(raw.fileno()).st_size)
        return
    offset = 0
    for array in arrays:
        start, size = offset, size_of(array)
        if kind == "npz":
            _, start, member = read_member(place.fd, offset)
            offset = start + member
        front = b"" if kind == "raw" else target_numpy.header(array)
        if read_all(place.fd, start, len(front)) != front:
            raise TargetError(f"{array.path}: its header reads back as something else")
        yield array, _read_mapped(place.path, array, start + len(front), size)


def _read_dataset(dataset: Any) -> Read:
    return lambda box: np.asarray(dataset[(*box.slices, ...)])


def _read_mapped(file: Path | IO[bytes], array: ValueArray, start: int, size: int) -> Read:
    if size != size_of(array):
        raise TargetError(f"{array.path}: reads back as {size} bytes, not {size_of(array)}")
    if not size:
        return lambda box: np.empty(0, array.dtype)
    dtype = array.dtype.newbyteorder("<")
    mapped: Values = np.memmap(file, dtype, "r", start, array.shape)
    return lambda box: np.asarray(mapped[box.slices])


def _same(array: ValueArray, values: Values, found: Values) -> bool:
    if array.kind in ("text", "U"):
        texts = [text.decode() if isinstance(text, bytes) else text for text in found.reshape(-1).tolist()]
        return texts == values.astype(object).reshape(-1).tolist()
    if array.kind == "bytes":
        return [bytes(one) for one in found.reshape(-1)] == values.reshape(-1).tolist()
    stored = np.ascontiguousarray(values.astype(array.dtype.newbyteorder("<"), copy=False))
    return stored.tobytes() == np.ascontiguousarray(found).tobytes()


def _unpacked(place: Beside) -> IO[bytes]:
    """What a compressed file holds, as a file without a name."""
    raw = target_numpy.nameless(place)
    with gzip.open(place.path) as packed:
        shutil.copyfileobj(packed, raw, STEP)
    raw.flush()
    return raw
