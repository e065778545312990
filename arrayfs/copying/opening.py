"""What something is that is to be imported, and the source that reads it.

The module of each kind is imported when one is met: most commands need none of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from arrayfs.copying.folder import Folder
from arrayfs.copying.source import AsTheyAre, KeySource, Source
from arrayfs.errors import MissingObjectError, SourceError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_NPY = b"\x93NUMPY"
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_CLASSIC = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
# Where an HDF5 file may begin: behind a block of the user's (HDF5 specification, "Superblock").
_HDF5_STARTS = (0, *(512 << step for step in range(8)))


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """native: decode what clients encoded, where the container has the type. zarr_format: of documents for numbers.

    dtype, shape, order ("C" or "F"), offset (bytes): of raw numbers. chunks, name: of `.npy` and raw numbers.
    branch, tag, snapshot: of an Icechunk repository.
    """

    native: bool = False
    zarr_format: int = 3
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    chunks: tuple[int, ...] | None = None
    order: str = "C"
    offset: int = 0
    name: str | None = None
    branch: str | None = None
    tag: str | None = None
    snapshot: str | None = None


_NOTHING_SAID = SourceOptions()


def open_source(what: object, options: SourceOptions) -> Source:
    """The source for a path, a URL, or a zarr-python store, group or array. Raises SourceError, OSError."""
    from arrayfs.copying.zarr_stores import store_at, store_of

    if isinstance(what, str | os.PathLike):
        location = os.fspath(what).removeprefix("file://")
        if "://" in location:
            _refuse_others(location, options)
            return _encoded(store_at(location), options)
        if os.path.isdir(location):
            return _encoded(_directory(location, options), options)
        return _file(location, options)
    _refuse_others(type(what).__name__, options)
    keys = store_of(what)
    if keys is None:
        raise SourceError(f"{type(what).__name__} is no path, URL or zarr-python store")
    return _encoded(keys, options)


def _encoded(values: KeySource, options: SourceOptions) -> Source:
    if not options.native:
        return AsTheyAre(values)
    from arrayfs.copying.native import Decoded

    return Decoded(values)


def _directory(path: str, options: SourceOptions) -> KeySource:
    from arrayfs.copying.zarr_stores import icechunk_at, is_icechunk

    if is_icechunk(path):
        _refuse_others(path, options, "branch", "tag", "snapshot")
        return icechunk_at(path, options.branch, options.tag, options.snapshot)
    _refuse_others(path, options)
    return Folder(path)


def _refuse_others(name: str, options: SourceOptions, *meant: str) -> None:
    """Raise SourceError for an option that is of another kind of source: it would be passed over in silence."""
    for each in ("dtype", "shape", "chunks", "name", "branch", "tag", "snapshot", "order", "offset"):
        if each not in meant and getattr(options, each) != getattr(_NOTHING_SAID, each):
            raise SourceError(f"{name}: `{each}` means nothing for such a source")


def _file(path: str, options: SourceOptions) -> Source:
    from arrayfs.copying import npy, raw
    from arrayfs.copying.zipped import Zipped

    head = _head(path)
    if options.dtype is not None or options.shape is not None:
        _refuse_others(path, options, "dtype", "shape", "order", "offset", "chunks", "name")
        return raw.opened(path, options, is_gzip=head.startswith(_GZIP))
    if head.startswith(_NPY):
        _refuse_others(path, options, "chunks", "name")
        return npy.opened(path, options)
    _refuse_others(path, options)
    if head.startswith(_ZIP):
        archive = Zipped(path)
        if npy.is_npz(archive):
            return npy.opened_npz(archive, options)
        return _encoded(archive, options)
    if _is_hdf5(path):
        from arrayfs.copying.hdf5 import Hdf5

        return Hdf5(path, options.zarr_format)
    if head.startswith(_CLASSIC):
        raise SourceError(f"{path}: a NetCDF file of the classic format; `nccopy -4` makes NetCDF4 of it")
    raise SourceError(
        f"{path}: no directory, zip archive, HDF5, NetCDF4, .npy or .npz; raw numbers need --dtype and --shape"
    )


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(8)
    except FileNotFoundError:
        raise MissingObjectError(f"{path}: no such file or directory") from None


def _is_hdf5(path: str) -> bool:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        for start in _HDF5_STARTS:
            if start < size:
                file.seek(start)
                if file.read(len(_HDF5)) == _HDF5:
                    return True
    return False
