"""`arrayfs convert`: what zarr-python encoded, converted, and read by zarr-python again."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec
from zarr.storage import MemoryStore

from arrayfs.cli.exit_codes import ExitCode
from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.copying.decoding import ZarrDecoder
from arrayfs.format.attributes import attribute_from_python
from arrayfs.view import converting
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.test_documents_over_mounts import ino, write
from tests.t3_view.zarr_python import changed, client_files, memory_store
from tests.t3_view.zarr_python import open_tree as open_files
from tests.t4_fuse.promises import keeps
from tests.t6_cli.conftest import DEADLINE, Arrayfs, Place

Files = Mapping[str, bytes | memoryview]

VALUES = np.random.default_rng(5).normal(size=(13, 7, 9))
TEXTS = np.array(["a", "é" * 9, "", ""] * 5, object)
ATTRIBUTES = {"units": "K", "nested": [1, {"b": None}], "nan": float("nan")}


def f4(**options: object) -> dict[str, object]:
    return {"shape": VALUES.shape, "chunks": (5, 5, 5), "dtype": "f4"} | options


def flat(dtype: object, **options: object) -> dict[str, object]:
    return {"shape": (20,), "chunks": (8,), "dtype": dtype} | options


# Values, Zarr format, what zarr-python is told; what the container then says of the array: type, chunk shape.
CONVERTED: dict[str, tuple[Any, int, dict[str, object], str, tuple[int, ...]]] = {
    "zstd": (VALUES, 3, f4(), "Float32", (5, 5, 5)),
    "blosc": (VALUES, 3, f4(compressors=BloscCodec()), "Float32", (5, 5, 5)),
    "shards": (VALUES, 3, f4(chunks=(2, 5, 3), shards=(6, 5, 6)), "Float32", (2, 5, 3)),
    "nan": (np.where(VALUES > 0, VALUES, np.nan), 3, f4(dtype="f8", fill_value=float("nan")), "Float64", (5, 5, 5)),
    "big": (
        VALUES,
        3,
        f4(
            dtype="f8",
            serializer=BytesCodec(endian="big"),
            filters=TransposeCodec(order=(2, 0, 1)),
            compressors=[GzipCodec(), Crc32cCodec()],
        ),
        "Float64",
        (5, 5, 5),
    ),
    "dots": (VALUES, 3, f4(chunk_key_encoding={"name": "v2", "separator": "."}), "Float32", (5, 5, 5)),
    "bool": (np.arange(20) % 3 == 0, 3, flat("bool", fill_value=True), "Bool", (8,)),
    "times": (np.arange(20).astype("M8[ns]"), 3, flat("M8[ns]"), "TimestampNs", (8,)),
    "texts": (TEXTS, 3, flat(str, fill_value="-"), "String", (8,)),
    "texts in shards": (TEXTS, 3, flat(str, chunks=(2,), shards=(8,)), "String", (2,)),
    "bytes": (np.array([b"", b"ab\0"] * 10, object), 3, flat(zarr.dtype.VariableLengthBytes()), "Binary", (8,)),
    "scalar": (np.array(2.5), 3, {"shape": (), "dtype": "f8"}, "Float64", ()),
    "v2": (VALUES, 2, f4(dtype=">f8", order="F"), "Float64", (5, 5, 5)),
    "v2 slashes": (VALUES, 2, f4(chunk_key_encoding={"name": "v2", "separator": "/"}), "Float32", (5, 5, 5)),
    "v2 texts": (TEXTS, 2, flat(str, fill_value=""), "String", (8,)),
}

REFUSED: dict[str, tuple[Any, int, dict[str, object], str]] = {
    "half": (VALUES, 3, f4(dtype="f2"), "data type 'float16' is none of the container's"),
    "complex": (VALUES, 3, f4(dtype="c8"), "'complex64'"),
    "days": (np.arange(20).astype("M8[D]"), 3, flat("M8[D]"), "numpy.datetime64"),
    "fixed": (np.array(["a"] * 20), 3, flat("U4"), "fixed_length_utf32"),
    "text": (np.array("a", object), 3, {"shape": (), "dtype": str}, "without the zeros at its end"),
    "v2 half": (VALUES, 2, f4(dtype="f2"), '"<f2"'),
    "v2 structure": (np.zeros(20, "i4,f4"), 2, flat(np.dtype("i4,f4")), "[["),
}


def refusable(files: Files) -> dict[str, tuple[Files, str]]:
    """Documents that zarr-python does not write, each with the reason for which it is left alone."""

    def with_member(**members: object) -> Files:
        return {**files, "zarr.json": changed(bytes(files["zarr.json"]), **members)}

    codecs = json.loads(files["zarr.json"])["codecs"]
    return {
        "vendor": (with_member(codecs=[*codecs, {"name": "vendor.packed"}]), "codec 'vendor.packed'"),
        "pickle": (with_member(codecs=[*codecs, {"name": "numcodecs.pickle"}]), "codec 'numcodecs.pickle'"),
        "no codec": (with_member(codecs=[]), "names no codec"),
        "extension": (with_member(vendor={"a": 1}), "member 'vendor' must be understood"),
        "transformed": (with_member(storage_transformers=[{"name": "x"}]), "storage transformers"),
        "fill": (with_member(fill_value="x"), "fill value 'x'"),
        "grid": (with_member(chunk_grid={"name": "rectilinear", "configuration": {}}), "chunk grid"),
        "huge": (with_member(shape=[1 << 33, 7, 9]), "beyond the container's limits"),
        "both": ({**files, ".zarray": b"{}"}, "documents of both Zarr formats"),
    }


def made(tmp_path: Path, arrays: Mapping[str, Files]) -> Path:
    """A container with these arrays, committed."""
    path = tmp_path / "t.af"
    Container.create(str(path))
    tree = open_tree(str(path), mode="a")
    for name, files in arrays.items():
        for key, content in files.items():
            write(tree, f"{name}/{key}" if name else key, bytes(content))
    tree.close()
    return path


def files_of(tree: Tree, path: str) -> dict[str, bytes]:
    """Everything below a directory, by path."""
    found = {}
    waiting = [("", ino(tree, path))]
    while waiting:
        above, directory = waiting.pop()
        for name, attr, _ in tree.opendir(directory).entries(0):
            if attr.mode & 0o040000:
                waiting.append((f"{above}{name}/", attr.ino))
            else:
                handle = tree.open(attr.ino, write=False, truncate=False)
                found[above + name] = bytes(handle.read(0, 1 << 30))
                handle.release()
    return found


def same(one: object, other: object) -> bool:
    """Whether two arrays have the same elements, NaN by NaN."""
    a, b = np.asarray(one), np.asarray(other)
    if a.dtype.kind == "f":
        return a.shape == b.shape and a.astype("<f8").tobytes() == b.astype("<f8").tobytes()
    return a.shape == b.shape and a.tolist() == b.tolist()


@keeps(
    "arrayfs convert makes an opaque array a native one with the same values, type, shape, fill value, names and "
    "attributes, or refuses it by name, with the reason.",
)
def test_values_and_all_else_stay(arrayfs: Arrayfs, tmp_path: Path) -> None:
    written = {
        name: client_files(look, values, attributes=ATTRIBUTES, **options)
        for name, (values, look, options, _, _) in CONVERTED.items()
    }
    path = made(tmp_path, written)
    done = arrayfs("convert", path, "--all", "--json")
    assert (done.exit_code, done.exception) == (ExitCode.DONE, None)
    told = json.loads(done.stdout)
    assert (sorted(each["path"] for each in told["converted"]), told["refused"]) == (sorted(CONVERTED), [])
    assert told["committed"]["version"] == 2
    tree = open_tree(str(path))
    for name, (_, _, _, dtype, chunk_shape) in CONVERTED.items():
        array = tree.container.get(name)
        assert (array.spec.dtype.name, array.spec.chunk_shape) == (dtype, chunk_shape)
        before, now = open_files(written[name]), open_files(files_of(tree, name))
        assert same(before[...], now[...]), name
        kept = ("shape", "fill_value", "attributes", "dimension_names", "zarr_format", "chunk_key_encoding")
        assert [str(getattr(before.metadata, key, None)) for key in kept] == [
            str(getattr(now.metadata, key, None)) for key in kept
        ]
    tree.close()
    assert arrayfs("verify", path).exit_code == ExitCode.DONE
    assert "convert 15 arrays" in arrayfs("log", path).stdout
    assert arrayfs("convert", path, "--all").output == "nothing to do\n"
    assert arrayfs("convert", path, "zstd").output == "nothing to do\n"


@pytest.mark.parametrize("look", [2, 3])
def test_attributes_that_the_crate_set_keep_value_and_type(arrayfs: Arrayfs, tmp_path: Path, look: int) -> None:
    path = made(tmp_path, {"a": client_files(look, VALUES, attributes={"n": 1, "none": None}, **f4())})
    with Container.open(str(path), "a") as container:
        array = container.get(".arrayfs/chunks/a")
        container.set_attributes(array, array.attributes | {"n": attribute_from_python("Int32", 7)})
    assert arrayfs("convert", path, "a").exit_code == ExitCode.DONE
    tree = open_tree(str(path))
    assert tree.container.get("a").attributes == {"n": attribute_from_python("Int32", 7)}
    assert dict(open_files(files_of(tree, "a")).attrs) == {"n": 7, "none": None}
    tree.close()


def test_what_cannot_be_kept_is_refused_by_name(arrayfs: Arrayfs, tmp_path: Path) -> None:
    zstd = client_files(3, VALUES, **f4())
    cases = {
        name: (client_files(look, values, **options), said) for name, (values, look, options, said) in REFUSED.items()
    }
    cases |= refusable(zstd)
    path = made(tmp_path, {name: files for name, (files, _) in cases.items()} | {"fine": zstd})
    before = sorted(path.parent.iterdir())
    for name, (_, said) in cases.items():
        done = arrayfs("convert", path, name)
        assert (done.exit_code, done.stdout) == (ExitCode.FAILED, "")
        assert done.stderr.startswith(f"arrayfs: {name}: "), done.stderr
        assert said in done.stderr
    assert arrayfs("convert", path, "fine", "half").exit_code == ExitCode.FAILED
    assert arrayfs("convert", path, "absent").stderr.endswith("'absent'\n")
    assert arrayfs("convert", path).exit_code == ExitCode.USAGE
    assert arrayfs("convert", path, "fine", "--all").exit_code == ExitCode.USAGE
    told = arrayfs("convert", path, "--all", "--dry-run").stdout.splitlines()
    assert told[-1] == "1 array would be converted"
    assert [line.split(":")[1].strip() for line in told if line.startswith("stays opaque: ")] == sorted(cases)
    assert sorted(path.parent.iterdir()) == before
    done = arrayfs("convert", path, "--all", "-m", "why")
    assert (done.exit_code, "committed version 2" in done.stdout) == (ExitCode.DONE, True)
    assert "why" in arrayfs("log", path).stdout
    tree = open_tree(str(path))
    assert files_of(tree, "half") == dict(cases["half"][0])
    tree.close()


def test_groups_the_root_and_names_that_are_taken(arrayfs: Arrayfs, tmp_path: Path) -> None:
    zstd = client_files(3, VALUES, **f4(chunks=(5, 5, 3), shards=(10, 5, 9)))
    path = made(tmp_path, {"g/a": zstd, "g/b": zstd, "h": zstd, "taken": {**zstd, "c/2/1/2": b"a file"}})
    assert (
        arrayfs("convert", path, "taken").stderr == "arrayfs: taken: the plain file c/2/1/2 has the name of a chunk\n"
    )
    done = arrayfs("convert", path, "g/", "--codec", "zstd")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["array", "g/a", "g/b", "committed"]
    with Container.open(str(path)) as container:
        assert {"g/a", "g/b"} <= set(container.names_of_arrays())
        assert "h" not in container
    (tmp_path / "other").mkdir()
    path = made(tmp_path / "other", {"": client_files(3, VALUES, **f4())})
    assert arrayfs("convert", path, "--all").exit_code == ExitCode.DONE
    tree = open_tree(str(path))
    assert same(open_files(files_of(tree, ""))[...], VALUES.astype("f4"))
    tree.close()


@pytest.mark.parametrize("look", [2, 3])
def test_consolidated_metadata_says_what_was_converted(arrayfs: Arrayfs, tmp_path: Path, look: Literal[2, 3]) -> None:
    store: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = zarr.create_group(MemoryStore(store), zarr_format=look)
        group.create_array("a", **f4())[...] = VALUES.astype("f4")  # type: ignore[arg-type]
        zarr.consolidate_metadata(group.store)
    path = made(tmp_path, {"g": {key: content.to_bytes() for key, content in store.items()}})
    assert arrayfs("convert", path, "g").exit_code == ExitCode.DONE
    tree = open_tree(str(path))
    shown = zarr.open_group(memory_store(files_of(tree, "g")), mode="r", use_consolidated=True)["a"]
    assert isinstance(shown, zarr.Array)
    assert shown.compressors == ()
    assert same(shown[...], VALUES.astype("f4"))
    tree.close()


@pytest.mark.parametrize("returned", [np.zeros((5, 5, 5), "f8"), np.zeros((5, 5, 5), "S4"), RecursionError("deep")])
def test_what_a_codec_returns_is_not_believed(
    arrayfs: Arrayfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, returned: NDArray[Any] | Exception
) -> None:
    def read(*_: object) -> NDArray[Any]:
        if isinstance(returned, Exception):
            raise returned
        return returned

    path = made(tmp_path, {"a": client_files(3, VALUES, **f4()), "t": client_files(3, TEXTS, **flat(str))})
    monkeypatch.setattr(ZarrDecoder, "read", read)
    for name in ("a", "t") if isinstance(returned, Exception) or returned.dtype.kind == "S" else ("a",):
        done = arrayfs("convert", path, name)
        assert (done.exit_code, done.stdout) == (ExitCode.FAILED, "")
        assert done.stderr.startswith(f"arrayfs: {name}: ")


def test_small_regions_give_the_same(arrayfs: Arrayfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "REGION_SIZE", 200)
    written = {name: client_files(look, values, **options) for name, (values, look, options, _, _) in CONVERTED.items()}
    path = made(tmp_path, written)
    assert arrayfs("convert", path, "--all").exit_code == ExitCode.DONE
    tree = open_tree(str(path))
    for name, files in written.items():
        assert same(open_files(files)[...], open_files(files_of(tree, name))[...]), name
    tree.close()


def test_missing_chunks_stay_missing(arrayfs: Arrayfs, tmp_path: Path) -> None:
    plain = client_files(3, VALUES, **f4())
    shards = client_files(3, np.zeros(40, "i2"), shape=(40,), chunks=(4,), shards=(20,), dtype="i2", fill_value=0)
    store = {**client_files(3, np.arange(40), shape=(40,), chunks=(4,), shards=(20,), dtype="i2", fill_value=7)}
    del plain["c/1/1/1"], plain["c/0/0/0"], store["c/1"]
    path = made(tmp_path, {"plain": plain, "empty": shards, "half": store})
    assert arrayfs("convert", path, "--all").exit_code == ExitCode.DONE
    tree = open_tree(str(path))
    names = {name: {key for key in files_of(tree, name) if key.startswith("c/")} for name in ("plain", "empty", "half")}
    assert names == {
        "plain": {key for key in plain if key.startswith("c/")},
        "empty": set(),
        "half": {f"c/{number}" for number in range(5)},
    }
    assert open_files(files_of(tree, "half"))[18:22].tolist() == [18, 19, 7, 7]
    tree.close()


@keeps(
    "It is one commit: when it is cut off, or a chunk cannot be decoded or reads back as something else, nothing has "
    "happened."
)
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("cut off", ExitCode.INTERRUPTED, "interrupted"),
        ("damage", ExitCode.FAILED, "b: chunk (0, 0, 0) to (2, 1, 1) cannot be decoded"),
        ("other bytes", ExitCode.FAILED, "array 'b': what was stored reads back as something else"),
    ],
)
def test_nothing_has_happened_when_it_fails(
    arrayfs: Arrayfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: ExitCode, said: str
) -> None:
    good = client_files(3, VALUES, **f4())
    path = made(tmp_path, {"a": good, "b": good | ({"c/1/0/1": b"no zstd"} if fault == "damage" else {})})
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    read = Container.read

    def read_other(container: Container, array: Array, coord: Coord) -> bytes | memoryview | None:
        if array.name == "b" and fault == "cut off":
            raise KeyboardInterrupt
        return bytes(500) if array.name == "b" else read(container, array, coord)

    if fault != "damage":
        monkeypatch.setattr(Container, "read", read_other)
    done = arrayfs("convert", path, "--all")
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr.startswith(f"arrayfs: {said}")
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_mount_shows_what_was_converted(arrayfs: Arrayfs, place: Place) -> None:
    place.mount("--refresh", "0.05s")
    group = zarr.create_group(place.mountpoint)
    array = group.create_array("a", **f4())  # type: ignore[arg-type]
    array[...] = VALUES.astype("f4")
    assert "no array" in arrayfs("convert", place.mountpoint, "a").stderr  # nothing is committed yet
    (place / ".arrayfs/commit").write_text("first")
    assert arrayfs("convert", place.mountpoint, "a").exit_code == ExitCode.DONE
    deadline = time.monotonic() + DEADLINE
    while "zstd" in (place / "a/zarr.json").read_text():
        assert time.monotonic() < deadline
    assert (place / "a/c/0/0/0").stat().st_size == 500
    assert same(zarr.open_array(place / "a", mode="r")[...], VALUES.astype("f4"))
    (place / "a/c/0/0/0").write_bytes(bytes(500))
    assert place.umount().startswith("committed version 3")


def test_without_zarr_it_says_what_is_missing(
    arrayfs: Arrayfs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = made(tmp_path, {})
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setitem(sys.modules, "zarr.storage", None)
    done = arrayfs("convert", path, "--all")
    assert (done.exit_code, "pip install" in done.stderr) == (ExitCode.FAILED, True)
