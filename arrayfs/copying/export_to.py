"""A container, or some of its arrays and groups, to wherever: which kind of place it is, and what that can hold.

Whatever is refused is refused before anything is written. A file or directory is made beside its place and renamed into
it at the end; a store gets what is missing of it last, and is cleared when it could not be finished.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arrayfs.api.container import open as open_container
from arrayfs.container.container import ContainerOptions
from arrayfs.copying import target_hdf5, target_netcdf, target_numpy, zarr_codecs
from arrayfs.copying.beside import Beside
from arrayfs.copying.contents import Contents
from arrayfs.copying.exporting import Exported, FileExport, Order, Progress, default_jobs
from arrayfs.copying.target import FileTarget
from arrayfs.copying.target_directory import DirectoryTarget
from arrayfs.copying.target_store import StoreTarget, open_store
from arrayfs.copying.target_zip import ZipTarget
from arrayfs.copying.value_export import ValueExport, size_of
from arrayfs.copying.values import Selected
from arrayfs.copying.verifying import verify_values
from arrayfs.copying.walking import Chosen
from arrayfs.errors import TargetError
from arrayfs.view.tree import Tree, open_tree

if TYPE_CHECKING:
    from zarr.abc.store import Store

# What is unpacked is used once; only small chunks that share a block gain by a cache.
CACHE_SIZE: Final = 64 << 20
FILE_KINDS: Final = ("zarr", "zip", "store")
_ENDS: Final = {
    ".zarr": "zarr",
    ".zip": "zip",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".nc": "netcdf",
    ".nc4": "netcdf",
    ".npy": "npy",
    ".npz": "npz",
    ".bin": "raw",
    ".raw": "raw",
    ".bin.gz": "raw",
    ".raw.gz": "raw",
}
_CODECS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(FILE_KINDS, zarr_codecs.CODECS),
    **dict.fromkeys(("hdf5", "netcdf"), target_hdf5.CODECS),
    **dict.fromkeys(("npy", "npz", "raw"), ("none",)),
}
# What refuses, before anything is written, what cannot be kept in such a file, and what writes it.
_WRITERS: Final[dict[str, tuple[Callable[[ValueExport], None], Callable[[Beside, ValueExport], None]]]] = {
    "hdf5": (target_hdf5.accept, target_hdf5.write),
    "netcdf": (target_netcdf.accept, target_netcdf.write),
    "npy": (target_numpy.accept, target_numpy.write_npy),
    "npz": (target_numpy.accept, target_numpy.write_npz),
    "raw": (target_numpy.accept, target_numpy.write_raw),
}
KINDS: Final = (*FILE_KINDS, *_WRITERS)


def kind_of(dest: str) -> str:
    """What a place is by its name. Raises TargetError where that does not say."""
    if "://" in dest:
        return "store"
    found = [kind for end, kind in _ENDS.items() if dest.rstrip("/").lower().endswith(end)]
    if not found:
        raise TargetError(f"{dest}: its name does not say what it is to be; --to does ({', '.join(KINDS)})")
    return found[-1]


def export_to(
    container: str | os.PathLike[str],
    dest: str | os.PathLike[str] | Store,
    names: Sequence[str] = (),
    *,
    kind: str | None = None,
    version: str | int | None = None,
    zarr_format: int = 3,
    codec: str = "none",
    overwrite: bool = False,
    jobs: int | None = None,
    verify: bool = False,
    json_attributes: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Copy what a container holds to a place of another kind.

    dest: a path, a URL that zarr-python opens for writing, or one of its stores (of Icechunk too: the commit is yours).
    names: arrays and groups; none: everything. kind: one of KINDS; None: by the name of `dest`. version: a number, a
    tag or a time; None: the newest. zarr_format: of documents that no client wrote. codec: for native arrays, "none",
    "zstd" or "gzip" (HDF5 and NetCDF4: "none", "gzip" or "lzf"). jobs: threads. verify: read all back and compare.
    json_attributes: in HDF5 and NetCDF4, keep attributes that these have no form for as JSON text.
    progress: called with the bytes that are done, and of how many.

    Raises TargetError, naming it, for what `dest` cannot hold, before anything is written; FormatError for damage;
    ArrayNotFoundError; OSError. `dest` is as it was then.
    """
    place: Any = dest if not isinstance(dest, str | os.PathLike) else os.fspath(dest)
    kind = kind or (kind_of(place) if isinstance(place, str) else "store")
    if kind not in KINDS:
        raise TargetError(f"kind {kind!r} is none of {', '.join(KINDS)}")
    if codec not in _CODECS[kind]:
        raise TargetError(f"codec {codec!r}: for {kind} it is one of {', '.join(_CODECS[kind])}")
    url, threads = os.fspath(container), jobs or default_jobs()
    if kind in FILE_KINDS:
        tree = open_tree(url, look=zarr_format, options=ContainerOptions(cache_size=CACHE_SIZE), version=version)
        try:
            files = _Files(tree, Chosen(names), codec, threads)
            return files.export(kind, place, overwrite=overwrite, verify=verify, progress=progress)
        finally:
            tree.close()
    opened = open_container(url, "r", version=version, cache_size=CACHE_SIZE)
    with opened, closing(Selected(opened, url, names)) as selected:
        groups, arrays = list(selected.groups()), list(selected.arrays())
        told = _adding_up(progress, sum(map(size_of, arrays)))
        export = ValueExport(groups, arrays, codec, threads, told, json_attributes)
        return _export_values(export, opened.version, kind, place, overwrite=overwrite, verify=verify)


class _Files:
    """An export of files as they are."""

    def __init__(self, tree: Tree, chosen: Chosen, codec: str, jobs: int) -> None:
        self._tree, self._chosen, self._jobs = tree, chosen, jobs
        self._contents = Contents(tree, chosen, codec)

    def export(self, kind: str, dest: Any, *, overwrite: bool, verify: bool, progress: Progress | None) -> Exported:
        if kind == "store":
            work = self._to_store(dest, overwrite=overwrite, verify=verify, progress=progress)
        else:
            with Beside(Path(dest), directory=kind == "zarr", overwrite=overwrite) as place:
                target = DirectoryTarget(place) if kind == "zarr" else ZipTarget(place)
                work = self._run(target, verify=verify, progress=progress, order="walk")
        version = self._tree.container.version
        return Exported(str(dest), kind, version, work.arrays, work.files, work.size)

    def _to_store(self, dest: Any, *, overwrite: bool, verify: bool, progress: Progress | None) -> FileExport:
        try:
            store, prefix = open_store(dest) if isinstance(dest, str) else (dest, "")
            target = StoreTarget(store, prefix, overwrite=overwrite)
        except ImportError as error:
            raise TargetError(f"{dest}: needs zarr-python (pip install 'zarr>=3.0.8'): {error}") from None
        order: Order = "documents last" if target.documents_last else "documents first"
        return self._run(target, verify=verify, progress=progress, order=order)

    def _run(self, target: FileTarget, *, verify: bool, progress: Progress | None, order: Order) -> FileExport:
        work = FileExport(self._contents, self._chosen, target, self._jobs)
        try:
            work.count()
            target.begin()
            work.run(order=order, verify=verify, progress=progress)
            work.finish()
        except BaseException:
            target.discard()
            raise
        return work


def _adding_up(progress: Progress | None, total: int) -> Callable[[int], None]:
    """What is told of each piece of `total` bytes that is done."""
    done = 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        if progress is not None:
            progress(min(done, total), total)

    return told


def _export_values(
    export: ValueExport, version: int, kind: str, dest: str, *, overwrite: bool, verify: bool
) -> Exported:
    """An export of values."""
    accept, write = _WRITERS[kind]
    accept(export)
    if kind in ("npy", "raw") and len(export.arrays) != 1:
        raise TargetError(f"{dest}: holds one array; {len(export.arrays)} are to be exported")
    with Beside(Path(dest), directory=False, overwrite=overwrite) as place:
        write(place, export)
        if verify:
            verify_values(place, kind, export)
        place.publish()
    return Exported(str(dest), kind, version, len(export.arrays), 1, sum(map(size_of, export.arrays)), export.notes)
