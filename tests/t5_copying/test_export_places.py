"""Where an export goes: it appears when it is whole, and whatever stops it, there is what was there before."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.copying import beside, exporting
from arrayfs.copying.beside import Beside
from arrayfs.errors import ArrayNotFoundError, TargetError
from tests.t4_fuse.promises import keeps

COPYING = Path(__file__).parents[2] / "docs" / "COPYING.md"
ROOT = Path(__file__).parents[2]
ENDS = ["zarr", "zarr.zip", "npy"]


@pytest.fixture
def container(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/c.af"
    with arrayfs.open(path, "w") as c:
        c.create("t", shape=(300, 10), chunks=(1, 10), dtype="i4")[...] = np.arange(3000).reshape(300, 10)
    return path


def there(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "data")


def state(path: Path) -> Any:
    return path.read_bytes() if path.is_file() else sorted(str(one) for one in path.rglob("*"))


@keeps(
    "DEST appears when it is whole and synced; until then there is nothing, or what was there before.",
    "A DEST that is there is refused, unless --overwrite is given;",
    page=COPYING,
)
@pytest.mark.parametrize("end", ENDS)
def test_what_is_there_is_refused_or_replaced_as_a_whole(container: Path, tmp_path: Path, end: str) -> None:
    dest = tmp_path / f"o.{end}"
    arrayfs.export_to(container, dest)
    before = state(dest)
    with pytest.raises(TargetError, match="is there already"):
        arrayfs.export_to(container, dest)
    with arrayfs.open(container, "a") as c:
        c["t"].resize((2, 10))
    arrayfs.export_to(container, dest, overwrite=True, verify=True)
    assert state(dest) != before
    assert there(tmp_path) == [f"o.{end}"]


def test_a_directory_is_never_out_of_its_place(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "o.zarr"
    arrayfs.export_to(container, dest)
    renamed: list[tuple[str, str]] = []
    monkeypatch.setattr(os, "rename", lambda old, new: renamed.append((str(old), str(new))))
    arrayfs.export_to(container, dest, ["t"], overwrite=True)
    assert not renamed
    assert there(tmp_path) == ["o.zarr"]


@pytest.mark.parametrize("cannot", [["exchange"], ["exchange", "rename_noreplace"]])
def test_where_nothing_can_be_exchanged_a_directory_is_replaced_in_two_steps(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cannot: list[str]
) -> None:
    dest = tmp_path / "o.zarr"
    arrayfs.export_to(container, dest)
    before = state(dest), dest.stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "not here")

    for name in cannot:
        monkeypatch.setattr(beside, name, refuse)
    arrayfs.export_to(container, dest, overwrite=True)
    assert state(dest) == before[0]
    assert dest.stat().st_ino != before[1]
    assert there(tmp_path) == ["o.zarr"]


def test_a_directory_that_is_no_store_is_not_replaced(container: Path, tmp_path: Path) -> None:
    home = tmp_path / "home.zarr"
    home.mkdir()
    (home / "thesis").write_text("x")
    with pytest.raises(TargetError, match="without a Zarr document"):
        arrayfs.export_to(container, home, overwrite=True)
    with pytest.raises(TargetError, match="without a Zarr document"):
        arrayfs.export_to(container, home, kind="zip", overwrite=True)
    (home / "thesis").unlink()
    arrayfs.export_to(container, home, overwrite=True)
    assert (home / "t/zarr.json").exists()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_what_was_there(
    container: Path, tmp_path: Path, end: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / f"o.{end}"
    arrayfs.export_to(container, dest)
    before = state(dest)

    def fail(done: int, total: int) -> None:
        if done > total // 2:
            raise error

    for overwrite in (True, False):
        place = dest if overwrite else tmp_path / f"new.{end}"
        with pytest.raises(type(error)):
            arrayfs.export_to(container, place, overwrite=overwrite, progress=fail)
    assert state(dest) == before
    assert there(tmp_path) == [f"o.{end}"]


KILLED = """
import os, signal, sys, arrayfs
from arrayfs.copying import exporting, target_numpy
def progress(done, total):
    if done > total // 2:
        os.kill(os.getpid(), signal.SIGKILL)
arrayfs.export_to(sys.argv[1], sys.argv[2], overwrite=True, progress=progress)
"""


@keeps("What an export that was killed left beside it is removed by the next to the same DEST.", page=COPYING)
@pytest.mark.parametrize("end", ENDS)
def test_a_killed_export_leaves_what_was_there_and_its_debris_goes_with_the_next(
    container: Path, tmp_path: Path, end: str
) -> None:
    dest = tmp_path / f"o.{end}"
    arrayfs.export_to(container, dest)
    before = state(dest)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run([sys.executable, "-c", KILLED, container, dest], env=environment, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert state(dest) == before
    (debris,) = [name for name in there(tmp_path) if name != f"o.{end}"]
    assert debris.startswith(f".o.{end}.")
    with Beside(tmp_path / f"o.{end}", directory=False, overwrite=True) as at_work:  # another one, which is at work
        assert at_work.removed == [str(tmp_path / debris)]
        arrayfs.export_to(container, dest, overwrite=True)
        assert at_work.path.exists()
    assert there(tmp_path) == [f"o.{end}"]


def test_somebody_else_makes_the_place_meanwhile(
    container: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = exporting.FileExport.finish

    def late(self: exporting.FileExport) -> None:
        (tmp_path / "o.zarr").mkdir()
        finish(self)

    monkeypatch.setattr(exporting.FileExport, "finish", late)
    with pytest.raises(TargetError, match="made by somebody else"):
        arrayfs.export_to(container, tmp_path / "o.zarr")
    assert there(tmp_path) == ["o.zarr"]


def test_paths_that_no_folder_can_have_are_refused_first(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    deep = "/".join(["d" * 250] * 17)
    with arrayfs.open(tmp_path / "data/c.af", "w") as c:
        c.create(f"{deep}/t", shape=(2,), dtype="i1")[:] = 1
    with pytest.raises(TargetError, match="would be longer than 4095 bytes"):
        arrayfs.export_to(tmp_path / "data/c.af", tmp_path / "o.zarr")
    arrayfs.export_to(tmp_path / "data/c.af", tmp_path / "o.zip", verify=True)
    assert there(tmp_path) == ["o.zip"]


def test_a_name_that_no_listing_has_is_refused(container: Path, tmp_path: Path) -> None:
    for name in (".arrayfs", ".arrayfs/arrays", "t/..", "absent"):
        with pytest.raises(ArrayNotFoundError, match=f"no array or group '{name}'"):
            arrayfs.export_to(container, tmp_path / "o.zarr", [name])
    assert there(tmp_path) == []


def test_strange_names_of_places(container: Path, tmp_path: Path) -> None:
    for name in ("o[1]*?.zarr", "ü.zarr", "-x.zarr"):
        arrayfs.export_to(container, tmp_path / name)
        assert (tmp_path / name / "t/c/0/0").exists()
    with pytest.raises(FileNotFoundError):
        arrayfs.export_to(container, tmp_path / "nowhere/o.zarr")


@pytest.mark.parametrize("end", ENDS)
def test_a_name_may_be_as_long_as_any(container: Path, tmp_path: Path, end: str) -> None:
    for letter, size in (("l", 225), ("l", 226), ("l", 255), ("ü", 255)):
        dest = tmp_path / f"{letter * ((size - 1 - len(end)) // len(letter.encode()))}.{end}"
        with Beside(dest, directory=False, overwrite=False) as killed:
            debris = killed.path
        debris.write_text("left behind")
        for overwrite in (False, True):
            arrayfs.export_to(container, dest, overwrite=overwrite, verify=True)
            assert dest.exists()
            assert not debris.exists()
    assert len(there(tmp_path)) == 4


def test_a_name_that_is_too_long_is_refused_at_once(container: Path, tmp_path: Path) -> None:
    told: list[int] = []
    with pytest.raises(OSError, match="name too long"):
        arrayfs.export_to(container, tmp_path / f"{'l' * 251}.zarr", progress=lambda done, _: told.append(done))
    assert (told, there(tmp_path)) == ([], [])
