"""zarr-python 2.18, the library before the rewrite: Zarr v2 with DirectoryStore and NestedDirectoryStore."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import CHUNKS, SHAPE, equal, fill, final

COMPRESSORS: dict[str, Any] = {"default": "default", "none": None, "zlib": numcodecs.Zlib(3)}


def _stores(folder: Path) -> dict[str, Any]:
    return {
        "flat": zarr.DirectoryStore(str(folder / "flat")),
        "nested": zarr.NestedDirectoryStore(str(folder / "nested")),
    }


def write_arrays(folder: Path) -> None:
    for store in _stores(folder).values():
        root = zarr.group(store, overwrite=True)
        root.attrs["title"] = "é"
        for name, compressor in COMPRESSORS.items():
            array = root.create_dataset(f"g/{name}", shape=SHAPE, chunks=CHUNKS, dtype="i4", compressor=compressor)
            fill(array)
            array.attrs["units"] = "mm"
            array.append(np.full((2, 50), 6, "i4"))
            array.resize(8, 50)
        fortran = root.create_dataset("fortran", shape=SHAPE, chunks=CHUNKS, dtype=">i4", order="F", compressor=None)
        fill(fortran)
        zarr.consolidate_metadata(store)


def check_arrays(folder: Path) -> None:
    expected = np.concatenate((final(), np.full((1, 50), 6, "i4")))
    for kind, store in _stores(folder).items():
        for root in (zarr.open_group(store, mode="r"), zarr.open_consolidated(store, mode="r")):
            expect(root.attrs["title"], "é")
            for name in COMPRESSORS:
                equal(root[f"g/{name}"][...], expected, f"{kind} {name}")
                expect(root[f"g/{name}"].attrs["units"], "mm")
            equal(root["fortran"][...], final())


def write_objects_and_filters(folder: Path) -> None:
    store = zarr.DirectoryStore(str(folder / "s"))
    root = zarr.group(store)
    root.array("texts", _texts(), chunks=4, dtype=object, object_codec=numcodecs.VLenUTF8())
    root.array("json", _texts(), chunks=4, dtype=object, object_codec=numcodecs.JSON())
    root.array("delta", np.arange(100), chunks=30, filters=[numcodecs.Delta("i8")])
    root.array("scaled", np.arange(50) / 10, chunks=20, filters=[numcodecs.FixedScaleOffset(0, 10, "f8", "i2")])
    root.array("times", np.arange(40).astype("M8[ns]"), chunks=9)
    root.array("records", np.zeros(9, [("a", "i4"), ("b", "S3")]), chunks=4)
    root.create_dataset("ragged", shape=3, dtype="array:i4", chunks=2)[...] = _ragged()
    root.move("delta", "moved/delta")
    zarr.copy(root["times"], root, name="copied")
    del root["json"]


def check_objects_and_filters(folder: Path) -> None:
    root = zarr.open_group(zarr.DirectoryStore(str(folder / "s")), mode="r")
    expect(sorted(root.keys()), ["copied", "moved", "ragged", "records", "scaled", "texts", "times"])
    equal(root["texts"][...], _texts())
    equal(root["moved/delta"][...], np.arange(100))
    equal(np.round(root["scaled"][...] * 10), np.arange(50.0))
    equal(root["copied"][...], np.arange(40).astype("M8[ns]"))
    for found, expected in zip(root["ragged"][...], _ragged(), strict=True):
        equal(found, expected)


def _texts() -> np.ndarray[Any, Any]:
    return np.array([f"té{n}" * (n % 3) for n in range(11)], object)


def _ragged() -> np.ndarray[Any, Any]:
    rows = np.empty(3, object)
    rows[:] = [np.array([1, 2], "i4"), np.array([], "i4"), np.arange(30, dtype="i4")]
    return rows


def write_locked_by_file(folder: Path) -> None:
    """ProcessSynchronizer: fasteners' lock files beside the chunks, while several processes write the same chunks."""
    import multiprocessing

    store = zarr.DirectoryStore(str(folder / "a"))
    zarr.open_array(store, mode="w", shape=(400,), chunks=(100,), dtype="i4")
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_write_every_fourth, [(str(folder), start) for start in range(4)])


def _write_every_fourth(folder: str, start: int) -> None:
    locks = zarr.ProcessSynchronizer(f"{folder}/a.sync")
    array = zarr.open_array(zarr.DirectoryStore(f"{folder}/a"), mode="r+", synchronizer=locks)
    for index in range(start, 400, 4):
        array[index] = index


def check_locked_by_file(folder: Path) -> None:
    equal(zarr.open_array(zarr.DirectoryStore(str(folder / "a")), mode="r")[...], np.arange(400))


def write_sqlite_and_dbm_stores(folder: Path) -> None:
    """Stores that are databases and archives in one file."""
    for store in (
        zarr.SQLiteStore(str(folder / "s.sqldb")),
        zarr.DBMStore(str(folder / "d.dbm")),
        zarr.ZipStore(str(folder / "z.zip"), mode="w"),
    ):
        with store:
            zarr.open_array(store, mode="w", shape=SHAPE, chunks=SHAPE, dtype="i4")[...] = final()


def check_sqlite_and_dbm_stores(folder: Path) -> None:
    for store in (
        zarr.SQLiteStore(str(folder / "s.sqldb")),
        zarr.DBMStore(str(folder / "d.dbm"), flag="r"),
        zarr.ZipStore(str(folder / "z.zip"), mode="r"),
    ):
        with store:
            equal(zarr.open_array(store, mode="r")[...], final(), type(store).__name__)


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
