"""One array: numpy slicing over all of it, and its chunks one by one. Shapes and places are elements."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np

from arrayfs.api import documents, encoded, stats
from arrayfs.api.chunks import MovedError, NativeArray, put_stored
from arrayfs.api.encoded import CLIENT, STORED, EncodedChunk
from arrayfs.api.node import Node
from arrayfs.api.selection import Key, select
from arrayfs.api.session import Progress
from arrayfs.api.stats import Statistics
from arrayfs.api.values import Values, check_extent, filled
from arrayfs.container.grid import Coord
from arrayfs.errors import ArrayFSError, ArrayNotFoundError, OpaqueArrayError
from arrayfs.format.chunkdata import stored_size
from arrayfs.format.codecs import stated_size
from arrayfs.format.model import DType
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.metadata import ArrayDocument
from arrayfs.view.npy import NpyFile
from arrayfs.view.reshaping import let_go

# Places that are made of a column at a time.
LISTED = 4096

ChunkValues = Mapping[Coord, Any] | Iterable[tuple[Coord, Any]]


class Array(Node):
    """An array of a container. Use it like a numpy array: `a[0, ::2] = 1`, `a[...]`; any thread may.

    An *opaque* array (`is_opaque`) is one that another program wrote with codecs or of a type that the format does not
    have: its shape, attributes and encoded chunks are to be had here, its values through `arrayfs.ZarrStore`.
    """

    __slots__ = ("_native_array",)

    _native_array: NativeArray | None

    def _init(self) -> None:
        self._native_array = None

    def _zarr(self) -> ZarrArray:
        if self._session.closed:
            self._session.check_open()
        directory = self._directory()
        zarr = directory.zarr
        if zarr is None or zarr.gone:
            zarr = self._session.tree.documents.zarr(directory)
        if zarr is None or zarr.gone:
            raise ArrayNotFoundError(f"{self._session.container.names.base}: no array {self.name!r}")
        return zarr

    def _native(self) -> NativeArray:
        zarr = self._zarr()
        native = self._native_array
        if native is None or not native.is_current(zarr):
            if not isinstance(zarr.chunks, NativeChunks):
                raise OpaqueArrayError(
                    f"array {self.name!r}: its chunks are kept as their client encoded them; "
                    f"read and write its values with zarr.open(arrayfs.ZarrStore(...))"
                )
            native = self._native_array = NativeArray(self._session, zarr, zarr.chunks)
        return native

    def _writable(self) -> NativeArray:
        """The array, to be changed under the lock, which the caller holds."""
        self._session.check_writable()
        native = self._native()
        if native.array.name not in self._session.container:
            # the container has lost it, and its document was left: it is an array of the container again
            self._session.tree.documents.changed(self._directory(), ".zarray" if self._is_v2 else "zarr.json")
            native = self._native()
        codecs = self._session.container.pool.codecs
        if native.array not in codecs:
            own = encoded.own_codec(native.array)
            codecs[native.array] = self._session.container.options.pool.codec if own == STORED else own
        return native

    # --- what it is ---------------------------------------------------------------------------------------------------

    @property
    def is_opaque(self) -> bool:
        """Whether its chunks are kept as their client encoded them."""
        return not isinstance(self._zarr().chunks, NativeChunks)

    @property
    def shape(self) -> tuple[int, ...]:
        """Elements along each axis."""
        return self._native().shape if not self.is_opaque else self._said().shape

    @property
    def stored_name(self) -> str:
        """What the Rust crate calls it; of an opaque array, its name here."""
        return self.name if self.is_opaque else self._zarr().array.name

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(np.prod(self.shape, dtype=object))

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    @property
    def chunks(self) -> tuple[int, ...]:
        """Elements of a chunk along each axis; those at the edge are clipped to the array's shape."""
        return self._native().chunk_shape if not self.is_opaque else self._said().chunk_shape

    @property
    def chunk_grid_shape(self) -> tuple[int, ...]:
        """Chunks along each axis."""
        return self._zarr().counts

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numpy arrays that come out: object for text (str) and bytes. OpaqueArrayError if opaque."""
        return self._native().elements.dtype

    @property
    def fill_value(self) -> Any:
        """What elements read as that nobody wrote. OpaqueArrayError if opaque."""
        return self._native().elements.fill

    @property
    def dimension_names(self) -> tuple[str | None, ...]:
        """The axes' names; None for one without."""
        names = self.read_metadata().get("dimension_names") if not self._is_v2 else None
        if isinstance(names, list) and len(names) == self.ndim:
            return tuple(names)
        given: tuple[str, ...] = () if self.is_opaque else self._native().spec.dimension_names
        return (*given, *(None,) * (self.ndim - len(given))) if self._is_v2 else (None,) * self.ndim

    @property
    def _is_v2(self) -> bool:
        return self._zarr().look == 2

    def _said(self) -> ArrayDocument:
        found = self._session.tree.documents.described(self._directory())
        if not isinstance(found, ArrayDocument):
            raise ArrayNotFoundError(f"array {self.name!r}: no document describes it any more")
        return found

    @property
    def codec(self) -> str | None:
        """What new chunks are compressed with: "lz4", "zstd" or None; "client" if opaque."""
        if self.is_opaque:
            return CLIENT
        with self._session.lock:
            native = self._native()
            known = self._session.container.pool.codecs.get(native.array, encoded.own_codec(native.array))
            return self._session.container.options.pool.codec if known == STORED else known

    @property
    def element_type(self) -> DType:
        """The container's element type. OpaqueArrayError if opaque."""
        return self._native().spec.dtype

    def set_codec(self, codec: str | None) -> None:
        """Have new chunks compressed otherwise, until the container is closed; then the newest chunk's codec holds."""
        with self._session.lock:
            self._writable()
            self._session.container.pool.codecs[self._native().array] = codec

    def __repr__(self) -> str:
        try:
            opaque = self.is_opaque
        except (ArrayFSError, ValueError) as error:
            return f"<arrayfs.Array {self.name!r}: {error}>"
        if opaque:
            return f"<arrayfs.Array {self.name!r} {self.shape} opaque>"
        return f"<arrayfs.Array {self.name!r} {self.shape} {self.dtype}>"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Values:
        if copy is False:
            raise ValueError("an array of a container cannot be had without a copy")
        values = self.retrieve_array_subset(...)
        return np.asarray(values, dtype)

    # --- values -------------------------------------------------------------------------------------------------------

    def __getitem__(self, key: Key) -> Any:
        return self.retrieve_array_subset(key)

    def __setitem__(self, key: Key, values: Any) -> None:
        self.store_array_subset(key, values)

    def retrieve_array_subset(self, key: Key, progress: Progress | None = None) -> Any:
        """The values that numpy's basic indexing selects, as an array of their own, or one element.

        progress: called with chunks read and of how many. Raises IndexError, and FormatError, naming file, array and
        chunk, where bytes are damaged.
        """
        while True:
            native = self._native()
            try:
                row = native.read_row(key) if type(key) is int and progress is None else None
                if row is not None:
                    return row
                selection = select(key, native.shape)
                return native.read(selection, progress)[selection.view]
            except MovedError:
                continue

    def store_array_subset(self, key: Key, values: Any, progress: Progress | None = None) -> None:
        """Put values where numpy's basic indexing says; they are broadcast and converted as by numpy.

        A chunk of which only a part is set is read first; no other thread's writing comes in between.
        """
        with self._session.lock:
            native = self._writable()
            selection = select(key, native.shape)
            native.write(selection, selection.spread(native.elements.convert(values)), progress)

    def append(self, values: Any, axis: int = 0) -> tuple[int, ...]:
        """Make the array longer by values, whose other axes have its lengths; returns its new shape."""
        with self._session.lock:
            native = self._writable()
            given = native.elements.convert(values)
            axis = range(given.ndim)[axis]
            old = native.shape
            check_extent(
                given.shape[:axis] + given.shape[axis + 1 :], [old[:axis] + old[axis + 1 :]], "other axes than the one"
            )
            new = (*old[:axis], old[axis] + given.shape[axis], *old[axis + 1 :])
            self.resize(new)
            where = tuple([slice(old[axis], None) if one == axis else slice(None) for one in range(len(old))])
            self.store_array_subset(where, given)
            return new

    def resize(self, shape: Sequence[int] | int) -> None:
        """Give it another shape, of as many axes. What lies outside is gone, also after growing again."""
        with self._session.lock:
            self._session.check_writable()
            wanted = (int(shape),) if isinstance(shape, int | np.integer) else tuple(map(int, shape))
            if len(wanted) != self.ndim or any(length < 0 for length in wanted):
                raise ValueError(f"array {self.name!r} of shape {self.shape} cannot have the shape {wanted}")
            if wanted != self.shape:
                documents.set_shape(self._session, self._directory(), wanted)

    # --- chunks -------------------------------------------------------------------------------------------------------

    def _inside(self, coord: Sequence[int]) -> Coord:
        place = tuple(map(int, coord))
        counts = self._zarr().counts
        if len(place) != len(counts) or any(not 0 <= c < n for c, n in zip(place, counts, strict=True)):
            raise IndexError(f"array {self.name!r} has no chunk {place}: its grid is {counts}")
        return place

    def retrieve_chunk(self, coord: Sequence[int]) -> Values:
        """The values of a chunk as far as it lies inside the array; of one that is not there, the fill value."""
        found = self.retrieve_chunk_if_exists(coord)
        native = self._native()
        return filled(native.elements, native.extent(self._inside(coord))) if found is None else found

    def retrieve_chunk_if_exists(self, coord: Sequence[int]) -> Values | None:
        """As `retrieve_chunk`; None if there is no such chunk."""
        while True:
            try:
                return self._native().read_chunk(self._inside(coord))
            except MovedError:
                continue

    def retrieve_chunk_subset(self, coord: Sequence[int], key: Key) -> Any:
        """What a key selects of a chunk, places counted from the chunk's first element."""
        return self.retrieve_chunk(coord)[key]

    def store_chunk(self, coord: Sequence[int], values: Any) -> None:
        """Set a chunk. values: of the chunk shape (what lies outside the array is dropped), or clipped to the array."""
        with self._session.lock:
            native = self._writable()
            place = self._inside(coord)
            given, extent = native.elements.convert(values), native.extent(place)
            check_extent(given.shape, (native.chunk_shape, extent), f"chunk {place} of {self.name!r}")
            native.put(place, given[tuple([slice(length) for length in extent])])

    def store_chunks(self, chunks: ChunkValues, progress: Progress | None = None) -> None:
        """Set several chunks: a mapping, or pairs, of places and values; they are compressed side by side.

        progress: chunks stored, and of how many (as many as so far, where their number is not known).
        """
        pairs = chunks.items() if isinstance(chunks, Mapping) else chunks
        total = len(pairs) if isinstance(pairs, Sized) else 0
        for number, (coord, values) in enumerate(pairs, 1):
            self.store_chunk(coord, values)
            if progress is not None:
                progress(number, max(total, number))

    def store_chunk_subset(self, coord: Sequence[int], key: Key, values: Any) -> None:
        """Put values where a key says in one chunk, places counted from the chunk's first element."""
        with self._session.lock:
            native = self._writable()
            place = self._inside(coord)
            selection = select(key, native.extent(place))
            inner = tuple([slice(a.start, a.start + max(a.length - 1, 0) * a.step + 1, a.step) for a in selection.axes])
            if all(selection.shape):
                native.change(place, inner, selection.spread(native.elements.convert(values)))

    def retrieve_encoded_chunk(self, coord: Sequence[int], codec: str | None = STORED) -> EncodedChunk | None:
        """A chunk compressed; None if there is none. codec: None, "lz4" or "zstd"; by default what it is stored with.

        No codec runs where that is what is stored, and the chunk has a block of its own. Of an opaque array: the chunk
        file as its client wrote it.
        """
        with self._session.lock:
            zarr, place = self._zarr(), self._inside(coord)
            if not self.is_opaque:
                return encoded.read_encoded(self._session, zarr, place, codec)
            if not zarr.has(place):
                return None
            data = bytes(zarr.read(place))
            return EncodedChunk(CLIENT, data, len(data))

    def store_encoded_chunk(self, coord: Sequence[int], chunk: EncodedChunk | bytes) -> None:
        """Set a chunk that is compressed already. Bytes alone: by the array's own `codec`.

        No codec runs: that the data unpack is the caller's word. Raises FormatError if they say another size.
        """
        with self._session.lock:
            self._session.check_writable()
            zarr, place = self._zarr(), self._inside(coord)
            if self.is_opaque:
                data = chunk.data if isinstance(chunk, EncodedChunk) else chunk
                extent = zarr.array.grid.extent(place)
                put_stored(self._session, zarr, place, zarr.chunks.from_file(bytes(data), extent))
                return
            native = self._writable()
            wanted = stored_size(native.spec.dtype, native.grid.extent(zarr.stored(place)))
            if not isinstance(chunk, EncodedChunk):
                stated = stated_size(self.codec, chunk)
                chunk = EncodedChunk(self.codec, bytes(chunk), (stated if stated is not None else wanted) or 0)
            encoded.write_encoded(self._session, zarr, place, chunk, wanted)

    def erase_chunk(self, coord: Sequence[int]) -> bool:
        """Remove a chunk: its elements read as the fill value. Whether it was there."""
        with self._session.lock:
            keeper = self._session.check_writable()
            zarr, place = self._zarr(), self._inside(coord)
            if not zarr.has(place):
                return False
            put_stored(self._session, zarr, place, None)
            let_go(self._session.tree, zarr, place)
            keeper.erased(zarr, place)
            return True

    def list_chunks(self) -> list[Coord]:
        """The places of all chunks that are there, in C order."""
        return list(self.iter_chunks())

    def iter_chunks(self) -> Iterator[Coord]:
        """The same one by one, of this moment: there may be millions."""
        with self._session.lock:
            zarr = self._zarr()
            coords = zarr.listed_coords(())
        inner = (0,) * len(zarr.inner)
        for low in range(0, len(coords), LISTED):
            yield from ((*stored, *inner) for stored in coords[low : low + LISTED].tolist())

    def as_npy_file(self) -> NpyFile:
        """What it is now as one NumPy file, of which any range can be read. OpaqueArrayError if opaque.

        Raises TypeError for elements of varying size.
        """
        with self._session.lock:
            native = self._native()
            if native.elements.dtype.hasobject:
                raise TypeError(f"array {self.name!r}: a NumPy file has elements of one size")
            self._session.container.pool.pack_array(native.array)  # what is not packed may be written to in its place
            return NpyFile(native.array, self._session.container.cache)

    def stats(self) -> Statistics:
        """Minimum, maximum and counts of its elements, exactly. Reads all chunks. OpaqueArrayError if opaque."""
        with self._session.lock:
            return stats.of_array(self._session, self._native().array)

    def chunk_stats(self, coord: Sequence[int]) -> Statistics:
        """The same of one chunk, as far as it lies inside the array."""
        with self._session.lock:
            array, place = self._native().array, self._inside(coord)
            return stats.of_chunk(self._session, array, self._zarr().stored(place))

    # --- metadata -----------------------------------------------------------------------------------------------------

    def read_metadata(self) -> dict[str, Any]:
        """Its document as a mount shows it: `zarr.json`, or `.zarray` where a client wrote Zarr v2."""
        with self._session.lock:
            name = ".zarray" if self._is_v2 else "zarr.json"
            return documents.load(self._session, self._directory(), name) or {}

    def write_metadata(self, members: Mapping[str, Any]) -> None:
        """Replace its document; what it says takes effect at once, as in a mount (docs/SEMANTICS.md, "Documents").

        Raises ValueError, and changes nothing, for a document that describes no array.
        """
        with self._session.lock:
            self._session.check_writable()
            name = ".zarray" if self._is_v2 else "zarr.json"
            new = documents.plain_json(members)
            documents.check_array(name, new)
            documents.store(self._session, self._directory(), name, new)
