"""Whatever the bytes: an error of the project or an answer, in bounded time and memory. (docs/SECURITY.md)

Every decoder gets some hundred mutants of real files in each run, the same ones each time; with
ARRAYFS_FUZZ_SECONDS=120 it gets other ones for that long, and says what it saw.
"""

from __future__ import annotations

import pytest

from tests.t8_hostile.decoders import DECODERS
from tests.t8_hostile.hunting import Hunt, hunt


@pytest.mark.parametrize("name", DECODERS)
def test_mutants_are_refused_or_decoded(name: str) -> None:
    decoder = DECODERS[name]
    hunt(Hunt(name, decoder.run, decoder.bound), decoder.inputs(), decoder.count)
