"""A directory removed with all that is below it, and what of it is open stays readable."""

from __future__ import annotations

import itertools
import json

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import NoEntryError
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.zarr3_documents import document
from tests.t4_fuse.promises import keeps

_serials = itertools.count()


@pytest.fixture
def url() -> str:
    """A container with an array `a/t` of three chunks, one of another length, and files beside them."""
    made = f"memory://removal-{next(_serials)}/c.af"
    Container.create(made)
    tree = open_tree(made, mode="a")
    for path, content in {
        "a/t/zarr.json": document(shape=[6], data_type="uint8"), "a/t/c/0": b"ab", "a/t/c/1": b"cd", "a/t/c/2": b"long",
        "a/t/README": b"r", "a/empty/x": b"", "b": b"stays",
    }.items():  # fmt: skip
        write(tree, path, content)
    tree.close()
    return made


def place(tree: Tree, path: str) -> tuple[int, str]:
    *above, name = path.split("/")
    ino = ROOT
    for part in above:
        found = tree.lookup(ino, part)
        ino = (found or tree.mkdir(ino, part, 0o755)).ino
    return ino, name


def write(tree: Tree, path: str, content: bytes) -> None:
    _, handle = tree.make(*place(tree, path), 0o644, exclusive=False, write=True, truncate=True)
    handle.write(0, content)
    handle.flush()
    handle.release()


def names(tree: Tree, path: str = "") -> list[str]:
    found = tree.lookup(*place(tree, path)) if path else None
    return sorted(name for name, _, _ in tree.opendir(found.ino if found else ROOT).entries(0))


@pytest.mark.parametrize("journaled", [False, True])
@pytest.mark.parametrize(
    ("path", "left"), [("a", ["b"]), ("a/t", ["a", "b"]), ("a/t/c", ["a", "b"]), ("a/t/README", ["a", "b"])]
)
def test_all_below_is_gone_now_and_later(url: str, path: str, left: list[str], journaled: bool) -> None:
    tree = open_writable_tree(url) if journaled else open_tree(url, mode="a")
    ino, name = place(tree, path)
    tree.remove_all(ino, name)
    assert tree.lookup(ino, name) is None
    assert names(tree) == left
    tree.close()
    tree = open_tree(url)
    assert names(tree) == left
    if left != ["b"]:
        assert name not in names(tree, path.rpartition("/")[0])
        below = {"a/t": None, "a/t/c": ["README", "zarr.json"], "a/t/README": ["c", "zarr.json"]}[path]
        assert below is None or names(tree, "a/t") == below
    below_it = tuple(f"{prefix}{path}" for prefix in ("", ".arrayfs/files/", ".arrayfs/hidden/"))
    assert [one for one in tree.container.names_of_arrays() if one.startswith(below_it)] == []
    tree.close()


def test_what_is_open_stays_readable(url: str) -> None:
    tree = open_tree(url, mode="a")
    handles = {}
    for path in ("a/t/c/0", "a/t/c/1", "a/t/c/2", "a/t/README"):
        found = tree.lookup(*place(tree, path))
        assert found is not None
        handles[path] = tree.open(found.ino, write=path == "a/t/c/1", truncate=False)
    tree.remove_all(*place(tree, "a"))
    assert [bytes(handle.read(0, 9)) for handle in handles.values()] == [b"ab", b"cd", b"long", b"r"]
    for handle in handles.values():
        handle.release()
    assert names(tree) == ["b"]
    write(tree, "a/t/c/0", b"new")
    assert names(tree, "a/t") == ["c"]
    tree.close()


def test_what_is_not_there_cannot_be_removed(url: str) -> None:
    tree = open_tree(url, mode="a")
    with pytest.raises(NoEntryError):
        tree.remove_all(ROOT, "no")
    tree.close()


@keeps("Removing an array takes the same time however many chunks it has.")
def test_the_index_of_a_removed_array_is_not_made(url: str) -> None:
    tree = open_tree(url, mode="a")
    array = tree.container.get("a/t")
    tree.remove_all(*place(tree, "a/t"))
    tree.commit()
    assert array._index is None
    assert "a/t" not in tree.container
    assert names(tree, "a") == ["empty"]
    tree.close()


def test_what_was_removed_is_in_no_consolidated_metadata(url: str) -> None:
    tree = open_tree(url, mode="a")
    entry = json.loads(document(shape=[6], data_type="uint8"))
    group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
    consolidated = {"kind": "inline", "must_understand": False, "metadata": {"a/t": entry}}
    write(tree, "zarr.json", json.dumps(group | {"consolidated_metadata": consolidated}).encode())
    tree.remove_all(*place(tree, "a/t"))
    found = tree.lookup(ROOT, "zarr.json")
    assert found is not None
    handle = tree.open(found.ino, write=False, truncate=False)
    assert json.loads(bytes(handle.read(0, found.size)))["consolidated_metadata"]["metadata"] == {}
    handle.release()
    tree.close()
