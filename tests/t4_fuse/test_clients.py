"""zarr-python and xarray on a mount of an empty container, in both Zarr formats: written, mounted again, read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
import xarray
import zarr
from zarr.storage import LocalStore

from tests.mounts import Mounted
from tests.t3_view.zarr_python import CLIENT_TYPES, unstable_types
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_chunk_files import warnings_of

TYPES = {name: kind for name, kind in CLIENT_TYPES.items() if name not in ("String", "Binary")}
formats = pytest.mark.parametrize("zarr_format", [3, 2])


def values_of(kind: Any, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    count = int(np.prod(shape))
    if kind is str:
        return np.array([f"té{n}" * (n % 4) for n in range(count)], object).reshape(shape)
    return (np.arange(count) % 100).astype(kind).reshape(shape)


def native_arrays(mounted: Mounted) -> int:
    found: Any = mounted.status()["arrays"]
    return int(found)


@formats
@pytest.mark.parametrize("kind", [*TYPES.values(), str], ids=str)
def test_arrays_of_every_type(mounted: Mounted, zarr_format: Any, kind: Any) -> None:
    values = values_of(kind, (7, 5))
    with unstable_types():
        array = zarr.create_array(
            LocalStore(mounted / "a"),
            shape=(7, 5),
            chunks=(3, 2),
            dtype=kind,
            compressors=None,
            zarr_format=zarr_format,
        )
        array[...] = values
        array.attrs["units"] = "m"
        mounted.remount()
        again = zarr.open_array(LocalStore(mounted / "a"))
        assert np.array_equal(np.asarray(again[...], values.dtype), values)
        assert dict(again.attrs) == {"units": "m"}
        again[0, 0] = values[6, 4]
        mounted.remount()
        values[0, 0] = values[6, 4]
        assert np.array_equal(np.asarray(zarr.open_array(LocalStore(mounted / "a"))[...], values.dtype), values)
    assert not warnings_of(mounted)


@pytest.mark.parametrize(
    ("zarr_format", "options"),
    [(3, "sharded"), *((n, o) for n in (3, 2) for o in ("default codecs", "big endian", "nested keys", "float16"))],
)
def test_arrays_that_only_zarr_has_words_for(mounted: Mounted, zarr_format: Any, options: str) -> None:
    values = np.arange(4000).reshape(40, 100)
    chosen: dict[str, Any] = {"chunks": (10, 30), "dtype": "i8"}
    if options == "sharded":
        chosen |= {"shards": (20, 60)}
    if options == "big endian":
        chosen |= {"dtype": ">i4", "compressors": None}
    if options == "float16":
        chosen |= {"dtype": "f2", "compressors": None}
    if options == "nested keys":
        chosen |= {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "compressors": None}
    with unstable_types():
        array = zarr.create_array(LocalStore(mounted / "a"), shape=(40, 100), zarr_format=zarr_format, **chosen)
        array[...] = values
        mounted.remount()
        again = zarr.open_array(LocalStore(mounted / "a"))
        assert np.array_equal(again[...], values.astype(chosen["dtype"]))
        again[15:25, 20:40] = 7
        values[15:25, 20:40] = 7
        mounted.remount()
        again = zarr.open_array(LocalStore(mounted / "a"))
        assert np.array_equal(again[...], values.astype(chosen["dtype"]))
        again.resize((20, 150))
        grown = np.zeros((20, 150), values.dtype)
        grown[:, :100] = values[:20]
        mounted.remount()
        assert np.array_equal(
            zarr.open_array(LocalStore(mounted / "a"))[:, :100], grown.astype(chosen["dtype"])[:, :100]
        )
    assert not warnings_of(mounted)


@formats
def test_resizing_and_appending(mounted: Mounted, zarr_format: Any) -> None:
    store = LocalStore(mounted / "a")
    array = zarr.create_array(
        store, shape=(10, 10), chunks=(4, 4), dtype="i4", compressors=None, fill_value=-1, zarr_format=zarr_format
    )
    values = np.arange(100, dtype="i4").reshape(10, 10)
    array[...] = values
    array.resize((6, 7))
    assert np.array_equal(zarr.open_array(store)[...], values[:6, :7])
    array.resize((12, 9))
    expected = np.full((12, 9), -1, "i4")
    expected[:6, :7] = values[:6, :7]
    assert np.array_equal(zarr.open_array(store)[...], expected)
    mounted.remount()
    array = zarr.open_array(store)
    assert np.array_equal(array[...], expected)
    array.append(np.full((3, 9), 5, "i4"))
    mounted.remount()
    assert np.array_equal(zarr.open_array(store)[...], np.concatenate((expected, np.full((3, 9), 5, "i4"))))


@keeps("A chunk that nobody wrote, or that was removed, is no file: ENOENT, in this mount and in later ones.")
@formats
def test_a_chunk_of_fill_values_is_removed(mounted: Mounted, zarr_format: Any) -> None:
    store = LocalStore(mounted / "a")
    array = zarr.create_array(store, shape=(8,), chunks=(4,), dtype="i4", compressors=None, zarr_format=zarr_format)
    array[...] = 5
    mounted.remount()
    zarr.open_array(store)[:4] = 0
    mounted.remount()
    first, second = ("c/0", "c/1") if zarr_format == 3 else ("0", "1")
    assert not (mounted / f"a/{first}").exists()
    assert (mounted / f"a/{second}").exists()
    assert zarr.open_array(store)[...].tolist() == [0] * 4 + [5] * 4


@formats
def test_groups(mounted: Mounted, zarr_format: Any) -> None:
    root = zarr.create_group(
        LocalStore(mounted.mountpoint), zarr_format=zarr_format, attributes={"title": "é", "n": [1, 2.5, None]}
    )
    inner = root.create_group("one").create_group("two", attributes={"deep": True})
    array = inner.create_array("a", shape=(4,), chunks=(2,), dtype="f4", compressors=None, fill_value=float("nan"))
    array[1:] = 3
    root.attrs["more"] = {"x": 1e300}
    with pytest.raises(zarr.errors.ContainsGroupError):
        zarr.create_group(LocalStore(mounted.mountpoint), zarr_format=zarr_format)
    mounted.remount()
    root = zarr.open_group(LocalStore(mounted.mountpoint), mode="a")
    assert dict(root.attrs) == {"title": "é", "n": [1, 2.5, None], "more": {"x": 1e300}}
    assert [name for name, _ in root.members(max_depth=None)] == ["one", "one/two", "one/two/a"]
    assert np.array_equal(root["one/two/a"][...], [np.nan, 3, 3, 3], equal_nan=True)
    del root["one/two"]
    mounted.remount()
    assert [name for name, _ in zarr.open_group(LocalStore(mounted.mountpoint)).members(max_depth=None)] == ["one"]


@formats
def test_saving_over_what_is_there(mounted: Mounted, zarr_format: Any) -> None:
    store = LocalStore(mounted / "a")
    zarr.save_array(store, values_of("i2", (50,)), zarr_format=zarr_format)
    for kind, shape in (("i4", (6, 4)), ("f8", (3,)), ("i4", (6, 4))):
        zarr.create_array(store, data=values_of(kind, shape), overwrite=True, zarr_format=zarr_format)
        assert np.array_equal(zarr.open_array(store)[...], values_of(kind, shape))
        mounted.remount()
        assert np.array_equal(zarr.open_array(store)[...], values_of(kind, shape))
    zarr.create_array(
        store, shape=(3, 3), chunks=(2, 2), dtype="u1", compressors=None, overwrite=True, zarr_format=zarr_format
    )
    mounted.remount()
    assert zarr.open_array(store)[...].tolist() == [[0] * 3] * 3


@formats
def test_scalars(mounted: Mounted, zarr_format: Any) -> None:
    store = LocalStore(mounted / "a")
    zarr.create_array(store, shape=(), dtype="f8", compressors=None, zarr_format=zarr_format)[...] = 2.5
    mounted.remount()
    assert zarr.open_array(store)[()] == 2.5


def dataset() -> xarray.Dataset:
    times = np.array("2024-01-01", "M8[ns]") + np.arange(6) * np.timedelta64(6, "h")
    temperature = (np.arange(6 * 5 * 4).reshape(6, 5, 4) / 7).astype("f4")
    temperature[2, 3, 1] = np.nan
    return xarray.Dataset(
        {"t": (("time", "y", "x"), temperature, {"units": "K"}), "flag": (("y", "x"), np.eye(5, 4) > 0)},
        {"time": times, "y": np.arange(5.0), "name": ("x", ["a", "bé", "", "d"])},
        {"title": "a forecast"},
    )


@formats
@pytest.mark.parametrize("consolidated", [False, True])
@pytest.mark.parametrize("encoded", [False, True])
def test_xarray(mounted: Mounted, zarr_format: Any, consolidated: bool, encoded: bool) -> None:
    original = dataset()
    options: Any = {"consolidated": consolidated, "zarr_format": zarr_format}
    encoding: Any = {"t": {"chunks": (2, 5, 4)}}
    if encoded:
        plain = {"compressors": None}
        encoding = {name: dict(plain) for name in original.variables} | {"t": plain | {"chunks": (2, 5, 4)}}
    path = str(mounted / "ds")
    with unstable_types():
        original.to_zarr(path, encoding=encoding, **options)
        mounted.remount()
        opened = xarray.open_zarr(path, consolidated=consolidated, zarr_format=zarr_format, chunks=None)
        xarray.testing.assert_identical(opened.load(), original)
        later = original.assign_coords(time=original.time + np.timedelta64(36, "h"))
        later.to_zarr(path, append_dim="time", consolidated=consolidated, zarr_format=zarr_format)
        mounted.remount()
        both = xarray.open_zarr(path, consolidated=consolidated, zarr_format=zarr_format, chunks=None).load()
        xarray.testing.assert_identical(both, xarray.concat([original, later], "time", data_vars="minimal"))
        original.to_zarr(path, mode="w", **options)
        mounted.remount()
        xarray.testing.assert_identical(
            xarray.open_zarr(path, consolidated=consolidated, zarr_format=zarr_format, chunks=None).load(), original
        )
    assert not warnings_of(mounted)


@formats
def test_removing_a_store(mounted: Mounted, zarr_format: Any) -> None:
    group = zarr.create_group(LocalStore(mounted / "g"), zarr_format=zarr_format)
    group.create_array("a", shape=(4,), chunks=(2,), dtype="i4", compressors=None)[...] = 1
    group.create_array("b", shape=(4,), chunks=(2,), dtype="i4")[...] = 1
    mounted.remount()
    assert native_arrays(mounted) > 0
    zarr.create_group(LocalStore(mounted / "g"), zarr_format=zarr_format, overwrite=True)
    mounted.remount()
    assert sorted(os.listdir(mounted / "g")) == (["zarr.json"] if zarr_format == 3 else [".zattrs", ".zgroup"])
