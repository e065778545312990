"""`--journal-dir`: journals that lie elsewhere are taken up like others, and by their own container only."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from arrayfs.fuse import mountinfo
from arrayfs.fuse.state import wait_for_end
from arrayfs.fuse.unmount import find_mount
from arrayfs.store import LocalStore
from arrayfs.view.autocommit import open_writable_tree
from arrayfs.view.numbers import ROOT
from tests.t4_fuse.promises import keeps
from tests.t6_cli.conftest import Arrayfs, Place
from tests.t6_cli.test_journal import content, write


@pytest.fixture
def journals(tmp_path: Path) -> Path:
    folder = tmp_path / "journals"
    folder.mkdir()
    return folder


def kill(place: Place) -> None:
    """SIGKILL for the daemon; its dead mount stays until the next one."""
    state = find_mount(str(place.mountpoint))
    assert state is not None
    os.kill(state.info.pid, signal.SIGKILL)
    wait_for_end(str(place.mountpoint))


def left_by_a_writer(container: Path, journals: Path) -> str:
    """A writer that ended with one file in its journal; the journal's name."""
    tree = open_writable_tree(str(container), journals=LocalStore(str(journals)))
    for interval in tree._intervals:
        interval.stop()
    write(tree, ROOT, "f", 0, b"closed")
    name = tree.journal.name
    assert name is not None
    tree.journal.close()
    tree.container.close()
    return name


@keeps(
    "With --journal-dir the journal lies in another folder, which the next mount has to be told of as well; a mount "
    "that is not told shows what is committed, and leaves the journal for one that is."
)
def test_a_journal_elsewhere_waits_for_a_mount_that_is_told_of_it(place: Place, journals: Path) -> None:
    place.mount("--journal-dir", str(journals), "--journal-every", "1h")
    (place / "f").write_bytes(b"closed")
    (name,) = os.listdir(journals)
    assert name.startswith("v.log-")
    assert (journals / name).stat().st_mode & 0o777 == 0o600
    kill(place)
    assert not [path for path in place.container.parent.iterdir() if ".log-" in path.name]
    before = (journals / name).read_bytes()
    place.mount()
    assert not (place / "f").exists()
    (place / "g").write_bytes(b"meanwhile")
    place.umount()
    assert (journals / name).read_bytes() == before
    done = place.run("mount", "--journal-dir", journals, place.container, place.mountpoint)
    assert done.returncode == 0
    assert "operations of a writer that ended were committed as v.2.af" in done.stderr
    assert ((place / "f").read_bytes(), (place / "g").read_bytes()) == (b"closed", b"meanwhile")
    assert os.listdir(journals) == []
    assert place.umount() == "nothing had changed since the last commit\n"


@keeps("One folder may keep the journals of several containers, of the same name and of copies too.")
def test_a_journal_is_taken_up_by_its_own_container_only(tmp_path: Path, weather: Path, journals: Path) -> None:
    copy = tmp_path / "copy" / weather.name
    shutil.copytree(weather.parent, copy.parent)
    name = left_by_a_writer(weather, journals)
    before = (journals / name).read_bytes()
    tree = open_writable_tree(str(copy), journals=LocalStore(str(journals)))
    assert tree.lookup(ROOT, "f") is None
    assert any(f"{name}: left alone: it belongs to another container" in text for text in tree.warnings)
    tree.close()
    assert (journals / name).read_bytes() == before
    by_another_way = tmp_path / "link"
    by_another_way.symlink_to(weather.parent)
    tree = open_writable_tree(str(by_another_way / weather.name), journals=LocalStore(str(journals)))
    assert tree.lookup(ROOT, "f") is not None
    tree.close()
    assert os.listdir(journals) == []
    assert content(weather, "f") == b"closed"


def test_the_commands_look_there(arrayfs: Arrayfs, weather: Path, journals: Path, tmp_path: Path) -> None:
    first, second = left_by_a_writer(weather, journals), ""
    there = ("--journal-dir", journals)
    assert "no journals" in arrayfs("journal", "list", weather).stdout
    (row,) = json.loads(arrayfs("journal", "list", "--json", *there, weather).stdout)
    assert (row["name"], row["state"]) == (first, "ready")
    assert arrayfs("journal", "export", *there, weather, first, tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "f").read_bytes() == b"closed"
    assert "were committed as" in arrayfs("journal", "apply", *there, weather, first).stdout
    second = left_by_a_writer(weather, journals)
    assert arrayfs("journal", "drop", *there, weather, second, "--yes").exit_code == 0
    assert os.listdir(journals) == []
    assert arrayfs("journal", "list", "--journal-dir", tmp_path / "none", weather).exit_code == 1


def test_a_folder_in_which_no_journal_can_be_made_is_refused_at_once(place: Place, journals: Path) -> None:
    inside = place.mountpoint / "journals"
    inside.mkdir()
    for folder, why in (
        (journals / "none", "no such folder for journals"),
        (Path("/proc"), "no journal can be made there"),
        (inside, "lies in the mount itself"),
    ):
        done = place.run("mount", "--create", "--journal-dir", folder, place.container, place.mountpoint)
        assert done.returncode == 1
        assert str(folder) in done.stderr
        assert why in done.stderr
        assert mountinfo.mount_at(str(place.mountpoint)) is None
        assert not place.container.exists()


def test_the_container_s_own_folder_is_no_other_folder(place: Place) -> None:
    place.mount("--journal-dir", str(place.container.parent))
    (place / "f").write_bytes(b"closed")
    kill(place)
    assert [path for path in place.container.parent.iterdir() if ".log-" in path.name]
    assert place.run("mount", place.container, place.mountpoint).returncode == 0
    assert (place / "f").read_bytes() == b"closed"
    place.umount()
