"""Attributes: JSON in, the same JSON out, in documents of both Zarr formats and where nobody wrote one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.model import AttributeValue, DType
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import open_tree
from tests.t4_fuse.promises import keeps
from tests.t5_api.tree_values import document_of, read_file

VALUES = {
    "int": 1, "float": 1.0, "big": 2**70, "nan": float("nan"), "none": None, "true": True, "text": "é\ud800",
    "list": [1, 2.0, "x", None], "nested": {"z": {"b": [], "a": {}}}, "empty": "", "": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", ["t", "g", ""])
def test_what_is_put_in_comes_out_in_order(path: str, name: str) -> None:
    with arrayfs.open(path, "x") as container:
        container.create("t", shape=(), dtype="u1")
        container.create_group("g")
        node = container[name] if name else container
        node.attrs.update(VALUES)
        node.attrs["list"] = VALUES["list"]
        assert json.dumps(node.attrs.asdict()) == json.dumps(VALUES)
    with arrayfs.open(path) as container:
        node = container[name] if name else container
        assert json.dumps(node.attrs.asdict()) == json.dumps(VALUES)
        assert json.dumps(list(node.attrs)) == json.dumps(list(VALUES))
    tree = open_tree(path)
    document = document_of(tree, name) if name else json.loads(read_file(tree, "zarr.json") or b"")
    tree.close()
    assert json.dumps(document["attributes"]) == json.dumps(VALUES)


def test_they_are_a_mapping(container: arrayfs.Container) -> None:
    attrs = container.create("t", shape=(), dtype="u1").attrs
    attrs["a"] = [1]
    attrs["a"].append(2)  # of a copy
    attrs.setdefault("b", np.float32(1.5))
    attrs["c"] = np.arange(3)
    attrs["d"] = (1, 2)
    assert dict(attrs) == {"a": [1], "b": 1.5, "c": [0, 1, 2], "d": [1, 2]}
    del attrs["a"]
    assert (attrs.pop("b"), "a" in attrs, len(attrs), attrs.get("x")) == (1.5, False, 2, None)
    with pytest.raises(KeyError):
        del attrs["a"]
    with pytest.raises(TypeError, match="has no JSON form"):
        attrs["x"] = object()
    attrs.put({"only": 1})
    assert "only" in repr(attrs)
    attrs.clear()
    assert dict(attrs) == {}


@pytest.fixture
def crates(path: str) -> str:
    """A container whose arrays nobody wrote a document for."""
    Container.create(path)
    with Container.open(path, "a") as container:
        attributes = {"n": AttributeValue("Int32", (5).to_bytes(4, "little"))}
        array = container.define("g/t", ArraySpec(DType("UInt8"), (3,), (2,), ("x",)), attributes)
        container.put(array, (0,), b"\1\2", 1)
        lists = DType("FixedSizeList", DType("Int16"), 2)
        container.put(container.define("pairs", ArraySpec(lists, (2,), (1,), ("y",))), (1,), b"\1\0\2\0", 1)
    return path


def test_of_a_container_of_the_crate(crates: str) -> None:
    with arrayfs.open(crates, "a") as container:
        array = container.array("g/t")
        assert (list(container), list(container["g"]), dict(array.attrs)) == (["g", "pairs"], ["t"], {"n": 5})
        assert (array.dimension_names, array[...].tolist()) == (("x",), [1, 2, 0])
        array.attrs["m"] = {"x": None}
        array.append([7])
        pairs = container.array("pairs")
        assert (pairs.shape, pairs.chunks, pairs[...].tolist()) == ((2, 2), (1, 2), [[0, 0], [1, 2]])
        pairs[0, 1] = 9
        pairs[1] = [3, 4]
        container["g"].attrs["of"] = "group"
    with Container.open(crates) as container:
        array = container.get("g/t")
        assert (array.spec.shape, array.attributes) == ((4,), {"n": AttributeValue("Int32", b"\5\0\0\0")})
        assert bytes(container.read(array, (1,)) or b"") == b"\0\7"
        assert container.get("pairs").spec.dtype == DType("FixedSizeList", DType("Int16"), 2)
        assert bytes(container.read(container.get("pairs"), (0,)) or b"") == b"\0\0\x09\0"
    with arrayfs.open(crates) as container:
        assert dict(container["g/t"].attrs) == {"n": 5, "m": {"x": None}}
        assert dict(container["g"].attrs) == {"of": "group"}


def test_a_container_of_the_crate_begun_anew_is_empty(crates: str) -> None:
    with arrayfs.open(crates, "w") as container:
        assert list(container) == []
        container.create("n", shape=(), dtype="u1")
    with arrayfs.open(crates) as container:
        assert list(container) == ["n"]
    with Container.open(crates) as container:
        assert [name for name in container.names_of_arrays() if "hidden" in name] == []


def write(path: str, files: dict[str, bytes]) -> None:
    """Write files as a mount would."""
    tree = open_tree(path, mode="a")
    for name, content in files.items():
        *above, last = name.split("/")
        ino = ROOT
        for part in above:
            found = tree.lookup(ino, part)
            ino = (found or tree.mkdir(ino, part, 0o755)).ino
        _, handle = tree.make(ino, last, 0o644, exclusive=False, write=True, truncate=True)
        handle.write(0, content)
        handle.release()
    tree.close()


@keeps("documents, whoever wrote them, say the shape and the attributes that an array was given")
def test_documents_of_zarr_v2_stay_of_v2(path: str) -> None:
    zarray: dict[str, Any] = {
        "zarr_format": 2, "shape": [4], "chunks": [2], "dtype": "|u1", "compressor": None, "fill_value": 3,
        "order": "C", "filters": None,
    }  # fmt: skip
    zattrs = {"_ARRAY_DIMENSIONS": ["x"], "a": 1}
    files = {".zgroup": {"zarr_format": 2}, "t/.zarray": zarray, "t/.zattrs": zattrs}
    arrayfs.open(path, "x").close()
    write(path, {name: json.dumps(value).encode() for name, value in files.items()} | {"t/1": b"\7\x08"})
    with arrayfs.open(path, "a") as container:
        array = container.array("t")
        assert (array[...].tolist(), dict(array.attrs), array.dimension_names) == ([3, 3, 7, 8], {"a": 1}, ("x",))
        array.attrs["b"] = 2
        array.append([9])
        container.attrs["root"] = True
        assert (array.read_metadata()["shape"], array.list_chunks()) == ([5], [(1,), (2,)])
    tree = open_tree(path)
    read = lambda name: json.loads(read_file(tree, name) or b"null")  # noqa: E731
    assert read("t/.zattrs") == zattrs | {"b": 2}
    assert read("t/.zarray") == zarray | {"shape": [5]}
    assert (read(".zattrs"), read("zarr.json"), read_file(tree, "t/2")) == ({"root": True}, None, b"\x09\3")
    tree.close()


def test_a_plain_file_in_the_place_of_a_chunk_gives_way(path: str) -> None:
    with arrayfs.open(path, "x") as container:
        container.create("t", shape=(4,), chunks=(2,), dtype="u1")
    write(path, {"t/c/0": b"of a wrong length", "t/README": b"stays"})
    with arrayfs.open(path, "a") as container:
        assert container["t"].list_chunks() == []
        container["t"][0] = 5
    tree = open_tree(path)
    assert (read_file(tree, "t/c/0"), read_file(tree, "t/README")) == (b"\5\0", b"stays")
    tree.close()
