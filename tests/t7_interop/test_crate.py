"""What arrayfs writes through a mount, the original crate reads with the same values, and the other way round."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from numpy.typing import NDArray
from zarr.storage import LocalStore

from arrayfs.cli.main import commands
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.container.large import LARGE, Spilled, Stretch
from arrayfs.format.model import DType
from arrayfs.view.paths import show
from arrayfs.view.tree import open_tree
from tests.mounts import Mounted
from tests.t0_format.golden import VECTORS, expected
from tests.t3_view.test_documents_over_mounts import read, write
from tests.t3_view.tree_model import v3
from tests.t3_view.zarr_python import CLIENT_TYPES, unstable_types
from tests.t4_fuse.posix import same_trees
from tests.t7_interop import crate
from tests.t7_interop.reading import (
    NUMPY_TYPES,
    attributes_as_json,
    chunk_path,
    folder_of,
    is_shown,
    matches,
    same_json,
    stored_and_padding,
    stored_elements,
    unwrapped,
)

formats = pytest.mark.parametrize("zarr_format", [3, 2])
SHAPE, CHUNKS = (7, 5), (3, 2)


class Model:
    """What the arrays have to be: numpy arrays and attributes by name, changed alike here and in the mount."""

    def __init__(self, mounted: Mounted, zarr_format: Any) -> None:
        self.mounted, self.zarr_format = mounted, zarr_format
        self.values: dict[str, NDArray[Any]] = {}
        self.attributes: dict[str, dict[str, Any]] = {}

    def open(self, name: str) -> zarr.Array[Any]:
        return zarr.open_array(LocalStore(self.mounted / name))

    def create(self, name: str, kind: Any, values: NDArray[Any], chunks: tuple[int, ...], **attributes: Any) -> None:
        array = zarr.create_array(
            LocalStore(self.mounted / name),
            shape=values.shape,
            chunks=chunks,
            dtype=kind,
            compressors=None,
            attributes=attributes,
            zarr_format=self.zarr_format,
        )
        array[...] = values
        self.values[name], self.attributes[name] = values.copy(), attributes

    def set(self, name: str, place: Any, value: Any) -> None:
        self.open(name)[place] = value
        self.values[name][place] = value

    def resize(self, name: str, shape: tuple[int, ...]) -> None:
        self.open(name).resize(shape)
        old = self.values[name]
        new = np.zeros(shape, old.dtype)
        both = tuple(slice(0, min(a, b)) for a, b in zip(old.shape, shape, strict=True))
        new[both] = old[both]
        self.values[name] = new

    def annotate(self, name: str, attributes: dict[str, Any]) -> None:
        self.open(name).attrs.put(attributes)
        self.attributes[name] = attributes

    def remove(self, name: str) -> None:
        shutil.rmtree(self.mounted / name)
        del self.values[name], self.attributes[name]

    def check(self) -> None:
        """zarr-python on the mount, and the crate in both releases, see these arrays and no others."""
        for name, values in self.values.items():
            array = self.open(name)
            assert array.shape == values.shape
            assert contents(np.asarray(array[...])) == contents(values), name
            assert dict(array.attrs) == self.attributes[name]
        for options in crate.CRATES:
            answers = crate.reads(self.mounted.container, *options)
            assert {name for name in answers if not name.startswith(".arrayfs/")} == self.values.keys()
            for name, values in self.values.items():
                assert answers[name]["shape"] == list(values.shape)
                assert matches(contents(values), answers[name], "data_"), (name, options)
                assert same_json(attributes_as_json(answers[name]["attributes"]), self.attributes[name])


def contents(values: NDArray[Any]) -> bytes:
    """A whole array as the crate gives it."""
    if values.dtype.kind in "OTSU":
        elements = [one.encode() if isinstance(one, str) else bytes(one) for one in values.ravel().tolist()]
        return stored_elements(elements, 1)
    return np.ascontiguousarray(values).tobytes()


def values_of(kind: Any, shape: tuple[int, ...], start: int = 1) -> NDArray[Any]:
    numbers = (np.arange(start, start + int(np.prod(shape))) % 120 + 1).reshape(shape)
    if kind is str:
        return np.array([f"é{n}" * (n % 3 + 1) for n in numbers.ravel()], object).reshape(shape)
    if not isinstance(kind, str):
        raw = np.empty(numbers.size, object)
        raw[:] = [bytes(range(n % 9 + 1)) for n in numbers.ravel()]
        return raw.reshape(shape)
    return numbers.astype(kind)


@formats
def test_arrays_written_through_a_mount(mounted: Mounted, zarr_format: Any) -> None:
    crate.program()
    # zarr-python has no v2 spelling of variable-length bytes of its own
    kinds = {name: kind for name, kind in CLIENT_TYPES.items() if zarr_format == 3 or name != "Binary"}
    model = Model(mounted, zarr_format)
    with unstable_types():
        _first_version(model, kinds)
        mounted.remount()
        model.check()
        _second_version(model, kinds)
        mounted.remount()
        model.check()
        _third_version(model)
        assert mounted.remount().sidecar == "t.3.af"
        model.check()
        _check_removed_chunks(model)
        compacted = shutil.copytree(mounted.container.parent, mounted.container.parent.parent / "compacted")
        crate.compact(compacted / "t.af")
        mounted.umount()
        mounted.container = compacted / "t.af"
        mounted.mount()
        model.check()


def _first_version(model: Model, kinds: dict[str, Any]) -> None:
    for name, kind in kinds.items():
        model.create(f"all/{name}", kind, values_of(kind, SHAPE), CHUNKS, units="K", number=7, real=2.5)
    for name in ("gone", "again", "narrower", "grown", "shrunk", "cut"):
        model.create(name, "i4", values_of("i4", (12, 10)), (4, 5), same="for all", of=name)


def _second_version(model: Model, kinds: dict[str, Any]) -> None:
    for name, kind in kinds.items():
        model.set(f"all/{name}", (slice(2, 5), slice(1, 2)), values_of(kind, (3, 1), 60))
        model.annotate(f"all/{name}", {"number": 8, "new": [1, 2, 3], "units": "K"})
    model.remove("gone")
    model.remove("again")
    model.create("again", "f8", values_of("f8", (5, 9)), (4, 5), of="a new one")
    model.remove("narrower")
    model.create("narrower", "i4", values_of("i4", (4, 5)), (4, 5))
    model.resize("grown", (14, 11))
    model.resize("shrunk", (5, 6))
    model.set("cut", (slice(0, 4), slice(0, 5)), 0)  # zarr-python unlinks a chunk of fill values


def _third_version(model: Model) -> None:
    model.annotate("all/Int16", {})
    model.set("all/Int16", (slice(None), 4), 99)
    model.resize("grown", (20, 11))
    model.set("grown", (slice(13, 20), slice(9, 11)), 5)
    model.resize("narrower", (12, 10))  # what lay there before the redefinition must not come back
    model.resize("shrunk", (12, 10))
    model.create("gone", "i4", values_of("i4", (3, 3)), (4, 5), back=True)
    model.set("cut", (slice(8, 12), slice(5, 10)), 0)


def _check_removed_chunks(model: Model) -> None:
    three = model.zarr_format == 3
    for name, coord in (("cut", (0, 0)), ("cut", (2, 1)), ("shrunk", (2, 0)), ("narrower", (1, 1)), ("grown", (4, 0))):
        path = model.mounted / name / ("c/" * three + ("/" if three else ".").join(map(str, coord)))
        with pytest.raises(FileNotFoundError):
            os.open(path, os.O_RDONLY)
        if path.parent.is_dir():
            assert path.name not in os.listdir(path.parent)


@pytest.mark.parametrize(
    "case",
    [f"v{n}/{name}" for n in (4, 5) for name in ("flushed", "dtypes", "layers_all", "layers_attrs", "ranks", "names")]
    + ["v5/layers_redefine", "v5/layers_new_and_delete", "v4/layers_overwrite", "v5/codec_mixed_one_file", "v5/stats"],
)
def test_containers_of_the_crate_changed_through_a_mount(
    case: str, place: Callable[..., Mounted], tmp_path: Path
) -> None:
    crate.program()
    folder = shutil.copytree(VECTORS / case, tmp_path / "copy")
    before = crate.reads(folder / "t.af")
    mounted = place(folder / "t.af")
    mounted.mount()
    changed: dict[str, bytes] = {}
    for array in expected(case)["arrays"]:
        if is_shown(array) and array["chunks"] and unwrapped(array["dtype"])[0] in NUMPY_TYPES:
            changed[array["name"]] = _change_first_chunk(mounted, array)
    assert changed
    mounted.remount()
    after = crate.reads(folder / "t.af")
    assert after.keys() == before.keys()
    for array in expected(case)["arrays"]:
        _check_changed(mounted, array, before[array["name"]], after[array["name"]], changed.get(array["name"]))


def _change_first_chunk(mounted: Mounted, array: dict[str, Any]) -> bytes:
    base, inner = unwrapped(array["dtype"])
    count = int(np.prod([*array["chunk_shape"], *inner]))
    content = np.ones(count, NUMPY_TYPES[base].replace("M8[ns]", "i8")).tobytes()
    path = chunk_path(folder_of(mounted.mountpoint, array["name"]), array["chunks"][0]["coord"], len(inner), 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return stored_and_padding(array, array["chunks"][0]["coord"], content)[0]


def _check_changed(
    mounted: Mounted, array: dict[str, Any], before: dict[str, Any], after: dict[str, Any], content: bytes | None
) -> None:
    """The first chunk is the new one in the crate; all else is as it was."""
    assert {key: after[key] for key in ("dtype", "shape", "dimension_names", "fill_value")} == {
        key: before[key] for key in ("dtype", "shape", "dimension_names", "fill_value")
    }
    first = 0 if content is None else 1
    assert after["chunks"][first:] == before["chunks"][first:]
    if content is not None:
        assert matches(content, after["chunks"][0])
        inner = len(unwrapped(array["dtype"])[1])
        path = chunk_path(folder_of(mounted.mountpoint, array["name"]), array["chunks"][0]["coord"], inner, 3)
        assert stored_and_padding(array, array["chunks"][0]["coord"], path.read_bytes())[0] == content
        # the crate may have had them wrong before: arrayfs writes them complete
        assert same_json(attributes_as_json(after["attributes"]), attributes_as_json(array["attributes"]))


def test_other_files_survive_the_crate(place: Callable[..., Mounted], tmp_path: Path) -> None:
    crate.program()
    mounted = place()
    mounted.mount()
    _write_other_files(mounted)
    mounted.remount()
    shutil.copytree(mounted / "tree", tmp_path / "tree")
    assert len(os.listdir(tmp_path / "tree/many")) == 10_000
    _check_other_files(mounted, tmp_path / "tree")
    compacted = shutil.copytree(mounted.container.parent, tmp_path / "compacted")
    crate.compact(compacted / "t.af")
    other = place(compacted / "t.af")
    other.mount()
    _check_other_files(other, tmp_path / "tree")
    same_trees(tmp_path / "tree", other / "tree")
    (other / "tree/many/5").write_bytes(b"changed after the compaction")
    other.remount()
    assert (other / "tree/many/5").read_bytes() == b"changed after the compaction"


def _write_other_files(mounted: Mounted) -> None:
    (mounted / "tree/many").mkdir(parents=True)
    for number in range(10_000):
        fd = os.open(mounted / f"tree/many/{number}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, str(number).encode() * (number % 7))
        os.close(fd)
    (mounted / "tree/empty").write_bytes(b"")
    os.chmod(mounted / "tree/empty", 0o640)
    (mounted / "tree/empty directory").mkdir()
    with open(mounted / "sparse", "wb") as file:
        file.truncate(5 << 30)
        file.seek(3 << 30)
        file.write(b"in the middle")
    values = np.arange(10_000, dtype="f8").reshape(100, 100)
    group = zarr.create_group(LocalStore(mounted / "tree/g"), attributes={"title": "é", "list": [1, None, {"a": 1.0}]})
    group.create_array("default", data=values, chunks=(30, 40))
    group.create_array("sharded", data=values, chunks=(10, 10), shards=(50, 50))
    group.create_array("native", data=values, chunks=(30, 40), compressors=None, attributes={"n": 1, "x": {"y": []}})


def _check_other_files(mounted: Mounted, tree: Path) -> None:
    assert (mounted / "sparse").stat().st_size == 5 << 30
    assert (mounted / "sparse").stat().st_blocks * 512 < 2 << 20
    with open(mounted / "sparse", "rb") as file:
        for place, content in ((0, bytes(100)), (3 << 30, b"in the middle" + bytes(87)), ((5 << 30) - 100, bytes(100))):
            file.seek(place)
            assert file.read(100) == content
    assert os.listdir(mounted / "tree/empty directory") == []
    assert os.stat(mounted / "tree/empty").st_mode & 0o777 == 0o640
    group = zarr.open_group(LocalStore(mounted / "tree/g"), mode="r")
    assert dict(group.attrs) == {"title": "é", "list": [1, None, {"a": 1.0}]}
    assert dict(group["native"].attrs) == {"n": 1, "x": {"y": []}}
    for name in ("default", "sharded", "native"):
        assert np.array_equal(group[name][...], np.arange(10_000, dtype="f8").reshape(100, 100))
    digest = hashlib.sha256((mounted / "tree/g/sharded/c/1/1").read_bytes()).digest()
    assert digest == hashlib.sha256((tree / "g/sharded/c/1/1").read_bytes()).digest()


def test_names_of_the_crate_are_those_that_the_mount_shows(mounted: Mounted) -> None:
    crate.program()
    for name in ("plain", "with space", "100%", "é/inner", "c"):
        array = zarr.create_array(LocalStore(mounted / name), shape=(3,), dtype="u1", compressors=None)
        array[...] = 1
    mounted.umount()
    answers = crate.reads(mounted.container)
    assert {"plain", "with space", "100%", "é/inner", "c"} == {
        name for name in answers if not name.startswith(".arrayfs/")
    }
    assert all(show(part) == part for name in ("plain", "100%") for part in name.split("/"))


def test_the_crate_reads_large_chunks_that_came_in_parts(tmp_path: Path) -> None:
    """Blocks that are not compressed, with checksums of their pieces beside them."""
    size = LARGE + 12345
    content = random.Random(1).randbytes(size)
    url = tmp_path / "t.af"
    Container.create(str(url))
    with Container.open(str(url), "a") as container:
        array = container.define("a", ArraySpec(DType("UInt8"), (size,), (size,), ("x",)))
        container.put(
            array, (0,), Spilled(b"", Stretch(lambda start, count: content[start : start + count], 0, size)), 1
        )
    (chunk,) = crate.reads(url)["a"]["chunks"]
    assert chunk["sha256"] == hashlib.sha256(content).hexdigest()


def test_what_was_converted_are_numbers_to_the_crate(mounted: Mounted) -> None:
    crate.program()
    values = np.random.default_rng(3).normal(size=SHAPE)
    for name, options in {"zstd": {}, "sharded": {"shards": (6, 4)}, "v2": {"zarr_format": 2}}.items():
        array = zarr.create_array(LocalStore(mounted / name), shape=SHAPE, chunks=CHUNKS, dtype="f8", **options)
        array[...] = values
        array.attrs["units"] = "K"
    mounted.umount()
    for options in crate.CRATES:  # opaque, they are encoded chunks with the attributes of the array
        answers = crate.reads(mounted.container, *options)
        for name in ("zstd", "sharded", "v2"):
            assert attributes_as_json(answers[f".arrayfs/chunks/{name}"]["attributes"]) == {"units": "K"}
    assert CliRunner().invoke(commands, ["convert", str(mounted.container), "--all"]).exit_code == 0
    for options in crate.CRATES:
        answers = crate.reads(mounted.container, *options)
        for name in ("zstd", "sharded", "v2"):
            assert answers[name]["chunk_shape"] == list(CHUNKS)
            assert matches(contents(values), answers[name], "data_")
            assert attributes_as_json(answers[name]["attributes"]) == {"units": "K"}
        assert not any(name.startswith(".arrayfs/chunks/") for name in answers)


def test_attributes_of_an_opaque_array_outlive_the_crates_compaction(tmp_path: Path) -> None:
    crate.program()
    Container.create(path := str(tmp_path / "t.af"))
    tree = open_tree(path, mode="a")
    attributes = {"units": "K", "n": 7, "list": [1.5], "none": None}
    document = json.loads(v3((3,), (2,), native=False).content) | {"attributes": attributes}
    write(tree, "a/zarr.json", json.dumps(document).encode())
    write(tree, "a/c/0", b"chunk")
    tree.close()
    crate.compact(tmp_path / "t.af")
    said = attributes_as_json(crate.reads(tmp_path / "t.af")[".arrayfs/chunks/a"]["attributes"])
    assert said == {"units": "K", "n": 7, "list": [1.5]}
    tree = open_tree(path)
    assert json.loads(read(tree, "a/zarr.json")) == document
    tree.container.close()
