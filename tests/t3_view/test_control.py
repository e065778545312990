"""The control directory: what is shown there is of the moment in which it is looked up, for each who opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import RefusedError
from arrayfs.view.handles import OpenFile
from arrayfs.view.tree import Tree, open_tree
from tests.t4_fuse.promises import keeps

WHOLE = 1 << 20


@pytest.fixture
def tree(tmp_path: Path) -> Any:
    path = str(tmp_path / "v.af")
    Container.create(path)
    tree = open_tree(path, mode="a")
    yield tree
    tree.close()


def look_up(tree: Tree, name: str) -> int:
    control = tree.lookup(1, ".arrayfs")
    assert control is not None
    found = tree.lookup(control.ino, name)
    assert found is not None
    return found.ino


def opened(tree: Tree, name: str = "status.json") -> OpenFile:
    return tree.open(look_up(tree, name), write=False, truncate=False)


def arrays(file: OpenFile) -> int:
    data = bytes(file.read(0, WHOLE))
    assert file.size == len(data)
    return int(json.loads(data)["arrays"])


def write(tree: Tree, name: str, data: bytes = b"x") -> int:
    made = tree.create(1, name, 0o644, True)
    file = tree.open(made.ino, write=True, truncate=False)
    file.write(0, data)
    file.release()
    tree.commit()
    return made.ino


@keeps("Who opens .arrayfs/status.json reads what holds at that moment, also while others have it open.")
def test_each_open_of_the_status_has_its_own_content(tree: Tree) -> None:
    first = opened(tree)
    write(tree, "a")
    second = opened(tree)
    write(tree, "b")
    third = opened(tree)
    assert [arrays(file) for file in (first, second, third, first)] == [0, 1, 2, 0]
    assert len({first.ino, second.ino, third.ino}) == 3


def test_inodes_are_used_again_so_that_polling_beside_an_open_file_costs_nothing(tree: Tree) -> None:
    held = opened(tree)
    polls = set()
    for _ in range(10):
        file = opened(tree)
        polls.add(file.ino)
        file.release()
    assert len(polls) == 1
    assert held.ino not in polls


def test_who_looked_it_up_reads_it_also_when_somebody_else_closed_it_meanwhile(tree: Tree) -> None:
    first = opened(tree)
    first.read(0, WHOLE)
    number = first.ino
    first.release()
    assert arrays(tree.open(number, write=False, truncate=False)) == 0


def test_the_log_is_empty_unless_there_is_something_to_show(tree: Tree) -> None:
    assert opened(tree, "log").read(0, WHOLE) == b""
    tree.control.recent_operations = lambda: b"a line\n"
    assert opened(tree, "log").read(0, WHOLE) == b"a line\n"


def test_who_serves_the_tree_adds_to_the_status(tree: Tree) -> None:
    tree.control.figures["operations"] = lambda: {"read": 5}
    assert json.loads(bytes(opened(tree).read(0, WHOLE)))["operations"] == {"read": 5}


@pytest.mark.parametrize("name", ["status.json", "log"])
def test_what_is_shown_cannot_be_written(tree: Tree, name: str) -> None:
    number = look_up(tree, name)
    for truncate in (False, True):
        with pytest.raises(RefusedError, match=f"{name} is made by arrayfs"):
            tree.open(number, write=True, truncate=truncate)
    with pytest.raises(RefusedError):
        tree.setattr(number, size=0)


def test_an_inode_has_a_path_while_it_has_a_name(tree: Tree) -> None:
    folder = tree.mkdir(1, "d", 0o755).ino
    assert tree.control.path_of(1) == ""
    assert tree.control.path_of(folder) == "d"
    file = tree.create(folder, "f", 0o644, True).ino
    assert tree.control.path_of(file) == "d/f"
    handle = tree.open(file, write=True, truncate=False)
    tree.unlink(folder, "f")
    assert tree.control.path_of(file) is None
    handle.release()
    assert tree.control.path_of(987654321) is None


def test_a_chunk_that_nobody_touched_has_a_path_too(tree: Tree) -> None:
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [2],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
    }
    folder = tree.mkdir(1, "t", 0o755).ino
    made = tree.create(folder, "zarr.json", 0o644, True)
    file = tree.open(made.ino, write=True, truncate=False)
    file.write(0, json.dumps(document).encode())
    file.release()
    chunks = tree.mkdir(folder, "c", 0o755).ino
    chunk = tree.create(chunks, "1", 0o644, True)
    file = tree.open(chunk.ino, write=True, truncate=False)
    file.write(0, b"x")
    file.release()
    found = tree.lookup(chunks, "1")
    assert found is not None
    assert tree.control.path_of(found.ino) == "t/c/1"
