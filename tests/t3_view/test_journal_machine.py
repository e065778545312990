"""Whatever was done, a process that ends at any moment between two calls loses nothing: the tree under a crash."""

from __future__ import annotations

import uuid

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from arrayfs.container.container import Container
from arrayfs.container.verify import verify
from arrayfs.store import MemoryStore
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.takeup import take_up
from tests.profiles import examples
from tests.t3_view.test_tree_machine import TreeMachine


def image_of(url: str) -> str:
    """What a store in memory holds at this moment, in one of its own: the disk after a crash. Locks are gone."""
    folder, _, base = url.removeprefix("memory://").rpartition("/")
    store, copy = MemoryStore(folder), MemoryStore(uuid.uuid4().hex)
    for name in store.list():
        if not name.endswith(".lock"):
            blob = store.open(name)
            copy.put(name, blob.read(0, blob.size), replace=False)
    return f"{copy.url}/{base}"


class JournalMachine(TreeMachine):
    """The tree machine on a tree with a journal, which crashes now and then."""

    tree: JournaledTree

    def open(self) -> JournaledTree:
        container = Container.open(self.url, "a", self.options)
        take_up(container)
        self.reports = [text for text in container.warnings if ".log-" in text]
        return JournaledTree(container, self.look)

    @rule(look=st.sampled_from((2, 3)))
    def crash(self, look: int) -> None:
        before, dirty = self.lasting(), self.tree.journal.records
        after = image_of(self.url)
        for handle, _ in self.readers:
            handle.release()
        self.readers.clear()
        self.tree.container.close()
        self.url, self.look = after, look
        self.tree = self.open()
        assert not any("left" in report or "does not fit" in report for report in self.reports), self.reports
        assert dirty or not self.reports
        assert self.lasting() == before
        assert [str(finding) for finding in verify(self.url)] == []
        assert not any(".log-" in name for name in self.tree.container.store.list())
        self.model.committed()
        self.separate()

    @precondition(lambda self: self.tree.journal.records)
    @rule()
    def crash_within_take_up(self) -> None:
        """A second crash when the layer is there and the journal not yet removed."""
        self.tree.journal.write()
        store = self.tree.container.store
        name = self.tree.journal.name
        assert name is not None
        blob = store.open(name)
        log = blob.read(0, blob.size)
        self.crash(self.look)
        self.tree.container.store.put(name, log, replace=False)
        self.crash(self.look)


def test_a_crash_between_two_calls_loses_nothing() -> None:
    run_state_machine_as_test(JournalMachine, settings=examples(100, steps=40))
