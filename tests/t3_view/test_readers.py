"""A handle that reads an untouched chunk: light, and yet a handle of the inode, whatever becomes of the chunk."""

from __future__ import annotations

import errno
import uuid
from collections.abc import Iterator

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import FormatError, NoEntryError, RefusedError, StaleError
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.handles import OpenFile
from arrayfs.view.nodes import Directory
from arrayfs.view.numbers import ROOT
from arrayfs.view.readers import ChunkReader
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.tree_model import v3

OLD, NEW = b"ab", b"cd"


@pytest.fixture(params=[True, False], ids=["native", "opaque"])
def tree(request: pytest.FixtureRequest) -> Iterator[Tree]:
    """An array `A` of three chunks, the last of them clipped where it is native; all committed."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = open_tree(url, mode="a")
    tree.mkdir(ROOT, "A", 0o755)
    put(tree, "A/zarr.json", v3((5,), (2,), native=request.param).content)
    tree.mkdir(ino(tree, "A"), "c", 0o755)
    for name in "012":
        put(tree, f"A/c/{name}", OLD)
    tree.commit()
    tree.close()
    tree = open_tree(url, mode="a")
    yield tree
    tree.container.close()


def ino(tree: Tree, path: str) -> int:
    found = ROOT
    for name in path.split("/"):
        attr = tree.lookup(found, name)
        if attr is None:
            raise NoEntryError(path)
        found = attr.ino
    return found


def put(tree: Tree, path: str, content: bytes) -> None:
    above, _, name = path.rpartition("/")
    made = tree.create(ino(tree, above) if above else ROOT, name, 0o644, False)
    handle = tree.open_for_writing(made.ino, truncate=True)
    handle.write(0, content)
    handle.release()


def reader(tree: Tree, path: str) -> ChunkReader:
    handle = tree.open(ino(tree, path), write=False, truncate=False)
    assert isinstance(handle, ChunkReader)
    return handle


def array(tree: Tree) -> ZarrArray:
    directory = tree.node(ino(tree, "A"))
    assert isinstance(directory, Directory)
    zarr = tree.documents.zarr(directory)
    assert zarr is not None
    return zarr


def test_reading_makes_no_object_and_leaves_nothing_behind(tree: Tree) -> None:
    handle = reader(tree, "A/c/1")
    assert handle.size == 2
    assert [bytes(handle.read(*place)) for place in ((0, 9), (1, 1), (2, 5))] == [OLD, b"b", b""]
    assert not array(tree).files
    again = reader(tree, "A/c/1")
    assert not again.alone
    again.release()
    assert handle.alone
    handle.release()
    assert not array(tree).readers


def test_nothing_is_changed_through_it(tree: Tree) -> None:
    handle = reader(tree, "A/c/1")
    for refused, change in ((errno.EBADF, lambda: handle.write(0, NEW)), (errno.EINVAL, lambda: handle.truncate(0))):
        with pytest.raises(RefusedError) as caught:
            change()
        assert caught.value.errno == refused
    handle.flush()
    handle.release()
    assert not tree.container.dirty


def test_what_another_handle_writes_is_read_at_once_and_after_a_commit(tree: Tree) -> None:
    handles = [reader(tree, "A/c/0"), reader(tree, "A/c/0")]
    assert bytes(handles[0].read(0, 9)) == OLD
    writer = tree.open_for_writing(ino(tree, "A/c/0"), truncate=False)
    assert writer.ino == handles[0].ino
    writer.write(1, b"X")
    assert {bytes(handle.read(0, 9)) for handle in handles} == {b"aX"}
    writer.release()
    assert tree.commit() is not None
    assert {bytes(handle.read(0, 9)) for handle in handles} == {b"aX"}
    assert not handles[0].alone
    for handle in handles:
        handle.sync()
        handle.release()
    assert not array(tree).files


def test_changed_chunk_is_opened_as_a_file(tree: Tree) -> None:
    put(tree, "A/c/0", NEW)
    handle = tree.open(ino(tree, "A/c/0"), write=False, truncate=False)
    assert isinstance(handle, OpenFile)
    assert bytes(handle.read(0, 9)) == NEW
    handle.release()


def test_removed_chunk_stays_readable_without_a_name(tree: Tree) -> None:
    handle, directory = reader(tree, "A/c/1"), ino(tree, "A/c")
    tree.unlink(directory, "1")
    assert tree.lookup(directory, "1") is None
    attr = tree.getattr(handle.ino)
    assert (attr.ino, attr.size, attr.nlink) == (handle.ino, 2, 0)
    assert bytes(handle.read(0, 9)) == OLD
    assert tree.commit() is not None
    assert bytes(handle.read(0, 9)) == OLD
    handle.release()
    with pytest.raises(StaleError):
        tree.getattr(handle.ino)


@pytest.mark.parametrize("how", ["unlinked and made again", "replaced by a rename"])
def test_replaced_chunk_keeps_its_old_content_for_who_has_it_open(tree: Tree, how: str) -> None:
    handle, directory = reader(tree, "A/c/1"), ino(tree, "A/c")
    if how == "unlinked and made again":
        tree.unlink(directory, "1")
        put(tree, "A/c/1", NEW)
    else:
        put(tree, "A/c/tmp", NEW)
        tree.rename(directory, "tmp", directory, "1", no_replace=False)
    new = tree.open(ino(tree, "A/c/1"), write=False, truncate=False)
    assert new.ino != handle.ino
    for _ in range(2):
        assert (bytes(handle.read(0, 9)), bytes(new.read(0, 9))) == (OLD, NEW)
        tree.commit()
    assert tree.getattr(handle.ino).nlink == 0
    handle.release()
    new.release()


def test_renamed_chunk_is_the_same_inode_under_another_name(tree: Tree) -> None:
    handle, directory = reader(tree, "A/c/1"), ino(tree, "A/c")
    tree.rename(directory, "1", directory, "kept", no_replace=False)
    assert ino(tree, "A/c/kept") == handle.ino
    assert bytes(handle.read(0, 9)) == OLD
    handle.release()


def test_chunk_that_a_shrink_cuts_off_stays_readable(tree: Tree) -> None:
    handle = reader(tree, "A/c/2")
    old = bytes(handle.read(0, 9))
    native = old != OLD  # what lay outside the shape was dropped
    put(tree, "A/zarr.json", v3((2,), (2,), native=native).content)
    assert tree.lookup(ino(tree, "A/c"), "2") is None
    assert bytes(handle.read(0, 9)) == old
    assert tree.getattr(handle.ino).nlink == 0
    handle.release()


def test_edge_chunk_that_was_not_read_yet_is_what_it_was_after_the_array_grew(tree: Tree) -> None:
    native = isinstance(array(tree).chunks.size, int)
    handle = reader(tree, "A/c/2")
    put(tree, "A/zarr.json", v3((6,), (2,), native=native).content)
    put(tree, "A/c/2", NEW)
    # growing makes a native chunk at the edge another file; an opaque one was written to in place
    assert bytes(handle.read(0, 9)) == (b"a\0" if native else NEW)
    assert handle.size == 2
    handle.release()


def test_chunk_of_an_array_that_is_one_no_more_is_the_plain_file_of_the_same_inode(tree: Tree) -> None:
    handle = reader(tree, "A/c/0")
    tree.unlink(ino(tree, "A"), "zarr.json")
    put(tree, "A/zarr.json", b'{"zarr_format": 3, "node_type": "group"}')
    assert ino(tree, "A/c/0") == handle.ino
    assert bytes(handle.read(0, 9)) == OLD
    writer = tree.open_for_writing(handle.ino, truncate=False)
    writer.write(0, b"longer")
    writer.release()
    assert bytes(handle.read(0, 9)) == b"longer"
    handle.release()


def test_damaged_chunk_is_an_error_of_the_read_and_not_of_the_open(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    handle = reader(tree, "A/c/0")
    place = array(tree).array.index.place((0,))
    assert place is not None
    ref = array(tree).array.index.ref(place)
    monkeypatch.setattr(type(ref.layer), "read_block", lambda *_, **__: memoryview(b""))
    with pytest.raises(FormatError, match=r"array .*A.*chunk"):
        handle.read(0, 9)
    handle.release()


def test_what_the_kernel_has_of_a_cut_chunk_is_not_kept_before_a_commit() -> None:
    Container.create("memory://cut/t.af")
    tree = open_tree("memory://cut/t.af", mode="a")
    document = tree.make(ROOT, "zarr.json", 0o644, exclusive=True, write=True, truncate=True)[1]
    document.write(0, v3((3,), (2,)).content)
    document.release()
    directory = tree.mkdir(ROOT, "c", 0o755)
    for name, kept in (("0", True), ("1", False)):
        made, file = tree.make(directory.ino, name, 0o644, exclusive=True, write=True, truncate=True)
        file.write(0, b"ab")
        file.release()
        reader = tree.open(made.ino, write=False, truncate=False)
        assert reader.cacheable == kept, name
        reader.release()
    tree.commit()
    assert tree.open(made.ino, write=False, truncate=False).cacheable
    tree.close()
