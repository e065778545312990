"""Plain files as arrays of pieces: a write stores the pieces that changed, whatever is cut never comes back."""

from __future__ import annotations

import tracemalloc
import uuid

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.errors import FormatError
from arrayfs.format.model import AttributeValue, DType
from arrayfs.view import draft as draft_module
from arrayfs.view import plain
from arrayfs.view.draft import PIECE_SIZE
from arrayfs.view.files import FILE_LIMIT
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t4_fuse.promises import defends

SMALL_PIECE = 16


def new_tree() -> Tree:
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    return open_tree(url, mode="a")


def reopened(tree: Tree) -> Tree:
    url = f"{tree.container.store.url}/t.af"
    tree.close()
    return open_tree(url, mode="a")


def write(tree: Tree, name: str, offset: int, data: bytes) -> int:
    attr = tree.create(ROOT, name, 0o644, False)
    handle = tree.open(attr.ino, write=True, truncate=False)
    handle.write(offset, data)
    handle.flush()
    handle.release()
    return attr.ino


def content(tree: Tree, name: str, offset: int = 0, size: int = 1 << 26) -> bytes:
    attr = tree.lookup(ROOT, name)
    assert attr is not None
    handle = tree.open(attr.ino, write=False, truncate=False)
    data = bytes(handle.read(offset, size))
    handle.release()
    return data


def written(tree: Tree) -> dict[str, list[int]]:
    """The pieces of each file that the newest layer has."""
    return {meta.name: meta.chunks.coords[:, 0].tolist() for meta in tree.container.stack.newest.footer.arrays}


def test_a_chunk_file_of_gigabytes_too_many_is_a_plain_file_without_them_in_memory() -> None:
    tree = new_tree()
    tree.container.define("a", ArraySpec(DType("Int8"), (4,), (2,)))
    tree = reopened(tree)
    array = tree.lookup(ROOT, "a")
    assert array is not None
    chunks = tree.lookup(array.ino, "c") or tree.mkdir(array.ino, "c", 0o755)
    assert chunks is not None
    made = tree.create(chunks.ino, "0", 0o644, False)
    handle = tree.open(made.ino, write=True, truncate=False)
    handle.truncate(3 << 30)
    tracemalloc.start()
    handle.flush()
    handle.release()
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert tree.getattr(made.ino).size == 3 << 30
    tree.close()


def pattern(size: int) -> bytes:
    return (bytes(range(1, 252)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1, 2 * PIECE_SIZE, 2 * PIECE_SIZE + 7])
def test_sizes_around_pieces_come_back(size: int) -> None:
    tree = new_tree()
    write(tree, "x", 0, pattern(size))
    tree = reopened(tree)
    attr = tree.lookup(ROOT, "x")
    assert attr is not None
    assert attr.size == size
    assert content(tree, "x") == pattern(size)
    assert tree.container.get(".arrayfs/files/x").spec.shape == (-(-size // PIECE_SIZE),)
    tree.close()


def test_only_pieces_that_changed_are_stored() -> None:
    tree = new_tree()
    whole = pattern(4 * PIECE_SIZE)
    write(tree, "x", 0, whole)
    tree.commit()
    write(tree, "x", 2 * PIECE_SIZE - 1, b"..")
    tree.commit()
    assert written(tree) == {".arrayfs/files/x": [1, 2]}
    assert content(tree, "x") == whole[: 2 * PIECE_SIZE - 1] + b".." + whole[2 * PIECE_SIZE + 1 :]
    write(tree, "x", 4 * PIECE_SIZE, b"more")
    tree.commit()
    assert written(tree) == {".arrayfs/files/x": [4]}
    tree.close()


def test_holes_of_a_file_are_zeros_and_take_nothing() -> None:
    tree = new_tree()
    write(tree, "x", 5 * PIECE_SIZE + 3, b"end")
    tree = reopened(tree)
    assert written(tree) == {".arrayfs/files/x": [5]}
    assert content(tree, "x") == bytes(5 * PIECE_SIZE + 3) + b"end"
    assert content(tree, "x", PIECE_SIZE - 2, 4) == bytes(4)
    tree.close()


@pytest.mark.parametrize("cut", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1])
@pytest.mark.parametrize("commits", [False, True], ids=["at once", "over versions"])
def test_what_was_cut_off_never_comes_back(cut: int, commits: bool) -> None:
    tree = new_tree()
    size = 2 * PIECE_SIZE + 9
    write(tree, "x", 0, pattern(size))
    for new_size in (cut, size):
        tree = reopened(tree) if commits else tree
        attr = tree.lookup(ROOT, "x")
        assert attr is not None
        assert tree.setattr(attr.ino, size=new_size).size == new_size
    assert content(tree, "x") == pattern(cut).ljust(size, b"\0")
    tree = reopened(tree)
    assert content(tree, "x") == pattern(cut).ljust(size, b"\0")
    tree.close()


@pytest.mark.parametrize("cut", [0, 1, PIECE_SIZE - 1, PIECE_SIZE, PIECE_SIZE + 1])
def test_what_one_handle_cut_off_before_it_grew_again_never_comes_back(cut: int) -> None:
    tree = new_tree()
    size = 2 * PIECE_SIZE + 9
    write(tree, "x", 0, pattern(size))
    tree = reopened(tree)
    attr = tree.lookup(ROOT, "x")
    assert attr is not None
    handle = tree.open(attr.ino, write=True, truncate=not cut)
    handle.truncate(cut)
    handle.truncate(size)
    handle.flush()
    handle.release()
    tree = reopened(tree)
    assert content(tree, "x") == pattern(cut).ljust(size, b"\0")
    tree.close()


class FileMachine(RuleBasedStateMachine):
    """One file, over commits and remounts, with small pieces."""

    @initialize()
    def start(self) -> None:
        self.tree = new_tree()
        self.model = bytearray()
        write(self.tree, "x", 0, b"")

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            self.tree.container.close()

    @rule(offset=st.integers(0, 60), data=st.binary(min_size=1, max_size=40))
    def write(self, offset: int, data: bytes) -> None:
        write(self.tree, "x", offset, data)
        self.model.extend(bytes(max(0, offset - len(self.model))))
        self.model[offset : offset + len(data)] = data

    @rule(size=st.integers(0, 80))
    def truncate(self, size: int) -> None:
        attr = self.tree.lookup(ROOT, "x")
        assert attr is not None
        self.tree.setattr(attr.ino, size=size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule(sizes=st.lists(st.integers(0, 80), max_size=3), emptied=st.booleans())
    def truncate_by_handle(self, sizes: list[int], emptied: bool) -> None:
        attr = self.tree.lookup(ROOT, "x")
        assert attr is not None
        handle = self.tree.open(attr.ino, write=True, truncate=emptied)
        for size in [0] * emptied + sizes:
            handle.truncate(size)
            del self.model[size:]
            self.model.extend(bytes(size - len(self.model)))
        handle.flush()
        handle.release()

    @rule()
    def commit(self) -> None:
        self.tree.commit()

    @rule()
    def remount(self) -> None:
        self.tree = reopened(self.tree)

    @invariant()
    def same_content(self) -> None:
        if hasattr(self, "tree"):
            assert content(self.tree, "x") == self.model
            assert content(self.tree, "x", 15, 3) == self.model[15:18]


def test_file_does_what_a_bytearray_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_module, "PIECE_SIZE", SMALL_PIECE)
    monkeypatch.setattr(plain, "PIECE_SIZE", SMALL_PIECE)
    run_state_machine_as_test(FileMachine, settings=examples(50, steps=20))


@pytest.mark.parametrize("stored", [b"", b"\0" * 7, b"\1\0\0\0\2\0\0\0ab", b"\0\0\0\0\3\0\0\0ab"])
def test_piece_that_is_no_element_is_an_error(stored: bytes) -> None:
    with pytest.raises(FormatError, match="not one Binary element"):
        plain.content_of(stored)


def test_piece_and_element_are_inverses() -> None:
    assert bytes(plain.content_of(plain.element(b"abc"))) == b"abc"
    assert plain.element(b"") == bytes(8)


DEVICE = AttributeValue("UInt32", (0o020600).to_bytes(4, "little"))
LINK = AttributeValue("UInt32", (0o120777).to_bytes(4, "little"))
SIX = AttributeValue("UInt64", (6).to_bytes(8, "little"))


@pytest.mark.parametrize(
    ("attributes", "want"),
    [
        ({}, (2 * PIECE_SIZE, 0o100644, None)),
        ({"size": AttributeValue("Int64", (5).to_bytes(8, "little"))}, (5, 0o100644, None)),
        ({"size": AttributeValue("Int64", (-5).to_bytes(8, "little", signed=True))}, (2 * PIECE_SIZE, 0o100644, None)),
        ({"size": AttributeValue("UInt64", (1 << 63).to_bytes(8, "little"))}, (2 * PIECE_SIZE, 0o100644, None)),
        ({"size": AttributeValue("String", b"5")}, (2 * PIECE_SIZE, 0o100644, None)),
        ({"mode": AttributeValue("UInt32", (0o177777).to_bytes(4, "little"))}, (2 * PIECE_SIZE, 0o107777, None)),
        ({"mode": DEVICE, "size": SIX}, (6, 0o100600, None)),
        ({"mode": LINK, "size": SIX}, (6, 0o120777, None)),
        ({"mode": LINK}, (2 * PIECE_SIZE, 0o100777, None)),  # no path is as long
        ({"mtime_ns": AttributeValue("Int64", (7).to_bytes(8, "little"))}, (2 * PIECE_SIZE, 0o100644, 7)),
    ],
)
@defends("whatever its attributes say, a stored file is a file or a link.")
def test_attributes_that_anyone_may_have_written(
    attributes: dict[str, AttributeValue], want: tuple[int, int, int | None]
) -> None:
    tree = new_tree()
    array = tree.container.define(".arrayfs/files/x", plain.spec_of(2 * PIECE_SIZE), attributes)
    assert plain.read_attributes(array) == want
    tree.container.close()


def test_two_names_of_a_file_of_holes() -> None:
    """Each is stored by itself, and what nobody wrote is not gone through."""
    tree = new_tree()
    size = FILE_LIMIT - PIECE_SIZE
    write(tree, "one", size - 1, b"x")
    tree = reopened(tree)
    found = tree.lookup(ROOT, "one")
    assert found is not None
    assert found.size == size
    tree.link(found.ino, ROOT, "two")
    tree.unlink(ROOT, "one")
    tree = reopened(tree)
    assert content(tree, "two", size - 2) == b"\0x"
    assert tree.lookup(ROOT, "one") is None
