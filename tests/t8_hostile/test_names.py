"""Array names from someone who means harm: nothing leaves its directory, nothing hides another array."""

from __future__ import annotations

import json
import os
import unicodedata

import pytest

from arrayfs.view import paths
from arrayfs.view.tree import Tree
from tests.t2_container.making import layer_bytes
from tests.t4_fuse.promises import defends
from tests.t8_hostile.containers import open_files
from tests.t8_hostile.crafted import array, at, content, names_in, tree_of
from tests.t8_hostile.walking import walk

# The name in the container, and the directories in which its array is then found.
SHOWN = {
    "../x": ("%2E%2E", "x"),
    "../../../../etc/passwd": ("%2E%2E", "%2E%2E", "%2E%2E", "%2E%2E", "etc", "passwd"),
    "/abs": ("%", "abs"),
    "a//b": ("a", "%", "b"),
    "a/": ("a", "%"),
    ".": ("%2E",),
    "..": ("%2E%2E",),
    "x/./y": ("x", "%2E", "y"),
    "nul\0l": ("nul%00l",),
    "new\nline": ("new\nline",),
    "\x1b[31mred": ("\x1b[31mred",),
    "zarr.json": ("%7Aarr.json",),
    "g/.zarray": ("g", "%2Ezarray"),
    "g/.zattrs/x": ("g", "%2Ezattrs", "x"),
    ".zmetadata": ("%2Ezmetadata",),
    ".arrayfs": ("%2Earrayfs",),
    "g/.arrayfs/commit": ("g", "%2Earrayfs", "commit"),
    "%2E%2E": ("%252E%252E",),
    "%": ("%25",),
    "": ("%",),
    "e\u0301": ("e\u0301",),
    "é": ("é",),
}


@defends(
    "No array name can reach outside its directory: .., ., an empty component, NUL and names over 255 bytes are shown "
    "percent-escaped"
)
@pytest.mark.parametrize("look", [3, 2])
@pytest.mark.parametrize("name", SHOWN)
def test_a_name_is_a_path_below_the_root(name: str, look: int) -> None:
    tree = tree_of(array(name), look=look)
    chunk = ("c", "0") if look == 3 else ("0",)
    assert content(tree, *SHOWN[name], *chunk) == b"abcd"
    assert walk(tree) == []
    assert [paths.unshow(part) for part in SHOWN[name]] == name.split("/")


def test_all_of_them_together_are_different_directories() -> None:
    tree = tree_of(*map(array, SHOWN))
    assert walk(tree) == []
    assert len({at(tree, *shown) for shown in SHOWN.values()}) == len(SHOWN)
    assert unicodedata.normalize("NFC", "e\u0301") == "é"
    assert {"e\u0301", "é"} <= set(names_in(tree))


def test_long_names_have_255_bytes_and_stay_apart() -> None:
    names = ["x" * 256, "x" * 257, "é" * 200, "%" * 200 + "\0", "\0" * 100, "x" * 100_000]
    tree = tree_of(*map(array, names))
    shown = names_in(tree)
    assert len(shown) == len(names)
    assert max(len(name.encode()) for name in shown) <= paths.NAME_MAX
    assert walk(tree) == []


@defends("Where two arrays have the same shown name, the first is shown and the other named in the warnings.")
def test_names_that_collide_when_they_are_shown() -> None:
    long = "x" * 300
    tree = tree_of(array(long), array(paths.show(long), rows=()))
    assert names_in(tree) == [paths.show(long)]
    assert content(tree, paths.show(long), "c", "0") == b"abcd"
    assert any("have the same shown name; the first is shown" in warning for warning in tree.warnings)


@defends(
    "An array whose name lies among another's chunks (A/c/0/0 beside A) is a directory in the place of that chunk."
)
def test_an_array_among_the_chunks_of_another() -> None:
    rows = tuple(((row, 0), 0, 0, 1) for row in range(2))
    around, among = array("A", (2, 1), (1, 1), rows), array("A/c/0/0")
    for metas in ((around, among), (among, around)):
        tree = tree_of(*metas)
        assert walk(tree) == []
        assert content(tree, "A", "c", "1", "0") == b"a"
        assert content(tree, "A", "c", "0", "0", "c", "0") == b"abcd"


@defends("Names of stored files that no file can have are not shown and are named in the warnings.")
@pytest.mark.parametrize(
    "name",
    [
        "files/../x", "files/a/./b", "files//x", "files/.arrayfs/commit", "files/nul\0", "files/" + "x" * 256,
        "chunks/../x", "chunks//", "hidden/../zarr.json", "hidden/.arrayfs/x",
    ],
)  # fmt: skip
def test_stored_files_cannot_leave_the_tree(name: str) -> None:
    tree = tree_of(array(f".arrayfs/{name}"), array("fine"))
    assert names_in(tree) in (["fine"], ["a", "fine"])
    assert any("cannot be shown" in warning for warning in tree.warnings)
    assert content(tree, "fine", "c", "0") == b"abcd"
    assert walk(tree) == []


@pytest.mark.parametrize("name", ["", "files", "files/", "chunks", "chunks/", "hidden", "hidden/", "other/x"])
def test_reserved_names_without_a_meaning_do_nothing(name: str) -> None:
    tree = tree_of(array(f".arrayfs/{name}"), array("fine"))
    assert content(tree, "fine", "c", "0") == b"abcd"
    assert walk(tree) == []


@pytest.mark.parametrize(("shape", "chunks"), [((), ()), ((2, 2), (1, 1)), ((4,), (0,)), ((4,), (4,))])
def test_a_stored_file_of_another_shape_is_not_shown(shape: tuple[int, ...], chunks: tuple[int, ...]) -> None:
    tree = tree_of(array(".arrayfs/files/x", shape, chunks, rows=()), array("fine"))
    assert names_in(tree) == ["fine"]
    assert "no stored file" in tree.warnings[0]


def test_a_name_of_thousands_of_directories_costs_what_it_is_long() -> None:
    deep = "a/" * 800
    tree = Tree(open_files({"t.af": layer_bytes(array(deep + "b"), array(deep + "c"), data=b"abcd")}))
    assert walk(tree) == []
    assert content(tree, *["a"] * 800, "c", "c", "0") == b"abcd"


def test_names_say_nothing_to_a_document() -> None:
    tree = tree_of(array('"}, "zarr_format": 9, "x": {"'), array("a"))
    assert json.loads(content(tree, "zarr.json"))["zarr_format"] == 3
    assert os.sep not in "".join(names_in(tree))
