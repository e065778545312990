"""Chunks as they are compressed, in and out: no codec runs where the stored one is the one that is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from arrayfs.api.session import Session
from arrayfs.container.array import Array, Found, PackedRef
from arrayfs.container.grid import Coord
from arrayfs.container.index import ChunkRef
from arrayfs.errors import FormatError
from arrayfs.format.codecs import compress, is_known, stated_size
from arrayfs.view.arrays import ZarrArray

# The codec of chunks that are kept as their client encoded them.
CLIENT = "client"
STORED = "stored"


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk's values (clipped to the array's shape, little-endian, C order) compressed by `codec`.

    codec: None, "lz4", "zstd", or "client" for the chunk file of an array whose values only its client knows.
    size: bytes unpacked.
    """

    codec: str | None
    data: bytes
    size: int


def read_encoded(session: Session, zarr: ZarrArray, coord: Coord, codec: str | None) -> EncodedChunk | None:
    """A native chunk compressed. codec: the one that is wanted, or "stored". None: there is no such chunk.

    A chunk that shares its block with others, or is stored otherwise, is compressed anew.
    """
    stored = zarr.stored(coord)
    with session.lock:
        array = zarr.array
        found = array.find(stored)
        if found is None:
            return None
        own = _codec_of(session, array, found)
        if isinstance(found, ChunkRef | PackedRef):
            whole = found.offset == 0 and found.size == found[0].block_size(found.row)
            if whole and codec in (own, STORED):
                return EncodedChunk(own, found[0].read_stored(found.row), found.size)
        raw = array.fetch(found, stored, array.grid, session.container.cache) or b""
    wanted = own if codec == STORED else codec
    return EncodedChunk(wanted, bytes(compress(wanted, raw)), len(raw))


def _codec_of(session: Session, array: Array, found: Found) -> str | None:
    if isinstance(found, ChunkRef | PackedRef):
        return found[0].codec(found.row)
    return session.container.pool.codec_of(array)


def write_encoded(session: Session, zarr: ZarrArray, coord: Coord, chunk: EncodedChunk, wanted: int | None) -> None:
    """Set a native chunk, as a block of its own. wanted: bytes unpacked, None where they vary.

    The caller holds the lock. Raises FormatError for an unknown codec, or data that say that they hold another size.
    """
    stated = stated_size(chunk.codec, chunk.data)
    for size, whose in ((stated, "the data hold"), (wanted, "a chunk there has")):
        if size not in (None, chunk.size):
            raise FormatError(f"chunk {coord} of {zarr.array.name!r}: {chunk.size} bytes, but {whose} {size}")
    session.container.pool.put_packed(
        zarr.array, zarr.stored(coord), chunk.codec, chunk.data, (chunk.size, session.tree.now())
    )


def own_codec(array: Array) -> str | None:
    """The codec of the newest chunk that the layers have of an array; "stored" if there is none that is known."""
    index = array.index
    newest = int(index.entries.argmax()) if len(index) else -1
    try:
        ref = index.ref(newest) if newest >= 0 else None
    except FormatError:
        ref = None
    found = STORED if ref is None else ref.layer.codec(ref.row)
    return found if found == STORED or is_known(found) else STORED
