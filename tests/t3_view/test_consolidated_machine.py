"""Consolidated metadata against its rule: an entry is the client's while the document is what it was when he wrote, and
what the document says after that; over renames, commits, remounts, compactions and other writers.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t3_view.test_documents_over_mounts import ino, write
from tests.t3_view.tree_model import v2, v3

DOCUMENTS = {2: (".zarray", ".zattrs", ".zgroup"), 3: ("zarr.json",)}
NAME = {2: ".zmetadata", 3: "zarr.json"}
ARRAYS = ("a", "g/a", "g/h/b")
PLACES = (*ARRAYS, "g", "g/h", "m")
GROUP = {2: {"zarr_format": 2}, 3: {"zarr_format": 3, "node_type": "group"}}
places = st.sampled_from(PLACES)
Documents = dict[str, Any]


class ConsolidatedMachine(RuleBasedStateMachine):
    """documents: what each says, by path. entries: what the client wrote; then: what the documents said by then."""

    @initialize(zarr_format=st.sampled_from((2, 3)), group=st.sampled_from(("", "g")))
    def start(self, zarr_format: int, group: str) -> None:
        self.format, self.group = zarr_format, group
        self.url = f"memory://{uuid.uuid4().hex}/t.af"
        Container.create(self.url)
        self.tree: Tree = open_tree(self.url, mode="a")
        self.documents: Documents = {}
        self.entries: Documents | None = None
        self.then: Documents = {}
        self.raw = b""

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            self.tree.container.close()

    # --- nodes --------------------------------------------------------------------------------------------------------

    def below(self, place: str) -> list[str]:
        return [path for path in self.documents if path.startswith(place + "/")]

    def put(self, place: str, name: str, document: object) -> None:
        path = f"{place}/{name}" if place else name
        write(self.tree, path, json.dumps(document).encode())
        self.documents[path] = document

    @rule(place=places, length=st.integers(1, 9), number=st.integers(0, 2))
    def put_node(self, place: str, length: int, number: int) -> None:
        if place in ARRAYS:
            self.put_documents(place, length, number)
        elif not (self.entries is not None and self.format == 3 and place == self.group):
            self.put(place, ".zgroup" if self.format == 2 else "zarr.json", {**GROUP[self.format], "x": number})

    def put_documents(self, place: str, length: int, number: int) -> None:
        attributes = {"n": number} if number else {}
        if self.format == 2:
            self.put(place, ".zarray", json.loads(v2((length,), (2,), ".").content))
            self.put(place, ".zattrs", attributes | {"_ARRAY_DIMENSIONS": ["x"]})
        else:
            document = json.loads(v3((length,), (2,)).content) | {"attributes": attributes, "dimension_names": ["x"]}
            self.put(place, "zarr.json", document)

    def is_consolidated(self, path: str) -> bool:
        """Whether it is the document itself, which is kept out of this model."""
        return self.format == 3 and path == (f"{self.group}/zarr.json" if self.group else "zarr.json")

    @precondition(lambda self: self.documents)
    @rule(data=st.data())
    def remove_document(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.documents)), "document")
        if self.is_consolidated(path) and self.entries is not None:
            return
        parent, _, name = path.rpartition("/")
        self.tree.unlink(ino(self.tree, parent), name)
        del self.documents[path]

    @rule(old=places, new=places)
    def move(self, old: str, new: str) -> None:
        if (old in ARRAYS) != (new in ARRAYS):
            return  # there are no nodes below an array
        if not self.below(old) or self.exists(new) or new.startswith(old) or not self.exists(new.rpartition("/")[0]):
            return
        if self.group and (old == self.group or self.group.startswith(old)):
            return
        source, target = old.rpartition("/"), new.rpartition("/")
        self.tree.rename(ino(self.tree, source[0]), source[2], ino(self.tree, target[0]), target[2], no_replace=False)
        for path in self.below(old):
            self.documents[new + path[len(old) :]] = self.documents.pop(path)

    def exists(self, place: str) -> bool:
        parent = ROOT
        for name in place.split("/") if place else ():
            attr = self.tree.lookup(parent, name)
            if attr is None:
                return False
            parent = attr.ino
        return True

    # --- consolidating ------------------------------------------------------------------------------------------------

    def key(self, path: str) -> str | None:
        """The key of a document's entry; None if it has none."""
        if self.group:
            if not path.startswith(self.group + "/"):
                return None
            path = path[len(self.group) + 1 :]
        if self.format == 2:
            return path
        return path.rpartition("/")[0] or None

    def said_now(self) -> Documents:
        keys = {path: self.key(path) for path in self.documents}
        return {key: self.documents[path] for path, key in keys.items() if key is not None}

    @rule(own_words=st.booleans(), data=st.data())
    def consolidate(self, own_words: bool, data: st.DataObject) -> None:
        now = self.said_now()
        self.entries, self.then = dict(now), now
        if own_words:
            key = data.draw(st.sampled_from((*sorted(now), "elsewhere/.zarray")), "key")
            self.entries[key] = {"own": "words"}
        self.write_entries()

    def write_entries(self) -> None:
        inner = {"metadata": self.entries}
        document = (
            {"zarr_consolidated_format": 1, **inner}
            if self.format == 2
            else {**GROUP[3], "consolidated_metadata": {"kind": "inline", "must_understand": False, **inner}}
        )
        self.raw = json.dumps(document, indent=1).encode()
        path = f"{self.group}/{NAME[self.format]}" if self.group else NAME[self.format]
        write(self.tree, path, self.raw)
        if self.format == 3:
            self.documents[path] = document

    def expected(self) -> Documents:
        assert self.entries is not None
        now = self.said_now()
        found = {}
        for key in {**self.entries, **now}:
            source = self.entries if now.get(key) == self.then.get(key) else now
            if key in source:
                found[key] = source[key]
        return found

    # --- versions -----------------------------------------------------------------------------------------------------

    @rule()
    def commit(self) -> None:
        self.tree.commit()

    @rule()
    def remount(self) -> None:
        self.tree.close()
        self.tree = open_tree(self.url, mode="a")

    @rule(last=st.integers(1, 3))
    def compact(self, last: int) -> None:
        compact(self.url, Keep(last))

    @rule(place=st.sampled_from(ARRAYS), length=st.integers(1, 9))
    def other_writer(self, place: str, length: int) -> None:
        """Of documents, through a tree of its own."""
        self.tree.commit()
        mine, self.tree = self.tree, open_tree(self.url, mode="a")
        self.put_documents(place, length, 1)
        self.tree.close()
        self.tree = mine
        assert self.tree.refresh() or not self.tree.container.dirty

    @precondition(lambda self: any(path.endswith(("zarr.json", ".zattrs")) for path in self.documents))
    @rule(data=st.data(), number=st.integers(5, 9))
    def by_the_crate(self, data: st.DataObject, number: int) -> None:
        """An attribute of an array, in the container alone."""
        self.tree.commit()
        names = [name for name in self.tree.container.names_of_arrays() if not name.startswith((".arrayfs/", "__"))]
        if not names:
            return
        name = data.draw(st.sampled_from(sorted(names)), "array")
        path = f"{name}/{'.zattrs' if self.format == 2 else 'zarr.json'}"
        if path not in self.documents or (self.format == 2 and f"{name}/.zarray" not in self.documents):
            return
        with Container.open(self.url, "a") as container:
            array = container.get(name)
            container.set_attributes(array, dict(array.attributes) | {"n": attribute_from_python("Int64", number)})
        self.tree.refresh()
        document = json.loads(read_whole(self.tree, path))
        assert (document if self.format == 2 else document["attributes"])["n"] == number
        self.documents[path] = document

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def entries_are_as_the_rule_says(self) -> None:
        if not hasattr(self, "tree") or self.entries is None:
            return
        path = f"{self.group}/{NAME[self.format]}" if self.group else NAME[self.format]
        content = read_whole(self.tree, path)
        expected = self.expected()
        document = json.loads(content)
        shown = (document if self.format == 2 else document["consolidated_metadata"])["metadata"]
        assert without_members(shown) == without_members(expected)
        if expected == self.entries:
            assert content == self.raw


def without_members(entries: Documents) -> Documents:
    return {
        key: {k: v for k, v in value.items() if k != "consolidated_metadata"} if isinstance(value, dict) else value
        for key, value in entries.items()
    }


def read_whole(tree: Tree, path: str) -> bytes:
    attr = tree.getattr(ino(tree, path))
    handle = tree.open(attr.ino, write=False, truncate=False)
    content = bytes(handle.read(0, 1 << 20))
    handle.release()
    assert attr.size == len(content)
    return content


def test_consolidated_metadata_follows_its_rule() -> None:
    run_state_machine_as_test(ConsolidatedMachine, settings=examples(40, steps=25))
