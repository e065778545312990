"""xarray: to_zarr with append_dim and region, open_zarr, open_mfdataset; with and without consolidated metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray

from clientslib.programs.cases import cases, main

# format and whether metadata are consolidated, by the name of the folder
WAYS: dict[str, dict[str, Any]] = {
    f"v{zarr_format}{'c' if consolidated else ''}": {"zarr_format": zarr_format, "consolidated": consolidated}
    for zarr_format in (3, 2)
    for consolidated in (False, True)
}
RAW = {"compressors": None}


def _dataset(start: int = 0) -> xarray.Dataset:
    times = np.array("2024-01-01", "M8[ns]") + np.arange(start, start + 6) * np.timedelta64(6, "h")
    temperature = ((np.arange(6 * 5 * 4) + start).reshape(6, 5, 4) / 7).astype("f4")
    temperature[2, 3, 1] = np.nan
    return xarray.Dataset(
        {
            "t": (("time", "y", "x"), temperature, {"units": "K"}),
            "count": (("time", "x"), np.arange(24).reshape(6, 4) + start),
            "flag": (("y", "x"), np.eye(5, 4) > 0),
        },
        {"time": times, "y": np.arange(5.0), "name": ("x", ["a", "bé", "", "d"])},
        {"title": "a forecast"},
    )


def _encoding(dataset: xarray.Dataset, name: str) -> dict[str, Any]:
    return {variable: dict(RAW) for variable in dataset.variables} if "raw" in name else {}


def _opened(path: Path, **options: Any) -> xarray.Dataset:
    return xarray.open_zarr(str(path), consolidated=options["consolidated"], chunks=None).load()


def write_to_zarr(folder: Path) -> None:
    for name, options in WAYS.items():
        for kind in ("", "raw"):
            original = _dataset()
            original.to_zarr(str(folder / (name + kind)), encoding=_encoding(original, kind), **options)


def check_to_zarr(folder: Path) -> None:
    for name, options in WAYS.items():
        for kind in ("", "raw"):
            xarray.testing.assert_identical(_opened(folder / (name + kind), **options), _dataset())


def write_append_dim(folder: Path) -> None:
    for name, options in WAYS.items():
        for kind in ("", "raw"):
            path = str(folder / (name + kind))
            original = _dataset()
            original.to_zarr(path, encoding=_encoding(original, kind), **options)
            for start in (6, 12):
                later = _dataset(start)
                later.to_zarr(path, append_dim="time", **options)


def check_append_dim(folder: Path) -> None:
    pieces = [_dataset(start) for start in (0, 6, 12)]
    expected = xarray.concat(pieces, "time", data_vars="minimal")
    for name, options in WAYS.items():
        for kind in ("", "raw"):
            xarray.testing.assert_identical(_opened(folder / (name + kind), **options), expected)


def write_region(folder: Path) -> None:
    """An empty template first, then one region after another, the last two found by their coordinates."""
    for name, options in WAYS.items():
        path = str(folder / name)
        template = _template()
        for variable in ("t", "count"):
            template[variable] = template[variable].chunk({"time": 2})
        template.to_zarr(path, compute=False, encoding={"t": RAW}, **options)
        whole = _whole()
        for start in range(0, 12, 2):
            part = whole.isel(time=slice(start, start + 2)).drop_vars(["y", "flag", "name"])
            region: Any = {"time": slice(start, start + 2)} if start < 8 else "auto"
            part.to_zarr(path, region=region, mode="r+", consolidated=options["consolidated"])


def check_region(folder: Path) -> None:
    for name, options in WAYS.items():
        xarray.testing.assert_identical(_opened(folder / name, **options), _whole())


def _whole() -> xarray.Dataset:
    return xarray.concat([_dataset(), _dataset(6)], "time", data_vars="minimal")


def _template() -> xarray.Dataset:
    whole = _whole()
    return whole.assign(t=xarray.zeros_like(whole["t"]), count=xarray.zeros_like(whole["count"]))


def write_open_mfdataset(folder: Path) -> None:
    for number in range(3):
        _dataset(6 * number).to_zarr(str(folder / f"part{number}.zarr"))


def check_open_mfdataset(folder: Path) -> None:
    parts = sorted(str(path) for path in folder.glob("part*.zarr"))
    with xarray.open_mfdataset(
        parts,
        engine="zarr",
        combine="nested",
        concat_dim="time",
        data_vars="minimal",
        compat="override",
        coords="minimal",
    ) as found:
        expected = xarray.concat([_dataset(6 * n) for n in range(3)], "time", data_vars="minimal")
        xarray.testing.assert_equal(found.load(), expected)


def write_mode_w_and_groups(folder: Path) -> None:
    path = str(folder / "s")
    _dataset().rename(t="other").to_zarr(path, mode="w")
    _dataset().to_zarr(path, mode="w")
    _dataset(6).to_zarr(path, group="deep/er", mode="a")
    _dataset()[["flag"]].rename(flag="added").to_zarr(path, mode="a")


def check_mode_w_and_groups(folder: Path) -> None:
    found = xarray.open_zarr(str(folder / "s"), chunks=None, consolidated=False).load()
    xarray.testing.assert_identical(found, _dataset().assign(added=_dataset()["flag"]))
    inner = xarray.open_zarr(str(folder / "s"), group="deep/er", chunks=None, consolidated=False).load()
    xarray.testing.assert_identical(inner, _dataset(6))


def write_datatree(folder: Path) -> None:
    _tree().to_zarr(str(folder / "s"))


def check_datatree(folder: Path) -> None:
    with xarray.open_datatree(str(folder / "s"), engine="zarr") as found:
        xarray.testing.assert_identical(found.load(), _tree())


def _tree() -> xarray.DataTree:
    return xarray.DataTree.from_dict(
        {"/": xarray.Dataset(attrs={"a": 1}), "/one": _dataset(), "/one/two": _dataset()[["t"]]}
    )


def write_netcdf_files(folder: Path) -> None:
    for engine in ("h5netcdf", "scipy"):
        _dataset().drop_vars(["name", "flag"]).to_netcdf(folder / f"{engine}.nc", engine=engine)  # type: ignore[call-overload]


def check_netcdf_files(folder: Path) -> None:
    for engine in ("h5netcdf", "scipy"):
        with xarray.open_dataset(folder / f"{engine}.nc", engine=engine) as found:
            xarray.testing.assert_identical(found.load(), _dataset().drop_vars(["name", "flag"]))


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
