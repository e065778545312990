"""xarray and Dask on a container: what they write, append and overwrite by regions reads back, also from processes."""

from __future__ import annotations

import tomllib
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from arrayfs import ZarrStore
from arrayfs.container.container import Container

# as it is in pyproject.toml, so that the package need not be installed to be tested
ENGINE = EntryPoint("arrayfs", "arrayfs.api.xarray_engine:ArrayfsBackendEntrypoint", "xarray.backends")
VALUES = np.arange(6 * 8, dtype="f4").reshape(6, 8)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Warnings of these libraries are about themselves: consolidated metadata in v3, unclosed event loops."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture
def store(tmp_path: Path) -> ZarrStore:
    return ZarrStore(tmp_path / "s.af", autocommit=0.2)


def dataset(values: np.ndarray, first: int = 0) -> xr.Dataset:
    time = np.datetime64("2026-01-01", "ns") + np.arange(first, first + len(values)) * np.timedelta64(1, "D")
    return xr.Dataset({"t": (("time", "x"), values)}, {"time": time, "x": np.arange(values.shape[1])}, {"title": "é"})


def version_count(store: ZarrStore) -> int:
    with Container.open(str(store)) as container:
        return len(list(container.versions()))


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_xarray_writes_appends_and_overwrites_regions(store: ZarrStore, zarr_format: int) -> None:
    encoding = {"t": {"chunks": (2, 8)}}
    dataset(VALUES[:4]).to_zarr(store, mode="w", zarr_format=zarr_format, encoding=encoding, consolidated=False)
    store.commit()
    dataset(VALUES[4:], 4).to_zarr(store, append_dim="time", zarr_format=zarr_format, consolidated=False)
    store.commit()
    xr.testing.assert_identical(xr.open_zarr(store, consolidated=False).load(), dataset(VALUES))
    region = dataset(-VALUES[2:4], 2).drop_vars("x")
    region.to_zarr(store, region={"time": slice(2, 4)}, zarr_format=zarr_format, consolidated=False)
    store.close()
    expected = np.concatenate([VALUES[:2], -VALUES[2:4], VALUES[4:]])
    found = xr.open_zarr(ZarrStore(str(store), read_only=True), consolidated=False)
    xr.testing.assert_identical(found.load(), dataset(expected))
    before = xr.open_zarr(ZarrStore(str(store), version=1), consolidated=False)
    xr.testing.assert_identical(before.load(), dataset(VALUES[:4]))


def test_xarray_opens_a_container_by_its_name(store: ZarrStore) -> None:
    dataset(VALUES).to_zarr(store, consolidated=False)
    store.commit("first")
    dataset(-VALUES).to_zarr(store, mode="w", consolidated=False)
    store.close()
    xr.testing.assert_identical(xr.open_dataset(str(store), engine=ENGINE.load()).load(), dataset(-VALUES))
    first = xr.open_dataset(str(store), engine=ENGINE.load(), version=1)
    xr.testing.assert_identical(first.load(), dataset(VALUES))


def test_the_engine_is_announced() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["entry-points"][ENGINE.group] == {ENGINE.name: ENGINE.value}


def test_dask_processes_write_one_container_and_read_it_back(store: ZarrStore) -> None:
    dask = pytest.importorskip("dask")
    array = pytest.importorskip("dask.array")
    with dask.config.set(scheduler="processes", num_workers=2):
        data = array.from_array(VALUES, chunks=(1, 8))
        target = zarr.create_array(store, name="plain", shape=(6, 8), chunks=(1, 8), dtype="f4")
        array.store(data + 1, target, lock=False)
        store.refresh(wait=60)
        assert np.array_equal(target[:], VALUES + 1)
        count = version_count(store)
        with store.session("by dask") as s:
            dataset(VALUES).chunk({"time": 1}).to_zarr(s, group="g", consolidated=False)
        assert version_count(store) == count + 1
        found = xr.open_zarr(store, group="g", consolidated=False)
        xr.testing.assert_identical(found.load(), dataset(VALUES))
        assert np.array_equal(array.from_zarr(zarr.open_array(store, path="plain")).compute(), VALUES + 1)
