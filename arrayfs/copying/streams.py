"""Raw elements as boxes of an array: out of a file, or what can only be read from its start on (gzip, an archive).

Of a stream, boxes are whole stretches: chunks are cut along the axis that varies slowest, or along several with length
one before it. At most one such stretch is in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from arrayfs.copying.numeric import Box
from arrayfs.copying.zipped import DAMAGE
from arrayfs.errors import SourceError


def stretch(box: Sequence[slice], shape: Sequence[int]) -> int | None:
    """Where a box begins that is one stretch of elements in C order; None for any other."""
    place = 0
    begun = False
    for one, length in zip(box, shape, strict=True):
        if begun and one.stop - one.start != length:
            return None
        begun = begun or one.stop - one.start > 1
        place = place * length + one.start
    return place


class Mapped:
    """The elements of one array in a file, of which only what is asked for is mapped: all of it would seem memory."""

    def __init__(self, path: str, offset: int, dtype: np.dtype[Any], shape: Sequence[int], *, fortran: bool) -> None:
        """offset: of the first element, bytes. Raises SourceError if the file ends before the last."""
        self._path, self._offset, self._dtype, self._fortran = path, offset, dtype, fortran
        self._shape = tuple(reversed(shape)) if fortran else tuple(shape)
        wanted, there = math.prod(shape) * dtype.itemsize, os.path.getsize(path) - offset
        if there < wanted:
            raise SourceError(f"{path}: {there} bytes of elements, {dtype} {tuple(shape)} needs {wanted}")

    def read(self, box: Box) -> NDArray[Any]:
        """The elements of a box."""
        ordered = tuple(reversed(box)) if self._fortran else box
        extent = tuple(one.stop - one.start for one in ordered)
        start = stretch(ordered, self._shape)
        if start is not None:
            begin = self._offset + start * self._dtype.itemsize
            values = np.fromfile(self._path, self._dtype, math.prod(extent), offset=begin).reshape(extent)
            return values.T if self._fortran else values
        rows, *inner = ordered
        begin = self._offset + rows.start * math.prod(self._shape[1:]) * self._dtype.itemsize
        window = np.memmap(self._path, self._dtype, "r", begin, (extent[0], *self._shape[1:]))
        values = np.array(window[(slice(None), *inner)])
        return values.T if self._fortran else values


class Stream:
    """The elements of one array out of a stream, which is opened at the first box, and anew for the array's first.

    name: for errors. open: gives the stream, at the first element.
    """

    def __init__(
        self,
        name: str,
        open: Callable[[], BinaryIO],
        dtype: np.dtype[Any],
        shape: Sequence[int],
        chunks: Sequence[int],
        *,
        fortran: bool,
    ) -> None:
        """Raises SourceError if boxes of these chunks are no stretches of the stream."""
        self._name, self._open, self._dtype = name, open, dtype
        self._fortran = fortran
        self._shape = tuple(reversed(shape)) if fortran else tuple(shape)
        inner = tuple(reversed(chunks)) if fortran else tuple(chunks)
        if stretch([slice(0, min(n, c)) for n, c in zip(self._shape, inner, strict=True)], self._shape) is None:
            raise SourceError(
                f"{name}: chunks {tuple(chunks)} of {tuple(shape)} are no stretches of a stream; cut it along the "
                f"{'last' if fortran else 'first'} axes only"
            )
        self._file: BinaryIO | None = None
        self._position = 0
        self._total = math.prod(self._shape) * dtype.itemsize

    def read(self, box: Box) -> NDArray[Any]:
        """The elements of a box. Raises SourceError where the stream ends early, or goes on after the last."""
        ordered = tuple(reversed(box)) if self._fortran else box
        extent = tuple(one.stop - one.start for one in ordered)
        size = math.prod(extent) * self._dtype.itemsize
        start = (stretch(ordered, self._shape) or 0) * self._dtype.itemsize
        if self._file is None or start == 0:
            self._begin()
        if start != self._position:
            raise SourceError(
                f"{self._name}: a stream is read in order: at byte {self._position}, {start} was asked for"
            )
        data = self._take(size)
        if len(data) != size:
            raise SourceError(f"{self._name}: ends after {self._position + len(data)} bytes of {self._total}")
        self._position += size
        if self._position == self._total and self._take(1):
            raise SourceError(f"{self._name}: more than the {self._total} bytes that its shape needs")
        values = np.frombuffer(data, self._dtype).reshape(extent)
        return values.T if self._fortran else values

    def _begin(self) -> None:
        if self._file is not None:
            self._file.close()
        self._position = 0
        with self._named():
            self._file = self._open()

    def _take(self, size: int) -> bytes:
        assert self._file is not None
        parts = []
        with self._named():
            while size and (part := self._file.read(size)):
                parts.append(part)
                size -= len(part)
        return b"".join(parts)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What is raised for a stream that is damaged, under its name."""
        try:
            yield
        except (OSError, *DAMAGE) as error:
            raise SourceError(f"{self._name}: byte {self._position}: {error}") from error
