"""Statistics: exact, as the crate makes them; and attributes looked up over a whole container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arrayfs
from arrayfs.container.statistics import of_array
from arrayfs.format.stats import decode_stats
from tests.t7_interop import crate

NAN = float("nan")
ARRAYS: dict[str, tuple[Any, Any, list[Any], arrayfs.Statistics]] = {
    "floats": ("f4", 0, [-0.0, NAN, -3, 5], arrayfs.Statistics(-3.0, NAN, 4, 7)),
    "nan is nothing": ("f8", NAN, [-0.0, NAN, -np.inf, 5], arrayfs.Statistics(-np.inf, 5.0, 4, 7)),
    "signs of zero": ("f8", 9, [0.0, -0.0], arrayfs.Statistics(-0.0, 0.0, 5, 7)),
    "ints": ("i2", 3, [3, -4], arrayfs.Statistics(-4, -4, 6, 7)),
    "large": ("u8", 0, [2**64 - 1, 1], arrayfs.Statistics(1, 2**64 - 1, 5, 7)),
    "bools": ("b1", False, [True], arrayfs.Statistics(True, True, 6, 7)),
    "texts": (str, "zz", ["hé", "zz", ""], arrayfs.Statistics("", "hé", 5, 7)),
    "bytes": (bytes, b"", [b"\xff"], arrayfs.Statistics(b"\xff", b"\xff", 6, 7)),
    "times": ("M8[ns]", 0, [5], arrayfs.Statistics(np.datetime64(5, "ns"), np.datetime64(5, "ns"), 6, 7)),
    "nothing": ("u1", 0, [], arrayfs.Statistics(None, None, 7, 7)),
}  # fmt: skip


@pytest.fixture(params=["read", "figures", "figures in a block"])
def filled(path: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One array for each row, of 7 elements in chunks of 3, their chunks measured or not."""
    if request.param == "figures in a block":
        monkeypatch.setattr("arrayfs.container.builder.FIGURES_WITHIN", 0)
    with arrayfs.open(path, "x", chunk_stats=request.param != "read") as container:
        for name, (dtype, fill, values, _) in ARRAYS.items():
            array = container.create(name, shape=(7,), chunks=(3,), dtype=dtype, fill_value=fill)
            if values:
                array[: len(values)] = values
    return path


def test_of_each_type_they_are_exact(filled: str) -> None:
    with arrayfs.open(filled) as container:
        found = container.stats()
        for name, (*_, expected) in ARRAYS.items():
            assert repr(found[name]) == repr(expected), name
            assert repr(container.array(name).stats()) == repr(expected), name
        assert container.array("ints").chunk_stats((0,)) == arrayfs.Statistics(-4, -4, 2, 3)
        assert container.array("ints").chunk_stats((2,)) == arrayfs.Statistics(None, None, 1, 1)


def test_they_are_what_the_crate_makes_of_the_same_container(filled: str, tmp_path: Path) -> None:
    with arrayfs.open(filled, "a") as container:
        ours = {name: of_array(container._session.container.get(name), container._session.container.cache)
                for name in ARRAYS}  # fmt: skip
        container.write_stats()
    written = {one.name: one for one in decode_stats(Path(filled).with_name("c.stats").read_bytes()).arrays}
    assert written == {name: one for name, one in ours.items() if name != "nothing"}
    assert crate.reads(Path(filled))["ints"]["stats"] is not None
    copy = tmp_path / "copy"
    shutil.copytree(Path(filled).parent, copy, ignore=lambda *_: ["copy", "c.stats"])
    crate.compact(copy / "c.af")
    theirs = {one.name: one for one in decode_stats((copy / "c.stats").read_bytes()).arrays}
    assert {name: theirs[name] for name in ours} == ours


def test_the_file_is_read_where_it_is_right_and_goes_with_a_commit(filled: str) -> None:
    stats = Path(filled).with_name("c.stats")
    with arrayfs.open(filled, "a") as container:
        container.write_stats()
        content = stats.read_bytes()
        assert container.stats()["ints"].maximum == -4
        stats.write_bytes(content.replace((-4).to_bytes(8, "little", signed=True), (6).to_bytes(8, "little")))
        assert container.stats()["ints"].maximum == 6  # it is believed
        container["ints"][0] = 9
        assert container.stats()["ints"].maximum == 9
        with pytest.raises(arrayfs.ConflictError, match="there are changes"):
            container.write_stats()
    assert "c.stats" not in os.listdir(stats.parent)
    with arrayfs.open(filled, "a") as container:
        container.write_stats()
    with arrayfs.open(filled, version=1) as older:
        assert older.stats()["ints"].maximum == -4


def test_attributes_over_the_whole_container(container: arrayfs.Container) -> None:
    container.create("a", shape=(), dtype="u1", attributes={"unit": "K"})
    container.create_group("g", {"unit": [1, None]})
    container.create("g/b", shape=(), dtype="u1", attributes={"other": 1})
    container.attrs["unit"] = 5
    assert container.attribute_index("unit") == {"": 5, "a": "K", "g": [1, None]}
    assert container.attribute_index("no") == {}
