"""`--chunk-stats` from the command that begins it to those that show it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import arrayfs as api
from arrayfs.container.layer import Layer
from tests.t6_cli.conftest import Arrayfs


@pytest.fixture
def container(tmp_path: Path, arrayfs: Arrayfs) -> str:
    """Arrays that were measured when they were packed, and one that could not be."""
    path = str(tmp_path / "c.af")
    assert arrayfs("create", path, "--chunk-stats").exit_code == 0
    with api.open(path, "a") as made:
        made.create("a", shape=(5,), chunks=(2,), dtype="i2", fill_value=0)[1:4] = [-3, 0, 9]
        made.create("nan", shape=(2,), dtype="f4", fill_value=0)[:] = [np.nan, -0.0]
        made.create("text", shape=(2,), dtype=str)[:] = ["x", "y"]
        made.create("empty", shape=(3,), dtype="u1")
        made.create("time", shape=(1,), dtype="M8[ns]")[:] = np.datetime64("2026-03-01T12", "ns")
    return path


def test_ls_shows_what_is_known_and_reads_nothing(
    arrayfs: Arrayfs, container: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unpack(layer: Layer, row: int) -> bytes:
        raise AssertionError(f"block {row} is read")

    monkeypatch.setattr(Layer, "unpack_block", unpack)
    listed = json.loads(arrayfs("ls", container, "--stats", "--json").output)
    found = {one["name"]: one["stats"] and list(one["stats"].values()) for one in listed}
    noon = "2026-03-01T12:00:00.000000000"
    assert found == {
        "a": [-3, 9, 3, 5],
        "nan": ["NaN", "NaN", 1, 2],
        "text": None,
        "empty": [None, None, 3, 3],
        "time": [noon, noon, 0, 1],
    }
    shown = [line.split()[-5:] for line in arrayfs("ls", container, "--stats").output.splitlines()]
    assert shown[0][-3:] == ["smallest", "largest", "null"]
    assert shown[1] == ["-3", "9", "3", "of", "5"]
    assert [line[-3:] for line in shown if "?" in line] == [["?", "?", "?"]]


def test_info_and_dump_tell_of_them_until_they_are_dropped(arrayfs: Arrayfs, container: str) -> None:
    assert "statistics of the chunks of numbers are kept" in arrayfs("info", container).output
    sidecar = Path(container).with_name("c.1.af")
    figures = json.loads(arrayfs("dump", sidecar).output)["extension"]["chunk_figures"]
    minus_three, nine = (f"{number & (1 << 64) - 1:016x}" for number in (-3, 9))
    assert figures["0"] == [[minus_three, minus_three, 1], [nine, nine, 1]]
    assert arrayfs("compact", container, "--no-chunk-stats").exit_code == 0
    assert json.loads(arrayfs("info", container, "--json").output)["chunk_stats"] is False
    assert json.loads(arrayfs("dump", container).output)["extension"]["chunk_figures"] is None
    assert arrayfs("compact", container, "--chunk-stats").exit_code == 0
    listed = json.loads(arrayfs("ls", container, "a", "--stats", "--json").output)
    assert listed[0]["stats"]["null_count"] == 3


def test_what_is_imported_is_measured(arrayfs: Arrayfs, tmp_path: Path) -> None:
    np.save(tmp_path / "n.npy", np.array([3, -1, 2], "<i2"))
    path = tmp_path / "t.af"
    assert arrayfs("import", tmp_path / "n.npy", path, "--chunk-stats").exit_code == 0
    found = json.loads(arrayfs("ls", path, "n", "--stats", "--json").output)[0]["stats"]
    assert (found["minimum"], found["maximum"], found["row_count"]) == (-1, 3, 3)
    with api.open(path) as container:
        assert container["n"].stats() == api.Statistics(-1, 3, found["null_count"], 3)
