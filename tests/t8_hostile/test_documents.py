"""Documents as no library writes them, put there by a client or in a container that somebody made."""

from __future__ import annotations

import json

import pytest

from arrayfs.view import zarr3
from arrayfs.view.metadata import MAX_DEPTH, ArrayDocument, first_json
from arrayfs.view.tree import Tree
from tests.t2_container.making import new_container, new_url
from tests.t4_fuse.promises import defends
from tests.t8_hostile.containers import files_of, open_files, parts, write
from tests.t8_hostile.crafted import at, content, names_in, why_not
from tests.t8_hostile.documents import V2, V3, nested
from tests.t8_hostile.measured import measure, watching
from tests.t8_hostile.walking import walk

MIB = 1 << 20


@pytest.fixture
def tree() -> Tree:
    return Tree(new_container())


@defends("JSON nested more than 256 levels deep is no document")
@pytest.mark.parametrize("pair", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 10_000, 1_000_000])
def test_deeply_nested_documents(tree: Tree, pair: tuple[bytes, bytes], depth: int) -> None:
    body = nested(depth, *pair) if pair[0] == b"[" else pair[0] * depth + b"1" + pair[1] * depth
    deep = V3["native"].replace(b'"n": [1, 2]', b'"n": ' + body)
    with watching(), pytest.raises(ValueError, match="nested"):
        measure(lambda: first_json(deep))
    directory = tree.mkdir(1, "a", 0o755).ino
    write(tree, directory, "zarr.json", deep)
    write(tree, directory, ".zattrs", nested(depth, *pair))
    assert content(tree, "a", "zarr.json") == deep
    assert names_in(tree, directory) == [".zattrs"]
    assert walk(tree) == []
    tree.commit("kept as it is")


def test_as_deep_as_allowed(tree: Tree) -> None:
    assert first_json(nested(MAX_DEPTH)) is not None


@defends("of two equal keys the last counts")
def test_duplicate_keys(tree: Tree) -> None:
    twice = V3["native"].replace(b'"shape": [4, 4]', b'"shape": [9, 9], "shape": [4, 4]', 1)
    parsed = zarr3.parse(twice)
    assert isinstance(parsed, ArrayDocument)
    assert parsed.shape == json.loads(twice)["shape"] == [4, 4] or parsed.shape == (4, 4)
    directory = tree.mkdir(1, "a", 0o755).ino
    write(tree, directory, "zarr.json", twice)
    assert content(tree, "a", "zarr.json") == twice


ABSURD = {
    "shape beyond 64 bits": (b'"shape": [4, 4]', b'"shape": [18446744073709551616, 18446744073709551616]'),
    "shape of thousands of digits": (b'"shape": [4, 4]', b'"shape": [' + b"9" * 5000 + b", 4]"),
    "negative shape": (b'"shape": [4, 4]', b'"shape": [-1, 4]'),
    "chunks of nothing": (b'"chunk_shape": [2, 2]', b'"chunk_shape": [0, 2]'),
    "endless grid": (b'"shape": [4, 4]', b'"shape": [9223372036854775807, 9223372036854775807]'),
    "thousands of axes": (b'"shape": [4, 4]', b'"shape": [' + b"1, " * 9999 + b"1]"),
    "another type": (b'"data_type": "int32"', b'"data_type": {"name": ["int32"]}'),
    "a fill value without end": (b'"fill_value": 7', b'"fill_value": ' + b"7" * 100_000),
    "a name of megabytes": (b'"units": "m"', b'"' + b"u" * MIB + b'": "' + b"m" * MIB + b'"'),
    "names that are none": (b'"dimension_names": ["y", null]', b'"dimension_names": ["\\ud800", "\\ud800"]'),
    "an int that is a float": (b'"zarr_format": 3', b'"zarr_format": 3e400'),
}


@pytest.mark.parametrize("case", ABSURD)
def test_absurd_documents_are_kept_and_harm_nothing(tree: Tree, case: str) -> None:
    old, new = ABSURD[case]
    assert V3["native"].count(old) == 1
    document = V3["native"].replace(old, new)
    directory = tree.mkdir(1, "a", 0o755).ino
    write(tree, directory, "0", b"a file")
    with watching():
        assert measure(lambda: write(tree, directory, "zarr.json", document)).peak < 16 * MIB + 64 * len(document)
    assert content(tree, "a", "zarr.json") == document
    assert content(tree, "a", "0") == b"a file"
    assert walk(tree) == []
    tree.commit(case)
    assert content(tree, "a", "zarr.json") == document


def test_documents_of_both_formats_that_contradict_each_other(tree: Tree) -> None:
    directory = tree.mkdir(1, "a", 0o755).ino
    write(tree, directory, "zarr.json", V3["native"])
    write(tree, directory, ".zarray", V2["text"])
    write(tree, directory, ".zgroup", V2["group"])
    write(tree, directory, ".zattrs", b"\xff\xfe")
    assert walk(tree) == []
    assert at(tree, "a", ".zarray")
    tree.commit("all are kept")
    assert content(tree, "a", ".zattrs") == b"\xff\xfe"


@defends(
    "What is not damaged stays readable: an array, a document or a stored file that makes no sense does not keep the "
    "listing that it stands in, or its neighbours, from being read."
)
@pytest.mark.parametrize("damaged", ["README", "zarr.json", "notes"])
def test_a_damaged_document_is_listed_and_its_neighbours_read(damaged: str) -> None:
    url = new_url()
    tree = Tree(new_container(url))
    contents = {"README": b"read me", "zarr.json": V3["group"], "notes": b"notes"}
    for name, text in contents.items():
        write(tree, 1, name, text)
        tree.commit(name)  # a block of its own
    tree.close()
    files = files_of(url)
    layer = f"t.{list(contents).index(damaged) + 1}.af"
    data, _, _ = parts(files[layer])
    for place in range(len(data)):
        broken = data[:place] + bytes((data[place] ^ 0xFF,)) + files[layer][place + 1 :]
        tree = Tree(open_files({**files, layer: broken}))
        assert [name for name, _, _ in tree.opendir(1).entries(0)] == list(contents)
        walk(tree)
        assert "checksum" in why_not(tree, damaged)
        assert all(content(tree, name) == text for name, text in contents.items() if name != damaged)
