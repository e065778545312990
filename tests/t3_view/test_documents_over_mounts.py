"""What becomes of an array whose document goes, or stops making sense, also over a commit and in the next mount.

Each was found by the state machine of `test_tree_machine.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from arrayfs.container.container import Container
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.tree_model import Document, v2, v3

NATIVE, OPAQUE = v3((3,), (2,)), v3((3,), (2,), native=False)
DOTS, SLASHES = v2((3,), (2,), "."), v2((3,), (2,), "/")
CLIPPED = b"a\0"  # of the chunk file b"ab", what lies inside a shape of 3


@pytest.fixture(params=[2, 3], ids=["v2 look", "v3 look"])
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = open_tree(url, mode="a", look=request.param)
    yield tree
    tree.container.close()


def reopened(tree: Tree, look: int = 3) -> Tree:
    url = f"{tree.container.store.url}/t.af"
    tree.close()
    return open_tree(url, mode="a", look=look)


def ino(tree: Tree, path: str) -> int:
    found = ROOT
    for name in path.split("/") if path else ():
        attr = tree.lookup(found, name)
        assert attr is not None, path
        found = attr.ino
    return found


def write(tree: Tree, path: str, content: bytes) -> None:
    """Create or replace a file, and the directories above it."""
    *above, name = path.split("/")
    parent = ROOT
    for directory in above:
        attr = tree.lookup(parent, directory) or tree.mkdir(parent, directory, 0o755)
        parent = attr.ino
    handle = tree.open(tree.create(parent, name, 0o644, False).ino, write=True, truncate=True)
    handle.write(0, content)
    handle.flush()
    handle.release()


def read(tree: Tree, path: str) -> bytes:
    handle = tree.open(ino(tree, path), write=False, truncate=False)
    content = bytes(handle.read(0, 4096))
    handle.release()
    return content


def unlink(tree: Tree, path: str) -> None:
    parent, _, name = path.rpartition("/")
    tree.unlink(ino(tree, parent), name)


def listed(tree: Tree, path: str = "") -> list[str]:
    return sorted(name for name, _, _ in tree.opendir(ino(tree, path)).entries(0))


def put_array(tree: Tree, document: Document, folder: str = "a") -> str:
    """An array with its chunk 1, at the edge; returns the chunk file's path."""
    keys = document.prefix + "/1" if document.prefix else "1"
    write(tree, f"{folder}/{document.name}", document.content)
    write(tree, f"{folder}/{keys}", b"ab")
    return f"{folder}/{keys}"


def is_chunk(tree: Tree, path: str) -> bool:
    """Whether what is written under this name is clipped, or kept in an opaque array."""
    write(tree, path, b"cd")
    return read(tree, path) == b"c\0" or any(
        name.startswith(".arrayfs/chunks/") for name in tree.container.names_of_arrays()
    )


@pytest.mark.parametrize("document", [NATIVE, OPAQUE, DOTS], ids=["native", "opaque", "v2"])
def test_no_document_appears_because_one_goes(tree: Tree, document: Document) -> None:
    put_array(tree, document)
    before = listed(tree, "a")
    unlink(tree, f"a/{document.name}")
    assert listed(tree, "a") == [name for name in before if name != document.name]
    assert document.name not in listed(tree)


@pytest.mark.parametrize("document", [NATIVE, OPAQUE, DOTS, SLASHES], ids=["native", "opaque", "dots", "slashes"])
@pytest.mark.parametrize("look", [2, 3])
def test_chunks_outlive_their_document_and_are_chunks_again_when_it_comes_back(
    tree: Tree, document: Document, look: int
) -> None:
    chunk = put_array(tree, document)
    content = read(tree, chunk)
    assert content == (CLIPPED if document.native else b"ab")
    unlink(tree, f"a/{document.name}")
    tree = reopened(tree, look)
    assert document.name not in listed(tree, "a")
    assert read(tree, chunk) == content
    tree = reopened(tree, 5 - look)
    write(tree, f"a/{document.name}", document.content)
    assert read(tree, chunk) == content
    assert is_chunk(tree, chunk)
    tree.close()


@pytest.mark.parametrize("document", [NATIVE, OPAQUE, DOTS, SLASHES], ids=["native", "opaque", "dots", "slashes"])
@pytest.mark.parametrize("folder", ["a", "a/b"])
def test_chunks_outlive_a_document_that_does_not_parse(tree: Tree, document: Document, folder: str) -> None:
    chunk = put_array(tree, document, folder)
    content = read(tree, chunk)
    write(tree, f"{folder}/{document.name}", document.content[:-1])
    assert read(tree, chunk) == content
    tree = reopened(tree, 2)
    assert read(tree, chunk) == content
    assert read(tree, f"{folder}/{document.name}") == document.content[:-1]
    write(tree, f"{folder}/{document.name}", document.content)
    assert read(tree, chunk) == content
    assert is_chunk(tree, chunk)
    tree.close()


def test_root_array_whose_document_does_not_parse_stays_where_it_is(tree: Tree) -> None:
    write(tree, "zarr.json", NATIVE.content)
    write(tree, "c/1", b"ab")
    write(tree, "zarr.json", NATIVE.content[:-1])
    tree = reopened(tree)
    assert listed(tree) == ["c", "zarr.json"]
    assert read(tree, "c/1") == CLIPPED
    tree.close()


def test_document_beside_one_that_does_not_parse_is_left_alone(tree: Tree) -> None:
    write(tree, "a/zarr.json", NATIVE.content)
    write(tree, "a/zarr.json", NATIVE.content[:-1])
    write(tree, "a/.zarray", DOTS.content)
    tree = reopened(tree, 2)
    assert read(tree, "a/.zarray") == DOTS.content
    tree.close()


@pytest.mark.parametrize("content", [b'{"zarr_format": 3, "node_type": "array"}', b'"text"', b"7"])
def test_array_whose_document_means_nothing_known_is_plain_files(tree: Tree, content: bytes) -> None:
    """The old shape must not go on clipping what is written now."""
    chunk = put_array(tree, NATIVE)
    write(tree, "a/zarr.json", content)
    assert read(tree, chunk) == CLIPPED
    write(tree, chunk, b"ab")
    assert read(tree, chunk) == b"ab"
    tree = reopened(tree)
    assert read(tree, chunk) == b"ab"
    assert read(tree, "a/zarr.json") == content
    tree.close()
