"""Dask: to_zarr by several worker processes at once, with aligned chunks, and xarray above it."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.array
import numpy as np
import xarray
import zarr

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import equal

SHAPE = (600, 400)
WORKERS = {"scheduler": "processes", "num_workers": 4}


def _field() -> dask.array.Array:
    rows, columns = np.arange(SHAPE[0])[:, None], np.arange(SHAPE[1])[None, :]
    whole = (rows * 1000 + columns).astype("i4")
    return dask.array.from_array(whole, chunks=(50, 80))


def write_to_zarr_by_processes(folder: Path) -> None:
    with dask.config.set(**WORKERS):
        _field().to_zarr(str(folder / "default"))
        raw = zarr.create_array(str(folder / "raw"), shape=SHAPE, chunks=(50, 80), dtype="i4", compressors=None)
        dask.array.store(_field(), raw, lock=False)
        (dask.array.from_zarr(str(folder / "default")) * 2).to_zarr(str(folder / "doubled"))


def check_to_zarr_by_processes(folder: Path) -> None:
    expected = _field().compute()
    with dask.config.set(**WORKERS):
        equal(dask.array.from_zarr(str(folder / "default")).compute(), expected, "default")
        equal(dask.array.from_zarr(str(folder / "raw")).compute(), expected, "raw")
        equal(dask.array.from_zarr(str(folder / "doubled")).compute(), expected * 2, "doubled")
    expect(len([path for path in (folder / "raw/c").rglob("*") if path.is_file()]), 60)


def write_distributed(folder: Path) -> None:
    """A cluster of three processes; xarray writes a dataset through it, then regions side by side."""
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=3, threads_per_worker=2, dashboard_address=None) as cluster, Client(cluster):
        _lazy().to_zarr(str(folder / "s"))
        template = (_lazy() * 0).to_zarr(str(folder / "r"), compute=False)
        del template
        writes = [
            _lazy()
            .isel(y=slice(start, start + 200))
            .to_zarr(str(folder / "r"), region={"y": slice(start, start + 200)}, compute=False)
            for start in range(0, 600, 200)
        ]
        dask.compute(*writes)


def check_distributed(folder: Path) -> None:
    for name in ("s", "r"):
        with xarray.open_zarr(str(folder / name)) as found:
            equal(found["f"].values, _field().compute(), name)


def _lazy() -> xarray.Dataset:
    return xarray.Dataset({"f": (("y", "x"), _field())})


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
