"""Consolidated metadata says what the tree says, and is the client's to the bit while nothing below it changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from arrayfs.container.array import ArraySpec
from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import DType
from arrayfs.view import metadata
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.t3_view.test_documents_over_mounts import ino, listed, read, reopened, unlink, write
from tests.t3_view.zarr_python import memory_store, unstable_types

DOCUMENTS = {2: (".zgroup", ".zarray", ".zattrs"), 3: ("zarr.json",)}
NAMES = {2: ".zmetadata", 3: "zarr.json"}


def store_of(zarr_format: int) -> dict[str, bytes]:
    """What zarr-python writes for a root with an array `a`, and `b` in a group `g`, and consolidates."""
    store: dict[str, Any] = {}
    with unstable_types():
        root = zarr.create_group(MemoryStore(store), zarr_format=zarr_format, attributes={"title": 1})
        options: dict[str, Any] = {"shape": (4,), "chunks": (2,), "compressors": None}
        root.create_array("a", dtype="i4", attributes={"nan": float("nan")}, **options)[:] = 7
        root.create_group("g").create_array("b", dtype="f2", **options)
        zarr.consolidate_metadata(MemoryStore(store))
    return {name: content.to_bytes() for name, content in store.items()}


STORES = {2: store_of(2), 3: store_of(3)}


class Consolidating:
    """A tree with that store in it."""

    def __init__(self, zarr_format: int, tree: Tree) -> None:
        self.format, self.tree, self.name = zarr_format, tree, NAMES[zarr_format]
        self.written = STORES[zarr_format][self.name]

    def put_all(self, *, first: bool) -> None:
        """As a copy does that comes to the consolidated document before or after what it speaks of."""
        for name in sorted(STORES[self.format], key=lambda name: (name == self.name) != first):
            write(self.tree, name, STORES[self.format][name])

    def shown(self) -> bytes:
        """The document; its size is right from the first look."""
        attr = self.tree.lookup(ROOT, self.name)
        assert attr is not None
        handle = self.tree.open(attr.ino, write=False, truncate=False)
        content = bytes(handle.read(0, 1 << 20))
        handle.release()
        assert attr.size == len(content)
        return content

    def entries(self) -> dict[str, Any]:
        document = json.loads(self.shown())
        found: dict[str, Any] = (document["consolidated_metadata"] if self.format == 3 else document)["metadata"]
        return found

    def keys(self, *nodes: str) -> set[str]:
        """The entries that these nodes have."""
        if self.format == 3:
            return set(nodes)
        of_node = {"a": ".zarray", "b": ".zarray", "n": ".zarray"}
        return {
            f"{node}/{document}" if node else document
            for node in ("", *nodes)
            for document in (of_node.get(node[-1:], ".zgroup"), ".zattrs")
        }

    def array(self, shape: int) -> dict[str, bytes]:
        """The documents of an array of this length."""
        name = ".zarray" if self.format == 2 else "zarr.json"
        document = json.loads(STORES[self.format][f"a/{name}"]) | {"shape": [shape]}
        return {name: json.dumps(document).encode()} | ({".zattrs": b"{}"} if self.format == 2 else {})

    def put_array(self, path: str, shape: int) -> None:
        for name, content in self.array(shape).items():
            write(self.tree, f"{path}/{name}", content)

    def remove(self, path: str) -> None:
        for name in listed(self.tree, path):
            if name in DOCUMENTS[self.format]:
                unlink(self.tree, f"{path}/{name}")

    def shape_said(self, path: str) -> int:
        key = path if self.format == 3 else f"{path}/.zarray"
        return int(self.entries()[key]["shape"][0])

    def remount(self) -> None:
        self.tree = reopened(self.tree)


@pytest.fixture(params=[2, 3], ids=["v2", "v3"])
def consolidating(request: pytest.FixtureRequest) -> Iterator[Consolidating]:
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    made = Consolidating(request.param, open_tree(url, mode="a"))
    yield made
    made.tree.container.close()


def commit(made: Consolidating) -> None:
    made.tree.commit()


def crate_like(made: Consolidating) -> None:
    made.tree.commit()
    compact(f"{made.tree.container.store.url}/t.af", Keep(1))
    made.remount()


STEPS: dict[str, Callable[[Consolidating], None]] = {
    "at once": lambda made: None,
    "after a commit": commit,
    "after a remount": Consolidating.remount,
    "after a compaction": crate_like,
}


@pytest.fixture(params=STEPS.values(), ids=STEPS.keys())
def step(request: pytest.FixtureRequest) -> Callable[[Consolidating], None]:
    found: Callable[[Consolidating], None] = request.param
    return found


@pytest.mark.parametrize("first", [False, True], ids=["last", "first"])
def test_it_is_the_clients_to_the_bit_while_nothing_changes(
    consolidating: Consolidating, step: Callable[[Consolidating], None], first: bool
) -> None:
    consolidating.put_all(first=first)
    step(consolidating)
    assert consolidating.shown() == consolidating.written
    consolidating.remount()
    # chunks are no metadata
    write(consolidating.tree, "a/c/0" if consolidating.format == 3 else "a/0", np.arange(2, dtype="<i4").tobytes())
    consolidating.remount()
    assert consolidating.shown() == consolidating.written


def test_entries_follow_what_changes_comes_and_goes(
    consolidating: Consolidating, step: Callable[[Consolidating], None]
) -> None:
    consolidating.put_all(first=False)
    step(consolidating)
    consolidating.put_array("a", 6)
    assert consolidating.shape_said("a") == 6
    step(consolidating)
    assert consolidating.shape_said("a") == 6
    consolidating.put_array("n/b", 8)
    assert consolidating.entries().keys() == consolidating.keys("a", "g", "g/b", "n/b")
    step(consolidating)
    consolidating.remove("g/b")
    assert consolidating.entries().keys() == consolidating.keys("a", "g", "n/b")
    step(consolidating)
    consolidating.tree.rename(ROOT, "a", ino(consolidating.tree, "n"), "a", no_replace=False)
    assert consolidating.entries().keys() == consolidating.keys("g", "n/a", "n/b")
    step(consolidating)
    assert consolidating.entries().keys() == consolidating.keys("g", "n/a", "n/b")
    consolidating.tree.rename(ino(consolidating.tree, "n"), "a", ROOT, "a", no_replace=False)
    consolidating.put_array("a", 4)
    assert "n/a" not in consolidating.entries()
    # the stored document is the client's all the time
    file = consolidating.tree.root.children[consolidating.name]
    assert consolidating.tree.stored_documents.content(file) == consolidating.written


def test_what_came_goes_with_the_directory_above_it(consolidating: Consolidating) -> None:
    consolidating.put_all(first=False)
    consolidating.put_array("g/n", 8)
    assert consolidating.keys("g/n") < consolidating.entries().keys()
    consolidating.tree.rename(ROOT, "g", ROOT, "h", no_replace=False)
    assert consolidating.entries().keys() == consolidating.keys("a", "h", "h/b", "h/n")


def test_zarr_python_believes_what_is_true(consolidating: Consolidating, step: Callable[[Consolidating], None]) -> None:
    consolidating.put_all(first=False)
    step(consolidating)
    consolidating.put_array("a", 6)
    consolidating.put_array("g/n", 8)
    consolidating.remove("g/b")
    step(consolidating)
    with unstable_types():
        root = zarr.open_consolidated(memory_store(consolidating_files(consolidating)), mode="r")
        assert dict(root.attrs) == {"title": 1}
        assert root["a"].shape == (6,)
        assert sorted(name for name, _ in root.members(max_depth=None)) == ["a", "g", "g/n"]
        assert root["g"]["n"].shape == (8,)


def consolidating_files(made: Consolidating) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    waiting = [""]
    while waiting:
        path = waiting.pop()
        for name, attr, _ in made.tree.opendir(ino(made.tree, path)).entries(0):
            below = f"{path}/{name}".lstrip("/")
            if attr.mode & 0o040000:
                waiting.append(below)
            else:
                files[below] = read(made.tree, below)
    return files | {made.name: made.shown()}


def test_what_the_client_said_otherwise_stays_until_it_changes(
    consolidating: Consolidating, step: Callable[[Consolidating], None]
) -> None:
    """Its own words: an array that is elsewhere, a shape that is another, an array that it left out."""
    consolidating.put_all(first=False)
    document = json.loads(consolidating.written)
    entries = (document["consolidated_metadata"] if consolidating.format == 3 else document)["metadata"]
    key, suffix = ("a", "") if consolidating.format == 3 else ("a/.zarray", "/.zarray")
    entries["elsewhere" + suffix] = entries[key]
    entries[key] = {**entries[key], "shape": [40]}
    del entries["g/b" + suffix]
    text = json.dumps(document, indent=3).encode()
    write(consolidating.tree, consolidating.name, text)
    for _ in range(2):
        assert consolidating.shown() == text
        step(consolidating)
    consolidating.put_array("g/b", 4)
    assert consolidating.entries().keys() == entries.keys() | {"g/b" + suffix}
    consolidating.put_array("a", 6)
    step(consolidating)
    assert consolidating.shape_said("a") == 6
    assert "elsewhere" + suffix in consolidating.entries()


def test_who_has_it_open_keeps_what_it_showed(consolidating: Consolidating) -> None:
    consolidating.put_all(first=False)
    tree = consolidating.tree
    attr = tree.lookup(ROOT, consolidating.name)
    assert attr is not None
    with_old = tree.open(attr.ino, write=False, truncate=False)
    consolidating.put_array("a", 6)
    assert consolidating.shape_said("a") == 6
    assert bytes(with_old.read(0, 1 << 20)) == consolidating.written
    assert tree.getattr(attr.ino).size == len(consolidating.written)
    now = tree.lookup(ROOT, consolidating.name)
    assert now is not None
    assert now.ino != attr.ino
    assert now.mtime_ns > attr.mtime_ns
    with_old.release()


def test_what_is_shown_is_what_a_rename_or_a_write_goes_on_from(consolidating: Consolidating) -> None:
    consolidating.put_all(first=False)
    consolidating.put_array("a", 6)
    shown = consolidating.shown()
    consolidating.tree.rename(ROOT, consolidating.name, ROOT, "kept", no_replace=False)
    consolidating.remount()
    assert read(consolidating.tree, "kept")[:4096] == shown[:4096]
    consolidating.tree.rename(ROOT, "kept", ROOT, consolidating.name, no_replace=False)
    consolidating.put_array("a", 8)
    handle = consolidating.tree.open(ino(consolidating.tree, consolidating.name), write=True, truncate=False)
    handle.write(len(consolidating.shown()), b"\n")
    handle.release()
    consolidating.remount()
    assert consolidating.shape_said("a") == 8
    assert consolidating.shown().endswith(b"\n\n")


def test_two_writers(consolidating: Consolidating) -> None:
    """One consolidates; the other, who commits first, changed what the first one had seen."""
    consolidating.put_all(first=False)
    consolidating.tree.commit()
    other = Consolidating(consolidating.format, open_tree(f"{consolidating.tree.container.store.url}/t.af", mode="a"))
    other.put_array("a", 6)
    other.put_array("g/n", 8)
    text = json.dumps(json.loads(consolidating.written), indent=1).encode()
    write(consolidating.tree, consolidating.name, text)
    other.tree.commit()
    consolidating.tree.commit()
    assert consolidating.shape_said("a") == 6
    consolidating.remount()
    assert consolidating.shape_said("a") == 6
    assert consolidating.entries().keys() == consolidating.keys("a", "g", "g/b", "g/n")
    assert other.tree.refresh()
    assert other.shown() == consolidating.shown()
    other.tree.container.close()


def test_changes_by_others_that_know_no_documents(consolidating: Consolidating) -> None:
    """As the crate does: attributes, shapes, new arrays in the container alone."""
    consolidating.put_all(first=False)
    consolidating.remount()
    assert consolidating.shown() == consolidating.written
    with Container.open(f"{consolidating.tree.container.store.url}/t.af", "a") as container:
        container.respec(container.get("a"), ArraySpec(DType("Int32"), (10,), (2,)), 1)
        container.set_attributes(container.get("a"), {"new": attribute_from_python("Int32", 1)})
        container.define("g/made", ArraySpec(DType("Int8"), (3,), (1,)))
    assert consolidating.tree.refresh()
    for look in (3, 2):
        entries = consolidating.entries()
        assert consolidating.shape_said("a") == 10
        assert (entries["a"]["attributes"] if consolidating.format == 3 else entries["a/.zattrs"])["new"] == 1
        # a document that is made from the container is one of the look's
        made = {3: "g/made", 2: "g/made/.zarray"}[consolidating.format]
        assert (made in entries) == (consolidating.format == look)
        consolidating.tree = reopened(consolidating.tree, 2)


@pytest.mark.parametrize("look", [2, 3])
def test_arrays_without_documents_of_clients_are_those_of_the_look(look: int) -> None:
    """In the other look their chunks have other names: who believed the entry would read fill values."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    with Container.open(url, "a") as container:
        container.define("own", ArraySpec(DType("Int8"), (3,), (1,)))
    made = Consolidating(look, open_tree(url, mode="a", look=look))
    own = {2: ".zarray", 3: "zarr.json"}[look]
    key = {2: "own/.zarray", 3: "own"}[look]
    document = {"metadata": {key: json.loads(read(made.tree, f"own/{own}"))}}
    text = json.dumps(document if look == 2 else {"consolidated_metadata": document}).encode()
    write(made.tree, made.name, text)
    for now in (look, 5 - look, look):
        made.tree = reopened(made.tree, now)
        assert made.entries().keys() == ({key} if now == look else set())
    assert made.shown() == text
    made.tree.container.close()


def test_only_what_newer_layers_speak_of_is_compared(
    consolidating: Consolidating, monkeypatch: pytest.MonkeyPatch
) -> None:
    consolidating.put_all(first=False)
    consolidating.remount()
    consolidating.put_array("g/n", 8)
    consolidating.remount()
    looked_at = []
    now = type(consolidating.tree.consolidated)._now
    monkeypatch.setattr(
        type(consolidating.tree.consolidated), "_now", lambda *call: looked_at.append(call[-1]) or now(*call)
    )
    assert consolidating.shown() == consolidating.shown()
    nodes = {key if consolidating.format == 3 else key.rpartition("/")[0] for key in looked_at}
    assert nodes == {"g", "g/n"}
    assert len(looked_at) == len(set(looked_at))


def test_half_a_document_below_changes_nothing(consolidating: Consolidating) -> None:
    consolidating.put_all(first=False)
    consolidating.put_array("a", 6)
    before = consolidating.shown()
    name = DOCUMENTS[consolidating.format][-2 if consolidating.format == 2 else 0]
    write(consolidating.tree, f"a/{name}", b'{"zarr_fo')
    assert consolidating.shown() == before


@pytest.mark.parametrize(
    "content",
    [
        b'{"metadata": []}',
        b'{"metadata": {"": 1, "a//b": {}, "/": 3, "../x": {}, "a/.zarray/..": null}}',
        b'{"consolidated_metadata": null}',
        b'{"consolidated_metadata": {"metadata": {"a": {"consolidated_metadata": 5}, "": {}, "..": 1}}}',
        b"[]",
        b'"consolidated_metadata"',
        b'{"consolidated_metadata": ',
    ],
)
@pytest.mark.parametrize("name", [".zmetadata", "zarr.json"])
def test_whatever_it_says_it_is_kept(consolidating: Consolidating, name: str, content: bytes) -> None:
    tree = consolidating.tree
    write(tree, name, content)
    assert read(tree, name) == content
    tree = consolidating.tree = reopened(tree)
    assert read(tree, name) == content
    consolidating.put_array("a", 6)
    assert name != NAMES[consolidating.format] or b"a" in read(tree, name) or b"metadata" not in content
    assert bytes(tree.stored_documents.content(tree.root.children[name])) == content


def test_one_that_is_too_large_stays_and_is_named(
    consolidating: Consolidating, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("consolidated", "stored_documents", "documents"):
        monkeypatch.setattr(f"arrayfs.view.{module}.DOCUMENT_LIMIT", 600)
    consolidating.put_all(first=False)
    consolidating.put_array("a", 6)
    assert metadata.DOCUMENT_LIMIT > 600
    assert consolidating.shown() == consolidating.written
    assert any("consolidates is shown as it was written" in warning for warning in consolidating.tree.warnings)
