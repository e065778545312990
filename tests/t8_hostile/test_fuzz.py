"""Whatever the bytes: an error of the project or an answer, in bounded time and memory. (docs/SECURITY.md)

Every decoder gets some hundred mutants of real files in each run, the same ones each time; with
ARRAYFS_FUZZ_SECONDS=120 it gets other ones for that long, and says what it saw.
"""

from __future__ import annotations

import pytest

from tests.t4_fuse.promises import defends
from tests.t8_hostile.containers import golden, of_ours, pack
from tests.t8_hostile.decoders import DECODERS, run_changes
from tests.t8_hostile.hunting import Hunt, hunt


@defends(
    "Whatever the bytes of a container, its statistics file, a journal beside it or a document, the answer is content "
    "or an error of arrayfs that says where: no other exception, no crash, no hang.",
    "256 KiB + 64 n of memory",
    "512 KiB + 128 n of memory",
    "16 MiB + 64 n of memory",
    "one second of the processor for each input of some kilobytes",
)
@pytest.mark.parametrize("name", DECODERS)
def test_mutants_are_refused_or_decoded(name: str) -> None:
    decoder = DECODERS[name]
    hunt(Hunt(name, decoder.run, decoder.bound), decoder.inputs(), decoder.count)


@pytest.mark.parametrize("case", [*golden(), *of_ours()])
def test_everything_in_an_honest_container_can_be_changed(case: str) -> None:
    """Chunks of another length, documents renamed away, directories of chunks moved: the next mount reads it all."""
    run_changes(pack({**golden(), **of_ours()}[case]))
