"""What `flush` keeps of a killed writer, what is not kept, and who takes it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.view.autocommit import open_writable_tree
from tests.t4_fuse.promises import keeps
from tests.t5_api.killing import kill
from tests.t5_api.tree_values import values_of


@pytest.fixture
def committed(path: str) -> str:
    """A container with an array `t` of two chunks."""
    with arrayfs.open(path, "x") as container:
        container.create("t", shape=(4, 4), chunks=(2, 4), dtype="u1")[...] = 1
    return path


def names(path: str) -> list[str]:
    return sorted(os.listdir(Path(path).parent))


@keeps("What was written is not kept from a kill before flush or commit returns.")
def test_without_a_flush_a_killed_writer_leaves_what_was_committed(committed: str) -> None:
    container = arrayfs.open(committed, "a", dirty_limit=1)
    container["t"][...] = 2
    container.create("u", shape=(), dtype="u1")
    kill(container)
    with arrayfs.open(committed, "a") as again:
        assert (list(again), again["t"][0, 0], again.version) == (["t"], 1, 1)
    assert names(committed) == ["c.1.af", "c.af", "c.lock"]


def change(container: arrayfs.Container) -> None:
    """Something of every kind, in an order that matters."""
    array = container.array("t")
    array[0, 1:3] = 5
    array.resize((1, 4))
    array.attrs["a"] = 1
    array.resize((6, 4))
    container.rename("t", "g/t")
    array.store_encoded_chunk((2, 0), arrayfs.EncodedChunk(None, bytes(range(8)), 8))
    container.create("u", shape=(3,), chunks=(1,), dtype="u1")[...] = 4
    container["u"].attrs["b"] = 2


def check(container: arrayfs.Container) -> None:
    array = container.array("g/t")
    assert array[...].tolist() == [[1, 5, 5, 1], *[[0] * 4] * 3, [0, 1, 2, 3], [4, 5, 6, 7]]
    assert (dict(array.attrs), container["u"][...].tolist(), "t" in container) == ({"a": 1}, [4, 4, 4], False)


@pytest.mark.parametrize("twice", [False, True])
def test_what_was_flushed_is_a_version_of_the_next_who_writes(committed: str, twice: bool) -> None:
    container = arrayfs.open(committed, "a")
    if twice:
        container["t"][...] = 3
        container.flush()
        container.array("t")[...] = 1
        container.create("u", shape=(1,), dtype="u1")[0] = 9
        container.flush(sync=False)
        container["u"].erase_chunk((0,))
        del container["u"]
    change(container)
    container.flush()
    container["u"][...] = 0  # too late
    kill(container)
    with arrayfs.open(committed, "a") as again:
        check(again)
        assert again.version == 2
        assert "operations of a writer that ended were committed" in again.warnings[0]
    assert [name for name in names(committed) if "log" in name or "part" in name] == []


def test_a_mount_takes_it_up_too(committed: str) -> None:
    container = arrayfs.open(committed, "a")
    change(container)
    container.flush()
    kill(container)
    tree = open_writable_tree(committed)
    np.testing.assert_array_equal(values_of(tree, "u"), [4, 4, 4])
    tree.close()


@keeps("After flush the next open for writing, by whichever program, makes it a version of its own.")
def test_a_killed_process(committed: str) -> None:
    program = f"""if True:
        import arrayfs, os, signal
        c = arrayfs.open({committed!r}, "a")
        c["t"][0] = 7
        c.flush()
        c["t"][1] = 8
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -signal.SIGKILL
    with arrayfs.open(committed) as container:
        assert container["t"][0, 0] == 1
        assert "a journal with" in container.warnings[0]
    with arrayfs.open(committed, "a") as container:
        assert container["t"][:, 0].tolist() == [7, 1, 1, 1]


def test_what_was_flushed_can_be_given_up_or_committed(committed: str) -> None:
    for end, value in (("discard", 1), ("commit", 5)):
        with arrayfs.open(committed, "a") as container:
            container["t"][...] = 5
            container.flush()
            assert any(name.startswith("c.log-") for name in names(committed))
            getattr(container, end)()
        with arrayfs.open(committed, "a") as container:
            assert container["t"][0, 0] == value


def test_the_journal_can_lie_elsewhere(committed: str, tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    folder.mkdir()
    container = arrayfs.open(committed, "a", journal_dir=folder)
    container["t"][...] = 5
    container.flush()
    assert len(os.listdir(folder)) == 1
    kill(container)
    for options, value in (({}, 1), ({"journal_dir": folder}, 5)):
        with arrayfs.open(committed, "a", **options) as again:
            assert again["t"][0, 0] == value


def test_work_that_another_overlaps_is_kept_at_the_end(committed: str) -> None:
    one: Any = arrayfs.open(committed, "a")
    with arrayfs.open(committed, "a") as other:
        other["t"][0] = 3
    one["t"][0] = 2
    with pytest.raises(arrayfs.ConflictError) as raised:
        one.close()
    assert "The changes are kept in c.log-" in raised.value.__notes__[0]
    with arrayfs.open(committed, "a") as container:
        assert container["t"][0, 0] == 3
        assert "both changed" in container.warnings[0]
    with arrayfs.open(committed, "a", on_conflict="ours") as container:
        assert container["t"][0, 0] == 2


def test_what_was_carried_over_to_another_version_is_kept_from_there(
    committed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = arrayfs.open(committed, "a")
    one["t"].attrs["mine"] = 1
    with arrayfs.open(committed, "a") as other:
        other["t"].attrs["theirs"] = 2
        other["t"][3] = 9
    with monkeypatch.context() as patch:
        patch.setattr(one._session.container, "_try_to_commit", refuse)
        with pytest.raises(OSError, match="no room"):
            one.commit()
    one["t"][0] = 5
    one.flush()
    kill(one)
    with arrayfs.open(committed, "a") as container:
        assert dict(container["t"].attrs) == {"mine": 1, "theirs": 2}
        assert container["t"][:, 0].tolist() == [5, 1, 1, 9]


def refuse(*_: Any) -> None:
    raise OSError(28, "no room")
