"""log, show, diff, blame, restore, tag, and the option --version, as a user starts them."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.model import DType
from tests.t0_format.golden import VECTORS
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_many_writers import until
from tests.t6_cli.conftest import Arrayfs, Place, ours


@pytest.fixture
def history(weather: Path) -> Path:
    """Versions 0 to 5: `t` written, one chunk of it changed, reshaped with attributes, a file added, all removed."""
    with Container.open(str(weather), "a") as container:
        t = container.get("t")
        container.respec(t, ArraySpec(DType("Int16"), (7, 4), (2, 2), ("y", "x")), 3)
        container.put(t, (3, 0), bytes(range(4)), 3)
        container.put(t, (1, 1), None, 3)
        container.set_attributes(t, {"units": ours("C"), "checked": ours("yes")})
        container.commit("third")
        container.rename(container.get("t"), "g/t")
        container.commit("fourth")
        container.remove(container.get("g/t"))
        container.remove(container.get("g/s"))
        container.commit("fifth")
    return weather


def test_log_lists_versions_newest_first(arrayfs: Arrayfs, history: Path) -> None:
    head, *lines = arrayfs("log", history).output.splitlines()
    assert head.split() == ["version", "time", "changed", "size", "author", "message"]
    assert [line.split()[0] for line in lines] == ["5", "4", "3", "2", "1", "0"]
    assert "1 array (2 chunks)" in lines[2]
    assert lines[2].endswith("third")
    facts = json.loads(arrayfs("log", history, "--json", "--last", "2").output)
    assert [(one["version"], one["message"], one["arrays"], one["chunks"]) for one in facts] == [
        (5, "fifth", 2, 0),
        (4, "fourth", 2, 4),
    ]
    assert facts[0]["bytes"] == history.with_name(facts[0]["file"]).stat().st_size


def test_log_of_one_array(arrayfs: Arrayfs, history: Path) -> None:
    def numbers(name: str) -> list[int]:
        return [one["version"] for one in json.loads(arrayfs("log", history, "--array", name, "--json").output)]

    assert numbers("t") == [4, 3, 2, 1]
    assert numbers("g/s") == [5, 2]
    assert numbers("g") == [5, 4, 2]
    missing = arrayfs("log", history, "--array", "absent")
    assert (missing.exit_code, missing.output) == (
        1,
        f"arrayfs: {history}: no version has an array, group or file 'absent'\n",
    )


def test_log_of_a_container_of_the_crate(arrayfs: Arrayfs) -> None:
    path = next(path for path in sorted(VECTORS.glob("v5/*/t.2.af"))).with_name("t.af")
    facts = json.loads(arrayfs("log", path, "--json").output)
    layers = len([*path.parent.glob("t*.af")])
    assert [one["version"] for one in facts] == list(reversed(range(layers)))
    assert not any(one["by_arrayfs"] for one in facts)
    assert len({one["id"] for one in facts}) == layers
    assert "(the crate)" in arrayfs("log", path).output
    assert arrayfs("show", path, "0").exit_code == arrayfs("diff", path, "0", "1").exit_code == 0


def test_show_says_what_a_version_changed(arrayfs: Arrayfs, history: Path) -> None:
    lines = arrayfs("show", history, "3").output.splitlines()
    assert lines[0].startswith("version  3 (")
    assert lines[-1] == ("~ array t: shape 5×4 -> 7×4; 1 chunk added, 1 removed; attributes +checked, ~units")
    assert arrayfs("show", history, "4").output.splitlines()[-1] == "> array g/t: was t"
    assert arrayfs("show", history, "1").output.splitlines()[-1] == "+ array t: Int16 5×4, 4 chunks"
    assert arrayfs("show", history, "0").output.splitlines()[-2].startswith("file     weather.af")
    assert arrayfs("show", history, "9").output == "arrayfs: there is no version 9; versions are 0 to 5\n"


def test_diff_counts_elements_and_names_chunks(arrayfs: Arrayfs, history: Path) -> None:
    assert arrayfs("diff", history, "1", "2", "--values", "--chunks").output.splitlines() == [
        "~ array t: 1 chunk changed; 4 elements changed, by at most 1798",
        "    ~ 0 0",
        "+ array g/s: Float64 scalar, 0 chunks",
    ]
    (found,) = json.loads(arrayfs("diff", history, "1", "2", "--array", "t", "--values", "--json").output)["changes"]
    assert found["chunks"] == {"added": 0, "removed": 0, "changed": 1}
    assert found["values"] == {"changed": 4, "largest": 1798, "unreadable_chunks": 0}
    assert arrayfs("diff", history, "1").output == "- array t: Int16 5×4, 4 chunks\n"
    assert arrayfs("diff", history, "3", "3").output == ""


@keeps("a chunk that was written and written back is no difference")
def test_what_was_written_back_is_no_difference(arrayfs: Arrayfs, weather: Path) -> None:
    with Container.open(str(weather), "a") as container:
        container.put(container.get("t"), (0, 0), bytes(range(8)), 9)
    assert arrayfs("diff", weather, "1", "--array", "t").output == ""
    assert "1 chunk changed" in arrayfs("diff", weather, "2", "--array", "t").output


def test_diff_of_files_is_by_path(arrayfs: Arrayfs, place: Place) -> None:
    place.mount()
    (place / "note").write_text("short")
    (place / "same").write_text("same")
    os.mkdir(place / "empty")
    assert place.run("commit", place.mountpoint).returncode == 0
    (place / "note").write_text("longer text")
    (place / "new").write_text("")
    (place / "same").chmod(0o600)
    assert place.run("commit", place.mountpoint).returncode == 0
    said = place.run("diff", place.mountpoint, "1")
    assert sorted(said.stdout.splitlines()) == [
        "+ file new: 0 B",
        "~ file note: 5 B -> 11 B",
        "~ file same: mode or time",
    ]
    assert place.run("diff", place.mountpoint, "0", "1").stdout.splitlines()[-1] == "+ directory empty"
    place.umount()


def test_blame_draws_the_grid(arrayfs: Arrayfs, history: Path) -> None:
    lines = arrayfs("blame", history, "t", "--version", "3").output.splitlines()
    assert [line.strip() for line in lines[:5]] == ["12", "2.", "..", "0.", ""]
    assert [line.split()[:3] for line in lines[5:]] == [
        ["sign", "version", "chunks"],
        ["0", "3", "1"],
        ["1", "2", "1"],
        ["2", "1", "2"],
    ]
    table = arrayfs("blame", history, "t", "--version", "3", "--table").output.splitlines()
    assert [line.split()[:3] for line in table[1:]] == [
        ["0", "0", "2"],
        ["0", "1", "1"],
        ["1", "0", "1"],
        ["3", "0", "3"],
    ]
    facts = json.loads(arrayfs("blame", history, "t", "--version", "3", "--json").output)
    assert [one["version"] for one in facts["chunks"]] == [2, 1, 1, 3]
    assert [one["message"] for one in facts["versions"]] == ["first", "second", "third"]
    assert arrayfs("blame", history, "t").exit_code == 1


def test_blame_of_a_large_grid_is_a_legend(arrayfs: Arrayfs, weather: Path) -> None:
    with Container.open(str(weather), "a") as container:
        wide = container.define("wide", ArraySpec(DType("UInt8"), (1000,), (1,)))
        container.put(wide, (999,), b"x", 1)
        cube = container.define("cube", ArraySpec(DType("UInt8"), (2, 1, 2), (1, 1, 1)))
        container.put(cube, (1, 0, 1), b"x", 1)
    assert [line.split()[:2] for line in arrayfs("blame", weather, "wide").output.splitlines()] == [
        ["version", "chunks"],
        ["3", "1"],
    ]
    lines = arrayfs("blame", weather, "cube").output.splitlines()
    assert lines[:6] == ["chunks 0 …", "  ..", "", "chunks 1 …", "  .0", ""]
    assert arrayfs("blame", weather, "g/s").output.splitlines()[0] == "  ."


def test_ls_info_and_dump_of_a_version(arrayfs: Arrayfs, history: Path) -> None:
    assert [one["name"] for one in json.loads(arrayfs("ls", history, "--version", "1", "--json").output)] == ["t"]
    assert arrayfs("ls", history).output == ""
    assert json.loads(arrayfs("info", history, "--version", "2", "--json").output)["version"] == 2
    assert json.loads(arrayfs("dump", history, "--version", "2").output)["file"] == "weather.2.af"
    refused = arrayfs("ls", history, "--version", "1999-01-01")
    assert refused.exit_code == 1
    assert "before the first version" in refused.output


def test_restore_brings_all_or_some_back(arrayfs: Arrayfs, history: Path) -> None:
    done = arrayfs("restore", history, "2", "t", "-m", "needed again")
    assert done.output.startswith("committed version 6: weather.6.af, ")
    assert [one["name"] for one in json.loads(arrayfs("ls", history, "--json").output)] == ["t"]
    assert json.loads(arrayfs("log", history, "--json", "--last", "1").output)[0]["message"] == "needed again"
    assert json.loads(arrayfs("restore", history, "2", "--json").output)["version"] == 7
    assert arrayfs("diff", history, "2").output == ""
    assert arrayfs("restore", history, "2").output == "nothing to do: the newest version has what version 2 has\n"
    assert arrayfs("restore", history, "0").exit_code == 0
    assert arrayfs("ls", history).output == ""
    assert arrayfs("restore", history, "1", "absent").output == (
        "arrayfs: no array, group or file 'absent', then or now\n"
    )
    assert arrayfs("verify", history).exit_code == 0


def test_tags_are_set_moved_listed_and_used(arrayfs: Arrayfs, history: Path) -> None:
    assert arrayfs("tag", history, "paper", "2").output == "tag paper names version 2\n"
    assert arrayfs("tag", history, "last").output == "tag last names version 5\n"
    assert arrayfs("tag", history, "copy", "paper").output == "tag copy names version 2\n"
    assert arrayfs("tag", history, "last").output == "tag last names version 5\n"
    rows = [line.split()[:2] for line in arrayfs("tag", history).output.splitlines()]
    assert rows == [["tag", "version"], ["copy", "2"], ["last", "5"], ["paper", "2"]]
    assert arrayfs("tag", history, "--delete", "copy").output == "tag copy was taken away\n"
    assert [one["tag"] for one in json.loads(arrayfs("tag", history, "--list", "--json").output)] == ["last", "paper"]
    assert "[paper] second" in arrayfs("log", history).output
    assert arrayfs("log", history, "-n", "2").output.splitlines()[1].endswith("no tag copy")
    newest = json.loads(arrayfs("log", history, "-n", "1", "--json").output)[0]
    assert (newest["sets_tags"], newest["removes_tags"]) == ([], ["copy"])
    assert [one["name"] for one in json.loads(arrayfs("ls", history, "--version", "paper", "--json").output)] == [
        "t",
        "g/s",
    ]
    for wrong in (["--delete", "absent"], ["7"], ["x", "99"]):
        assert arrayfs("tag", history, *wrong).exit_code == 1
    for wrong in (["--list", "x"], ["--delete"], ["x", "1", "--delete"]):
        assert arrayfs("tag", history, *wrong).exit_code == 2


@keeps(
    "A mount with --version shows that version and the ones before it, and refuses every change.",
    "Commits made meanwhile change nothing in it.",
)
def test_mount_of_a_version(place: Place) -> None:
    place.mount()
    for number in range(3):
        (place / "note").write_text(f"version {number + 1}")
        assert place.run("commit", place.mountpoint, "-m", f"message {number}").returncode == 0
    place.umount()
    assert place.run("tag", place.container, "paper", "2").returncode == 0
    done = place.run("mount", "--version", "paper", place.container, place.mountpoint)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert place.run("restore", place.container, "1").returncode == 0
    assert (place / "note").read_text() == "version 2"
    assert os.listdir(place / ".arrayfs/versions") == ["0", "1", "2"]
    with pytest.raises(OSError, match="Read-only file system") as caught:
        (place / "note").write_text("x")
    assert caught.value.errno == errno.EROFS
    assert json.loads((place / ".arrayfs/status.json").read_text())["version"] == 2
    place.umount()
    wrong = place.run("mount", "--version", "nope", place.container, place.mountpoint)
    assert (wrong.returncode, wrong.stderr) == (
        1,
        "arrayfs: 'nope' is no number, tag or time of a version; versions are 0 to 5\n",
    )
    assert place.run("mount", "--version", "1", "--create", place.container, place.mountpoint).returncode == 2


def test_a_mount_shows_what_was_restored_or_tagged_meanwhile(place: Place) -> None:
    place.mount("--refresh", "0.1")
    (place / "note").write_text("1")
    assert place.run("commit", place.mountpoint).returncode == 0
    (place / "note").write_text("2")
    assert place.run("commit", place.mountpoint).returncode == 0
    assert place.run("tag", place.mountpoint, "one", "1").stdout == "tag one names version 1\n"
    assert place.run("restore", place.mountpoint, "one").stdout.startswith("committed version 4: v.4.af")
    until(lambda: (place / "note").read_text() == "1")
    assert os.listdir(place / ".arrayfs/versions") == ["0", "1", "2", "3", "4", "one"]
    assert (place / ".arrayfs/versions/2/note").read_text() == "2"
    assert place.umount() == "nothing had changed since the last commit\n"


@pytest.mark.parametrize("command", [["tag", "x"], ["restore", "0"]], ids=["tag", "restore"])
def test_what_a_killed_mount_left_is_committed_first(place: Place, command: list[str]) -> None:
    daemon = place.start()
    (place / "note").write_text("kept")
    daemon.kill()
    daemon.communicate()
    place.run("umount", place.mountpoint)
    done = place.run(command[0], place.container, *command[1:])
    assert done.returncode == 0
    assert "operations of a writer that ended were committed as v.1.af" in done.stderr
    assert [one["version"] for one in json.loads(place.run("log", place.container, "--json").stdout)] == [2, 1, 0]
    assert place.run("diff", place.container, "0", "1").stdout == "+ file note: 4 B\n"
