"""A tree that commits by itself."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from arrayfs.container.commit import CommitReport
from arrayfs.container.container import Container
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.tree import Tree


def write(tree: Tree, name: str, data: bytes) -> None:
    made = tree.create(1, name, 0o644, True)
    file = tree.open(made.ino, write=True, truncate=False)
    file.write(0, data)
    file.flush()
    file.release()


@pytest.fixture
def container(tmp_path: Path) -> str:
    path = str(tmp_path / "v.af")
    Container.create(path)
    return path


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Counts the commits that were tried, of all trees."""
    tried = threading.Semaphore(0)
    commit = Container.commit

    def counting(self: Container, message: str = "") -> CommitReport | None:
        try:
            return commit(self, message)
        finally:
            tried.release()

    monkeypatch.setattr(Container, "commit", counting)
    return tried


def test_what_was_closed_is_committed_within_the_interval(container: str, commits: threading.Semaphore) -> None:
    tree = open_writable_tree(container, commit_every=0.01)
    write(tree, "a", b"first")
    for _ in range(2):  # the first may have begun before the file was there
        assert commits.acquire(timeout=30)
    with Container.open(container) as reader:
        assert ".arrayfs/files/a" in reader
    assert tree.close() is None


def test_closing_ends_the_thread_before_the_last_commit(container: str) -> None:
    tree = open_writable_tree(container, commit_every=3600)
    write(tree, "a", b"first")
    assert "commit at an interval" in {thread.name for thread in threading.enumerate()}
    report = tree.close()
    assert report is not None
    assert report.sidecar == "v.1.af"
    assert "commit at an interval" not in {thread.name for thread in threading.enumerate()}


def test_a_failed_commit_is_logged_and_shown_and_tried_again(
    container: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit, failed = Container.commit, threading.Event()

    def failing(self: Container, message: str = "") -> CommitReport | None:
        if failed.is_set():
            return commit(self, message)
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Container, "commit", failing)
    with caplog.at_level(logging.ERROR):
        tree = open_writable_tree(container, commit_every=0.01)
        write(tree, "a", b"first")
        assert failed.wait(30)
        tree.close()
    assert any("No space left" in record.getMessage() for record in caplog.records)
    assert any("No space left" in warning for warning in tree.warnings)
    with Container.open(container) as reader:
        assert ".arrayfs/files/a" in reader


def test_a_bug_in_a_commit_does_not_end_the_thread(
    container: str, commits: threading.Semaphore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    commit, failed = Container.commit, threading.Event()

    def failing(self: Container, message: str = "") -> CommitReport | None:
        if failed.is_set():
            return commit(self, message)
        failed.set()
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Container, "commit", failing)
    tree = open_writable_tree(container, commit_every=0.01)
    assert failed.wait(30)
    assert commits.acquire(timeout=30)  # one after the one that failed
    tree.close()
    assert "ZeroDivisionError: a bug" in caplog.text


def test_the_status_tells_of_the_last_commit(container: str) -> None:
    tree = open_writable_tree(container, commit_every=3600)
    assert tree.control.last_commit is None
    write(tree, "a", b"first")
    report = tree.commit("why")
    assert report is not None
    last = json.loads(json.dumps(tree.control.status()))["last_commit"]
    time = last.pop("time")
    assert last == {
        "sidecar": "v.1.af",
        "version": 1,
        "bytes": report.size,
        "arrays": report.arrays,
        "chunks": report.chunks,
        "message": "why",
    }
    assert time.endswith("Z")
    assert tree.commit() is None
    assert tree.control.last_commit == last | {"time": time}
    tree.close()
