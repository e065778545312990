"""Groups, arrays and attributes into an HDF5 file: the part of an export that imports h5py.

What HDF5 has no form for is refused by name before anything is written. Times are numbers with the attributes `units`
and `calendar`, as the CF conventions have them; docs/COPYING.md has the table of types.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from arrayfs.copying.beside import Beside
from arrayfs.copying.boxes import contents
from arrayfs.copying.key_paths import above, join
from arrayfs.copying.value_export import ValueArray, ValueExport, Values
from arrayfs.errors import ArrayFSError, TargetError

# Of times, which are int64 in ns.
TIME_ATTRIBUTES = {"units": "nanoseconds since 1970-01-01", "calendar": "proleptic_gregorian"}
_FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
}
CODECS = tuple(_FILTERS)


def require() -> Any:
    """The module. Raises TargetError if it is not there."""
    try:
        import h5py
    except ImportError as error:
        raise TargetError(f"HDF5 needs h5py (pip install 'h5py>=3.11'): {error}") from None
    return h5py


def accept(export: ValueExport) -> None:
    """Raise TargetError for what HDF5 has no form for."""
    require()
    accept_paths(export)
    for array in export.arrays:
        accept_array(array)
        accept_attributes(array.path, array.attributes, as_json=export.as_json)
    for group in export.groups:
        accept_attributes(group.path, group.attributes, as_json=export.as_json)


def accept_paths(export: ValueExport) -> None:
    """Raise TargetError for an array in which there is something else: in HDF5 none is a group too."""
    known = {array.path for array in export.arrays}
    for path in (*known, *(group.path for group in export.groups)):
        for place in above(path):
            if place and place in known:
                raise TargetError(f"{path}: lies in the array {place}, which can hold no other")


def accept_array(array: ValueArray) -> None:
    """Raise TargetError for a name that no link can have, a type that there is none of, or times that say otherwise."""
    if any(name in (".", "..") or "\0" in name for name in array.path.split("/")):
        raise TargetError(f"{array.path}: a name that HDF5 has no link for")
    stored_type(array)
    if is_time(array) and TIME_ATTRIBUTES.keys() & array.attributes.keys():
        raise TargetError(f"{array.path}: times need the attributes `units` and `calendar`, which it has otherwise")


def accept_attributes(where: str, members: Mapping[str, Any], *, as_json: bool) -> None:
    """Raise TargetError for an attribute that HDF5 has no form for."""
    for key, value in members.items():
        attribute(where, key, value, as_json=as_json)


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


def _stored_values(array: ValueArray, values: Values) -> Values:
    """Elements as the dataset has them."""
    if is_time(array):
        return values.view("<i8")
    if array.kind == "U":
        return values.astype(object)
    return values


def _fill(array: ValueArray) -> Any:
    """The fill value as the dataset has it; None where there is none to be said."""
    if array.kind in ("text", "bytes", "U") or array.fill is None:
        return None
    return np.asarray(array.fill, array.dtype).view("<i8")[()] if is_time(array) else array.fill


def layout(array: ValueArray, codec: str) -> dict[str, Any]:
    """Chunks no longer than the array, as HDF5 wants them, and filters; without any elements neither."""
    if not array.shape or not all(array.shape):
        return {"chunks": None}
    return {"chunks": tuple(map(min, array.chunks, array.shape)), **_FILTERS[codec]}


def write(place: Beside, export: ValueExport) -> None:
    """Make the file. Chunks that are missing stay so."""
    h5py = require()
    with h5py.File(place.path, "w", libver=("v108", "v110"), locking=False) as file:
        for group in export.groups:
            set_attributes(file.require_group(group.path or "/"), group.path, group.attributes, as_json=export.as_json)
        for array in export.arrays:
            with naming(array.path):
                dataset = _dataset(file, array, export.codec)
                set_attributes(dataset, array.path, array.attributes, as_json=export.as_json)
                if is_time(array):
                    dataset.attrs.update(TIME_ATTRIBUTES)
                put_values(export, array, dataset.__setitem__)
        for step in (_make_scales, _label):
            for array in export.arrays:
                with naming(array.path):
                    step(file, array)


def set_attributes(node: Any, where: str, members: Mapping[str, Any], *, as_json: bool) -> None:
    """Give a group or dataset its attributes. where: its path, for errors."""
    for key, value in members.items():
        node.attrs[key] = attribute(where, key, value, as_json=as_json)


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
    more = layout(array, codec)
    fill = _fill(array)
    if fill is not None:
        more["fillvalue"] = fill
    return file.create_dataset(array.path or "array", array.shape, stored_type(array), **more)


def put_values(
    export: ValueExport, array: ValueArray, put: Callable[[Any, Values], None], *, everything: bool = False
) -> None:
    """Give `put` the elements of what there is, by the slices where they are. everything: what is missing too."""
    for box, values in contents(array, export.jobs, everything=everything):
        if array.kind == "bytes":
            # one by one: sequences of one length, h5py takes for one more axis
            for place in np.ndindex(values.shape):
                where = tuple([a + b for a, b in zip(box.start, place, strict=True)])
                put(where, np.frombuffer(values[place], np.uint8))
        else:
            put((*box.slices, ...), _stored_values(array, values))
        export.told(values.nbytes)


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
    for group in above(array.path or "array"):
        found = file.get(f"/{join(group, name)}")
        if isinstance(found, h5py.Dataset) and found.shape == (array.shape[axis],):
            return found
    return None
