"""Which axis of an HDF5 dataset is which dimension, and how long: dimension scales, as the NetCDF library uses them.

A dimension is called like its scale. A multi-dimensional variable that is a scale itself has none attached, and names
its dimensions by their numbers. All variables on an unlimited dimension are as long as the longest of them; HDF5 stores
of each only what was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

# A dimension: the path of its scale, None for an axis without one.
Dimension = str | None


class Dimensions:
    """The dimensions of one file."""

    def __init__(self, datasets: Iterable[tuple[str, Any]]) -> None:
        """datasets: path and `h5py.Dataset` of each."""
        found = list(datasets)
        self._numbered = {
            int(each.attrs["_Netcdf4Dimid"]): path
            for path, each in found
            if each.is_scale and "_Netcdf4Dimid" in each.attrs
        }
        self._lengths: dict[str, int] = {}
        for path, each in found:
            for dimension, length in zip(self._of(path, each), each.shape, strict=True):
                if dimension is not None:
                    self._lengths[dimension] = max(length, self._lengths.get(dimension, 0))

    def _of(self, path: str, found: Any) -> tuple[Dimension, ...]:
        """The dimensions of a dataset's axes."""
        if "_Netcdf4Coordinates" in found.attrs and found.ndim > 1:
            numbers = np.asarray(found.attrs["_Netcdf4Coordinates"]).reshape(-1).tolist()
            if len(numbers) == found.ndim and all(number in self._numbered for number in numbers):
                return tuple(self._numbered[number] for number in numbers)
        if found.is_scale:
            return (path,) if found.ndim == 1 else (None,) * int(found.ndim)
        return tuple(str(axis[0].name).strip("/") if len(axis) else None for axis in found.dims)

    def names_of(self, path: str, found: Any) -> tuple[str | None, ...] | None:
        """The names of a dataset's axes, labels where there is no scale; None if no axis has one."""
        names = tuple(
            (axis.label or None) if dimension is None else dimension.rpartition("/")[2]
            for axis, dimension in zip(found.dims, self._of(path, found), strict=True)
        )
        return names if any(name is not None for name in names) or not names else None

    def shape_of(self, path: str, found: Any) -> tuple[int, ...]:
        """The shape that the NetCDF library shows: along unlimited dimensions, these are as long as they are."""
        unlimited = (length is None for length in found.maxshape)
        return tuple(
            max(length, self._lengths[dimension]) if is_unlimited and dimension is not None else length
            for length, dimension, is_unlimited in zip(found.shape, self._of(path, found), unlimited, strict=True)
        )
