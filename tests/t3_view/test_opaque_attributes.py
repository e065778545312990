"""Attributes of opaque arrays: the crate sees those that the format has a type for, and what it changes later wins."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import ArrayMeta, AttributeValue, DType
from arrayfs.view.tree import Tree, open_tree
from tests.t2_container.making import layer_bytes
from tests.t3_view.test_documents_over_mounts import listed, read, reopened, unlink, write
from tests.t3_view.tree_model import v2, v3
from tests.t4_fuse.promises import keeps

INT32 = attribute_from_python("Int32", 7)
CHUNKS = ".arrayfs/chunks/a"
GZIP = {"id": "gzip", "level": 1}


@pytest.fixture
def tree() -> Iterator[Tree]:
    Container.create(url := f"memory://{uuid.uuid4().hex}/t.af")
    tree = open_tree(url, mode="a")
    yield tree
    tree.container.close()


def put(tree: Tree, zarr_format: int, attributes: dict[str, object], path: str = "a") -> None:
    """An array whose chunks are compressed by its client."""
    if zarr_format == 3:
        document = json.loads(v3((3,), (2,), native=False).content) | {"attributes": attributes}
        write(tree, f"{path}/zarr.json", json.dumps(document).encode())
    else:
        document = json.loads(v2((3,), (2,), ".").content) | {"compressor": GZIP}
        write(tree, f"{path}/.zarray", json.dumps(document).encode())
        write(tree, f"{path}/.zattrs", json.dumps(attributes).encode())


def shown(tree: Tree, path: str = "a") -> str:
    if "zarr.json" in listed(tree, path):
        return json.dumps(json.loads(read(tree, f"{path}/zarr.json"))["attributes"])
    return json.dumps(json.loads(read(tree, f"{path}/.zattrs")))


def typed(tree: Tree, name: str = CHUNKS) -> dict[str, AttributeValue]:
    return dict(tree.container.get(name).attributes)


def by_the_crate(tree: Tree, name: str = CHUNKS, **attributes: AttributeValue) -> None:
    """Attributes set in a version on top; the crate can remove none."""
    tree.commit()
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        array = container.get(name)
        container.set_attributes(array, {**array.attributes, **attributes})
    assert tree.refresh()


formats = pytest.mark.parametrize("zarr_format", [2, 3])


@formats
def test_what_a_client_writes_the_crate_sees(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"units": "K", "none": None, "n": 7, "list": [1.5]})
    for _ in range(2):
        assert typed(tree) == {
            "units": attribute_from_python("String", "K"),
            "n": attribute_from_python("Int64", 7),
            "list": attribute_from_python("Float64List", [1.5]),
        }
        assert shown(tree) == '{"units": "K", "none": null, "n": 7, "list": [1.5]}'
        tree = reopened(tree)
    put(tree, zarr_format, {"n": 8})
    assert typed(tree) == {"n": attribute_from_python("Int64", 8)}
    assert shown(tree) == '{"n": 8}'
    tree.container.close()


@keeps(
    "Attributes of an array are the container's, both ways, also of one that is kept as its client encoded it: the "
    "Rust crate sees those that it has a type for, and what the crate changed last is what a client's document shows."
)
@formats
def test_what_the_crate_changed_later_wins(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"n": 1, "none": None})
    before = read(tree, "a/zarr.json" if zarr_format == 3 else "a/.zarray")
    by_the_crate(tree, n=INT32, more=attribute_from_python("String", "x"))
    for _ in range(2):
        assert shown(tree) == '{"n": 7, "none": null, "more": "x"}'
        tree = reopened(tree)
    if zarr_format == 2:
        assert read(tree, "a/.zarray") == before
    # a client that says the same keeps the crate's type, and what it removes is gone
    put(tree, zarr_format, {"n": 7, "none": None})
    for _ in range(2):
        assert (shown(tree), typed(tree)) == ('{"n": 7, "none": null}', {"n": INT32})
        tree = reopened(tree)
    tree.container.close()


@formats
def test_a_document_from_when_the_container_had_none_loses_nothing(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"n": 1, "m": 2})
    tree.commit()
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        container.set_attributes(container.get(CHUNKS), {})
    assert tree.refresh()
    assert shown(tree) == '{"n": 1, "m": 2}'
    by_the_crate(tree, m=INT32)
    assert shown(tree) == '{"n": 1, "m": 7}'


@formats
def test_a_layer_that_the_crate_made(tree: Tree, zarr_format: int) -> None:
    """It has no extension block, and of the array the attribute that was set."""
    put(tree, zarr_format, {"n": 1, "m": 2})
    tree.commit()
    pairs = np.array([[0, 0]], np.uint16)
    meta = ArrayMeta(CHUNKS, DType("Binary"), (2,), (1,), ("chunk_0",), attribute_pairs=pairs)
    layer = layer_bytes(meta, keys=("n",), values=(INT32,))
    tree.container.store.put("t.2.af", layer, replace=False)
    assert tree.refresh()
    for _ in range(2):
        assert (shown(tree), typed(tree)) == ('{"n": 7, "m": 2}', {"n": INT32, "m": attribute_from_python("Int64", 2)})
        tree = reopened(tree)
    tree.container.close()


def test_a_second_document_of_v2_comes_and_goes(tree: Tree) -> None:
    put(tree, 2, {"n": 1})
    unlink(tree, "a/.zattrs")
    for _ in range(2):
        assert (listed(tree, "a"), typed(tree)) == ([".zarray"], {})
        tree = reopened(tree)
    write(tree, "a/.zattrs", b'{"m": 2}')
    assert typed(tree) == {"m": attribute_from_python("Int64", 2)}
    unlink(tree, "a/.zarray")
    unlink(tree, "a/.zattrs")
    tree = reopened(tree)
    assert CHUNKS not in tree.container
    tree.container.close()


def test_attributes_of_the_crate_beside_a_document_without_any(tree: Tree) -> None:
    document = json.loads(v2((3,), (2,), ".").content) | {"compressor": GZIP}
    write(tree, "a/.zarray", json.dumps(document).encode())
    by_the_crate(tree, n=INT32)
    for look in (3, 2):
        assert shown(tree) == '{"n": 7}'
        tree = reopened(tree, look)
    write(tree, "a/.zarray", json.dumps(document | {"shape": [5]}).encode())
    assert (shown(tree), typed(tree)) == ('{"n": 7}', {"n": INT32})
    tree.container.close()


def native(tree: Tree) -> None:
    write(tree, "a/zarr.json", json.dumps(json.loads(v3((3,), (2,)).content) | {"attributes": {"n": 7}}).encode())


@pytest.mark.parametrize("compressor", [None, GZIP])
def test_who_rewrites_one_of_two_documents_keeps_what_the_crate_changed(
    tree: Tree, compressor: dict[str, object] | None
) -> None:
    """Nobody has looked at `.zattrs` before: zarr 2 resizes by rewriting `.zarray` alone."""
    document = json.loads(v2((3,), (2,), ".").content) | {"compressor": compressor}
    write(tree, "a/.zarray", json.dumps(document).encode())
    write(tree, "a/.zattrs", b'{"n": 1}')
    name = CHUNKS if compressor else "a"
    by_the_crate(tree, name, n=INT32)
    tree = reopened(tree)
    write(tree, "a/.zarray", json.dumps(document | {"shape": [5]}).encode())
    for _ in range(2):
        assert (shown(tree), typed(tree, name)) == ('{"n": 7}', {"n": INT32})
        tree = reopened(tree)
    tree.container.close()


CHANGES: dict[str, tuple[Callable[[Tree], Any], str, dict[str, AttributeValue], str]] = {
    "renamed": (lambda tree: tree.rename(1, "a", 1, "b", no_replace=True), ".arrayfs/chunks/b", {"n": INT32}, "b"),
    "native": (native, "a", {"n": INT32}, "a"),
    "as it was": (lambda tree: put(tree, 3, {"n": 7}), CHUNKS, {"n": INT32}, "a"),
}


@pytest.mark.parametrize(("change", "name", "attributes", "path"), CHANGES.values(), ids=list(CHANGES))
def test_they_go_with_the_array(
    tree: Tree, change: Callable[[Tree], Any], name: str, attributes: dict[str, AttributeValue], path: str
) -> None:
    put(tree, 3, {"n": 1})
    by_the_crate(tree, n=INT32)
    change(tree)
    for _ in range(2):
        assert (typed(tree, name), shown(tree, path)) == (attributes, '{"n": 7}')
        tree = reopened(tree)
    tree.container.close()


@formats
def test_both_sides_change_attributes(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"n": 1, "m": 1})
    tree.commit()
    put(tree, zarr_format, {"n": 1, "m": 2})
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        array = container.get(CHUNKS)
        container.set_attributes(array, {**array.attributes, "n": INT32})
    tree.commit()
    for _ in range(2):
        assert json.loads(shown(tree)) == {"n": 7, "m": 2}
        tree = reopened(tree)
    tree.container.close()


@formats
def test_consolidated_metadata_shows_what_the_crate_changed(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"n": 1})
    if zarr_format == 3:
        entries: dict[str, Any] = {"a": json.loads(read(tree, "a/zarr.json"))}
        kind = {"zarr_format": 3, "node_type": "group", "attributes": {}}
        inline = {"kind": "inline", "must_understand": False, "metadata": entries}
        name, content = "zarr.json", json.dumps({**kind, "consolidated_metadata": inline})
    else:
        entries = {f"a/{one}": json.loads(read(tree, f"a/{one}")) for one in (".zarray", ".zattrs")}
        entries[".zgroup"] = {"zarr_format": 2}
        write(tree, ".zgroup", b'{"zarr_format": 2}')
        name, content = ".zmetadata", json.dumps({"zarr_consolidated_format": 1, "metadata": entries})
    write(tree, name, content.encode())
    write(tree, "a/c/0" if zarr_format == 3 else "a/0", b"chunk")
    tree = reopened(tree)
    assert read(tree, name) == content.encode()
    by_the_crate(tree, n=INT32)
    for _ in range(2):
        document = json.loads(read(tree, name))
        said = (
            document["consolidated_metadata"]["metadata"]["a"]["attributes"]
            if zarr_format == 3
            else (document["metadata"]["a/.zattrs"])
        )
        assert said == {"n": 7}
        tree = reopened(tree)
    tree.container.close()
