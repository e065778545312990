"""The bytes of one stored chunk: cut to another extent, padded, and elements of varying size taken apart.

Stored chunks are in C order, little-endian, clipped to the array's shape (format chapter 6). Elements of varying size
are u32 offsets, one more than there are elements, and then their bytes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.dtypes import element_size, fill_array, leaf
from arrayfs.format.model import DType, FillValue

Extent = tuple[int, ...]
Buffer = bytes | memoryview
U32_LIMIT = 1 << 32


def stored_size(dtype: DType, extent: Extent) -> int | None:
    """Bytes of a stored chunk of this extent, None where they depend on the content."""
    size = element_size(dtype)
    return None if size is None else size * math.prod(extent)


def check_size(dtype: DType, extent: Extent, size: int) -> None:
    """Raise FormatError unless a stored chunk of `size` bytes can have this extent."""
    want = stored_size(dtype, extent)
    if want is None:
        least = 4 * (math.prod(extent) + 1)
        if size < least:
            raise FormatError(f"{size} bytes, but {math.prod(extent)} elements of {dtype.name} need at least {least}")
    elif size != want:
        raise FormatError(f"{size} bytes, but its extent {extent} of {dtype.name} needs {want}")


def recut(dtype: DType, fill: FillValue | None, stored: Buffer, old: Extent, new: Extent) -> Buffer:
    """A stored chunk of extent `old` as one of extent `new`: what is cut off is dropped, what comes is fill.

    Raises FormatError if `stored` does not have the extent `old`.
    """
    check_size(dtype, old, len(stored))
    if element_size(dtype) is None:
        offsets, payload = split_elements(dtype, stored, math.prod(old))
        places = np.full(new, -1, np.int64)
        common = tuple(slice(min(a, b)) for a, b in zip(old, new, strict=True))
        places[common] = np.arange(math.prod(old), dtype=np.int64).reshape(old)[common]
        filler = fill.payload if fill is not None and fill.kind == "String" else b""
        return join_elements(dtype, *take_elements(offsets, payload, places.ravel(), filler))
    size = element_size(dtype) or 0
    if old == new:
        return stored
    out = fill_array(dtype, fill, math.prod(new)).reshape(*new, size)
    common = tuple(slice(min(a, b)) for a, b in zip(old, new, strict=True))
    out[common] = np.frombuffer(stored, np.uint8).reshape(*old, size)[common]
    return out.reshape(-1).data


def _unit(dtype: DType, stored: Buffer, count: int, last: int) -> int:
    """Bytes that one step of the offsets stands for. For List no code settles it, so the chunk's size tells."""
    base, inner = leaf(dtype)
    if inner:
        raise FormatError(f"the layout of FixedSizeList of {base.name} is not settled: it cannot be shown")
    if base.name != "List" or base.child is None:
        return 1
    child = element_size(base.child)
    if child is None:
        raise FormatError(f"the layout of {base.name} of {base.child.name} is not settled: it cannot be shown")
    body = len(stored) - 4 * (count + 1)
    for unit in (child, 1):
        if last * unit == body:
            return unit
    raise FormatError(f"{body} bytes of values, but the offsets end at {last} and a value has {child} bytes")


def split_elements(dtype: DType, stored: Buffer, count: int) -> tuple[NDArray[np.int64], memoryview]:
    """The elements of a stored chunk of varying size: their byte offsets, (count + 1,), and the bytes.

    Raises FormatError if the offsets do not rise from 0 to the end of the bytes.
    """
    head = 4 * (count + 1)
    if len(stored) < head:
        raise FormatError(f"{len(stored)} bytes cannot hold the offsets of {count} elements")
    offsets = np.frombuffer(stored, "<u4", count + 1).astype(np.int64)
    offsets *= _unit(dtype, stored, count, int(offsets[-1]))
    payload = memoryview(stored)[head:]
    if offsets[0] != 0 or offsets[-1] != len(payload) or bool((np.diff(offsets) < 0).any()):
        raise FormatError(f"element offsets do not rise from 0 to the {len(payload)} bytes that follow")
    return offsets, payload


def join_elements(dtype: DType, offsets: NDArray[np.int64], payload: Buffer) -> bytes:
    """The inverse of `split_elements`; offsets of List count values. Raises LimitError above 4 GiB."""
    if len(payload) >= U32_LIMIT:
        raise LimitError(f"the elements of one chunk have {len(payload)} bytes, {U32_LIMIT - 1} is the limit")
    base, _ = leaf(dtype)
    unit = element_size(base.child) if base.name == "List" and base.child is not None else 1
    return b"".join(((offsets // (unit or 1)).astype("<u4").tobytes(), payload))


def take_elements(
    offsets: NDArray[np.int64], payload: Buffer, places: NDArray[np.int64], filler: bytes = b""
) -> tuple[NDArray[np.int64], bytes]:
    """Elements in the order of `places` (-1: the filler)."""
    # the filler stands behind the payload as one more element, which is what place -1 means to numpy
    offsets = np.append(offsets, len(payload) + len(filler))
    lengths = np.diff(offsets)[places]
    out = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
    source = np.repeat(offsets[:-1][places] - out[:-1], lengths) + np.arange(out[-1])
    return out, np.frombuffer(b"".join((payload, filler)), np.uint8)[source].tobytes()
