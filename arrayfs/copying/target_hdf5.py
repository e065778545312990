"""Groups, arrays and attributes into an HDF5 file: the part of an export that imports h5py.

What HDF5 has no form for is refused by name before anything is written. Times are numbers with the attributes `units`
and `calendar`, as the CF conventions have them; docs/COPYING.md has the table of types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from arrayfs.copying.beside import Beside
from arrayfs.copying.values import ValueArray, Values, contents
from arrayfs.errors import ArrayFSError, TargetError

UNITS = "nanoseconds since 1970-01-01"
CALENDAR = "proleptic_gregorian"
_FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
}
CODECS = tuple(_FILTERS)
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class GroupValues:
    """A group: its path and attributes."""

    path: str
    attributes: Mapping[str, Any]


def require() -> Any:
    """The module. Raises TargetError if it is not there."""
    try:
        import h5py
    except ImportError as error:
        raise TargetError(f"HDF5 needs h5py (pip install 'h5py>=3.11'): {error}") from None
    return h5py


def accept(array: ValueArray, *, as_json: bool) -> None:
    """Raise TargetError for an array that HDF5 has no form for. as_json: see `attribute`."""
    check_name(array.path)
    stored_type(array)
    accept_time(array)
    accept_attributes(array.path, array.attributes, as_json=as_json)


def accept_attributes(where: str, members: Mapping[str, Any], *, as_json: bool) -> None:
    """Raise TargetError for an attribute that HDF5 has no form for."""
    for key, value in members.items():
        attribute(where, key, value, as_json=as_json)


def accept_time(array: ValueArray) -> None:
    """Raise TargetError for times whose attributes say something else than times need."""
    if is_time(array) and {"units", "calendar"} & array.attributes.keys():
        raise TargetError(f"{array.path}: times need the attributes `units` and `calendar`, which it has otherwise")


def check_name(path: str) -> None:
    """Raise TargetError for a name that no link can have."""
    if any(name in (".", "..") or "\0" in name for name in path.split("/")):
        raise TargetError(f"{path}: a name that HDF5 has no link for")


def is_time(array: ValueArray) -> bool:
    """Whether its elements are times, in ns."""
    return array.dtype == np.dtype("M8[ns]")


def stored_type(array: ValueArray) -> Any:
    """The type of the dataset. Raises TargetError."""
    h5py = require()
    if array.kind in ("text", "U"):
        return h5py.string_dtype()
    if array.kind == "bytes":
        return h5py.vlen_dtype(np.uint8)
    if is_time(array):
        return np.dtype("<i8")
    if array.kind not in "biufcS" or (array.kind == "S" and not array.dtype.itemsize):
        raise TargetError(f"{array.path}: elements of the type {array.dtype}, which HDF5 has no type for")
    return array.dtype


def attribute(where: str, key: str, value: Any, *, as_json: bool) -> Any:
    """A JSON value as HDF5 has it. as_json: what it has no form for becomes JSON text. Raises TargetError."""
    found = _plain(value)
    if found is not None and key and "\0" not in key:
        return found
    if as_json and key and "\0" not in key:
        return json.dumps(value)
    raise TargetError(
        f"{where or '/'}: attribute {key!r}: HDF5 has no form for {json.dumps(value)[:60]}; --json-attributes keeps "
        "such values as JSON text"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, int):
        if -(1 << 63) <= value < 1 << 63:
            return np.int64(value)
        return np.uint64(value) if 0 <= value < 1 << 64 else None
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, str):
        return value if _is_text(value) else None
    if isinstance(value, list) and value:
        return _plain_list(value)
    return None


def _plain_list(values: list[Any]) -> Any:
    kinds = {type(value) for value in values}
    if kinds == {str}:
        return np.array(values, require().string_dtype()) if all(map(_is_text, values)) else None
    if kinds not in ({bool}, {int}, {float}):
        return None
    if kinds == {int}:
        low, high = min(values), max(values)
        if low < -(1 << 63) or high >= 1 << 64 or (low < 0 and high >= 1 << 63):
            return None
        return np.array(values, np.int64 if high < 1 << 63 else np.uint64)
    return np.array(values)


def _is_text(text: str) -> bool:
    try:
        return "\0" not in text and text.encode() is not None
    except UnicodeEncodeError:
        return False


def stored_values(array: ValueArray, values: Values) -> Values:
    """Elements as the dataset has them."""
    if is_time(array):
        return values.view("<i8")
    if array.kind == "U":
        return values.astype(object)
    return values


def fill_of(array: ValueArray) -> Any:
    """The fill value as the dataset has it; None where there is none to be said."""
    if array.kind in ("text", "bytes", "U") or array.fill is None:
        return None
    return np.asarray(array.fill, array.dtype).view("<i8")[()] if is_time(array) else array.fill


def chunk_shape(array: ValueArray) -> tuple[int, ...] | None:
    """Chunks no longer than the array, as HDF5 wants them; None where it has none."""
    if not array.shape or not all(array.shape):
        return None
    return tuple(min(chunk, length) for chunk, length in zip(array.chunks, array.shape, strict=True))


def write(
    place: Beside,
    groups: Sequence[GroupValues],
    arrays: Sequence[ValueArray],
    codec: str,
    jobs: int,
    told: Told,
    *,
    as_json: bool,
) -> None:
    """Make the file. Chunks that are missing stay so."""
    h5py = require()
    with h5py.File(place.path, "w", libver=("v108", "v110"), locking=False) as file:
        for group in groups:
            made = file.require_group(group.path or "/")
            for key, value in group.attributes.items():
                made.attrs[key] = attribute(group.path, key, value, as_json=as_json)
        for array in arrays:
            with naming(array.path):
                dataset = _dataset(file, array, codec)
                for key, value in array.attributes.items():
                    dataset.attrs[key] = attribute(array.path, key, value, as_json=as_json)
                if is_time(array):
                    dataset.attrs["units"], dataset.attrs["calendar"] = UNITS, CALENDAR
                put_values(array, dataset.__setitem__, jobs, told)
        for step in (_make_scales, _label):
            for array in arrays:
                with naming(array.path):
                    step(file, array)


@contextmanager
def naming(path: str) -> Iterator[None]:
    """What the HDF5 library refuses, under the name of the array. Errors of the medium stay what they are."""
    try:
        yield
    except ArrayFSError:
        raise
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise TargetError(f"{path or '/'}: {type(error).__name__}: {error}") from error


def _dataset(file: Any, array: ValueArray, codec: str) -> Any:
    chunks = chunk_shape(array)
    more: dict[str, Any] = {"chunks": chunks} | (_FILTERS[codec] if chunks is not None else {})
    fill = fill_of(array)
    if fill is not None:
        more["fillvalue"] = fill
    return file.create_dataset(array.path or "array", array.shape, stored_type(array), **more)


def put_values(
    array: ValueArray, put: Callable[[Any, Values], None], jobs: int, told: Told, *, everything: bool = False
) -> None:
    """Give `put` the elements of what there is, by the slices where they are. everything: what is missing too."""
    for box, values in contents(array, jobs, everything=everything):
        if array.kind == "bytes":
            # one by one: sequences of one length, h5py takes for one more axis
            for place in np.ndindex(values.shape):
                where = tuple([a + b for a, b in zip(box.start, place, strict=True)])
                put(where, np.frombuffer(values[place], np.uint8))
        else:
            put((*box.slices, ...), stored_values(array, values))
        told(values.nbytes)


def _make_scales(file: Any, array: ValueArray) -> None:
    """An array of an axis's name and length, in the group of the array or one above, is that axis's scale."""
    for axis, name in enumerate(array.dimension_names):
        scale = _scale(file, array, name, axis)
        if scale is not None and not scale.is_scale:
            scale.make_scale(name)


def _label(file: Any, array: ValueArray) -> None:
    """Name the axes, and lead them to their scales. A scale itself has none."""
    dataset = file[array.path or "array"]
    for axis, name in enumerate(array.dimension_names):
        if name:
            dataset.dims[axis].label = name
        scale = _scale(file, array, name, axis)
        if scale is not None and not dataset.is_scale:
            dataset.dims[axis].attach_scale(scale)


def _scale(file: Any, array: ValueArray, name: str | None, axis: int) -> Any:
    h5py = require()
    if not name or "/" in name:
        return None
    above = array.path.split("/")[:-1]
    for depth in range(len(above), -1, -1):
        found = file.get("/".join(("", *above[:depth], name)))
        if isinstance(found, h5py.Dataset) and found.shape == (array.shape[axis],):
            return found
    return None
