"""zarr-python 3 with its ObjectStore above obstore's LocalStore, in both Zarr formats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import obstore
import zarr
from obstore.store import LocalStore
from zarr.storage import ObjectStore

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import CHUNKS, SHAPE, equal, fill, final

FORMATS: tuple[Any, ...] = (3, 2)


def _store(folder: Path, *, read_only: bool = False) -> ObjectStore[LocalStore]:
    return ObjectStore(LocalStore(str(folder), mkdir=True), read_only=read_only)


def write_arrays(folder: Path) -> None:
    for zarr_format in FORMATS:
        store = _store(folder / f"v{zarr_format}")
        group = zarr.create_group(store, zarr_format=zarr_format, attributes={"n": 1})
        for codec in ("auto", None):
            array = group.create_array(f"a{codec}", shape=SHAPE, chunks=CHUNKS, dtype="i4", compressors=codec)
            fill(array)
            array.append(np.full((2, 50), 6, "i4"))
        group.create_array("gone", shape=(3,), dtype="i4")[...] = 1
        del group["gone"]
    array = zarr.create_array(_store(folder / "s"), shape=(64, 64), chunks=(8, 8), shards=(32, 32), dtype="f4")
    array[...] = np.arange(4096).reshape(64, 64)
    array[30:34, 30:34] = 0


def check_arrays(folder: Path) -> None:
    expected = np.concatenate((final(), np.full((2, 50), 6, "i4")))
    for zarr_format in FORMATS:
        group = zarr.open_group(_store(folder / f"v{zarr_format}", read_only=True), mode="r")
        expect(dict(group.attrs), {"n": 1})
        expect(sorted(group.keys()), ["aNone", "aauto"])
        for name, array in group.arrays():
            equal(array[...], expected, name)
    sharded = np.arange(4096, dtype="f4").reshape(64, 64)
    sharded[30:34, 30:34] = 0
    equal(zarr.open_array(_store(folder / "s", read_only=True), mode="r")[...], sharded)


def write_objects(folder: Path) -> None:
    """The store's own calls: create only, rename, copy, delete, ranges, many parts."""
    store = LocalStore(str(folder), mkdir=True)
    obstore.put(store, "a/b/once", b"first", mode="create")
    try:
        obstore.put(store, "a/b/once", b"second", mode="create")
    except obstore.exceptions.AlreadyExistsError:
        pass
    else:
        raise AssertionError("an object was created twice")
    obstore.put(store, "large", bytes(range(256)) * 40_000, chunk_size=1 << 20, use_multipart=True)
    obstore.copy(store, "large", "copied")
    obstore.rename(store, "copied", "deep/er/renamed")
    obstore.put(store, "gone", b"x")
    obstore.delete(store, "gone")


def check_objects(folder: Path) -> None:
    store = LocalStore(str(folder))
    expect(obstore.get(store, "a/b/once").bytes().to_bytes(), b"first")
    for name in ("large", "deep/er/renamed"):
        expect(obstore.get_range(store, name, start=1_000_001, length=5).to_bytes(), bytes(range(65, 70)), name)
        expect(obstore.head(store, name)["size"], 10_240_000, name)
    expect(
        sorted(entry["path"] for batch in obstore.list(store) for entry in batch),
        ["a/b/once", "deep/er/renamed", "large"],
    )


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
