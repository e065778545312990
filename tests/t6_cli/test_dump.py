"""`arrayfs dump` says of a layer what the other implementation's own types say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.t0_format.golden import CASES, LONGEST_LIST, VECTORS, expected
from tests.t6_cli.conftest import Arrayfs


@pytest.mark.parametrize("case", CASES)
def test_dump_of_every_golden_layer_is_what_its_recipe_says(arrayfs: Arrayfs, case: str) -> None:
    layers = expected(case)["layers"]
    assert layers
    for layer in layers:
        done = arrayfs("dump", VECTORS / case / layer["file"], "--limit", LONGEST_LIST)
        assert done.exit_code == 0, done.output
        assert json.loads(done.output) == layer | {"extension": None}


def test_dump_without_a_limit_shows_long_lists(arrayfs: Arrayfs) -> None:
    file = VECTORS / "v5" / "many_small_chunks" / "t.af"
    arrays = json.loads(arrayfs("dump", file).output)["arrays"]
    assert max(len(array["chunks"]) for array in arrays) > LONGEST_LIST
    assert all(len(array["chunks"]) == array["n_chunks"] for array in arrays)


def test_dump_shows_the_extension_block(arrayfs: Arrayfs, weather: Path) -> None:
    first, second = (json.loads(arrayfs("dump", weather.with_name(f"weather.{n}.af")).output) for n in (1, 2))
    assert (first["extension"]["version"], first["extension"]["message"]) == (1, "first")
    assert second["extension"]["parent_id"] == first["extension"]["layer_id"]
    assert second["extension"]["container_id"] == first["extension"]["container_id"]
    assert len(second["extension"]["block_crcs"]) == second["n_blocks"]
    assert second["blocks"][-1]["codec"] == "arrayfs.ext1"


def test_dump_of_a_damaged_footer_names_the_file(arrayfs: Arrayfs, weather: Path) -> None:
    weather.write_bytes(weather.read_bytes()[:-1])
    done = arrayfs("dump", weather)
    assert done.exit_code == 1
    assert done.output.startswith("arrayfs: weather.af: trailer")
