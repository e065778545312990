"""Exports to HDF5, NetCDF4 and NumPy files: values, types, attributes and dimensions as they were, or a refusal."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

import arrayfs
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.copying import boxes
from arrayfs.errors import TargetError
from arrayfs.format.model import DType
from tests.profiles import examples
from tests.t4_fuse.promises import keeps
from tests.t5_copying.drawn_container import ATTRIBUTES, NUMBERS, draw_array

COPYING = Path(__file__).parents[2] / "docs" / "COPYING.md"
pytestmark = [
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning"),
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
]


def drawn(path: Path, seed: int, types: tuple[str, ...]) -> dict[str, Any]:
    """A container of arrays of these types in groups; its values by path."""
    rng = random.Random(seed)
    with arrayfs.open(path, "w") as c:
        for number, dtype in enumerate(types):
            draw_array(c, f"{'g/' * (number % 3)}{dtype[:2]}{number}", dtype, rng)
        return {array.path: np.asarray(array[...], array.dtype) for array in c.arrays()}


def plain(values: Any) -> Any:
    """Elements as Python's, whatever they were read as."""
    if isinstance(values, bytes):
        return values.decode()
    return [plain(one) for one in values] if isinstance(values, list) else values


@examples(6)
@given(seed=st.integers(0, 10_000), box=st.sampled_from([64, 1 << 20]))
def test_hdf5(tmp_path_factory: pytest.TempPathFactory, seed: int, box: int) -> None:
    h5py = pytest.importorskip("h5py")
    folder = tmp_path_factory.mktemp("e")
    want = drawn(folder / "c.af", seed, (*NUMBERS, "str", "bytes"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxes, "BOX", box)
        arrayfs.export_to(folder / "c.af", folder / "o.h5", verify=True)
    with h5py.File(folder / "o.h5") as file, arrayfs.open(folder / "c.af") as c:
        for path, values in want.items():
            array, found = c.array(path), file[path]
            assert found.shape == array.shape
            if array.element_type.name == "Binary":
                assert [bytes(found[place]) for place in np.ndindex(found.shape)] == values.ravel().tolist()
            elif array.element_type.name == "TimestampNs":
                assert (found[...] == values.view("i8")).all()
                assert found.attrs["units"] == "nanoseconds since 1970-01-01"
            else:
                assert plain(found[...].tolist()) == values.tolist()
            assert {key: found.attrs[key].tolist() if hasattr(found.attrs[key], "tolist") else found.attrs[key]
                    for key in ATTRIBUTES} == ATTRIBUTES  # fmt: skip
            if found.chunks:
                assert found.id.get_num_chunks() == len(array.list_chunks()), path
                assert found.chunks == tuple(map(min, array.chunks, array.shape))
            assert [dim.label for dim in found.dims] == [name or "" for name in array.dimension_names]


def test_hdf5_dimension_scales_and_filters(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("time", shape=(8,), chunks=(4,), dtype="M8[ns]", dimension_names=["time"])[:] = np.arange(8)
        c.create("g/x", shape=(5,), dtype="f8", dimension_names=["x"])[:] = np.arange(5)
        t = c.create("g/t", shape=(8, 5), chunks=(2, 5), dtype="f4", dimension_names=["time", "x"], fill_value=3)
        t[2:4] = 1
    for codec, name in (("gzip", "gzip"), ("lzf", "lzf"), ("none", None)):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.h5", codec=codec, overwrite=True, verify=True)
        with h5py.File(tmp_path / "o.h5") as file:
            found = file["g/t"]
            assert (found.compression, found.fillvalue, found.id.get_num_chunks()) == (name, 3, 1)
            assert [dim[0].name for dim in found.dims] == ["/time", "/g/x"]
            assert file["time"].is_scale
            assert found[...].sum() == 3 * 30 + 10


REFUSED: list[tuple[str, str, dict[str, Any], str]] = [
    ("o.h5", "null", {"attributes": {"a": None}}, r"t: attribute 'a'.*--json-attributes"),
    ("o.h5", "nested", {"attributes": {"a": {"b": 1}}}, "attribute 'a'"),
    ("o.nc", "mixed", {"attributes": {"a": [1, "x"]}}, "attribute 'a'"),
    ("o.nc", "bytes", {"dtype": bytes}, "t: byte strings, which NetCDF4 has no type for"),
    ("o.nc", "units", {"dtype": "M8[ns]", "attributes": {"units": "K"}}, "times need the attributes"),
    ("o.h5", "units", {"dtype": "M8[ns]", "attributes": {"units": "K"}}, "times need the attributes"),
    ("o.nc", "dtype", {"dtype": "bool", "attributes": {"dtype": "x"}}, "truth values need the attribute"),
    ("o.nc", "fill", {"attributes": {"_FillValue": [1]}}, "attribute '_FillValue'"),
    ("o.npy", "text", {"dtype": str}, "t: text of varying length"),
    ("o.npz", "bytes", {"dtype": bytes}, "t: byte strings of varying length"),
    ("o.raw", "text", {"dtype": str}, "t: text of varying length"),
]


@pytest.mark.parametrize(("name", "what", "options", "message"), REFUSED, ids=[f"{r[0]}-{r[1]}" for r in REFUSED])
def test_what_has_no_form_is_refused_by_name_before_anything_is_written(
    tmp_path: Path, name: str, what: str, options: dict[str, Any], message: str
) -> None:
    needed(name)
    (tmp_path / "d").mkdir()
    with arrayfs.open(tmp_path / "d/c.af", "w") as c:
        c.create("t", **({"shape": (2,), "dtype": "i4"} | options))
    with pytest.raises(TargetError, match=message):
        arrayfs.export_to(tmp_path / "d/c.af", tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["d"], what


def needed(name: str) -> None:
    if name.endswith("h5"):
        pytest.importorskip("h5py")
    if name.endswith("nc"):
        pytest.importorskip("h5netcdf")


def test_attributes_as_json_where_that_is_asked_for(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    odd = {"a": None, "b": {"c": [1, None]}, "d": [], "e": [1, "x"], "f": 1 << 70, "plain": 5}
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(2,), dtype="i4", attributes=odd)
        c.group("g").attrs.update(odd)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.h5", json_attributes=True)
    with h5py.File(tmp_path / "o.h5") as file:
        for node in (file["g"], file["g/t"]):
            assert {key: json.loads(str(value)) for key, value in node.attrs.items()} == odd


def test_a_fill_value_among_attributes_is_one_where_it_means_nothing_else(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    xarray = pytest.importorskip("xarray")
    needed("o.nc")
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("a", shape=(2,), dtype="i4")[:] = 1
        c.create("g/b", shape=(2,), dtype="i4", attributes={"_FillValue": None})
        c.group("g").attrs["_FillValue"] = 5
    told: list[int] = []
    with pytest.raises(TargetError, match="g/b: attribute '_FillValue'"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.h5", progress=lambda done, _: told.append(done))
    assert told == []
    done = arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.nc", ["a", "g"])
    assert done.notes == {"g/b: attribute _FillValue": "null, which NetCDF4 says by not having it"}
    with h5py.File(tmp_path / "o.nc") as file:
        assert file["g"].attrs["_FillValue"] == 5
        assert "_FillValue" not in file["g/b"].attrs
    with xarray.open_dataset(tmp_path / "o.nc", engine="h5netcdf", group="g") as found:
        assert found["b"].dtype == "i4"  # nothing is masked


@pytest.mark.parametrize("name", ["CLASS", "_Netcdf4Dimid", "_NCProperties", "_nc3_strict"])
@pytest.mark.parametrize("where", ["g", "g/t"])
def test_attributes_that_netcdf_keeps_for_itself_are_refused(tmp_path: Path, name: str, where: str) -> None:
    needed("o.nc")
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(2,), dtype="i4")
        c[where].attrs[name] = "x"
    with pytest.raises(TargetError, match=f"{where}: attribute '{name}' stands for something else in NetCDF4"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.nc")


def test_raw_bytes_are_compressed_however_the_name_is_written(tmp_path: Path) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("t", shape=(4,), dtype="u1")[:] = 7
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "T.RAW.GZ", verify=True)
    assert gzip.decompress((tmp_path / "T.RAW.GZ").read_bytes()) == b"\7" * 4


def test_arrays_in_arrays_and_missing_names_are_refused(tmp_path: Path) -> None:
    Container.create(str(tmp_path / "c.af"))
    with Container.open(str(tmp_path / "c.af"), "a") as c:
        for name in ("a", "a/b"):
            c.define(name, ArraySpec(DType("Int8"), (2,), (2,)))
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.npz")
    with np.load(tmp_path / "o.npz") as archive:
        assert sorted(archive) == ["a", "a/b"]
    for name in ("o.h5", "o.nc"):
        needed(name)
        with pytest.raises(TargetError, match="a/b: lies in the array a"):
            arrayfs.export_to(tmp_path / "c.af", tmp_path / name)
    with pytest.raises(TargetError, match="holds one array; 2 are"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.npy")
    with pytest.raises(TargetError, match="its name does not say"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o")
    for kind, codec in (("zarr", "lzf"), ("hdf5", "zstd"), ("npy", "gzip")):
        with pytest.raises(TargetError, match=f"codec {codec!r}: for {kind} it is one of"):
            arrayfs.export_to(tmp_path / "c.af", tmp_path / "o", kind=kind, codec=codec)
    with pytest.raises(TargetError, match="kind 'tar'"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o", kind="tar")


@examples(3)
@given(seed=st.integers(0, 10_000), box=st.sampled_from([64, 1 << 20]), jobs=st.integers(1, 3))
def test_numpy_files(tmp_path_factory: pytest.TempPathFactory, seed: int, box: int, jobs: int) -> None:
    folder = tmp_path_factory.mktemp("e")
    want = drawn(folder / "c.af", seed, NUMBERS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boxes, "BOX", box)
        arrayfs.export_to(folder / "c.af", folder / "o.npz", verify=True, jobs=jobs)
        for number, (path, values) in enumerate(want.items()):
            for end in ("npy", "raw", "raw.gz"):
                out = folder / f"{number}.{end}"
                arrayfs.export_to(folder / "c.af", out, [path], verify=True, jobs=jobs)
                if end == "npy":
                    found = np.load(out)
                else:
                    data = gzip.decompress(out.read_bytes()) if end == "raw.gz" else out.read_bytes()
                    found = np.frombuffer(data, values.dtype).reshape(values.shape)
                assert (found.dtype, found.shape, found.tobytes()) == (values.dtype, values.shape, values.tobytes())
    with np.load(folder / "o.npz") as archive:
        assert sorted(archive) == sorted(want)
        for path, values in want.items():
            assert archive[path].tobytes() == values.tobytes()


def test_large_chunks_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "BOX", 1 << 20)
    rng = np.random.default_rng(1)
    given_values = {
        "raw": rng.integers(0, 255, (5, 1100, 4000), "u1"),
        "packed": np.arange(3_000_000).reshape(30, 100, 1000),
    }
    with arrayfs.open(tmp_path / "c.af", "w", codec="lz4") as c:
        for name, one in given_values.items():
            codec = None if name == "raw" else "lz4"
            c.create(name, shape=one.shape, chunks=one.shape, dtype=one.dtype, codec=codec)[...] = one
    for name, one in given_values.items():
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.npy", [name], overwrite=True)
        assert (np.load(tmp_path / "o.npy") == one).all()
    if pytest.importorskip("h5py"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.h5", verify=True)


def test_holes_stay_holes(tmp_path: Path) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("zero", shape=(1000, 1000), chunks=(10, 1000), dtype="f8")[500:510] = 1
        c.create("nine", shape=(10, 10), chunks=(5, 5), dtype="i2", fill_value=9)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "zero.npy", ["zero"])
    status = (tmp_path / "zero.npy").stat()
    assert status.st_blocks * 512 < status.st_size // 10
    assert np.load(tmp_path / "zero.npy").sum() == 10_000
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "nine.npy", ["nine"])
    assert (np.load(tmp_path / "nine.npy") == 9).all()


def test_opaque_arrays_are_decoded(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    rng = np.random.default_rng(1)
    made: dict[str, tuple[Any, dict[str, Any]]] = {
        "half": (rng.normal(size=(7, 5)).astype("f2"), {}),
        "complex": (rng.normal(size=6).astype("c16"), {}),
        "sharded": (rng.normal(size=(20, 20)), {"shards": (10, 10)}),
        "big": (np.arange(9, dtype=">i4"), {}),
        "text": (np.array(["a", "bcd", "é"]), {}),
    }
    with arrayfs.ZarrStore(tmp_path / "c.af") as store:
        root = zarr.open_group(store, mode="a")
        for name, (one, options) in made.items():
            root.create_array(name, shape=one.shape, chunks=(5,) * one.ndim, dtype=one.dtype, **options)[...] = one
    numbers = [name for name in made if name != "text"]
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.npz", verify=True)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.h5", verify=True)
    with np.load(tmp_path / "o.npz") as archive, h5py.File(tmp_path / "o.h5") as file:
        for name in numbers:
            assert (archive[name] == made[name][0]).all()
            assert (file[name][...] == made[name][0]).all()
        assert archive["text"].tolist() == ["a", "bcd", "é"]
        assert plain(file["text"][...].tolist()) == ["a", "bcd", "é"]


@keeps("Truth values are int8 with the attribute dtype, as xarray writes them.", page=COPYING)
def test_netcdf_as_xarray_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    xarray = pytest.importorskip("xarray")
    rng = np.random.default_rng(1)
    temp = rng.normal(size=(4, 3))
    temp[1, 1] = np.nan
    given_values = xarray.Dataset(
        {
            "temp": (("time", "x"), temp, {"units": "K"}),
            "land": (("x",), np.array([True, False, True])),
            "count": (("time",), np.array([1, 2, 3, 4], "u2"), {"valid_range": [0, 9]}),
            "name": (("x",), np.array(["a", "é", ""], object)),
            "scalar": ((), np.float32(2.5)),
        },
        coords={
            "time": np.array(["2001-01-01", "2002-02-02", "NaT", "2003-03-03"], "M8[ns]"),
            "x": [10.0, 20.0, 30.0],
            "aux": (("x",), [1, 2, 3]),
        },
        attrs={"title": "t", "numbers": [1, 2]},
    )
    with arrayfs.ZarrStore(tmp_path / "c.af") as store:
        encoding = {name: {"compressors": None} for name in given_values.variables}
        given_values.to_zarr(store, encoding=encoding, consolidated=False)
        want = xarray.open_zarr(store, consolidated=False).load()
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.nc", codec="gzip", verify=True)
    with xarray.open_dataset(tmp_path / "o.nc", engine="h5netcdf") as found:
        xarray.testing.assert_equal(found.load(), want)
        assert {name: found[name].dtype for name in ("land", "time", "count", "temp")} == {
            name: want[name].dtype for name in ("land", "time", "count", "temp")
        }
        assert (found.attrs["title"], found["temp"].attrs["units"]) == ("t", "K")
        assert set(found.coords) == set(want.coords)
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "o.nc") as file:
        assert file["temp"].dimensions == ("time", "x")
        np.testing.assert_array_equal(np.ma.filled(file["temp"][:], np.nan), temp)


def test_netcdf_groups_and_missing_chunks(tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    import h5netcdf

    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(6, 3), chunks=(2, 3), dtype="f4", fill_value=7)[0:2] = 1
        c.create("g/z", shape=(6, 3), chunks=(2, 3), dtype="f4")[0:2] = 1
        c.create("g/n", shape=(4, 4), chunks=(2, 4), dtype="f4", dimension_names=["a", None])
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.nc", verify=True)
    with h5netcdf.File(tmp_path / "o.nc") as file:
        assert file["g/t"][...].sum() == 6 + 12 * 7
        assert (file["g/t"].dimensions, file["g/n"].dimensions) == (("dim_6", "dim_3"), ("a", "dim_4"))
        assert file["g/z"]._h5ds.id.get_num_chunks() == 1
    with arrayfs.open(tmp_path / "c.af", "a") as c:
        c.create("g/other", shape=(5,), dtype="f4", dimension_names=["a"])
    with pytest.raises(TargetError, match="g/other: dimension 'a' has 5 elements, elsewhere in its group 4"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "p.nc")
