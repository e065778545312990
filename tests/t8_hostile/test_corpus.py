"""Inputs that a hunt once found worth keeping: each still gets the answer that it got, within the same bounds.

`tests/golden/fuzz/DECODER/OUTCOME.bin` is the smallest known input of an outcome; the name of the file is the outcome,
numbers and names left out. How more are added stands in the README there.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.t8_hostile.decoders import DECODERS
from tests.t8_hostile.hunting import Hunt, file_name
from tests.t8_hostile.measured import watching

CORPUS = Path(__file__).parents[1] / "golden" / "fuzz"


@pytest.mark.parametrize("name", DECODERS)
def test_what_was_found_before_is_answered_as_before(name: str) -> None:
    decoder = DECODERS[name]
    paths = sorted((CORPUS / name).glob("*.bin"))
    assert paths
    with watching():
        for path in paths:
            found = Hunt(name, decoder.run, decoder.bound)
            found.try_one(path.read_bytes())
            (outcome,) = found.smallest
            assert file_name(outcome) == path.name, outcome
