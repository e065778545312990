"""Raw elements as boxes of an array: out of a file, or what can only be read from its start on (gzip, an archive).

Of a stream, boxes are whole stretches: chunks are cut along the axis that varies slowest, or along several with length
one before it. At most one such stretch is in memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

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


class Header(NamedTuple):
    """What is known of the elements in a file. offset: of the first, bytes; fortran: the first axis varies fastest."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """As the elements lie in the file: the last axis varies fastest."""
        return self.shape[::-1] if self.fortran else self.shape

    @property
    def size(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize


class Mapped:
    """The elements of one array in a file, of which only what is asked for is mapped: all of it would seem memory."""

    def __init__(self, path: str, header: Header) -> None:
        """Raises SourceError if the file ends before the last element."""
        self._path, self._header = path, header
        there = os.path.getsize(path) - header.offset
        if there < header.size:
            said = f"{header.dtype} {header.shape} needs {header.size}"
            raise SourceError(f"{path}: {there} bytes of elements, {said}")

    def read(self, box: Box) -> NDArray[Any]:
        """The elements of a box."""
        header, shape, dtype = self._header, self._header.stored_shape, self._header.dtype
        ordered = box[::-1] if header.fortran else box
        extent = tuple(one.stop - one.start for one in ordered)
        start = stretch(ordered, shape)
        if start is not None:
            begin = header.offset + start * dtype.itemsize
            values = np.fromfile(self._path, dtype, math.prod(extent), offset=begin).reshape(extent)
        else:
            rows, *inner = ordered
            begin = header.offset + rows.start * math.prod(shape[1:]) * dtype.itemsize
            window = np.memmap(self._path, dtype, "r", begin, (extent[0], *shape[1:]))
            values = np.array(window[(slice(None), *inner)])
        return values.T if header.fortran else values


class Stream:
    """The elements of one array out of a stream, which is opened at the first box, and anew for the array's first.

    name: for errors. open: gives the stream, at the first element.
    """

    def __init__(self, name: str, open: Callable[[], BinaryIO], header: Header, chunks: tuple[int, ...]) -> None:
        """Raises SourceError if boxes of these chunks are no stretches of the stream."""
        self._name, self._open, self._header = name, open, header
        shape, inner = header.stored_shape, chunks[::-1] if header.fortran else chunks
        if stretch([slice(0, min(n, c)) for n, c in zip(shape, inner, strict=True)], shape) is None:
            raise SourceError(
                f"{name}: chunks {chunks} of {header.shape} are no stretches of a stream; cut it along the "
                f"{'last' if header.fortran else 'first'} axes only"
            )
        self._file: BinaryIO | None = None
        self._position = 0

    def read(self, box: Box) -> NDArray[Any]:
        """The elements of a box. Raises SourceError where the stream ends early, or goes on after the last."""
        header, dtype, total = self._header, self._header.dtype, self._header.size
        ordered = box[::-1] if header.fortran else box
        extent = tuple(one.stop - one.start for one in ordered)
        size = math.prod(extent) * dtype.itemsize
        start = (stretch(ordered, header.stored_shape) or 0) * dtype.itemsize
        if self._file is None or start == 0:
            self._begin()
        if start != self._position:
            raise SourceError(
                f"{self._name}: a stream is read in order: at byte {self._position}, {start} was asked for"
            )
        data = self._take(size)
        if len(data) != size:
            raise SourceError(f"{self._name}: ends after {self._position + len(data)} bytes of {total}")
        self._position += size
        if self._position == total and self._take(1):
            raise SourceError(f"{self._name}: more than the {total} bytes that its shape needs")
        values = np.frombuffer(data, dtype).reshape(extent)
        return values.T if header.fortran else values

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
