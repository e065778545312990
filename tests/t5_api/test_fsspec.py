"""Containers as a file system of fsspec: fsspec's own tests, and that zarr, xarray and pandas-like readers find it."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import xarray as xr
import zarr
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

import arrayfs
from arrayfs.api.fsspec_filesystem import ArrayfsFileSystem

VALUES = np.arange(48, dtype="f4").reshape(6, 8)


@pytest.fixture
def container(tmp_path: Path) -> Path:
    path = tmp_path / "data.v1" / "w.af"
    path.parent.mkdir()
    with arrayfs.open(path, "x") as c:
        c.create("g/t", shape=VALUES.shape, chunks=(2, 8), dtype="f4", dimension_names=("y", "x"))[...] = VALUES
    return path


@pytest.fixture(autouse=True)
def known() -> Iterator[None]:
    """The entry point, also where the package runs from its source."""
    fsspec.register_implementation("arrayfs", ArrayfsFileSystem, clobber=True)
    yield
    ArrayfsFileSystem.clear_instance_cache()


class Fixtures(AbstractFixtures):  # type: ignore[misc]
    @pytest.fixture
    def fs(self) -> ArrayfsFileSystem:
        return ArrayfsFileSystem(skip_instance_cache=True)

    @pytest.fixture
    def fs_path(self, tmp_path: Path) -> str:
        return f"{tmp_path}/t.af/here"

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)

    @pytest.fixture
    def supports_empty_directories(self) -> bool:
        return False


class TestCopy(Fixtures, AbstractCopyTests):
    pass


class TestGet(Fixtures, AbstractGetTests):
    pass


class TestOpen(Fixtures, AbstractOpenTests):
    pass


class TestPipe(Fixtures, AbstractPipeTests):
    pass


class TestPut(Fixtures, AbstractPutTests):
    pass


def test_the_entry_point_is_what_is_tested_here() -> None:
    text = (Path(arrayfs.__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert 'arrayfs = "arrayfs.api.fsspec_filesystem:ArrayfsFileSystem"' in text


def test_files_of_an_array(container: Path) -> None:
    fs = ArrayfsFileSystem()
    root = f"arrayfs://{container}"
    assert fs.ls(root, detail=False) == [f"{container}/g", f"{container}/zarr.json"]
    assert fs.ls(f"{root}/g/t/c/1", detail=False) == [f"{container}/g/t/c/1/0"]
    assert [name.removeprefix(f"{container}/") for name in fs.find(root)] == [
        "g/t/c/0/0", "g/t/c/1/0", "g/t/c/2/0", "g/t/zarr.json", "g/zarr.json", "zarr.json",
    ]  # fmt: skip
    found = fs.info(f"{root}/g/t/c/1/0")
    assert (found["type"], found["size"], found["name"]) == ("file", 64, f"{container}/g/t/c/1/0")
    assert found["mtime"] == fs.modified(found["name"]) > 1.7e9
    assert fs.info(root)["type"] == "directory"
    assert fs.du(root) == sum(one["size"] for one in fs.find(root, detail=True).values())
    assert fs.glob(f"{root}/g/t/c/*/0") == [f"{container}/g/t/c/{n}/0" for n in range(3)]
    with fsspec.open(f"{root}/g/zarr.json", "rt") as file:
        assert '"group"' in file.read()


@pytest.mark.parametrize(
    ("start", "end"), [(None, None), (0, 8), (8, None), (-8, None), (None, 8), (8, 8), (60, 100), (100, None)]
)
def test_a_range_of_a_chunk_file(container: Path, start: int | None, end: int | None) -> None:
    assert ArrayfsFileSystem().cat_file(f"{container}/g/t/c/1/0", start, end) == VALUES[2:4].tobytes()[start:end]


@pytest.mark.parametrize("path", ["nothing", "g/nothing", "g/t/c/9/0", "../other.af/x", "../plain/x"])
def test_what_is_not_there(container: Path, path: str) -> None:
    fs = ArrayfsFileSystem()
    assert not fs.exists(f"{container}/{path}")
    for call in (fs.info, fs.cat_file, fs.ls, fs.rm, fs.modified, fs.open):
        with pytest.raises(FileNotFoundError):
            call(f"{container}/{path}")
    assert not (container.parent / "other.af").exists()


@pytest.mark.parametrize("path", ["nothing", "nothing/x", "nothing/*", "file/x", "file/x.af", "file/x.af/y", "no.af/y"])
def test_a_path_in_no_container_is_as_one_that_no_local_file_has(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_text("")
    calls: list[Callable[[Any, str], object]] = [
        lambda fs, name: fs.find(name),
        lambda fs, name: fs.find(name, detail=True),
        lambda fs, name: fs.find(name, maxdepth=2, withdirs=True),
        lambda fs, name: fs.glob(name),
        lambda fs, name: fs.glob(f"{name}/**"),
        lambda fs, name: fs.glob(f"{name}/*", detail=True),
        lambda fs, name: (fs.exists(name), fs.isfile(name), fs.isdir(name)),
        lambda fs, name: fs.du(name),
        lambda fs, name: fs.du(name, total=False, withdirs=True),
        lambda fs, name: list(fs.walk(name)),
    ]
    ours, local = ArrayfsFileSystem(), fsspec.filesystem("file")
    for call in calls:
        assert call(ours, f"{tmp_path}/{path}") == call(local, f"{tmp_path}/{path}")
    for raising in (ours.info, ours.ls, ours.cat_file, lambda name: list(ours.walk(name, on_error="raise"))):
        with pytest.raises((FileNotFoundError, NotADirectoryError)):
            raising(f"{tmp_path}/{path}")


def test_a_directory_is_no_file(container: Path) -> None:
    fs = ArrayfsFileSystem()
    for call in (fs.cat_file, fs.rm, lambda path: fs.open(path, "wb")):
        with pytest.raises(IsADirectoryError):
            call(f"{container}/g")
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(f"{container}/g")
    with pytest.raises(FileExistsError):
        fs.mkdir(f"{container}/g")


@pytest.mark.parametrize("path", ["", "/g", "/g/t"])
def test_a_directory_is_not_opened(container: Path, path: str) -> None:
    for mode in ("rb", "r", "wb"):
        with pytest.raises(IsADirectoryError):
            fsspec.filesystem("arrayfs").open(f"{container}{path}", mode)


def test_the_first_container_of_a_path_splits_it(tmp_path: Path) -> None:
    (tmp_path / "dir.af").mkdir()
    fs = ArrayfsFileSystem()
    fs.pipe_file(f"{tmp_path}/dir.af/x.af/y.af/z", b"z")
    fs.commit(f"{tmp_path}/dir.af/x.af", "with a message")
    assert (tmp_path / "dir.af" / "x.1.af").is_file()
    assert fs.find(f"{tmp_path}/dir.af/x.af") == [f"{tmp_path}/dir.af/x.af/y.af/z"]
    with arrayfs.open(tmp_path / "dir.af" / "x.af") as c:
        assert [v.message for v in c.versions()] == ["", "with a message"]


def test_writing_appending_and_removing(container: Path) -> None:
    fs = ArrayfsFileSystem()
    with fs.open(f"{container}/notes/a.txt", "wb") as file:
        file.write(b"one ")
        assert not fs.exists(f"{container}/notes/a.txt")
    with fsspec.open(f"arrayfs://{container}/notes/a.txt", "at") as file:
        file.write("two")
    assert fs.cat(f"{container}/notes/a.txt") == b"one two"
    fs.mv(f"{container}/notes/a.txt", f"{container}/notes/b.txt")
    assert fs.find(f"{container}/notes") == [f"{container}/notes/b.txt"]
    with fs.transaction:
        with fs.open(f"{container}/notes/c.txt", "wb") as file:
            file.write(b"c")
        assert not fs.exists(f"{container}/notes/c.txt")
    assert fs.cat_file(f"{container}/notes/c.txt") == b"c"
    fs.rm(f"{container}/notes", recursive=True)
    fs.rm(f"{container}/g/t/c/0/0")
    fs.commit(str(container))
    with arrayfs.open(container) as c:
        assert c["g/t"].list_chunks() == [(1, 0), (2, 0)]


def test_a_version_and_a_reader_take_no_changes(container: Path) -> None:
    fs = ArrayfsFileSystem()
    fs.pipe_file(f"{container}/g/t/c/0/0", bytes(64))
    fs.commit(str(container))
    old = fsspec.filesystem("arrayfs", version=1)
    assert old.cat_file(f"{container}/g/t/c/0/0") == VALUES[:2].tobytes()
    assert fs.cat_file(f"{container}/g/t/c/0/0") == bytes(64)
    for reader in (old, fsspec.filesystem("arrayfs", read_only=True)):
        for change in (
            lambda fs: fs.pipe_file(f"{container}/x", b""),
            lambda fs: fs.rm(f"{container}/zarr.json"),
            lambda fs: fs.mkdir(f"{container}/d"),
        ):
            with pytest.raises(PermissionError):
                change(reader)


def test_reading_makes_and_changes_nothing_on_disk(container: Path) -> None:
    before = sorted((one.name, one.stat().st_mtime_ns) for one in container.parent.iterdir())
    assert ArrayfsFileSystem().find(str(container))
    assert sorted((one.name, one.stat().st_mtime_ns) for one in container.parent.iterdir()) == before


def test_what_others_commit_shows(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = ArrayfsFileSystem(skip_instance_cache=True)
    chunk = f"{container}/g/t/c/0/0"
    assert fs.cat_file(chunk) == VALUES[:2].tobytes()
    with arrayfs.open(container, "a") as c:
        c["g/t"][:2] = 7
    fs.invalidate_cache()
    assert fs.cat_file(chunk) == np.full(16, 7, "f4").tobytes()
    with arrayfs.open(container, "a") as c:
        c["g/t"][:2] = 8
    monkeypatch.setattr("arrayfs.api.fsspec_filesystem.FOLLOW_EVERY", 0)
    assert fs.cat_file(chunk) == np.full(16, 8, "f4").tobytes()


def test_a_pickled_copy_in_another_process_sees_what_was_set(container: Path) -> None:
    fs = ArrayfsFileSystem(codec="zstd")
    fs.pipe_file(f"{container}/g/t/c/0/0", bytes(64))
    program = (
        "import pickle, sys; fs = pickle.load(sys.stdin.buffer);"
        f"assert fs.cat_file('{container}/g/t/c/0/0') == bytes(64); fs.pipe_file('{container}/from-it', b'x')"
    )
    subprocess.run([sys.executable, "-c", program], input=pickle.dumps(fs), check=True, timeout=60)
    fs.invalidate_cache()
    assert fs.cat_file(f"{container}/from-it") == b"x"


def test_zarr_and_xarray_read_and_write_by_url(container: Path) -> None:
    url = f"arrayfs://{container}"
    assert np.array_equal(zarr.open_array(f"{url}/g/t", mode="r")[...], VALUES)
    made = zarr.create_array(f"{url}/new", shape=(4,), chunks=(2,), dtype="i4", compressors=None)
    made[:] = [1, 2, 3, 4]
    read: Any = xr.open_zarr(f"{url}/g", consolidated=False)["t"]
    assert np.array_equal(read.values, VALUES)
    fs = fsspec.filesystem("arrayfs")
    fs.commit(str(container))
    for other in ArrayfsFileSystem._cache.values():
        other.commit(str(container))
    with arrayfs.open(container) as c:
        assert c["new"][...].tolist() == [1, 2, 3, 4]
