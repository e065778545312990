"""What becomes of files whose writers were killed, without a mount: who tells of a death is the test."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Iterable, Iterator

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import RefusedError
from arrayfs.view import lostfound
from arrayfs.view.draft import Draft
from arrayfs.view.handles import OpenFile
from arrayfs.view.lostfound import stub_name
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.test_documents_over_mounts import ino, read, write
from tests.t3_view.tree_model import v2, v3
from tests.t4_fuse.promises import keeps

OLD, NEW = b"ab", b"cd"
ARRAY = v3((4,), (2,))


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A native array `a` of two chunks of two bytes; the first is there."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    made = open_tree(url, mode="a")
    write(made, "a/zarr.json", ARRAY.content)
    write(made, "a/c/0", OLD)
    yield made
    made.container.close()


def writer(tree: Tree, path: str, content: bytes = b"", *, truncate: bool = False) -> OpenFile:
    """A handle that has written at the beginning of a file, which is made if need be."""
    folder, _, name = path.rpartition("/")
    made = tree.create(ino(tree, folder), name, 0o644, False)
    handle = tree.open(made.ino, write=True, truncate=truncate)
    handle.write(0, content)
    return handle


def die(*handles: OpenFile) -> None:
    for handle in handles:
        assert handle.at_risk
        handle.killed(9)
        handle.release()


def close(handle: OpenFile) -> None:
    handle.flush()
    handle.release()


def exists(tree: Tree, path: str) -> bool:
    folder, _, name = path.rpartition("/")
    return tree.lookup(ino(tree, folder), name) is not None


def lost(tree: Tree) -> list[object]:
    return [stub["path"] for stub in tree.control.lost_found.status()]


def test_only_unjudged_chunks_and_documents_are_at_risk(tree: Tree) -> None:
    for name in ("a/README", "a/c/9", "a/c/.0.tmp", "a/c/1x"):
        assert not writer(tree, name, b"x").at_risk
    for name in ("a/c/0", "a/c/1", "a/zarr.json", "a/.zattrs", "a/.zmetadata"):
        handle = writer(tree, name, b"xy")
        assert handle.at_risk
        handle.flush()
        assert not handle.at_risk
        handle.truncate(1)
        assert handle.at_risk
    reader = tree.open(ino(tree, "a/c/0"), write=False, truncate=False)
    assert not reader.at_risk


def test_who_writes_on_lives(tree: Tree) -> None:
    for living in (lambda h: h.write(1, b"Y"), lambda h: h.truncate(2), lambda h: h.flush(), lambda h: h.sync()):
        handle = writer(tree, "a/c/0", b"x")
        handle.killed(9)
        living(handle)
        handle.release()
        assert read(tree, "a/c/0")[:1] == b"x"
        write(tree, "a/c/0", OLD)


def test_a_death_that_nobody_confirms_is_decided_at_release(tree: Tree) -> None:
    handle = writer(tree, "a/c/0", b"x")
    handle.killed(9)
    assert read(tree, "a/c/0") == b"xb"
    handle.release()
    assert read(tree, "a/c/0") == OLD
    assert lost(tree) == ["a/c/0"]


def test_a_truncation_by_name_is_somebody_elses(tree: Tree) -> None:
    handle = writer(tree, "a/c/0", b"x")
    tree.setattr(ino(tree, "a/c/0"), size=1)
    die(handle)
    assert read(tree, "a/c/0") == b"x"
    assert lost(tree) == []


def test_who_closed_before_has_a_say(tree: Tree) -> None:
    """Half a chunk that its writer closed is kept, as always, also when another writer of it is killed."""
    first, second = writer(tree, "a/c/1", b"x"), writer(tree, "a/c/1", b"y")
    close(first)
    die(second)
    assert read(tree, "a/c/1") == b"y"
    assert any("a/c/1: kept as a plain file" in warning for warning in tree.warnings)


def test_a_file_renamed_over_a_chunk_before_it_was_closed(tree: Tree) -> None:
    """The chunk that it has hidden is there again, under a number for which the kernel has no pages."""
    before = ino(tree, "a/c/0")
    handle = writer(tree, "a/c/tmp", b"x")
    tree.rename(ino(tree, "a/c"), "tmp", ino(tree, "a/c"), "0", no_replace=False)
    half = ino(tree, "a/c/0")
    assert read(tree, "a/c/0") == b"x"
    die(handle)
    assert read(tree, "a/c/0") == OLD
    zarr = tree.documents.zarr(tree.directory(ino(tree, "a")))
    assert zarr is not None
    assert ino(tree, "a/c/0") not in {before, half, zarr.number((0,))}
    assert not exists(tree, "a/c/tmp")


def test_a_file_renamed_over_a_chunk_and_removed_before_it_was_closed(tree: Tree) -> None:
    for content in (b"x", NEW):
        handle = writer(tree, "a/c/tmp", content)
        tree.rename(ino(tree, "a/c"), "tmp", ino(tree, "a/c"), "0", no_replace=False)
        tree.unlink(ino(tree, "a/c"), "0")
        assert not exists(tree, "a/c/0")
        close(handle)
        assert not exists(tree, "a/c/0")
        write(tree, "a/c/0", OLD)


def test_an_array_that_goes_while_a_file_that_was_renamed_over_a_chunk_is_written(tree: Tree) -> None:
    handle = writer(tree, "a/c/tmp", b"x")
    tree.rename(ino(tree, "a/c"), "tmp", ino(tree, "a/c"), "0", no_replace=False)
    write(tree, "a/zarr.json", v3((2, 3), (1, 2)).content)
    assert read(tree, "a/c/0") == b"x"
    handle.write(1, b"y")
    close(handle)
    tree.commit()
    assert read(tree, "a/c/0") == b"xy"


def test_a_commit_while_a_file_that_was_renamed_over_a_chunk_is_written(tree: Tree) -> None:
    handle = writer(tree, "a/c/tmp", b"x")
    tree.rename(ino(tree, "a/c"), "tmp", ino(tree, "a/c"), "0", no_replace=False)
    tree.commit()
    later = open_tree(f"{tree.container.store.url}/t.af")
    assert read(later, "a/c/0") == OLD
    later.container.close()
    handle.write(1, b"y")
    close(handle)
    assert read(tree, "a/c/0") == b"xy"


def test_a_chunk_with_a_second_name(tree: Tree) -> None:
    tree.link(ino(tree, "a/c/0"), ino(tree, "a"), "copy")
    die(writer(tree, "a/copy", b"x"))
    assert (read(tree, "a/c/0"), read(tree, "a/copy")) == (OLD, OLD)


def test_a_new_chunk_with_a_second_name_loses_both(tree: Tree) -> None:
    handle = writer(tree, "a/c/1", b"x")
    tree.link(ino(tree, "a/c/1"), ino(tree, "a"), "copy")
    die(handle)
    assert (exists(tree, "a/c/1"), exists(tree, "a/copy")) == (False, False)


def test_what_is_not_kept_any_more_cannot_come_back(tree: Tree) -> None:
    """The array became another while its chunk was rewritten: the bytes that are there are all that is left."""
    handle = writer(tree, "a/c/0", b"x")
    write(tree, "a/zarr.json", v3((2, 3), (1, 2)).content)
    write(tree, "a/zarr.json", v3((2,), (1,)).content)
    die(handle)
    assert read(tree, "a/c/0") == b"xb"
    assert lost(tree) == []


def test_a_file_that_was_removed_is_nobodys(tree: Tree) -> None:
    handle = writer(tree, "a/c/0", b"x")
    tree.unlink(ino(tree, "a/c"), "0")
    assert not handle.at_risk
    handle.killed(9)
    handle.release()
    assert not exists(tree, "a/c/0")


def test_a_document_that_did_not_parse_meanwhile(tree: Tree) -> None:
    """Another document of the directory was closed while this one was half written: the array is as it was."""
    write(tree, "b/.zarray", v2((4,), (2,), ".").content)
    write(tree, "b/0", OLD)
    handle = writer(tree, "b/.zarray", b'{"half": ', truncate=True)
    write(tree, "b/.zattrs", b"{}")
    die(handle)
    assert read(tree, "b/.zarray") == v2((4,), (2,), ".").content
    write(tree, "b/1", NEW)
    assert (read(tree, "b/0"), read(tree, "b/1")) == (OLD, NEW)
    assert tree.warnings == []


def test_a_large_document_is_not_stored_before_it_is_judged(tree: Tree) -> None:
    handle = writer(tree, "a/.zmetadata", b"")
    for piece in range(70):
        handle.write(piece << 20, bytes(1 << 20))
    close(handle)
    handle = writer(tree, "a/.zmetadata", b"")
    for piece in range(70):
        handle.write(piece << 20, b"\1" * (1 << 20))
    die(handle)
    assert not read(tree, "a/.zmetadata").strip(b"\0")
    assert "the 73400320 bytes that the file had are too many" in tree.warnings[-1]


def test_what_the_kernel_must_forget(tree: Tree) -> None:
    told: list[tuple[list[int], list[tuple[int, str]]]] = []

    def tell(inodes: Iterable[int], entries: Iterable[tuple[int, str]]) -> None:
        told.append((list(inodes), list(entries)))

    tree.on_invalidate = tell
    old, folder = ino(tree, "a/c/0"), ino(tree, "a/c")
    die(writer(tree, "a/c/0", b"x"))
    handle = writer(tree, "a/c/1", b"x")
    new = ino(tree, "a/c/1")
    die(handle)
    assert told == [([old], []), ([new], [(folder, "1")])]


@pytest.mark.parametrize(
    ("writes", "size", "in_order"),
    [
        ([(0, 2), (2, 2)], 4, 4),
        ([(0, 2), (3, 1)], 4, -1),
        ([(2, 2), (0, 2)], 4, -1),
        ([(0, 4), (0, 4)], 4, -1),
        ([(0, 2)], 4, 2),
    ],
)
def test_what_was_written_in_order(writes: list[tuple[int, int]], size: int, in_order: int) -> None:
    draft = Draft(None, 0)
    draft.truncate(size)
    for offset, count in writes:
        draft.write(offset, b"x" * count)
    assert (draft.size, draft.in_order) == (size, in_order)
    draft.truncate(1)
    assert draft.in_order == min(in_order, 1)


# --- lost+found ---------------------------------------------------------------------------------------------------


@keeps(
    "Together they have up to 64 MiB and 1000 files: the oldest go first, and a file that is larger than that alone is "
    "dropped with a warning."
)
def test_the_oldest_go_first(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (lostfound.SIZE_LIMIT, lostfound.COUNT_LIMIT) == (64 << 20, 1000)
    monkeypatch.setattr(lostfound, "SIZE_LIMIT", 10)
    monkeypatch.setattr(lostfound, "COUNT_LIMIT", 3)
    told: list[tuple[int, str]] = []
    tree.on_invalidate = lambda _, entries: told.extend(entries)
    for size in (4, 4, 4, 1, 1, 11, 10):
        die(writer(tree, "a/zarr.json", bytes(size), truncate=True))
        held = [stub["bytes"] for stub in tree.control.lost_found.status()]
        assert sum(map(int, map(str, held))) <= 10
    assert [(stub["name"], stub["bytes"]) for stub in tree.control.lost_found.status()] == [("a%2Fzarr.json.6", 10)]
    assert [name for _, name in told] == [f"a%2Fzarr.json.{number}" for number in range(1, 6)]
    assert tree.warnings == [
        "a/zarr.json: its writer was killed by SIGKILL; the 11 bytes that the file had are too many for lost+found"
    ]
    assert [name for name, _, _ in tree.opendir(ino(tree, ".arrayfs/lost+found")).entries(0)] == ["a%2Fzarr.json.6"]


def test_a_stub_is_read_often_and_freed(tree: Tree) -> None:
    die(writer(tree, "a/c/0", b"x"))
    for _ in range(2):
        assert read(tree, ".arrayfs/lost+found/a%2Fc%2F0.1") == b"xb"
    number = ino(tree, ".arrayfs/lost+found/a%2Fc%2F0.1")
    reader = tree.open(number, write=False, truncate=False)
    with pytest.raises(RefusedError) as refused:
        tree.open(number, write=True, truncate=False)
    assert refused.value.errno == errno.EACCES
    tree.unlink(ino(tree, ".arrayfs/lost+found"), "a%2Fc%2F0.1")
    assert reader.read(0, 99) == b"xb"
    reader.release()
    tree.forget(number, 1)
    assert lost(tree) == []
    tree.commit()
    assert "lost" not in json.dumps(list(tree.container.names_of_arrays()))


def test_names_of_stubs() -> None:
    assert stub_name("a/c/0/1", 3) == "a%2Fc%2F0%2F1.3"
    assert stub_name("100%/zarr.json", 12) == "100%25%2Fzarr.json.12"
    long = stub_name("é" * 200 + "/c/0", 1)
    assert long.endswith("é%2Fc%2F0.1")
    assert len(os.fsencode(long)) <= 255
