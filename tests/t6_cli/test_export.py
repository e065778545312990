"""`arrayfs export` as a user types it; and that what comes out is what a real mount shows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import zarr

import arrayfs as package
from arrayfs.cli.exit_codes import ExitCode
from tests.t5_copying.drawn_container import draw
from tests.t6_cli.conftest import Arrayfs, Place


def test_a_directory_is_what_a_mount_shows_by_diff(arrayfs: Arrayfs, place: Place, tmp_path: Path) -> None:
    draw(place.container, 7)
    place.mount()
    done = arrayfs("export", place.mountpoint, tmp_path / "out.zarr", "--verify")
    assert done.exit_code == 0, done.output
    diff = subprocess.run(
        ["diff", "-r", "--no-dereference", place.mountpoint, tmp_path / "out.zarr"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert (diff.returncode, diff.stdout) == (0, "")
    (place / "late").write_text("not committed")
    done = arrayfs("export", place.mountpoint, tmp_path / "again.zarr")
    assert not (tmp_path / "again.zarr/late").exists()


def test_what_is_said(arrayfs: Arrayfs, weather: Path, tmp_path: Path) -> None:
    done = arrayfs("export", weather, tmp_path / "out.zarr")
    assert (done.exit_code, done.output.splitlines()[0]) == (
        0,
        f"exported version 2 to {tmp_path}/out.zarr: 2 arrays, 8 files, {done.output.split(', ')[-1].strip()}",
    )
    assert zarr.open_array(tmp_path / "out.zarr/t", mode="r").shape == (5, 4)
    said = json.loads(arrayfs("export", weather, tmp_path / "t.npy", "t", "--version", "1", "--json").output)
    assert said == {
        "dest": f"{tmp_path}/t.npy", "kind": "npy", "version": 1, "arrays": 1, "files": 1, "bytes": 40, "notes": {}
    }  # fmt: skip
    assert np.load(tmp_path / "t.npy")[0].tolist() == [0x0100, 0x0302, 0x0100, 0x0302]
    done = arrayfs("export", weather, tmp_path / "plain", "--to", "zip", "--codec", "gzip", "--jobs", "2")
    assert done.exit_code == 0
    done = arrayfs("export", weather, tmp_path / "out.zarr")
    assert done.exit_code == ExitCode.FAILED
    assert "is there already; --overwrite replaces it" in done.output
    assert arrayfs("export", weather, tmp_path / "out.zarr", "--overwrite").exit_code == 0


def test_what_netcdf_says_in_another_way_is_told(arrayfs: Arrayfs, tmp_path: Path) -> None:
    pytest.importorskip("h5netcdf")
    with package.open(tmp_path / "c.af", "x") as c:
        c.create("g/t", shape=(2,), dtype="i4", attributes={"_FillValue": None})
    done = arrayfs("export", tmp_path / "c.af", tmp_path / "o.nc", "--verify")
    assert (done.exit_code, done.stdout.splitlines()[0]) == (
        ExitCode.DONE,
        "g/t: attribute _FillValue: null, which NetCDF4 says by not having it",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["out"], ExitCode.FAILED, "--to does"),
        (["out.zarr", "nothing"], ExitCode.FAILED, "no array or group 'nothing'"),
        (["out.npy"], ExitCode.FAILED, "holds one array; 2 are to be exported"),
        (["out.zarr", "--codec", "lzf"], ExitCode.FAILED, "for zarr it is one of none, zstd, gzip"),
        (["out.zarr", "--version", "99"], ExitCode.FAILED, "99"),
        (["out.zarr", "--to", "tar"], ExitCode.USAGE, "tar"),
    ],
)
def test_what_is_refused(
    arrayfs: Arrayfs, weather: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = arrayfs("export", weather, tmp_path / arguments[0], *arguments[1:])
    assert done.exit_code == code
    assert message in done.output
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
