"""zarr-python as the decoder of chunk files: every codec that it has, which no program here writes anew."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayfs.errors import UnconvertibleError


class ZarrDecoder:
    """An array that zarr-python reads out of a dictionary, in which there are only the chunks that it is to decode."""

    def __init__(self, documents: Mapping[str, bytes]) -> None:
        """Raises UnconvertibleError if zarr-python cannot read an array of these documents."""
        import zarr
        from zarr.core.buffer import default_buffer_prototype
        from zarr.storage import MemoryStore

        self._buffer = default_buffer_prototype().buffer.from_bytes
        self._files = {name: self._buffer(content) for name, content in documents.items()}
        try:
            with _quietly():
                self._array: Any = zarr.open_array(MemoryStore(self._files), mode="r")
        except Exception as error:
            raise UnconvertibleError(f"zarr-python cannot read it: {type(error).__name__}: {error}") from error

    def read(self, chunks: Mapping[str, bytes | memoryview], region: tuple[slice, ...]) -> NDArray[Any]:
        """The elements of a region; see `view.converting.Decoder`."""
        self._files.update((key, self._buffer(content)) for key, content in chunks.items())
        try:
            with _quietly():
                found = self._array[region]
        finally:
            for key in chunks:
                del self._files[key]
        return np.asarray(found)


def require() -> None:
    """Raise UnconvertibleError if zarr-python is not there."""
    try:
        import zarr.storage  # noqa: F401
    except ImportError as error:
        raise UnconvertibleError(f"decoding needs zarr-python (pip install 'zarr>=3.0.8'): {error}") from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without its warnings about types that have no v3 specification yet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
