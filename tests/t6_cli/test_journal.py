"""`arrayfs journal`, on journals left by trees that ended without closing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.model import DType
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.journaled import JournaledTree
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import open_tree
from tests.t6_cli.conftest import Arrayfs


def write(tree: JournaledTree, parent: int, name: str, offset: int, data: bytes) -> None:
    made = tree.create(parent, name, 0o640, False)
    handle = tree.open(made.ino, write=True, truncate=False)
    handle.write(offset, data)
    handle.flush()
    handle.release()


def content(container: Path, *names: str) -> bytes:
    tree = open_tree(str(container))
    try:
        ino = ROOT
        for name in names:
            attr = tree.lookup(ino, name)
            assert attr is not None, name
            ino = attr.ino
        return bytes(tree.open(ino, write=False, truncate=False).read(0, 1 << 20))
    finally:
        tree.close()


@pytest.fixture
def left(weather: Path) -> Path:
    """The journal of a writer that ended, beside `weather`."""
    tree = JournaledTree(Container.open(str(weather), "a"))
    folder = tree.mkdir(ROOT, "d", 0o755)
    write(tree, folder.ino, "first", 0, b"one")
    tree.rename(folder.ino, "first", folder.ino, "f", no_replace=False)
    array = tree.lookup(ROOT, "t")
    assert array is not None
    chunks = tree.lookup(array.ino, "c")
    assert chunks is not None
    row = tree.lookup(chunks.ino, "0")
    assert row is not None
    write(tree, row.ino, "0", 0, np.full(4, 7, "<i2").tobytes())
    tree.setattr(folder.ino, mtime_ns=5)
    tree.journal.close()
    tree.container.close()
    (found,) = weather.parent.glob("weather.log-*")
    return found


def committed_since(weather: Path) -> None:
    """Another writer, who knows nothing of journals, makes a version."""
    with Container.open(str(weather), "a") as container:
        container.define("since", ArraySpec(DType("Int8"), (), ()))


def test_list(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    said = arrayfs("journal", "list", weather)
    assert left.name in said.stdout
    assert "ready: the next open for writing takes it up" in said.stdout
    (row,) = json.loads(arrayfs("journal", "list", "--json", weather).stdout)
    assert (row["name"], row["bytes"], row["state"]) == (left.name, left.stat().st_size, "ready")
    assert row["operations"] == 13
    tree = open_writable_tree(str(weather))
    tree.mkdir(ROOT, "e", 0o755)
    (row,) = json.loads(arrayfs("journal", "list", "--json", weather).stdout)
    assert row["state"] == "in use"
    tree.close()
    assert arrayfs("journal", "list", weather).stdout == "weather.af: no journals\n"


def test_what_is_ready_is_taken_up_by_the_next_writer(weather: Path, left: Path) -> None:
    tree = open_writable_tree(str(weather))
    assert any("13 operations of a writer that ended were committed as weather.3.af" in text for text in tree.warnings)
    tree.close()
    assert not left.exists()
    assert content(weather, "d", "f") == b"one"
    assert content(weather, "t", "c", "0", "0") == np.full(4, 7, "<i2").tobytes()


def test_apply_on_a_newer_version(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    committed_since(weather)
    (row,) = json.loads(arrayfs("journal", "list", "--json", weather).stdout)
    assert row["state"] == "behind"
    tree = open_writable_tree(str(weather))
    told = "13 operations of a writer that ended were committed as weather.4.af"
    assert any(told in text for text in tree.warnings)
    tree.close()
    assert not left.exists()
    assert content(weather, "d", "f") == b"one"
    with Container.open(str(weather)) as container:
        assert "since" in container


def test_apply_wins_where_both_changed_the_same(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    with Container.open(str(weather), "a") as container:
        container.put(container.get("t"), (0, 0), bytes([9] * 8), 1)
    tree = open_writable_tree(str(weather))
    assert any("both changed: 't' chunk (0, 0); it is kept" in text for text in tree.warnings), tree.warnings
    tree.close()
    assert left.exists()
    done = arrayfs("journal", "apply", weather, left.name)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "13 operations of a writer that ended were committed as weather.4.af" in done.stdout
    assert not left.exists()
    assert content(weather, "t", "c", "0", "0") == np.full(4, 7, "<i2").tobytes()


def test_a_journal_that_does_not_fit_is_kept(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    weather.with_name("weather.2.af").unlink()  # the version that it goes on from
    with Container.open(str(weather), "a") as container:
        container.remove(container.get("t"))
    before = left.read_bytes()
    done = arrayfs("journal", "apply", weather, left.name)
    assert "it is kept, and nothing of it was taken in" in done.stdout
    assert "does not fit" in done.stdout
    assert left.read_bytes() == before
    assert len(list(weather.parent.glob("*.af"))) == 3


def test_export(arrayfs: Arrayfs, weather: Path, left: Path, tmp_path: Path) -> None:
    weather.unlink()  # the journal alone is enough
    folder = tmp_path / "rescued"
    done = arrayfs("journal", "export", weather, left.name, folder)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (folder / "d" / "f").read_bytes() == b"one"
    assert (folder / "d").stat().st_mtime_ns == 5
    assert (folder / "t/c/0/0").read_bytes() == np.full(4, 7, "<i2").tobytes()
    assert left.exists()
    assert arrayfs("journal", "export", weather, left.name, folder).exit_code != 0


def test_drop(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    assert arrayfs("journal", "drop", weather, left.name).exit_code != 0  # nobody there to say yes
    assert left.exists()
    assert arrayfs("journal", "drop", weather, left, "--yes").exit_code == 0
    assert not left.exists()
    for name in (left.name, "weather.af", "../x"):
        assert arrayfs("journal", "drop", weather, name, "--yes").exit_code != 0
    assert weather.exists()


def test_a_damaged_journal_is_named_and_kept(arrayfs: Arrayfs, weather: Path, left: Path) -> None:
    data = bytearray(left.read_bytes())
    data[20] ^= 1
    left.write_bytes(data)
    tree = open_writable_tree(str(weather))
    assert any("its header is damaged" in text for text in tree.warnings)
    tree.close()
    assert left.read_bytes() == data
    assert "damaged" in arrayfs("journal", "list", weather).stdout


def test_a_torn_journal_is_taken_up_to_its_last_whole_record(weather: Path, left: Path) -> None:
    left.write_bytes(left.read_bytes()[:-3])
    tree = open_writable_tree(str(weather))
    assert any("bytes behind the last whole record were left out" in text for text in tree.warnings)
    tree.close()
    assert content(weather, "d", "f") == b"one"
