"""Arrays into a NetCDF4 file, by h5netcdf: dimensions, coordinates and fill values as xarray and netCDF-C read them.

Truth values are bytes with the attribute `dtype`, times numbers with `units`, as xarray writes both. A missing chunk
stays missing where a reader sees the same as here, and is written otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from arrayfs.copying import target_hdf5
from arrayfs.copying.beside import Beside
from arrayfs.copying.hdf5_attributes import FILL, decoded_float
from arrayfs.copying.target_hdf5 import TIME_ATTRIBUTES, is_time
from arrayfs.copying.value_export import ValueArray, ValueExport, Values
from arrayfs.errors import TargetError

_TYPES = frozenset(("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"))
_OF_THE_LIBRARY = ("_Netcdf4Dimid", "_Netcdf4Coordinates", "_NCProperties", "_nc3_strict")
# Attributes that stand for something else in a NetCDF file.
_RESERVED = frozenset(("DIMENSION_LIST", "REFERENCE_LIST", "CLASS", "NAME", *_OF_THE_LIBRARY))


def require() -> Any:
    """The module. Raises TargetError if it is not there."""
    try:
        import h5netcdf
    except ImportError as error:
        raise TargetError(f"NetCDF4 needs h5netcdf (pip install 'h5netcdf>=1.3'): {error}") from None
    return h5netcdf


def accept(export: ValueExport) -> None:
    """Raise TargetError for what NetCDF4 has no form for."""
    require()
    target_hdf5.accept_paths(export)
    for array in export.arrays:
        _accept_array(array)
        if FILL in array.attributes and array.attributes[FILL] is None:
            export.notes[f"{array.path}: attribute {FILL}"] = "null, which NetCDF4 says by not having it"
        target_hdf5.accept_attributes(array.path, _attributes_of(array), as_json=export.as_json)
    for group in export.groups:
        _refuse_reserved(group.path, group.attributes)
        target_hdf5.accept_attributes(group.path, group.attributes, as_json=export.as_json)
    _dimensions_of_groups(export.arrays)


def _accept_array(array: ValueArray) -> None:
    target_hdf5.accept_array(array)
    _stored_type(array)
    if array.kind == "b" and "dtype" in array.attributes:
        raise TargetError(f"{array.path}: truth values need the attribute `dtype`, which it has otherwise")
    _refuse_reserved(array.path, array.attributes)
    names = [name for name in array.dimension_names if name]
    if any("/" in name for name in names):
        raise TargetError(f"{array.path}: a dimension's name with a slash in it")
    if len(set(names)) != len(names):
        raise TargetError(f"{array.path}: two dimensions have one name")
    _fill_attribute(array)


def _refuse_reserved(where: str, members: Mapping[str, Any]) -> None:
    reserved = _RESERVED & members.keys()
    if reserved:
        raise TargetError(f"{where or '/'}: attribute {min(reserved)!r} stands for something else in NetCDF4")


def _dimensions_of_groups(arrays: Sequence[ValueArray]) -> dict[str, dict[str, int]]:
    """The dimensions of each group, by its path. Raises TargetError where one name has two lengths."""
    groups: dict[str, dict[str, int]] = {}
    for array in arrays:
        group = array.path.rpartition("/")[0]
        known = groups.setdefault(group, {})
        for name, length in zip(_dimensions(array), array.shape, strict=True):
            if known.setdefault(name, length) != length:
                raise TargetError(
                    f"{array.path}: dimension {name!r} has {length} elements, elsewhere in its group {known[name]}"
                )
    return groups


def _dimensions(array: ValueArray) -> tuple[str, ...]:
    """The names of an array's dimensions; one without a name is called by its length."""
    out: list[str] = []
    for name, length in zip(array.dimension_names, array.shape, strict=True):
        name = name or f"dim_{length}"
        while name in out:
            name += "_"
        out.append(name)
    return tuple(out)


def _stored_type(array: ValueArray) -> Any:
    if array.kind == "b":
        return np.dtype("i1")
    found = target_hdf5.stored_type(array)
    if array.kind not in ("text", "U") and (array.kind == "bytes" or found.str[1:] not in _TYPES):
        what = "byte strings" if array.kind == "bytes" else f"elements of the type {array.dtype}"
        raise TargetError(f"{array.path}: {what}, which NetCDF4 has no type for")
    return found


def _fill_attribute(array: ValueArray) -> Any:
    """The value that readers take for a missing one, if its attributes say one. Raises TargetError."""
    said = array.attributes.get(FILL)
    if said is None:
        return None
    if array.kind in ("text", "U"):
        return said
    if isinstance(said, str) and array.kind == "f":
        said = decoded_float(said)
    try:
        found = np.array(said).astype(_stored_type(array), casting="unsafe")[()]
    except (ValueError, TypeError, OverflowError):
        found = None
    if found is None or np.ndim(found):
        raise TargetError(f"{array.path}: attribute {FILL!r} is {said!r}, no value of its type")
    return found


def write(place: Beside, export: ValueExport) -> None:
    """Make the file."""
    h5netcdf = require()
    with h5netcdf.File(place.path, "w", libver=("v108", "v110"), locking=False) as file:
        for group in export.groups:
            made = _group(file, group.path)
            target_hdf5.set_attributes(made, group.path, group.attributes, as_json=export.as_json)
        for path, lengths in _dimensions_of_groups(export.arrays).items():
            _group(file, path).dimensions.update(lengths)
        for array in export.arrays:
            with target_hdf5.naming(array.path):
                _write(_group(file, array.path.rpartition("/")[0]), array, export)


def _group(file: Any, path: str) -> Any:
    found = file
    for name in path.split("/") if path else ():
        found = found.groups[name] if name in found.groups else found.create_group(name)
    return found


def _attributes_of(array: ValueArray) -> dict[str, Any]:
    """Those that the variable has too; the fill value is more than an attribute to the library."""
    return {key: value for key, value in array.attributes.items() if key != FILL}


def _write(group: Any, array: ValueArray, export: ValueExport) -> None:
    missing = _fill_attribute(array)
    name = array.path.rpartition("/")[2] or "array"
    layout = target_hdf5.layout(array, export.codec)
    variable = group.create_variable(name, _dimensions(array), _stored_type(array), fillvalue=missing, **layout)
    target_hdf5.set_attributes(variable, array.path, _attributes_of(array), as_json=export.as_json)
    if is_time(array):
        variable.attrs.update(TIME_ATTRIBUTES)
    if array.kind == "b":
        variable.attrs["dtype"] = "bool"

    def put(key: Any, values: Values) -> None:
        variable[key] = values.view(np.int8) if array.kind == "b" else values

    shown = missing if missing is not None else np.zeros((), "S1" if array.kind in ("text", "U") else array.dtype)[()]
    target_hdf5.put_values(export, array, put, everything=not _same(array, shown))


def _same(array: ValueArray, shown: Any) -> bool:
    """Whether a missing element reads as its fill value all the same."""
    if array.kind in ("text", "U"):
        return not array.fill and not shown
    fill = np.zeros((), array.dtype) if array.fill is None else np.asarray(array.fill, array.dtype)
    if is_time(array):
        return bool(fill.view("i8") == np.asarray(shown).view("i8"))
    return bool(fill.tobytes() == np.asarray(shown).astype(array.dtype).tobytes())
