"""compact, as a user starts it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.container.versions import VersionTable
from tests.t6_cli.conftest import Arrayfs, Place
from tests.t6_cli.test_versions import history

__all__ = ["history"]  # a fixture


def table(path: Path) -> VersionTable:
    with Container.open(str(path)) as container:
        return container.versions()


def readable(path: Path) -> list[int]:
    return [version.number for version in table(path) if version.merged_into is None]


def test_everything_is_merged_into_the_newest_version(arrayfs: Arrayfs, history: Path) -> None:
    before = {path.name: path.read_bytes() for path in history.parent.iterdir()}
    tried = arrayfs("compact", history, "--dry-run")
    assert tried.output.startswith("5 versions would be merged: 6 files of ")
    assert {path.name: path.read_bytes() for path in history.parent.iterdir()} == before
    done = arrayfs("compact", history)
    assert done.exit_code == 0
    assert done.output.startswith("5 versions merged: 6 files of ")
    assert [path.name for path in history.parent.glob("*.af")] == [history.name]
    assert arrayfs("verify", history).output == f"{history}: 0 errors, 0 warnings\n"
    assert arrayfs("compact", history).output == "nothing to do\n"
    lines = arrayfs("log", history).output.splitlines()[1:]
    assert [line.split()[0] for line in lines] == ["5", "4", "3", "2", "1", "0"]
    assert all("(merged into 5)" in line for line in lines[1:])
    assert lines[2].endswith("third")
    refused = arrayfs("show", history, "3")
    assert (refused.exit_code, "version 3 was merged into version 5" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--keep-last", "2"], [4, 5]),
        (["--keep-tags"], [2, 6]),
        (["--keep-since", "4"], [4, 5]),
        (["--keep-since", "2000-01-01"], [0, 1, 2, 3, 4, 5]),
        (["--keep-since", "good", "--keep-last", "1"], [2, 3, 4, 5, 6]),
    ],
)
def test_what_is_kept(arrayfs: Arrayfs, history: Path, options: list[str], kept: list[int]) -> None:
    if 6 in kept:
        arrayfs("tag", history, "good", "2")
    facts = json.loads(arrayfs("compact", history, "--json", *options).output)
    assert readable(history) == kept
    assert facts["merged"] == [number for number in range(max(kept) + 1) if number not in kept]
    assert facts["layers_after"] == len(kept)
    assert facts["size_after"] == sum(path.stat().st_size for path in history.parent.glob("*.af"))


def test_another_codec_and_block_size(arrayfs: Arrayfs, history: Path) -> None:
    done = arrayfs("compact", history, "--codec", "zstd", "--block-size", "1MiB", "--keep-last", "99")
    assert done.exit_code == 0
    with Container.open(str(history)) as container:
        used = {layer.codec(row) for layer in container.stack.layers for row in range(len(layer.footer.blocks) - 1)}
    assert used <= {"zstd"}
    wrong = arrayfs("compact", history, "--codec", "gzip")
    assert wrong.exit_code == 2


def test_what_is_no_version_or_container(arrayfs: Arrayfs, history: Path, tmp_path: Path) -> None:
    wrong = arrayfs("compact", history, "--keep-since", "yesteryear")
    assert (wrong.exit_code, "'yesteryear' is no number, tag or time of a version" in wrong.output) == (1, True)
    missing = arrayfs("compact", tmp_path / "absent.af")
    assert missing.exit_code == 1
    assert "absent.af: no such container" in missing.output


def test_a_mounted_container_and_what_others_build_on(place: Place) -> None:
    place.mount()
    (place / "old").write_text("committed")
    (place / ".arrayfs/commit").write_text("one")
    (place / "new").write_text("not committed")
    with Container.open(str(place.container), "a") as container:
        container.tag("aside", 1)
    done = place.run("compact", place.mountpoint)
    assert (done.returncode, done.stderr) == (0, "")
    kept, summary = done.stdout.splitlines()
    assert kept == "kept, for somebody builds on them: 1 version (1)"
    assert summary.startswith("1 version merged: 3 files of ")
    assert (place / "new").read_text() == "not committed"
    place.umount()
    assert readable(place.container) == [1, 2, 3]
