"""The cases of `scripts/clients` whose libraries and programs are there: on a mount, mounted again, checked."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import pytest
from clientslib.clients import names_of_cases

from tests.conftest import Tell
from tests.mounts import ROOT, Mounted

# test_clients.py of t4_fuse has more of zarr-python and xarray: of these, what it does not do.
ZARR = ("structured", "sharding", "consolidated metadata", "overwrite and delete", "exchange")
XARRAY = ("mode w and groups", "datatree")
# What takes seconds is left to `scripts/clients`, and so are most of the ordinary programs.
LONG = ("locked by file", "several processes", "distributed", "to zarr by processes")
PROGRAMS = [
    *(("zarr_python", name) for name in ZARR),
    *(("xarrays", name) for name in XARRAY),
    *(
        (program, name)
        for program in ("zarr_objectstore", "tensorstores", "anndatas", "ome", "numpys")
        for name in names_of_cases(program)
        if name not in LONG
    ),
]
TOOLS = ("dd ,truncate ,flock ,rsync ", "sed ,tar ,sqlite3 ,make ")


def _loaded(program: str) -> ModuleType:
    """Skips the test where a library of the program is missing."""
    try:
        return importlib.import_module(f"clientslib.programs.{program}")
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")


@pytest.mark.parametrize(("program", "name"), PROGRAMS)
def test_libraries(mounted: Mounted, program: str, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # opinions of the library about its own types
        case = _loaded(program).CASES[name]
        if name == "h5py":
            pytest.importorskip("h5py")
        folder = mounted / "x"
        folder.mkdir()
        case.write(folder)
        case.check(folder)
        mounted.remount()
        case.check(folder)


@pytest.mark.parametrize("programs", TOOLS)
def test_ordinary_programs(tmp_path: Path, programs: str, tell: Tell) -> None:
    command = [
        str(ROOT / "scripts/clients"),
        "--dir",
        str(tmp_path),
        "--json",
        str(tmp_path / "out"),
        "--only",
        programs,
    ]
    done = subprocess.run(
        command, env=os.environ | {"PYTHON": sys.executable}, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    cases = json.loads((tmp_path / "out").read_text())
    tell(f"{len(cases)} cases of {', '.join(sorted({case['client'] for case in cases}))}")
    assert cases, "none of these programs is there"
