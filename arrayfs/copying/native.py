"""A source whose encoded arrays become native ones while they are read: decoded, cut, and given as chunks of numbers.

What cannot be a native array with exactly the same values goes as it is, and is named with the reason. Memory is
bounded by the regions that are decoded at a time, and the chunk files that these lie in; large ones are mapped.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from arrayfs.container.grid import Coord, Grid
from arrayfs.container.opening import NEW_FOOTER_VERSION
from arrayfs.copying.decoding import ZarrDecoder, require
from arrayfs.copying.key_paths import above, join
from arrayfs.copying.source import (
    ARRAY_DOCUMENTS,
    LARGE,
    AsTheyAre,
    Entry,
    Item,
    KeySource,
    Load,
    Value,
    load_of,
    loads_of,
)
from arrayfs.errors import SourceError, UnconvertibleError
from arrayfs.format.dtypes import element_size
from arrayfs.view import zarr2, zarr3
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.conversion import NativeForm, native_form
from arrayfs.view.converting import Decoder, cut, decode, file_of, regions_of
from arrayfs.view.entries import V2_NAME, V3_NAME, entries_of
from arrayfs.view.metadata import ArrayDocument, dump_json, first_json
from arrayfs.view.regions import TEXT_SIZE, Region

_CONSOLIDATED = (V3_NAME, V2_NAME)
# How many files that are no chunks are looked at before they are read.
RUN = 256


@dataclass(slots=True)
class _Array:
    """An array that is decoded. grid: of its chunk files; sizes: of those that were met, bytes."""

    form: NativeForm
    grid: Grid
    sizes: dict[Coord, int] = field(default_factory=dict)
    decoders: threading.local = field(default_factory=threading.local)

    @property
    def prefix(self) -> str:
        return f"{self.form.path}/" if self.form.path else ""

    def key(self, coord: Coord) -> str:
        """Of a chunk, under the old document and the new one."""
        return self.prefix + "/".join(self.form.was.keys.components(coord))

    def coord_of(self, key: str) -> Coord | None:
        """The chunk that a key below the array's directory spells, in any grid."""
        return self.form.was.keys.parse(key.removeprefix(self.prefix).split("/"), len(self.grid.shape))

    def decoder(self) -> Decoder:
        """One for each thread."""
        made: Decoder | None = getattr(self.decoders, "made", None)
        if made is None:
            made = self.decoders.made = ZarrDecoder(self.form.decoding)
        return made


class Decoded(AsTheyAre):
    """A `Source` over a `KeySource`: native arrays where that can be. Needs zarr-python."""

    def __init__(self, values: KeySource) -> None:
        """Raises UnconvertibleError where zarr-python is not there."""
        require()
        super().__init__(values)
        # by document, as far as one was looked at; None: not decoded
        self._arrays: dict[str, _Array | None] = {}

    def loads(self) -> Iterator[Load]:
        array: _Array | None = None
        passing: list[Item] = []
        for item in self._values.items():
            if array is not None and not item.key.startswith(array.prefix):
                yield from self._decoded(array)
                array = None
            if array is not None and self._belongs(array, item):
                continue
            name = item.key.rpartition("/")[2]
            found = self._array(item.key) if array is None and name in ARRAY_DOCUMENTS else None
            consolidated = self._consolidated(item.key) if found is None and name in _CONSOLIDATED else None
            if consolidated is not None:
                yield load_of((item.key, consolidated))
            elif found is None:
                passing.append(item)
                if len(passing) == RUN:
                    yield from loads_of(self._values, passing)
                    passing = []
            else:
                yield from loads_of(self._values, passing)
                passing, array = [], found
                yield load_of((item.key, found.form.document))
        yield from loads_of(self._values, passing)
        if array is not None:
            yield from self._decoded(array)

    def has(self, key: str) -> bool:
        for path in above(key):
            known = (self._array(join(path, name)) for name in ARRAY_DOCUMENTS)
            array = next(filter(None, known), None)
            coord = None if array is None else array.coord_of(key)
            if array is not None and coord is not None:
                return self._values.has(array.key(file_of(array.form, coord)))
        return self._values.has(key)

    # --- finding ------------------------------------------------------------------------------------------------------

    def _array(self, key: str) -> _Array | None:
        """The array that a document describes, if it is one that has to be decoded, and can be."""
        if key not in self._arrays:
            self._arrays[key] = self._looked_at(key)
        return self._arrays[key]

    def _looked_at(self, key: str) -> _Array | None:
        path, _, name = key.rpartition("/")
        old = self._document(key)
        if old is None or (name == V3_NAME and old.get("node_type") != "array"):
            return None
        beside = join(path, ".zattrs")
        attributes = bytes(self._values.read(beside)) if name == ".zarray" and self._values.has(beside) else None
        try:
            form = self._form(path, name, old, attributes)
        except UnconvertibleError as error:
            self.remarks.notes[path or "/"] = f"stays as it is encoded: {error}"
            return None
        except ValueError:  # no document of an array, whatever it is called
            return None
        return None if form is None else _Array(form, Grid(form.now.shape, form.outer))

    def _document(self, key: str) -> dict[str, Any] | None:
        if not self._values.has(key):
            return None
        try:
            found = first_json(bytes(self._values.read(key)))
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    def _consolidated(self, key: str) -> bytes | None:
        """Consolidated metadata with what arrays say of themselves now; None for what is none, or says the same."""
        path, _, name = key.rpartition("/")
        document = self._document(key)
        entries = entries_of(name, document)
        if entries is None:
            return None
        changed = False
        for entry in entries:
            below = f"{entry}/{V3_NAME}" if name == V3_NAME else entry
            if below.rpartition("/")[2] in ARRAY_DOCUMENTS:
                array = self._array(join(path, below))
                if array is not None:
                    entries[entry], changed = first_json(array.form.document), True
        return dump_json(document) if changed else None

    def _form(self, path: str, name: str, old: dict[str, Any], attributes: bytes | None) -> NativeForm | None:
        """None: its chunks are numbers already. Raises UnconvertibleError."""
        data = dump_json(old)
        was = zarr2.parse(data, attributes) if name == ".zarray" else zarr3.parse(data)
        if isinstance(was, ArrayDocument) and was.native is not None:
            return None
        if all(self._values.has(join(path, each)) for each in ARRAY_DOCUMENTS):
            raise UnconvertibleError("it has documents of both Zarr formats, which may share their chunks")
        form = native_form(path, name, old, attributes, NEW_FOOTER_VERSION)
        ZarrDecoder(form.decoding)  # which refuses what zarr-python cannot read
        return form

    def _belongs(self, array: _Array, item: Item) -> bool:
        """Whether an item is one of the array's chunk files; then it is noted."""
        coord = array.coord_of(item.key)
        if coord is None:
            return False
        if coord not in array.grid:
            if coord in Grid(array.form.now.shape, array.form.spec.chunk_shape):
                raise SourceError(f"{self.name}: the file {item.key} has the name of a chunk of the decoded array")
            return False
        array.sizes[coord] = item.size or 0
        return True

    # --- decoding -----------------------------------------------------------------------------------------------------

    def _decoded(self, array: _Array) -> Iterator[Load]:
        """The chunks of an array, a load for each region, or for all of a file that has several."""
        sizes, array.sizes = array.sizes, {}
        element = element_size(array.form.spec.dtype) or TEXT_SIZE
        waiting: list[Region] = []
        for region in regions_of(array.form, sorted(sizes)):
            waiting.append(region)
            if region.last:
                encoded = [sizes[coord] for coord in region.coords]
                decoded = element * sum(math.prod(map(int.__sub__, each.stop, each.start)) for each in waiting)
                read = partial(self._read, array, tuple(waiting), encoded)
                yield Load(sum(encoded) + decoded, read, alone=len(waiting) > 1)
                waiting = []

    def _read(self, array: _Array, regions: Sequence[Region], sizes: Sequence[int]) -> Iterator[Entry]:
        chunks, grid = NativeChunks(array.form.spec), Grid(array.form.spec.shape, array.form.spec.chunk_shape)
        files: dict[str, Value] = {}
        mapped: list[mmap.mmap] = []
        for coord, size in zip(regions[0].coords, sizes, strict=True):
            key = array.key(coord)
            if size > LARGE:
                mapped.append(self._mapped(key))
            files[key.removeprefix(array.prefix)] = memoryview(mapped[-1]) if size > LARGE else self._values.read(key)
        for region in regions:
            values = decode(array.form, region, files, array.decoder())
            for coord, stored in cut(array.form, region, values):
                yield array.key(coord), None if stored is None else chunks.to_file(stored, grid.extent(coord))
            for each in mapped:
                each.madvise(mmap.MADV_DONTNEED)  # what was read would count as memory as long as the file is mapped

    def _mapped(self, key: str) -> mmap.mmap:
        """A large value out of a file without a name, so that what is read of it is in memory and no more."""
        with tempfile.TemporaryFile(dir=os.environ.get("TMPDIR", "/var/tmp")) as file:
            for part in self._values.parts(key):
                file.write(part)
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
