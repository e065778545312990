"""What the files of a tree hold, as a Zarr target is to have it: as a mount shows it, but for a codec.

Small files come whole, large ones in parts: a chunk may have 4 GiB, and a plain file more than any memory.
"""

from __future__ import annotations

from collections.abc import Iterator

from arrayfs.copying import zarr_codecs
from arrayfs.copying.walking import Chosen, Entry
from arrayfs.errors import ArrayFSError, FormatError
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.keys import Keys
from arrayfs.view.metadata import DOCUMENT_LIMIT
from arrayfs.view.tree import Tree

# Files of up to this many bytes are in memory whole, several at a time.
WHOLE = 8 << 20
PART = 4 << 20


class Contents:
    """The files of one tree. Any thread may ask."""

    def __init__(self, tree: Tree, chosen: Chosen, codec: str = "none") -> None:
        """codec: one of `zarr_codecs.CODECS`, for the chunk files of native arrays."""
        self.tree = tree
        self._keys = Keys(tree)
        self._chosen, self._codec = chosen, codec

    def whole(self, entry: Entry) -> bytes | memoryview | None:
        """All of a file; None if it is too large to be had so, and `parts` is to be asked. Raises FormatError."""
        if entry.is_link:
            return self.tree.readlink(entry.attr.ino)
        if entry.is_document and entry.attr.size <= DOCUMENT_LIMIT:
            return self._document(entry)
        if entry.attr.size > WHOLE:
            return None
        data = self._read(entry)
        if self._is_encoded(entry):
            return b"".join(zarr_codecs.encoded(self._codec, (data,), len(data)))
        return data

    def parts(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """A large file, a few MiB at a time."""
        parts = self._parts(entry)
        if self._is_encoded(entry):
            return zarr_codecs.encoded(self._codec, parts, entry.attr.size)
        return parts

    def size(self, entry: Entry) -> int | None:
        """Bytes of a large file; None where that is seen only when it is encoded."""
        return None if self._is_encoded(entry) else entry.attr.size

    def _read(self, entry: Entry) -> bytes | memoryview:
        reading = self._keys.plan(entry.path)
        if reading is None:
            raise FormatError(f"{entry.path}: is not there any more")
        return reading.fetch()

    def _parts(self, entry: Entry) -> Iterator[bytes | memoryview]:
        handle = self.tree.open(entry.attr.ino, write=False, truncate=False)
        try:
            for offset in range(0, entry.attr.size, PART):
                part = handle.read(offset, PART)
                if len(part) != min(PART, entry.attr.size - offset):
                    raise FormatError(f"{entry.path}: ends at byte {offset + len(part)} of {entry.attr.size}")
                yield part
        finally:
            handle.release()

    def _is_encoded(self, entry: Entry) -> bool:
        """Whether the target has it with the codec: the chunks of native arrays."""
        if self._codec == "none":
            return False
        place = self._keys.chunk_at(entry.path)
        return place is not None and isinstance(place[0].chunks, NativeChunks)

    def _document(self, entry: Entry) -> bytes | memoryview:
        path, _, name = entry.path.rpartition("/")
        data = bytes(self._read(entry))
        if self._codec == "none" and self._chosen.everything:
            return data
        return zarr_codecs.document(name, path, data, self._codec, self._is_native, self._is_exported)

    def _is_exported(self, path: str) -> bool:
        return self._chosen.has(path) or self._chosen.leads_to(path)

    def _is_native(self, path: str) -> bool:
        try:
            zarr = self._keys.array_at(path)
        except (ArrayFSError, OSError):
            return False
        return zarr is not None and not zarr.gone and isinstance(zarr.chunks, NativeChunks)
