"""Whatever is done to a tree: every version, by itself, beside the newest or restored, is the model of then."""

from __future__ import annotations

import copy
import stat

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from arrayfs.container.changes import changes
from arrayfs.container.container import Container
from arrayfs.container.restore import restore
from arrayfs.view.meaning import FILE, meaning
from arrayfs.view.numbers import FIRST_LENT, ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t2_container.test_model import readable
from tests.t3_view.test_tree_machine import TreeMachine
from tests.t3_view.tree_model import DOCUMENTS, ModelFile, ModelTree, Path

Content = dict[Path, bytes | None]


class VersionMachine(TreeMachine):
    """`history[n]` is the model as it was when version n was committed."""

    @initialize(
        look=st.sampled_from((2, 3)),
        limit=st.sampled_from((0, 10, 1 << 20)),
        documents=st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=3),
    )
    def start(self, look: int, limit: int, documents: list[object]) -> None:  # type: ignore[override]  # more is drawn
        super().start(look, limit)
        self.history = [copy.deepcopy(self.model)]
        for step, document in enumerate(documents):
            for folder in ("d", "d2"):
                if self.model.find((folder,)) is None:
                    self.tree.mkdir(ROOT, folder, 0o755)
                    self.model.mkdir((folder,))
                self.write_file((folder, document.name), 0, document.content, truncate=True)  # type: ignore[attr-defined]
                self.write_file((folder, "x"), 0, b"%d" % step, truncate=True)
            self.commit()

    def remember(self) -> None:
        if self.tree.container.version == len(self.history):
            self.history.append(copy.deepcopy(self.model))
        assert self.tree.container.version == len(self.history) - 1

    @rule()
    def commit(self) -> None:
        super().commit()
        self.remember()

    @rule(look=st.sampled_from((2, 3)))
    def remount(self, look: int) -> None:
        super().remount(look)
        self.remember()

    def some_version(self, data: st.DataObject, name: str = "version") -> int:
        return data.draw(st.sampled_from(readable(self.url)), name)

    @rule(data=st.data())
    def open_a_version(self, data: st.DataObject) -> None:
        number = self.some_version(data)
        tree = open_tree(self.url, look=self.look, version=number)
        assert content_of(tree, ROOT) == content_of_model(self.history[number])
        tree.close()

    @rule(data=st.data())
    def look_beside(self, data: st.DataObject) -> None:
        number = self.some_version(data)
        self.tree.refresh()
        ino = ROOT
        for name in (".arrayfs", "versions", str(number)):
            attr = self.tree.lookup(ino, name)
            assert attr is not None
            ino = attr.ino
        numbers: set[int] = set()
        assert content_of(self.tree, ino, numbers) == content_of_model(self.history[number])
        assert min(numbers, default=FIRST_LENT) >= FIRST_LENT

    @rule(data=st.data())
    def compare(self, data: st.DataObject) -> None:
        """Each file that is different is named, by itself or with its array; no plain file is that is not."""
        numbers = [self.some_version(data, name) for name in ("a", "b")]
        container = self.tree.container
        older, newer = (container.at(container.versions().numbered(number)) for number in numbers)
        old, new = (files_of(self.history[number]) for number in numbers)
        named: set[Path] = set()
        for change in changes(older, newer):
            for array in filter(None, (change.before, change.after)):
                kind, below = meaning(array.name)
                path = tuple(below.split("/"))
                named.add(path)
                # other names may be chunks in one version and plain files in the other
                if kind == FILE and path[-1] == "x" and (change.chunks or change.kind != "changed"):
                    assert old.get(path) != new.get(path)
        for path in {*old, *new}:
            assert old.get(path) == new.get(path) or any(path[:length] in named for length in range(len(path) + 1))

    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        for handle, _ in self.readers:
            handle.release()
        self.readers.clear()
        self.tree.close()
        self.model.committed()
        container = Container.open(self.url, "a")
        if container.version == len(self.history):
            self.history.append(copy.deepcopy(self.model))
        number = self.some_version(data)
        restore(container, container.at(container.versions().numbered(number)))
        report = container.commit("restore")
        container.close()
        if report is not None:
            self.history.append(copy.deepcopy(self.history[number]))
        self.model = copy.deepcopy(self.history[number])
        self.tree = self.open()
        self.separate()


def content_of(tree: Tree, root: int, numbers: set[int] | None = None) -> Content:
    """All files below an inode, None for directories."""
    out: Content = {}
    waiting: list[tuple[Path, int]] = [((), root)]
    while waiting:
        path, ino = waiting.pop()
        for name, attr, _ in tree.opendir(ino).entries(0):
            assert tree.lookup(ino, name) == attr == tree.getattr(attr.ino)
            if numbers is not None:
                assert attr.ino not in numbers
                numbers.add(attr.ino)
            if stat.S_ISDIR(attr.mode):
                out[*path, name] = None
                waiting.append(((*path, name), attr.ino))
                continue
            handle = tree.open(attr.ino, write=False, truncate=False)
            out[*path, name] = bytes(handle.read(0, 4096))
            handle.release()
    return out


def content_of_model(model: ModelTree) -> Content:
    return {path: node.data if isinstance(node, ModelFile) else None for path, node in model.walk() if path}


def files_of(model: ModelTree) -> dict[Path, bytes]:
    return {path: content for path, content in content_of_model(model).items() if content is not None}


def test_versions_of_trees_stay_what_they_were() -> None:
    run_state_machine_as_test(VersionMachine, settings=examples(60, steps=25))
