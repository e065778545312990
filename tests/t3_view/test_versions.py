"""The trees of earlier versions beside the newest: their numbers, what is kept of them, arrays beyond all numbers."""

from __future__ import annotations

import gc
import json
import uuid

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.errors import LimitError, ReadOnlyError, RefusedError, StaleError
from arrayfs.format.model import DType
from arrayfs.view.numbers import FIRST_LENT, LAST_LENT, ROOT
from arrayfs.view.tree import Tree, open_tree
from arrayfs.view.versions import KEPT


@pytest.fixture
def url() -> str:
    """Versions 0 to KEPT + 3, each with the file `d/x` of another content and an array `t`."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = open_tree(url, mode="a")
    folder = tree.mkdir(ROOT, "d", 0o755)
    for number in range(KEPT + 3):
        made = tree.create(folder.ino, "x", 0o644, False)
        file = tree.open(made.ino, write=True, truncate=True)
        file.write(0, b"%d" % number)
        file.release()
        tree.commit()
    tree.close()
    with Container.open(url, "a") as container:
        array = container.define("t", ArraySpec(DType("UInt8"), (4,), (2,)))
        container.put(array, (1,), b"ab", 5)
    return url


def ino(tree: Tree, path: str) -> int:
    found = ROOT
    for name in path.split("/"):
        attr = tree.lookup(found, name)
        assert attr is not None, path
        found = attr.ino
    return found


def content(tree: Tree, number: int) -> bytes:
    handle = tree.open(ino(tree, f".arrayfs/versions/{number}/d/x"), write=False, truncate=False)
    data = bytes(handle.read(0, 100))
    handle.release()
    return data


def test_trees_that_nobody_uses_are_closed_and_found_again(url: str) -> None:
    tree = open_tree(url)
    root, old = ino(tree, ".arrayfs/versions/1"), ino(tree, ".arrayfs/versions/1/d/x")
    held = tree.open(ino(tree, ".arrayfs/versions/2/d/x"), write=False, truncate=False)
    for number in range(3, KEPT + 4):
        assert content(tree, number) == b"%d" % (min(number, KEPT + 3) - 1)
    gc.collect()
    with pytest.raises(StaleError, match="its version was closed meanwhile"):
        tree.getattr(old)
    assert bytes(held.read(0, 9)) == b"1"
    assert tree.getattr(held.ino).size == 1
    held.release()
    assert content(tree, 1) == b"0"
    assert ino(tree, ".arrayfs/versions/1") == root
    assert ino(tree, ".arrayfs/versions/1/d/x") != old
    assert [name for name, _, _ in tree.opendir(root).entries(0)] == ["d"]
    tree.close()


def test_numbers_here_are_of_no_other_tree_and_say_where_they_are(url: str) -> None:
    tree = open_tree(url, mode="a")
    seen = {ino(tree, "d/x"), ino(tree, "t/c/1")}
    for number in (KEPT + 4, 3):
        path = f".arrayfs/versions/{number}/d/x"
        assert tree.control.path_of(ino(tree, path)) == path
        seen.add(ino(tree, path))
    chunk = ino(tree, f".arrayfs/versions/{KEPT + 4}/t/c/1")
    assert tree.control.path_of(chunk) == f".arrayfs/versions/{KEPT + 4}/t/c/1"
    assert tree.control.path_of(ino(tree, ".arrayfs/versions/3")) == ".arrayfs/versions/3"
    assert len({*seen, chunk}) == 5
    lent = {*seen, chunk} - {ino(tree, "d/x"), ino(tree, "t/c/1")}
    assert all(FIRST_LENT <= number < LAST_LENT for number in lent)
    for action in (
        lambda: tree.setattr(chunk, size=0),
        lambda: tree.mkdir(ino(tree, ".arrayfs/versions/3"), "new", 0o755),
        lambda: tree.create(FIRST_LENT, "new", 0o644, True),
        lambda: tree.link(chunk, ROOT, "new"),
        lambda: tree.open(chunk, write=True, truncate=False),
    ):
        with pytest.raises(ReadOnlyError):
            action()
    with pytest.raises(RefusedError, match="is no link"):
        tree.readlink(chunk)
    tree.close()


def test_an_array_beyond_all_numbers_is_not_shown_and_its_neighbours_are(url: str) -> None:
    with Container.open(url, "a") as container:
        container.define("huge", ArraySpec(DType("UInt8"), (1 << 30, 1 << 23), (1, 1)))
        container.define("large", ArraySpec(DType("UInt8"), (1 << 30, 1 << 21), (1, 1)))
    tree = open_tree(url)
    newest = f".arrayfs/versions/{tree.container.version}"
    assert tree.lookup(ino(tree, f"{newest}/huge"), "zarr.json") is None
    assert tree.lookup(ino(tree, f"{newest}/large"), "zarr.json") is not None
    assert tree.lookup(ino(tree, "huge"), "zarr.json") is not None
    tree.close()


def test_numbers_end_with_an_error(url: str) -> None:
    tree = open_tree(url)
    old = tree.control.versions.tree(ino(tree, ".arrayfs/versions/1"))
    for _ in range(2047):
        old.numbers.take_range(object(), (1 << 51,))  # type: ignore[arg-type]
    with pytest.raises(LimitError, match="no inode numbers are left for earlier versions"):
        old.numbers.take_range(object(), (1 << 51,))  # type: ignore[arg-type]
    tree.close()


def test_the_status_of_a_mount_of_a_version_says_which(url: str) -> None:
    tree = open_tree(url, version=4)
    file = tree.open(ino(tree, ".arrayfs/status.json"), write=False, truncate=False)
    assert json.loads(bytes(file.read(0, 1 << 20)))["version"] == 4
    file.release()
    tree.close()
