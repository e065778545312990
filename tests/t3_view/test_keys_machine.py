"""Values under keys are the files of the tree: the tree machine, in which some of what is done is done by key."""

from __future__ import annotations

import stat
import uuid

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from arrayfs.container.container import Container
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.keys import Keys
from arrayfs.view.numbers import ROOT
from arrayfs.view.takeup import take_up
from tests.profiles import examples
from tests.t3_view.test_journal_machine import JournalMachine, image_of
from tests.t3_view.test_tree_machine import MAX_DEPTH, contents, names
from tests.t3_view.tree_model import DOCUMENT_NAMES, ModelDirectory, ModelFile, Path


class KeysMachine(JournalMachine):
    """Subclasses say how a value is got, set and removed."""

    def get(self, key: str) -> bytes | None:
        reading = Keys(self.tree).plan(key)
        return None if reading is None else bytes(reading.fetch())

    def put(self, key: str, content: bytes, *, replace: bool) -> None:
        Keys(self.tree).put(key, content, replace=replace)

    def remove(self, key: str) -> None:
        Keys(self.tree).remove(key)

    def remove_below(self, key: str) -> None:
        Keys(self.tree).remove_below(key)

    def below(self, prefix: str) -> list[str]:
        return list(Keys(self.tree).below(prefix))

    def list_names(self, path: str) -> list[str]:
        return Keys(self.tree).names(path)

    # --- rules --------------------------------------------------------------------------------------------------------

    @rule(data=st.data(), above=st.lists(names, max_size=2), name=names, content=contents, replace=st.booleans())
    def put_value(self, data: st.DataObject, above: list[str], name: str, content: bytes, replace: bool) -> None:
        path = (*self.some_directory(data), *above, name)
        if any(above in DOCUMENT_NAMES for above in path[:-1]) or len(path) > MAX_DEPTH:
            return
        if any(isinstance(self.model.find(path[:length]), ModelFile) for length in range(1, len(path))):
            return
        found = self.model.find(path)
        if isinstance(found, ModelDirectory) or (found is not None and not replace):
            if not replace:
                self.put("/".join(path), content, replace=False)
            return
        if name in DOCUMENT_NAMES and self.model.find(path[:-1]) is not None and not self.is_settled(path[:-1]):
            return
        if name in DOCUMENT_NAMES and found is None and self.model.find(path[:-1]) is None:
            return  # whether it stands between another array's chunks is not modelled
        for length in range(1, len(path)):
            if self.model.find(path[:length]) is None:
                self.model.mkdir(path[:length])
        self.put("/".join(path), content, replace=replace)
        if isinstance(found, ModelFile) and found.link:
            self.model.unlink(path)
        file = self.model.create(path, exclusive=False)
        file.data = content
        for other, node in list(self.model.walk()):
            if node is file:
                self.model.judge(other)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data())
    def remove_value(self, data: st.DataObject) -> None:
        path = self.some_file(data)
        self.remove("/".join(path))
        self.model.unlink(path)
        self.forget_empty(path[:-1])

    @rule(data=st.data())
    def remove_everything_below(self, data: st.DataObject) -> None:
        path = self.some_directory(data)
        self.remove_below("/".join(path))
        directory = self.model.directory(path)
        directory.entries.clear()
        directory.array = None
        if path:
            del self.model.directory(path[:-1]).entries[path[-1]]
            self.forget_empty(path[:-1])

    def forget_empty(self, path: Path) -> None:
        """Directories that nobody made go with their last file."""
        while path and not self.model.directory(path).entries and self.is_gone(path):
            del self.model.directory(path[:-1]).entries[path[-1]]
            path = path[:-1]

    def is_gone(self, path: Path) -> bool:
        ino = ROOT
        for name in path:
            attr = self.tree.lookup(ino, name)
            if attr is None:
                return True
            ino = attr.ino
        return False

    @invariant()
    def same_values(self) -> None:
        if not hasattr(self, "tree"):
            return
        files = {"/".join(path): node.data for path, node in self.model.walk() if isinstance(node, ModelFile)}
        assert sorted(self.below("")) == sorted(files)
        for key, content in files.items():
            assert self.get(key) == content, key
        for path in self.model.directories():
            prefix = "".join(f"{name}/" for name in path)
            below = sorted(key for key in files if key.startswith(prefix))
            assert sorted(self.below(prefix)) == below
            assert sorted(self.list_names(prefix)) == sorted({key[len(prefix) :].split("/")[0] for key in below})


def test_a_value_takes_the_place_of_a_symbolic_link() -> None:
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = JournaledTree(Container.open(url, "a"))
    tree.symlink(ROOT, "x", b"elsewhere")
    Keys(tree).put("x", b"value")
    attr = tree.lookup(ROOT, "x")
    assert attr is not None
    assert stat.S_ISREG(attr.mode)
    reading = Keys(tree).plan("x")
    assert reading is not None
    assert bytes(reading.fetch()) == b"value"
    tree.close()


def test_a_journal_goes_on_below_a_directory_that_became_empty() -> None:
    """In the version that a journal goes on from, nothing may say of such a directory that it was made by itself."""
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    tree = JournaledTree(Container.open(url, "a"))
    above = tree.mkdir(ROOT, "0", 0o755).ino
    tree.mkdir(above, "e", 0o755)
    tree.commit()
    Keys(tree).remove_below("0/e")
    tree.create(above, "x", 0o644, True)
    tree.mkdir(above, "y", 0o755)
    url = image_of(url)
    tree.close()
    container = Container.open(url, "a")
    take_up(container)
    assert container.version == 2, container.warnings
    container.close()


def test_values_under_keys_are_the_files_of_the_tree() -> None:
    run_state_machine_as_test(KeysMachine, settings=examples(60, steps=40))
