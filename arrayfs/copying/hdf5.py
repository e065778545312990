"""HDF5 and NetCDF4 files as groups and arrays of numbers. h5py is optional, and imported when such a file is opened.

Every object comes once, under the first name that leads to it; further names and soft links are noted. What Zarr has no
form for is left out and named.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.grid import Coord
from arrayfs.copying.hdf5_attributes import FILL, as_json, encoded_fill, kept_names, text_of
from arrayfs.copying.hdf5_dimensions import Dimensions
from arrayfs.copying.key_paths import join
from arrayfs.copying.numeric import Box, GroupOf, Numbers, NumberSource, Read, chunk_shape
from arrayfs.copying.zarr_types import TEXT, zarr_type
from arrayfs.errors import SourceError

_NOT_A_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_NO_TEXT = "its name is not UTF-8"
_NETCDF_MARKS = ("_NCProperties", "_Netcdf4Dimid", "_nc3_strict")


class Hdf5(NumberSource):
    """The groups and datasets of one file."""

    def __init__(self, path: str, look: int) -> None:
        """look: the Zarr format of documents. Raises SourceError if h5py is not there, or cannot open the file."""
        try:
            import h5py
        except ImportError as error:
            raise SourceError(f"{path}: HDF5 and NetCDF4 need h5py (pip install h5py): {error}") from None
        try:
            self._file: Any = h5py.File(path, "r")
        except OSError as error:
            raise SourceError(f"{path}: {error}") from error
        self._h5py: Any = h5py
        # one thread: HDF5 does one thing at a time, and two threads wait for each other
        super().__init__(path, (), look, threads=1)
        try:
            self._hold(list(self._scan()))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._file.close()

    # --- finding ------------------------------------------------------------------------------------------------------

    def _scan(self) -> Iterator[GroupOf | Numbers]:
        """The groups and the datasets that can be kept, each group before what is in it."""
        found = list(self._objects())
        self._netcdf = any(mark in each.attrs for _, each in found for mark in _NETCDF_MARKS)
        datasets = ((path, each) for path, each in found if isinstance(each, self._h5py.Dataset))
        dimensions = Dimensions((path, each) for path, each in datasets if each.shape is not None)
        for path, each in found:
            if isinstance(each, self._h5py.Group):
                yield GroupOf(path, self._attributes(path, each))
            elif not (text_of(each.attrs.get("NAME", "")) or "").startswith(_NOT_A_VARIABLE):
                try:
                    yield self._numbers(path, each, dimensions)
                except (SourceError, ValueError, TypeError) as error:
                    self.remarks.left_out[path] = str(error)

    def _objects(self) -> Iterator[tuple[str, Any]]:
        """Path and object of every group and dataset, each group before what is in it, each object once."""
        seen = {self._place(self._file): "/"}
        waiting = [("", self._file)]
        while waiting:
            path, group = waiting.pop()
            yield path, group
            below = []
            for name in self._names(path, group):
                inner = join(path, name)
                found = self._followed(inner, group, name)
                if found is None:
                    continue
                place = self._place(found)
                if place in seen:
                    self.remarks.notes[inner] = f"another name of {seen[place]}, where its values are"
                    continue
                seen[place] = inner
                if isinstance(found, self._h5py.Group):
                    below.append((inner, found))
                else:
                    yield inner, found
            waiting += reversed(below)

    def _names(self, path: str, group: Any) -> list[str]:
        """The names in a group, in order, without those that are no text, which h5py gives as bytes."""
        names = list(group)
        for name in names:
            if isinstance(name, bytes):
                self.remarks.left_out[join(path, ascii(name))] = _NO_TEXT
        return sorted(name for name in names if isinstance(name, str))

    def _followed(self, path: str, group: Any, name: str) -> Any:
        """The object that a name in a group leads to, None (and a remark) if it is none of this file's."""
        h5py = self._h5py
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink):
            where = "where its values are" if _leads(group, name) else "which leads nowhere"
            self.remarks.notes[path] = f"a link to {link.path}, {where}"
            return None
        if isinstance(link, h5py.ExternalLink):
            self.remarks.left_out[path] = f"a link to {link.path} in another file, {link.filename}"
            return None
        try:
            found = group[name]
        except (KeyError, OSError, RuntimeError) as error:
            self.remarks.left_out[path] = f"cannot be opened: {error}"
            return None
        if isinstance(found, h5py.Group | h5py.Dataset):
            return found
        self.remarks.notes[path] = "a named type, which says nothing but how others are stored"
        return None

    def _place(self, found: Any) -> tuple[int, int]:
        about = self._h5py.h5o.get_info(found.id)
        return about.fileno, about.addr

    # --- one object ---------------------------------------------------------------------------------------------------

    def _attributes(self, path: str, found: Any) -> dict[str, object]:
        kept: dict[str, object] = {}
        for name in kept_names(found.attrs):
            if isinstance(name, bytes):
                self.remarks.notes[f"{path or '/'}: attribute {name!a}"] = f"not kept: {_NO_TEXT}"
                continue
            try:
                kept[name] = as_json(found.attrs[name], netcdf=self._netcdf)
            except (ValueError, TypeError, OSError) as error:
                self.remarks.notes[f"{path or '/'}: attribute {name}"] = f"not kept: {error}"
        return kept

    def _numbers(self, path: str, found: Any, dimensions: Dimensions) -> Numbers:
        """Raises SourceError with the reason if a dataset cannot be kept."""
        if found.shape is None:
            raise SourceError("a dataset without any elements or shape")
        dtype, is_text = _element(self._h5py, found)
        kind = zarr_type(dtype)
        size = kind.size or found.dtype.itemsize
        shape = dimensions.shape_of(path, found) if self._netcdf else tuple(found.shape)
        chunks = tuple(found.chunks) if found.chunks else chunk_shape(shape, size)
        fill: Any = _text(found.fillvalue) if is_text else dtype.type(found.fillvalue)
        attributes = self._attributes(path, found)
        masked = attributes.pop(FILL, None)
        there = _there(self._h5py, found, shape)
        fill2: object = None
        if masked is not None:
            masking = _single(found.attrs[FILL], dtype, is_text=is_text)
            if self.look == 3:
                attributes[FILL] = encoded_fill(masking)
            else:
                fill2 = kind.fill(masking)
        if self.look == 2 and there is not None and fill2 != kind.fill(fill) and (masked is not None or _is_set(fill)):
            there = None  # v2 has one fill value, which says what is masked: what nobody wrote is written then
        self._note_members(path, found, attributes)
        read = partial(self._box, path, found, is_text)
        if shape != found.shape:
            read = partial(_longer, read, tuple(found.shape), fill, dtype)
        names = dimensions.names_of(path, found)
        return Numbers(path, kind, shape, chunks, fill, read, fill2, attributes, names, there)

    def _note_members(self, path: str, found: Any, attributes: dict[str, object]) -> None:
        """The names of an enumeration's members, by the convention of CF."""
        members = self._h5py.check_enum_dtype(found.dtype)
        if not members or found.dtype.kind == "b" or "flag_values" in attributes:
            return
        if any(" " in name for name in members):
            self.remarks.notes[f"{path}: names of the enumeration"] = "not kept: some have blanks"
            return
        attributes["flag_values"] = sorted(int(value) for value in members.values())
        attributes["flag_meanings"] = " ".join(sorted(members, key=members.__getitem__))

    def _box(self, path: str, found: Any, is_text: bool, box: Box) -> NDArray[Any]:
        """The elements of a box, texts as `str`."""
        try:
            values = np.asarray(found[box]) if box else np.asarray(found[()], found.dtype)
            if not is_text:
                return values
            texts = np.empty(values.size, TEXT)
            texts[:] = [_text(one) for one in values.ravel().tolist()]
            return texts.reshape(values.shape)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise SourceError(f"{self.name}: {path}: {error}") from error


def _leads(group: Any, name: str) -> bool:
    """Whether there is something where a soft link leads to."""
    try:
        return group.get(name) is not None
    except (OSError, RuntimeError):  # it may lead to itself
        return False


def _element(h5py: Any, found: Any) -> tuple[np.dtype[Any], bool]:
    """The numpy type of a dataset's elements, and whether they are texts of any length. Raises SourceError."""
    dtype = found.dtype
    if h5py.check_ref_dtype(dtype) is not None:
        raise SourceError("references to objects or regions")
    text = h5py.check_string_dtype(dtype)
    if text is not None and text.length is None:
        return TEXT, True
    if h5py.check_vlen_dtype(dtype) is not None:
        raise SourceError("sequences of varying length")
    if dtype.kind == "V" or dtype.subdtype is not None:
        raise SourceError(f"elements of {'a structure' if dtype.names else 'raw bytes of a type of their own'}")
    return np.dtype(dtype.str), False


def _text(value: Any) -> str:
    """A text of varying length. Raises UnicodeDecodeError if it is not UTF-8, whatever the file says."""
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, str) else ""


def _single(value: Any, dtype: np.dtype[Any], *, is_text: bool) -> Any:
    """An attribute that is one element."""
    one = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size else value
    return _text(one) if is_text else dtype.type(one)


def _is_set(fill: Any) -> bool:
    """Whether a fill value is another than the zero that null is read as."""
    return bool(fill != type(fill)())


def _longer(read: Read, shape: tuple[int, ...], fill: Any, dtype: np.dtype[Any], box: Box) -> NDArray[Any]:
    """The elements of a box, some of which may lie behind the ends of the dataset."""
    values = np.full([one.stop - one.start for one in box], fill, dtype)
    inner = tuple(slice(one.start, min(one.stop, length)) for one, length in zip(box, shape, strict=True))
    if all(one.start < one.stop for one in inner):
        found = read(inner)
        values = values.astype(found.dtype, copy=False)
        values[tuple(map(slice, found.shape))] = found
    return values


def _there(h5py: Any, found: Any, shape: tuple[int, ...]) -> Container[Coord] | None:
    """The chunks that the file has of a dataset that is shown with this shape; None if that is all."""
    identifier = found.id
    if found.is_virtual or found.external:
        return None
    if found.chunks is None:
        is_none = identifier.get_space_status() == h5py.h5d.SPACE_STATUS_NOT_ALLOCATED and found.size
        return frozenset() if is_none else None
    if identifier.get_num_chunks() >= math.prod(-(-n // c) for n, c in zip(shape, found.chunks, strict=True)):
        return None
    coords: set[Coord] = set()

    def note(about: Any) -> None:
        coords.add(tuple(a // n for a, n in zip(about.chunk_offset, found.chunks, strict=True)))

    identifier.chunk_iter(note)
    return coords
