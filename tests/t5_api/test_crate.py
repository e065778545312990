"""What the API writes, the Rust crate reads with the same values, and the other way round; and the files of a tree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import arrayfs
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import open_tree
from tests.t4_fuse.promises import keeps
from tests.t5_api.tree_values import document_of, read_file, values_of
from tests.t7_interop import crate
from tests.t7_interop.reading import matches


@pytest.mark.parametrize("options", crate.CRATES)
def test_the_crate_reads_what_the_api_wrote(path: str, options: tuple[str, ...]) -> None:
    values = np.arange(35, dtype="<f8").reshape(5, 7)
    with arrayfs.open(path, "x", codec="zstd") as container:
        array = container.create(
            "g/t", shape=(3, 7), chunks=(2, 4), dtype="f8", fill_value=-1, attributes={"unit": "K", "n": 3},
            dimension_names=("y", "x"), codec="lz4",
        )  # fmt: skip
        array[...] = values[:3]
        container.commit()
        array.append(values[3:])
        array.erase_chunk((0, 1))
        array.store_encoded_chunk((1, 0), array.retrieve_encoded_chunk((1, 0)) or b"")
        container.create("names", shape=(2,), dtype=str)[...] = ["a", "é"]
        container.create("gone", shape=(2,), dtype="u1")[...] = 1
        container.commit()
        del container["gone"]
        container.rename("names", "g/names")
    expected = values.copy()
    expected[:2, 4:] = -1
    found = crate.reads(Path(path), *options)
    assert "gone" not in found
    assert found["g/t"]["shape"] == [5, 7]
    assert found["g/t"]["attributes"].keys() == {"unit", "n"}
    assert matches(expected.tobytes(), found["g/t"], "data_")
    assert "g/names" in found
    with arrayfs.open(path) as container:
        np.testing.assert_array_equal(container["g/t"][...], expected)
        assert container["g/names"][...].tolist() == ["a", "é"]


@keeps("What arrayfs writes from Python is what a mount shows, and the other way round")
def test_a_tree_shows_what_the_api_wrote_and_the_api_what_was_written_there(path: str) -> None:
    with arrayfs.open(path, "x") as container:
        container.create("t", shape=(3,), chunks=(2,), dtype="i2", fill_value=7, attributes={"a": None})[2] = 5
    tree = open_tree(path, mode="a")
    np.testing.assert_array_equal(values_of(tree, "t"), [7, 7, 5])
    assert (read_file(tree, "t/c/1"), read_file(tree, "t/c/0")) == (b"\5\0\7\0", None)
    document = document_of(tree, "t")
    assert (document["attributes"], document["shape"]) == ({"a": None}, [3])
    directory = tree.lookup(ROOT, "t")
    assert directory is not None
    below = tree.lookup(directory.ino, "c")
    assert below is not None
    _, handle = tree.make(below.ino, "0", 0o644, exclusive=False, write=True, truncate=True)
    handle.write(0, b"\1\0\2\0")
    handle.release()
    tree.unlink(below.ino, "1")
    tree.close()
    with arrayfs.open(path) as container:
        assert (container["t"][...].tolist(), container["t"].list_chunks()) == ([1, 2, 7], [(0,)])
