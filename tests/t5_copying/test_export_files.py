"""Exports to Zarr stores: bit for bit what a mount shows, with modes and times where there are any."""

from __future__ import annotations

import asyncio
import json
import random
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore, MemoryStore, ZipStore

import arrayfs
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.copying import contents, exporting, positioned, zip_writer
from arrayfs.errors import ArrayNotFoundError, ChecksumError, TargetError
from arrayfs.format.model import DType
from arrayfs.view.tree import open_tree
from tests.profiles import examples
from tests.t3_view.test_whole_arrays import write as write_file
from tests.t5_copying.drawn_container import draw, draw_array, folder_listing, listing

# of zarr-python: of consolidated metadata in v3, of types without a specification, of files that are none of its own
pytestmark = [
    pytest.mark.filterwarnings("ignore::zarr.errors.ZarrUserWarning"),
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
]
SEEDS = st.integers(0, 10_000)
FEW = examples(6)


def files(path: Path, look: int = 3) -> dict[str, bytes]:
    return {
        name: content
        for name, (mode, _, content) in listing(path, look).items()
        if content is not None and not stat.S_ISLNK(mode)
    }


@FEW
@given(seed=SEEDS, look=st.sampled_from([3, 2]), jobs=st.integers(1, 3))
def test_a_directory_is_what_a_mount_shows(
    tmp_path_factory: pytest.TempPathFactory, seed: int, look: int, jobs: int
) -> None:
    folder = tmp_path_factory.mktemp("e")
    draw(folder / "c.af", seed)
    done = arrayfs.export_to(folder / "c.af", folder / "out.zarr", zarr_format=look, jobs=jobs, verify=True)
    want = listing(folder / "c.af", look)
    assert folder_listing(folder / "out.zarr") == want
    assert done.files == sum(content is not None for _, _, content in want.values())
    assert not [path.name for path in folder.iterdir() if not path.name.startswith(("c.", "out.zarr"))]
    with arrayfs.open(folder / "c.af") as c:
        assert done.arrays == len(list(c.arrays()))


@FEW
@given(seed=SEEDS)
def test_an_archive_has_the_same_files(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("e")
    draw(folder / "c.af", seed)
    arrayfs.export_to(folder / "c.af", folder / "out.zarr.zip", verify=True)
    want = listing(folder / "c.af")
    with zipfile.ZipFile(folder / "out.zarr.zip") as archive:
        assert archive.testzip() is None
        found = {info.filename: (info.external_attr >> 16, archive.read(info)) for info in archive.infolist()}
    assert {name: one for name, one in found.items() if not name.endswith("/")} == {
        name: (mode, content) for name, (mode, _, content) in want.items() if content is not None
    }
    assert {name for name in found if name.endswith("/")} == {
        f"{name}/"
        for name, (_, _, content) in want.items()
        if content is None and not any(other.startswith(f"{name}/") for other in want)
    }
    with ZipStore(folder / "out.zarr.zip", mode="r") as store, arrayfs.ZarrStore(folder / "c.af") as own:
        one, other = zarr.open_group(store, mode="r"), zarr.open_group(own, mode="r")
        for name in ("0", "1", "2", "3"):
            np.testing.assert_array_equal(one[f"opaque/{name}"][...], other[f"opaque/{name}"][...])


def test_a_store_gets_the_same_values_and_documents_last(tmp_path: Path) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(5, 4), chunks=(2, 2), dtype="i4")[...] = 7
    given: list[str] = []

    class Noting(MemoryStore):
        async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
            given.append(key)
            await super().set(key, value, byte_range)

    store = Noting()
    arrayfs.export_to(tmp_path / "c.af", store, verify=True)
    want = files(tmp_path / "c.af")
    prototype = default_buffer_prototype()
    assert {key: bytes(asyncio.run(store.get(key, prototype)).to_bytes()) for key in given} == want
    assert [key.endswith("zarr.json") for key in given] == sorted(key.endswith("zarr.json") for key in given)
    assert (zarr.open_array(store, path="g/t", mode="r")[...] == 7).all()
    with pytest.raises(TargetError, match="is not empty"):
        arrayfs.export_to(tmp_path / "c.af", store)
    arrayfs.export_to(tmp_path / "c.af", store, ["g"], overwrite=True)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "local.zarr", kind="store")
    assert (zarr.open_array(tmp_path / "local.zarr", path="g/t", mode="r")[...] == 7).all()


def test_a_url_is_what_zarr_python_makes_of_it(tmp_path: Path) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(5, 4), chunks=(2, 2), dtype="i4")[...] = 7
    with pytest.raises(TargetError, match="nowhere://x: zarr-python cannot open it"):
        arrayfs.export_to(tmp_path / "c.af", "nowhere://x")
    pytest.importorskip("fsspec")
    url = f"file://{tmp_path}/by_url.zarr"
    arrayfs.export_to(tmp_path / "c.af", url)
    assert (zarr.open_array(url, path="g/t", mode="r")[...] == 7).all()


def test_what_a_store_cannot_hold_is_refused_first_and_what_it_got_is_taken_back(tmp_path: Path) -> None:
    draw(tmp_path / "c.af", 1)
    store = MemoryStore()
    with pytest.raises(TargetError, match=r"ünder \[x\]\*/link: a symbolic link"):
        arrayfs.export_to(tmp_path / "c.af", store)
    assert store._store_dict == {}
    asyncio.run(store.set("mine", default_buffer_prototype().buffer.from_bytes(b"x")))
    with pytest.raises(TargetError, match="a symbolic link"):
        arrayfs.export_to(tmp_path / "c.af", store, overwrite=True)
    assert list(store._store_dict) == ["mine"]

    class Full(MemoryStore):
        async def set(self, key: str, value: Any, byte_range: Any = None) -> None:
            if key.endswith("zarr.json"):
                raise OSError(28, "full")
            await super().set(key, value, byte_range)

    full = Full()
    with pytest.raises(OSError, match="full"):
        arrayfs.export_to(tmp_path / "c.af", full, ["g"])
    assert full._store_dict == {}


def test_icechunk(tmp_path: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("g/t", shape=(50, 4), chunks=(2, 4), dtype="i4")[...] = np.arange(200).reshape(50, 4)
    repository = icechunk.Repository.create(icechunk.in_memory_storage())
    session = repository.writable_session("main")
    arrayfs.export_to(tmp_path / "c.af", session.store, verify=True)
    session.commit("exported")
    again = zarr.open_group(repository.readonly_session("main").store, mode="r")
    assert again["g/t"][...].ravel().tolist() == list(range(200))


@pytest.mark.parametrize("codec", ["zstd", "gzip"])
@pytest.mark.parametrize("look", [3, 2])
@pytest.mark.parametrize("end", [".zarr", ".zarr.zip"])
def test_with_a_codec_values_are_the_same_and_documents_say_it(
    tmp_path: Path, codec: str, look: int, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "WHOLE", 100)  # some chunks go in parts
    monkeypatch.setattr(contents, "PART", 64)
    path = tmp_path / "c.af"
    with arrayfs.open(path, "w") as c:
        for number, dtype in enumerate(["i4", "str", "bool", "M8[ns]"]):
            draw_array(c, f"g/{dtype[:2]}", dtype, random.Random(number))
        c.create("g/long", shape=(1000,), chunks=(700,), dtype="f8", fill_value=2)[:900] = np.arange(900)
        want = {array.path: array[...] for array in c.arrays()}
    with arrayfs.ZarrStore(path) as store:
        zarr.open_group(store, mode="a").create_array("opaque", shape=(5,), dtype="f2")[:] = 3
        zarr.consolidate_metadata(store)
    before = files(path)
    arrayfs.export_to(path, tmp_path / f"out{end}", codec=codec, zarr_format=look, verify=True)
    for consolidated in (True, False):
        out = tmp_path / f"out{end}"
        store = ZipStore(out, mode="r") if end == ".zarr.zip" else LocalStore(out)
        found = zarr.open_group(store, mode="r", use_consolidated=consolidated)
        for name, values in want.items():
            array = found[name]
            assert values.tolist() == array[...].tolist()
            said = array.metadata.to_dict()
            assert said["codecs"][-1]["name"] == codec
        assert (found["opaque"][:] == 3).all()
        store.close()
    if end == ".zarr":
        after = {name: one[2] for name, one in folder_listing(tmp_path / "out.zarr").items() if one[2] is not None}
        assert after.keys() == before.keys()
        assert {name for name in after if after[name] == before[name]} == {
            name for name in before if name.startswith("opaque/") or name == "g/zarr.json"
        }


def test_version_2_documents_name_the_compressor(tmp_path: Path) -> None:
    path = tmp_path / "c.af"
    Container.create(str(path))
    with Container.open(str(path), "a") as container:
        for name, dtype in (("g/t", "Int16"), ("g/s", "String")):
            container.define(name, ArraySpec(DType(dtype), (4,), (2,), ("x",)))
        container.put(container.get("g/t"), (1,), b"\1\0\2\0", 1)
        container.put(container.get("g/s"), (0,), b"\0\0\0\0\1\0\0\0\2\0\0\0ab", 1)
    for codec in ("zstd", "gzip"):
        out = tmp_path / f"{codec}.zarr"
        arrayfs.export_to(path, out, zarr_format=2, codec=codec)
        assert json.loads((out / "g/t/.zarray").read_text())["compressor"]["id"] == codec
        assert zarr.open_array(out / "g/t", mode="r")[:].tolist() == [0, 0, 1, 2]
        assert zarr.open_array(out / "g/s", mode="r")[:].tolist() == ["a", "b", "", ""]


def test_some_arrays_come_with_the_groups_above(tmp_path: Path) -> None:
    draw(tmp_path / "c.af", 3)
    with arrayfs.open(tmp_path / "c.af") as c:
        names = sorted(array.path for array in c.group("g").arrays())
        attributes = dict(c.group("g").attrs)
    with arrayfs.ZarrStore(tmp_path / "c.af") as store:
        zarr.consolidate_metadata(store)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "out.zarr", [names[0], "/opaque/1/"])
    want = listing(tmp_path / "c.af")
    inside = {name for name in want if name.startswith((f"{names[0]}/", "opaque/1/"))} | {names[0], "opaque/1"}
    above = {f"{group}zarr.json" for group in ("", "g/", "opaque/")} | {"g", "opaque"}
    deep = {"g/deep", "g/deep/zarr.json"} if names[0].startswith("g/deep") else set()
    found = folder_listing(tmp_path / "out.zarr")
    assert found.keys() == inside | above | deep
    assert all(found[name] == want[name] for name in inside)
    root = zarr.open_group(tmp_path / "out.zarr", mode="r", use_consolidated=True)
    assert sorted(name for name, node in root.members(None) if isinstance(node, zarr.Array)) == [names[0], "opaque/1"]
    assert dict(root["g"].attrs) == attributes
    with pytest.raises(ArrayNotFoundError, match="no array or group 'nothing'"):
        arrayfs.export_to(tmp_path / "c.af", tmp_path / "more.zarr", ["nothing"])


def test_an_earlier_version(tmp_path: Path) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("t", shape=(2,), dtype="i4")[:] = 1
        c.commit()
        c.tag("paper")
        c["t"][:] = 2
    for version, value in ((1, 1), ("paper", 1), (None, 2)):
        done = arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.npy", version=version, overwrite=True)
        assert np.load(tmp_path / "o.npy").tolist() == [value] * 2
        assert done.version == (1 if version else 2)


def test_damage_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with arrayfs.open(folder / "c.af", "w", codec=None) as c:
        c.create("t", shape=(2, 1 << 18), chunks=(1, 1 << 18), dtype="u1")[...] = 1
    layer = folder / "c.1.af"
    data = bytearray(layer.read_bytes())
    data[1000] ^= 1
    layer.write_bytes(data)
    for end in ("zarr", "zarr.zip", "npy", "h5"):
        with pytest.raises(ChecksumError, match=r"c\.1\.af.*array 't': chunk \(0, 0\)"):
            arrayfs.export_to(folder / "c.af", tmp_path / f"out.{end}")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_verify_finds_what_reads_back_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with arrayfs.open(tmp_path / "c.af", "w") as c:
        c.create("t", shape=(4,), chunks=(2,), dtype="u1")[...] = 1
    original = exporting.FileExport._copy

    def copy(self: Any, entry: Any, content: Any) -> None:
        wrong = entry.path == "t/c/1"
        original(self, entry, b"\1\2" if wrong else content)

    monkeypatch.setattr(exporting.FileExport, "_copy", copy)
    for end in ("zarr", "zarr.zip"):
        with pytest.raises(TargetError, match="t/c/1: reads back as something else"):
            arrayfs.export_to(tmp_path / "c.af", tmp_path / f"out.{end}", verify=True)
        assert not (tmp_path / f"out.{end}").exists()


def test_archives_of_many_and_large_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with members over 4 GiB and over 65,535 of them: zipfile reads it by the records of Zip64."""
    tree = open_tree(made(tmp_path / "c.af"), mode="a")
    for number in range(5):
        write_file(tree, f"f{number}", bytes([number]) * number * 10)
    tree.close()
    monkeypatch.setattr(zip_writer, "_COUNT_LIMIT", 3)
    arrayfs.export_to(tmp_path / "c.af", tmp_path / "o.zip", verify=True)
    data = (tmp_path / "o.zip").read_bytes()
    assert b"PK\6\6" in data
    path = tmp_path / "sparse.zip"
    with open(path, "w+b") as file:
        writer = zip_writer.ZipWriter(file.fileno())
        offset = writer.begin("large", 5 << 30, 0o100644, 0)
        positioned.write_all(file.fileno(), offset + (5 << 30) - 3, b"end")
        monkeypatch.setattr(zip_writer.zlib, "crc32", lambda data, crc=0: 0)  # 5 GiB of zeros take their time
        monkeypatch.setattr(zip_writer, "STEP", 5 << 30)
        monkeypatch.setattr(zip_writer, "read_all", lambda fd, offset, size: b"")
        writer.end(5 << 30)
        writer.add("after", b"", 0o100644, 0)
        writer.close()
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        assert infos["large"].file_size == 5 << 30
        assert infos["after"].header_offset > 5 << 30
        with archive.open("after") as member:
            assert member.read() == b""


def made(path: Path) -> str:
    Container.create(str(path))
    return str(path)
