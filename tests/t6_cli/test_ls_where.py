"""`arrayfs ls --where`: arrays by their attributes, whoever wrote them and however they are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import arrayfs as api
from tests.t6_cli.conftest import Arrayfs


@pytest.fixture
def container(tmp_path: Path) -> str:
    """Arrays with attributes of several kinds."""
    path = str(tmp_path / "c.af")
    with api.open(path, "x") as made:
        for name, attributes in {
            "a": {"units": "K", "level": 850},
            "g/b": {"units": "K", "level": 500.0, "nested": {"x": [1]}},
            "c": {"units": "m", "level": "high"},
            "d": {},
        }.items():
            made.create(name, shape=(2,), dtype="u1", attributes=attributes)
        opaque = made.array("c")
        opaque.write_metadata(opaque.read_metadata() | {"codecs": [{"name": "unheard-of"}]})
    return path


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (["units"], ["a", "c", "g/b"]),
        (["units=K"], ["a", "g/b"]),
        (["units!=K"], ["c"]),
        (["level=500"], ["g/b"]),
        (["level<600"], ["g/b"]),
        (["level>600"], ["a"]),
        (["level>a"], ["c"]),
        (["units=K", "level=850"], ["a"]),
        (['nested={"x": [1]}'], ["g/b"]),
        (["no"], []),
    ],
)
def test_arrays_by_their_attributes(arrayfs: Arrayfs, container: str, where: list[str], names: list[str]) -> None:
    options = [part for condition in where for part in ("--where", condition)]
    done = arrayfs("ls", container, *options, "--json")
    assert done.exit_code == 0, done.output
    assert sorted(array["name"] for array in json.loads(done.output)) == names


def test_a_condition_that_is_none_is_wrong_usage(arrayfs: Arrayfs, container: str) -> None:
    done = arrayfs("ls", container, "--where", "=K")
    assert (done.exit_code, "KEY, or KEY=VALUE" in done.output) == (2, True)
