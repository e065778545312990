"""Arrays as NumPy files in a real mount: numpy and ordinary tools read them, and nothing changes under a reader."""

from __future__ import annotations

import io
import os
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr

import arrayfs
from tests.mounts import Mounted
from tests.t4_fuse.conftest import Volume
from tests.t4_fuse.promises import keeps

Place = Callable[[Path], Mounted]


def shown(mounted: Mounted, name: str) -> Path:
    return mounted / f".arrayfs/arrays/{name}.npy"


@keeps(
    ".arrayfs/arrays/NAME.npy is a whole array as one NumPy file, made as it is read: numpy.load, with "
    'mmap_mode="r" too, cp, head and dd read it.',
    "Missing chunks read as the fill value.",
    "Their time is that of the array's newest change, and they say as many blocks as they have bytes.",
)
def test_numpy_and_tools_read_them(mounted: Mounted, tmp_path: Path) -> None:
    group = zarr.open_group(mounted.mountpoint, mode="a").create_group("g")
    array = group.create_array("t", shape=(300, 70, 41), chunks=(7, 70, 8), dtype="f4", fill_value=1, compressors=None)
    array[20:] = np.random.default_rng(1).random((280, 70, 41), "f4")
    path, want = shown(mounted, "g/t"), array[...]
    np.testing.assert_array_equal(np.load(path), want)
    mapped = np.load(path, mmap_mode="r")
    assert (mapped[250, 3] == want[250, 3]).all()
    assert (mapped[::-1, ::9] == want[::-1, ::9]).all()
    subprocess.run(["cp", path, tmp_path / "copy.npy"], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "copy.npy"), want)
    whole = path.read_bytes()
    assert subprocess.run(["head", "-c", "200", path], check=True, capture_output=True).stdout == whole[:200]
    command = ["dd", f"if={path}", "bs=1000", "skip=77", "count=3", "status=none"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == whole[77_000:80_000]
    found = path.stat()
    assert (found.st_size, found.st_blocks) == (len(whole), -(-len(whole) // 512))
    assert found.st_mtime_ns == max(chunk.stat().st_mtime_ns for chunk in (mounted / "g/t/c").glob("*/*/*"))
    del mapped
    mounted.remount()
    np.testing.assert_array_equal(np.load(path), want)
    assert not mounted.errors()


@keeps("A commit is no change. What is being written to a chunk file counts when that is closed.")
def test_a_mapping_stays_what_it_was_and_a_new_one_is_what_there_is(mounted: Mounted) -> None:
    array = zarr.open_group(mounted.mountpoint, mode="a").create_array(
        "t", shape=(40, 1000), chunks=(1, 1000), dtype="i8", compressors=None
    )
    array[...] = 1
    path = shown(mounted, "t")
    first = np.load(path, mmap_mode="r")
    assert first[0, 0] == 1
    array[5:] = 2
    number = path.stat().st_ino
    (mounted / ".arrayfs/commit").write_text("m")
    assert path.stat().st_ino == number
    second = np.load(path, mmap_mode="r")
    with open(mounted / "t/c/7/0", "r+b") as chunk:
        chunk.write(bytes(8000))
        chunk.flush()
        assert (np.load(path)[7] == 2).all()
    assert (np.load(path)[7] == 0).all()
    array.resize((20, 1000))
    assert np.load(path).shape == (20, 1000)
    assert (first == 1).all()
    assert (second[5:] == 2).all()
    assert first.shape == second.shape == (40, 1000)
    assert not mounted.errors()


def test_readers_and_writers_beside_each_other_see_whole_states(mounted: Mounted) -> None:
    """Rows are written one after another: no reader may see half of one, nor one without those before it."""
    array = zarr.open_group(mounted.mountpoint, mode="a").create_array(
        "t", shape=(30, 4000), chunks=(1, 4000), dtype="i4", fill_value=0, compressors=None
    )

    parsing = threading.Lock()  # numpy parses the header as Python, which 3.11 did not do in two threads before 3.11.5

    def read() -> None:
        while True:
            content = io.BytesIO(shown(mounted, "t").read_bytes())
            with parsing:
                rows = np.load(content)
            assert (rows == rows[:, :1]).all()
            steps = rows[:, 0].tolist()
            assert steps == sorted(steps, key=lambda step: not step), steps
            if steps[-1]:
                return

    with ThreadPoolExecutor(2) as threads:
        readers = [threads.submit(read) for _ in range(2)]
        for row in range(30):
            array[row] = row + 1
        for reader in readers:
            reader.result(timeout=60)


@keeps("They are for reading (EACCES, EPERM), by the user who mounted alone.")
def test_nothing_can_be_changed(mounted: Mounted) -> None:
    zarr.open_group(mounted.mountpoint, mode="a").create_array("t", shape=(4,), dtype="i8", compressors=None)
    path = shown(mounted, "t")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o400, 0o500)
    for change in (lambda: path.write_bytes(b"x"), path.unlink, lambda: path.rename(mounted / "x"), path.parent.rmdir):
        with pytest.raises(PermissionError):
            change()
    with pytest.raises(OSError, match=r"denied|permitted"):
        (path.parent / "new").mkdir()


def test_listings_lead_to_what_there_is_now(mounted: Mounted) -> None:
    root = zarr.open_group(mounted.mountpoint, mode="a")
    folder = mounted / ".arrayfs/arrays"
    assert os.listdir(folder) == []
    root.create_array("t", shape=(4,), dtype="i8", compressors=None)
    root.create_array("opaque", shape=(4,), dtype="i8")
    root.create_group("g").create_array("u", shape=(2,), dtype="u1", compressors=None)
    before = {entry.name: entry.stat().st_ino for entry in os.scandir(folder)}
    assert sorted(before) == ["g", "t.npy"]
    assert np.load(folder / "t.npy").tolist() == [0] * 4
    mapped = np.load(folder / "t.npy", mmap_mode="r")
    root["t"][0] = 5
    after = {entry.name: entry.stat().st_ino for entry in os.scandir(folder)}
    assert before["g"] == after["g"]
    assert before["t.npy"] != after["t.npy"]
    assert mapped.tolist() == [0] * 4
    assert np.load(folder / "t.npy").tolist() == [5, 0, 0, 0]
    subprocess.run(["rm", "-r", mounted / "g", mounted / "t"], check=True)
    assert os.listdir(folder) == []
    with pytest.raises(FileNotFoundError):
        (folder / "t.npy").stat()


def test_damage_is_an_error_and_the_rest_reads(place: Place, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    path = tmp_path / "data/v.af"
    with arrayfs.open(path, "w", codec=None) as c:
        c.create("t", shape=(2, 1 << 20), chunks=(1, 1 << 20), dtype="u1")[...] = 0x5A
    layer = tmp_path / "data/v.1.af"
    data = bytearray(layer.read_bytes())
    data[(1 << 20) + 1000] ^= 1
    layer.write_bytes(data)
    mounted = place(path)
    mounted.mount("r")
    mapped = np.load(shown(mounted, "t"), mmap_mode="r")
    assert (mapped[0, : 1 << 19] == 0x5A).all()
    with pytest.raises(OSError, match="Input/output error"):
        shown(mounted, "t").read_bytes()
    assert any("array 't': chunk (1, 0)" in line for line in mounted.errors())


@pytest.mark.parametrize("runtime", ["direct", "inline", "trio"])
def test_reads_that_unpack_are_parked_in_every_runtime(unmounted: Volume, runtime: str) -> None:
    want = np.random.default_rng(1).integers(0, 9, (40, 200, 300)).astype("f4")
    with arrayfs.open(unmounted.container, "a") as c:
        c.create("t", shape=want.shape, chunks=(10, 50, 100), dtype="f4")[...] = want
    unmounted.mount(runtime=runtime)
    path = unmounted / ".arrayfs/arrays/t.npy"
    np.testing.assert_array_equal(np.load(path), want)
    with ThreadPoolExecutor(4) as threads:
        rows = list(threads.map(lambda row: np.load(path, mmap_mode="r")[row].copy(), range(0, 40, 3)))
    np.testing.assert_array_equal(rows, want[::3])
