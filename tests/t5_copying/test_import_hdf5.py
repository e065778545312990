"""HDF5 and NetCDF4 imported: types, attributes, dimensions, missing chunks, links."""

from __future__ import annotations

import base64
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.errors import SourceError
from tests.t5_copying.stores import dtype_of, keys_of
from tests.t5_copying.test_import_numbers import TYPES, read, table, values_of

h5py = pytest.importorskip("h5py")

LOOKS = (2, 3)
OF_HDF5 = table("HDF5 type")
# What h5py has no HDF5 type for: text of UTF-32, times, pickled objects.
NOT_HDF5 = {"U5", "datetime64[ns]", "datetime64[us]", "timedelta64[ms]", "O"}


def test_each_type_becomes_what_the_tables_say(tmp_path: Path, target: Path) -> None:
    wanted: dict[str, tuple[str, Any]] = {}
    with h5py.File(tmp_path / "t.h5", "w") as file:
        for number, (dtype, became) in enumerate(TYPES.items()):
            if dtype not in NOT_HDF5:
                file.create_dataset(f"n{number}", data=values_of(dtype), chunks=(3, 4))
                wanted[f"n{number}"] = became, values_of(dtype)
        make_special(file, wanted)
    assert set(OF_HDF5.values()) - {"as NumPy's above"} <= {became for became, _ in wanted.values()}
    refused = {name: became for name, (became, _) in wanted.items() if became.startswith("refused: ")}
    with pytest.raises(SourceError, match="cannot keep"):
        arrayfs.import_from(tmp_path / "t.h5", target)
    assert not target.exists()
    for look in LOOKS:
        container = tmp_path / f"v{look}.af"
        done = arrayfs.import_from(tmp_path / "t.h5", container, skip_refused=True, verify=True, zarr_format=look)
        assert (done.differing, done.left_out.keys()) == ([], refused.keys())
        for name, reason in refused.items():
            key = reason.removeprefix("refused: ").removeprefix("a ")
            assert key.split()[0] in done.left_out[name] or "Zarr has no type" in done.left_out[name]
        for name, (became, values) in wanted.items():
            if name in refused:
                continue
            if became.startswith("native, "):
                assert became == f"native, {dtype_of(container, name)}"
            assert read(container, name).tolist() == values.tolist()
    document = json.loads(keys_of(tmp_path / "v3.af", "enum")["zarr.json"])
    assert document["attributes"] == {"flag_values": [0, 1], "flag_meanings": "RED GREEN"}


def make_special(file: Any, wanted: dict[str, tuple[str, Any]]) -> None:
    """A dataset for each row of HDF5's own table."""
    texts = np.array(["a", "äö", "", "é" * 9] * 2, object)
    special = {
        "texts": ("text of varying length", texts, h5py.string_dtype()),
        "ascii": ("text of varying length", np.array(["a", "", "bc"], object), h5py.string_dtype("ascii")),
        "one text": ("text of varying length", np.array("alone", object), h5py.string_dtype()),
        "bool": ("enumeration of FALSE and TRUE", np.array([True, False]), None),
        "enum": ("enumeration", np.array([0, 1, 1], "i1"), h5py.enum_dtype({"RED": 0, "GREEN": 1}, "i1")),
        "structure": ("structure", np.zeros(3, "i4,f4"), None),
        "opaque": ("opaque", np.zeros(3, "V4"), None),
        "null": ("no elements (a null dataspace)", h5py.Empty("f4"), None),
    }
    for name, (row, values, dtype) in special.items():
        file.create_dataset(name, data=values, dtype=dtype)
        wanted[name] = OF_HDF5[row], values
    file.create_dataset("refs", (3,), h5py.ref_dtype)
    file.create_dataset("ragged", (3,), h5py.vlen_dtype("i4"))
    wanted["refs"] = OF_HDF5["references"], None
    wanted["ragged"] = OF_HDF5["sequences of varying length"], None


def test_chunks_that_were_never_written_are_missing(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        some = file.create_dataset("some", (10, 10), "f4", chunks=(4, 4), fillvalue=7, compression="gzip", shuffle=True)
        some[5, 5] = 1
        file.create_dataset("none", (10,), "i2", fillvalue=-1)
        file.create_dataset("zero", (0, 4), "f8", maxshape=(None, 4), chunks=(2, 4))
        file.create_dataset("whole", data=np.full((3, 3), 2.0))
    arrayfs.import_from(tmp_path / "t.h5", target, verify=True)
    chunks = {key for key in keys_of(target) if "/c/" in key}
    assert chunks == {"some/c/1/1", "whole/c/0/0"}
    assert read(target, "some").sum() == 99 * 7 + 1
    assert read(target, "none").tolist() == [-1] * 10
    second = tmp_path / "v2.af"
    arrayfs.import_from(tmp_path / "t.h5", second, zarr_format=2, verify=True)
    assert read(second, "some").sum() == 99 * 7 + 1  # v2 says no fill value, lest it be taken for a mask
    assert json.loads(keys_of(second)["some/.zarray"])["fill_value"] is None
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file["some"][...] = 0
        del file["none"]
    done = arrayfs.import_from(tmp_path / "t.h5", target, update=True, verify=True)
    assert (done.differing, read(target, "some").sum()) == ([], 0)


def test_attributes_are_json_or_said_not_to_be_kept(tmp_path: Path, target: Path) -> None:
    kept: dict[str, Any] = {
        "text": "é",
        "number": 5,
        "list": [1, 2],
        "one": [3],
        "nested": [[1.5, 2.5]],
        "flag": True,
        "texts": ["a", "b"],
        "large": 2**64 - 1,
        "CLASS": "IMAGE",
    }
    with h5py.File(tmp_path / "t.h5", "w") as file:
        group = file.create_group("g/h")
        group.attrs.update(kept)
        group.attrs["bytes"] = np.bytes_(b"abc")
        group.attrs["nothing"] = h5py.Empty("S1")
        group.attrs["half"] = np.float16(0.5)
        bad = {"ref": file.ref, "complex": 1j, "raw": np.bytes_(b"\xff"), "pair": np.zeros((), "i4,f4")}
        group.attrs.update(bad)
    for look, name in ((3, "zarr.json"), (2, ".zattrs")):
        container = target.with_name(f"v{look}.af")
        done = arrayfs.import_from(tmp_path / "t.h5", container, zarr_format=look)
        document = json.loads(keys_of(container, "g/h")[name])
        attributes = document["attributes"] if look == 3 else document
        assert attributes == {**kept, "bytes": "abc", "nothing": "", "half": 0.5}
        assert done.notes.keys() == {f"g/h: attribute {key}" for key in bad}
        assert done.left_out == {}


def test_objects_come_once_and_links_are_told(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["a"] = np.arange(3)
        file["b"] = file["a"]
        file["soft"] = h5py.SoftLink("/a")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file.create_group("g")["up"] = file["/"]
        file["type"] = np.dtype("i4")
    done = arrayfs.import_from(tmp_path / "t.h5", target)
    assert sorted(done.notes) == ["b", "dangling", "g/up", "soft", "type"]
    assert "leads nowhere" in done.notes["dangling"]
    with arrayfs.open(target) as container:
        assert [node.path for node in container.walk()] == ["a", "g"]
    with h5py.File(tmp_path / "t.h5", "a") as file:
        file["other"] = h5py.ExternalLink("other.h5", "/x")
    with pytest.raises(SourceError, match=r"other: a link to /x in another file, other\.h5"):
        arrayfs.import_from(tmp_path / "t.h5", target, update=True)


def test_soft_links_that_lead_to_each_other_lead_nowhere(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["x"] = np.arange(3)
        file["one"], file["other"] = h5py.SoftLink("/other"), h5py.SoftLink("/one")
    done = arrayfs.import_from(tmp_path / "t.h5", target, verify=True)
    assert done.notes == {
        "one": "a link to /other, which leads nowhere",
        "other": "a link to /one, which leads nowhere",
    }
    assert read(target, "x").tolist() == [0, 1, 2]


def test_names_that_are_not_utf8_are_told(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file["g/x"] = np.arange(3)
        file[b"g/\xff"] = np.arange(3)
        file["g/x"].attrs[b"\xfe"] = 1
    with pytest.raises(SourceError, match=r"g/b'\\xff': its name is not UTF-8"):
        arrayfs.import_from(tmp_path / "t.h5", target)
    done = arrayfs.import_from(tmp_path / "t.h5", target, skip_refused=True, verify=True)
    assert done.left_out == {"g/b'\\xff'": "its name is not UTF-8"}
    assert done.notes == {"g/x: attribute b'\\xfe'": "not kept: its name is not UTF-8"}
    assert read(target, "g/x").tolist() == [0, 1, 2]


def test_what_is_damaged_is_named(tmp_path: Path, target: Path) -> None:
    path = tmp_path / "t.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("g/a", data=np.arange(1000), chunks=(1000,), compression="gzip")
        offset, size = (getattr(data.id.get_chunk_info(0), name) for name in ("byte_offset", "size"))
        file.create_dataset("bad", data=np.array([b"\xff"], object), dtype=h5py.string_dtype())
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = bytes(size)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"t\.h5: (bad|g/a): "):
        arrayfs.import_from(path, target)
    assert not target.exists()
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(SourceError, match=r"t\.h5: "):
        arrayfs.import_from(path, target)


def test_a_virtual_dataset_is_read_through(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "part.h5", "w") as file:
        file["x"] = np.arange(6)
    with h5py.File(tmp_path / "t.h5", "w") as file:
        layout = h5py.VirtualLayout((2, 6), "i8")
        layout[1] = h5py.VirtualSource(tmp_path / "part.h5", "x", (6,))
        file.create_virtual_dataset("v", layout, fillvalue=-1)
    arrayfs.import_from(tmp_path / "t.h5", target, verify=True)
    assert read(target, "v").tolist() == [[-1] * 6, list(range(6))]


# --- NetCDF4 ----------------------------------------------------------------------------------------------------------


def test_axes_without_a_name_get_one_of_their_own_in_v2(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((2, 3))).dims[0].label = "dim_1"
    arrayfs.import_from(tmp_path / "t.h5", target, zarr_format=2)
    assert json.loads(keys_of(target)["x/.zattrs"]) == {"_ARRAY_DIMENSIONS": ["dim_1", "dim_1_"]}


def test_dimension_scales_name_the_axes(tmp_path: Path, target: Path) -> None:
    with h5py.File(tmp_path / "t.nc", "w") as file:
        file.attrs["_NCProperties"] = "version=2,h5netcdf=1"
        for number, (name, values) in enumerate({"time": np.arange(4.0), "lat": np.arange(3.0)}.items()):
            file[name] = values
            file[name].make_scale(name)
            file[name].attrs["_Netcdf4Dimid"] = np.int32(number)
        file["bnds"] = np.zeros(2, "f4")
        file["bnds"].make_scale("This is a netCDF dimension but not a netCDF variable         2")
        field = file.create_dataset("g/field", data=np.ones((4, 3, 2), "f4"))
        for axis, name in enumerate(("time", "lat", "bnds")):
            field.dims[axis].attach_scale(file[name])
        field.attrs.update({"units": "K", "valid_min": np.array([1.5], "f4"), "_FillValue": np.array([9e20], "f4")})
        short = file.create_dataset("short", data=np.ones((3, 3)), chunks=(2, 3), maxshape=(None, 3), fillvalue=5)
        for axis, name in enumerate(("time", "lat")):
            short.dims[axis].attach_scale(file[name])
        labelled = file.create_dataset("labelled", data=np.zeros((2, 2)))
        labelled.dims[1].label = "x"
    done = arrayfs.import_from(tmp_path / "t.nc", target, verify=True)
    found = {key: json.loads(value) for key, value in keys_of(target).items() if key.endswith("zarr.json")}
    assert done.notes == {}
    assert found.keys() == {
        f"{path}zarr.json" for path in ("", "time/", "lat/", "g/", "g/field/", "short/", "labelled/")
    }
    assert found["g/field/zarr.json"]["dimension_names"] == ["time", "lat", "bnds"]
    fill = base64.b64encode(struct.pack("<d", np.float32(9e20))).decode()  # as xarray spells it
    assert found["g/field/zarr.json"]["attributes"] == {"units": "K", "valid_min": 1.5, "_FillValue": fill}
    assert read(target, "short").tolist() == [[1.0] * 3] * 3 + [[5.0] * 3]
    assert found["time/zarr.json"]["dimension_names"] == ["time"]
    assert found["labelled/zarr.json"]["dimension_names"] == [None, "x"]
    assert [found[key]["attributes"] for key in ("zarr.json", "time/zarr.json")] == [{}, {}]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("look", LOOKS)
def test_xarray_gives_equal_values(tmp_path: Path, target: Path, look: int) -> None:
    pytest.importorskip("h5netcdf")
    import xarray

    time = np.array(["2000-01-01", "2000-01-02", "2000-01-03"], "M8[ns]")
    values = np.arange(12.0).reshape(3, 4)
    values[1, 2] = np.nan
    data = xarray.Dataset(
        {
            "packed": (("time", "x"), values, {"units": "K"}),
            "double": (("time", "x"), values),
            "count": (("x",), np.arange(4)),
            "name": (("x",), np.array(["a", "bc", "", "d"], object)),
        },
        coords={"time": time, "x": np.arange(4) * 0.5},
        attrs={"title": "t"},
    )
    encoding = {
        "packed": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 1.0, "_FillValue": -9, "chunksizes": (2, 2)},
        "double": {"_FillValue": -1.0, "zlib": True, "chunksizes": (1, 4)},
    }
    data.to_netcdf(tmp_path / "t.nc", engine="h5netcdf", encoding=encoding)
    arrayfs.import_from(tmp_path / "t.nc", target, verify=True, zarr_format=look)
    with xarray.open_dataset(tmp_path / "t.nc", engine="h5netcdf") as wanted:
        store = arrayfs.ZarrStore(target, read_only=True)
        xarray.testing.assert_identical(xarray.open_zarr(store, consolidated=False).load(), wanted.load())
