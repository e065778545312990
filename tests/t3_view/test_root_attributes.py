"""The attributes of the root group are the file's: the crate keeps them in a scalar named `__file__`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import AttributeValue, DType
from arrayfs.view.documents import FILE_ARRAY
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.test_documents_over_mounts import listed, read, reopened, unlink, write
from tests.t3_view.tree_model import v2, v3

INT32 = attribute_from_python("Int32", 7)
GROUP3 = {"zarr_format": 3, "node_type": "group"}


@pytest.fixture
def tree() -> Iterator[Tree]:
    """Of a container that the crate made: an array, and attributes of the file."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    with Container.open(url, "a") as container:
        container.define("a", ArraySpec(DType("Int8"), (3,), (2,)))
        container.define(FILE_ARRAY, ArraySpec(DType("UInt8"), (), ()), {"n": INT32})
    tree = open_tree(url, mode="a")
    yield tree
    tree.container.close()


def of_the_file(tree: Tree) -> dict[str, AttributeValue]:
    return dict(tree.container.get(FILE_ARRAY).attributes)


def shown(tree: Tree) -> object:
    """Attributes of the root group, in whichever format it has a document."""
    if "zarr.json" in listed(tree):
        return json.loads(read(tree, "zarr.json"))["attributes"]
    return json.loads(read(tree, ".zattrs"))


def put(tree: Tree, zarr_format: int, attributes: dict[str, object]) -> None:
    if zarr_format == 3:
        write(tree, "zarr.json", json.dumps({**GROUP3, "attributes": attributes}).encode())
    else:
        write(tree, ".zgroup", b'{"zarr_format": 2}')
        write(tree, ".zattrs", json.dumps(attributes).encode())


def by_the_crate(tree: Tree, attributes: dict[str, AttributeValue]) -> None:
    tree.commit()
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        container.set_attributes(container.get(FILE_ARRAY), attributes)
    assert tree.refresh()


@pytest.mark.parametrize("look", [2, 3])
def test_where_no_client_wrote_a_document_they_are_shown(tree: Tree, look: int) -> None:
    tree = reopened(tree, look)
    assert shown(tree) == {"n": 7}
    tree.container.close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_a_client_writes_the_crate_sees_in_its_types(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"new": 1.5, "n": 7, "none": None})
    for _ in range(2):
        assert of_the_file(tree) == {"n": INT32, "new": attribute_from_python("Float64", 1.5)}
        assert json.dumps(shown(tree)) == '{"new": 1.5, "n": 7, "none": null}'
        tree = reopened(tree)
    tree.container.close()


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_the_crate_changed_later_wins(tree: Tree, zarr_format: int) -> None:
    put(tree, zarr_format, {"gone": True, "none": None, "n": 7})
    by_the_crate(tree, {"n": attribute_from_python("Int32", 8), "more": attribute_from_python("String", "x")})
    for _ in range(2):
        assert json.dumps(shown(tree)) == '{"none": null, "n": 8, "more": "x"}'
        tree = reopened(tree)
    tree.container.close()


def test_they_go_with_the_roots_document(tree: Tree) -> None:
    put(tree, 3, {"n": 7})
    unlink(tree, "zarr.json")
    assert FILE_ARRAY in tree.container  # an editor may be about to bring it back
    tree = reopened(tree)
    assert FILE_ARRAY not in tree.container
    assert listed(tree) == ["a"]
    write(tree, "zarr.json", json.dumps({**GROUP3, "attributes": {"m": 1}}).encode())
    tree = reopened(tree)
    assert of_the_file(tree) == {"m": attribute_from_python("Int64", 1)}
    tree.container.close()


def test_an_array_in_the_root_does_not_take_them_over(tree: Tree) -> None:
    """Found by the state machine: the group's document is gone, its attributes are so with the next commit."""
    tree = reopened(tree, 2)
    put(tree, 3, {"n": 7})
    unlink(tree, "zarr.json")
    write(tree, ".zarray", v2((3,), (2,), ".").content)
    for _ in range(2):
        assert listed(tree) == [".zarray", "a"]
        tree = reopened(tree, 2)
    tree.container.close()


def test_they_stay_with_a_root_that_never_showed_them(tree: Tree) -> None:
    """Nothing but attributes in a container: its root is empty, and stays so."""
    tree.container.remove(tree.container.get("a"))
    tree = reopened(tree)
    write(tree, "b/zarr.json", v3((3,), (2,)).content)
    tree = reopened(tree)
    assert of_the_file(tree) == {"n": INT32}
    tree.container.close()


def test_who_rewrites_one_of_two_documents_keeps_the_other(tree: Tree) -> None:
    """zarr 2 resizes by rewriting `.zarray` alone."""
    tree.container.set_attributes(tree.container.get("a"), {"units": attribute_from_python("String", "m")})
    tree = reopened(tree, 2)
    zattrs = read(tree, "a/.zattrs")
    write(tree, "a/.zarray", json.dumps(json.loads(read(tree, "a/.zarray")) | {"shape": [5]}).encode())
    write(tree, ".zgroup", b'{"zarr_format": 2}\n')
    for _ in range(2):
        assert (read(tree, "a/.zattrs"), json.loads(read(tree, ".zattrs"))) == (zattrs, {"n": 7})
        assert listed(tree, "a") == [".zarray", ".zattrs"]
        assert tree.container.get("a").spec.shape == (5,)
        tree = reopened(tree)
    assert of_the_file(tree) == {"n": INT32}
    unlink(tree, "a/.zattrs")
    assert listed(tree, "a") == [".zarray"]
    tree = reopened(tree)
    assert listed(tree, "a") == [".zarray"]
    assert not tree.container.get("a").attributes
    tree.container.close()


def test_attributes_of_the_crate_beside_a_document_without_any(tree: Tree) -> None:
    write(tree, "b/.zarray", v2((3,), (2,), ".").content)
    tree.commit()
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        container.set_attributes(container.get("b"), {"n": INT32})
    assert tree.refresh()
    for look in (3, 2):
        assert json.loads(read(tree, "b/.zattrs"))["n"] == 7
        tree = reopened(tree, look)
    tree.container.close()


def test_what_a_document_showed_stays_when_the_array_goes(tree: Tree) -> None:
    """`.zattrs` showed what the crate had changed; who removes or replaces `.zarray` does not change it back."""
    for name in "bc":
        write(tree, f"{name}/.zarray", v2((3,), (2,), ".").content)
        write(tree, f"{name}/.zattrs", b'{"n": 1}')
    tree.commit()
    with Container.open(f"{tree.container.store.url}/t.af", "a") as container:
        for name in "bc":
            container.set_attributes(container.get(name), {"n": INT32})
    assert tree.refresh()
    unlink(tree, "b/.zarray")
    write(tree, "c/.zarray", v2((3,), (2,), ".").content.replace(b"|u1", b">i8"))
    for _ in range(2):
        assert [json.loads(read(tree, f"{name}/.zattrs"))["n"] for name in "bc"] == [7, 7]
        tree = reopened(tree)
    tree.container.close()
