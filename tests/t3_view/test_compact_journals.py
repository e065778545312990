"""Compaction and the work of writers that is in journals: it stands on versions, and these stay as long as it does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from arrayfs.container.compact import compact
from arrayfs.container.container import Container
from arrayfs.container.journal import find_journals
from arrayfs.container.verify import verify
from arrayfs.view.journaled import JournaledTree
from tests.t2_container.test_model import readable
from tests.t3_view.test_journal_crash import Client, put
from tests.t3_view.test_journal_versions import Mounts


@pytest.fixture
def mounts() -> Iterator[Mounts]:
    made = Mounts()
    made.do(("mkdir", "d"), *put("d/f", b"first"), ("commit",))
    yield made
    made.tree.container.close()


def commit_aside(url: str, path: str) -> None:
    container = Container.open(url, "a")
    tree = JournaledTree(container)
    client = Client(tree)
    for call in put(path, b"of another"):
        client.do(call)
    tree.commit("aside")
    tree.close()


@pytest.mark.parametrize("crash", [False, True])
def test_the_version_that_a_journal_goes_on_from_is_kept_and_later_merged(mounts: Mounts, crash: bool) -> None:
    mounts.do(*put("d/g", b"not committed"))
    commit_aside(mounts.url, "e")
    commit_aside(mounts.url, "e2")
    report = compact(mounts.url)
    assert (report.kept, report.merged) == ((1,), (0, 2))
    if crash:
        mounts.crash()
    else:
        mounts.do(("commit",))
    everything = {"d": None, "d/f": b"first", "d/g": b"not committed", "e": b"of another", "e2": b"of another"}
    assert mounts.state() == everything
    mounts.remount()
    assert compact(mounts.url).layers_after == 1
    assert mounts.state() == everything
    assert list(verify(mounts.url)) == []


def test_versions_that_a_journal_was_carried_over_to_are_kept(mounts: Mounts) -> None:
    """A commit that another's stopped: the journal says what lay below when it was carried over."""
    mounts.do(*put("d/g", b"not committed"))
    commit_aside(mounts.url, "e")
    with mounts.tree.container.lock:
        assert mounts.tree.container._catch_up()
    mounts.do(*put("d/h", b"after it"))
    commit_aside(mounts.url, "e2")
    assert compact(mounts.url).kept == (1, 2)
    mounts.crash()
    assert mounts.state()["d/h"] == b"after it"
    assert mounts.state()["e2"] == b"of another"


def journal_of(mounts: Mounts) -> tuple[str, bytes]:
    [found] = find_journals(mounts.tree.container.store, mounts.tree.container.names)
    blob = mounts.tree.container.store.open(found.name)
    return found.name, blob.read(0, blob.size)


def test_a_journal_whose_work_was_committed_and_merged_is_removed(mounts: Mounts) -> None:
    """Its removal after the commit was lost with the power."""
    mounts.do(*put("d/g", b"committed"))
    name, content = journal_of(mounts)
    mounts.do(("commit",), ("unlink", "d/g"), ("commit",))
    mounts.tree.close()
    compact(mounts.url)
    assert readable(mounts.url) == [3]
    store = mounts.tree.container.store
    store.put(name, content, replace=False)
    mounts._open()
    assert mounts.reports == []
    assert name not in store.list()
    assert mounts.state() == {"d": None, "d/f": b"first"}
    assert mounts.tree.container.version == 3


def test_a_journal_that_a_compaction_knew_nothing_of_is_left_alone_and_named(mounts: Mounts) -> None:
    """One in another folder, of a writer that ended, whose version was merged."""
    mounts.do(*put("d/g", b"elsewhere"))
    name, content = journal_of(mounts)
    store = mounts.tree.container.store
    mounts.tree.container.close()
    store.delete(name)
    commit_aside(mounts.url, "e")
    compact(mounts.url)
    assert readable(mounts.url) == [2]
    store.put(name, content, replace=False)
    mounts._open()
    [told] = [report for report in mounts.reports if name in report]
    assert "left alone: it goes on from a version that is not there" in told
    assert mounts.state() == {"d": None, "d/f": b"first", "e": b"of another"}
    assert name in store.list()
