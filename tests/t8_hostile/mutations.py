"""Damage that knows a little of what it damages: words set to extremes, pointers turned on themselves, parts moved.

A `Mutant` is a seed and the steps that were done to it; `data` does them.
Places are counted from the end, where the roots of archives, tables and trailers stand.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from hypothesis import strategies as st

EXTREMES = (
    *(0, 1, 2, 3, 4, 7, 8, 15, 16, 17, 64, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000),
    *(2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**33, 2**60, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 8, 2**64 - 1),
)
WIDTHS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}
NEAR_THE_END = 256  # bytes in which roots and trailers stand


@dataclass(frozen=True, slots=True)
class Step:
    """kind: one of KINDS; place, other: bytes from the end; size: bytes; value: of a word."""

    kind: str
    place: int
    other: int = 0
    size: int = 0
    value: int = 0


@dataclass(frozen=True, slots=True)
class Mutant:
    """A seed by name, and what was done to it."""

    seed: str
    steps: tuple[Step, ...]

    def data(self, seeds: dict[str, bytes]) -> bytes:
        data = bytearray(seeds[self.seed])
        for step in self.steps:
            KINDS[step.kind](data, step, seeds)
        return bytes(data)


def _start(data: bytearray, place: int, alignment: int = 1) -> int:
    """A place from the end as a place from the front, inside the data."""
    start = len(data) - place % (len(data) + 1)
    return start - start % alignment


def _flip(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    start = _start(data, step.place)
    if start < len(data):
        data[start] ^= step.value % 255 + 1


def _cut(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    start = _start(data, step.place)
    del data[start : start + step.size]


def _head(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    del data[_start(data, step.place) :]


def _insert(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    start = _start(data, step.place)
    data[start:start] = bytes((step.value & 0xFF,)) * step.size


def _repeat(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """A range stands twice."""
    start = _start(data, step.place, 4)
    data[start:start] = data[start : start + step.size]


def _splice(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """A range of another seed in the place of one of this."""
    names = sorted(seeds)
    other = bytearray(seeds[names[step.value % len(names)]])
    source = _start(other, step.other, 4)
    start = _start(data, step.place, 4)
    data[start : start + step.size] = other[source : source + step.size]


def _word(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """A number of 1, 2, 4 or 8 bytes, aligned to its size, is another now."""
    width = (1, 2, 4, 8)[step.size % 4]
    start = _start(data, step.place, width)
    if start + width <= len(data):
        struct.pack_into(WIDTHS[width], data, start, step.value & (1 << 8 * width) - 1)


def _add(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """A number is a little larger or smaller."""
    width = (4, 8)[step.size % 2]
    start = _start(data, step.place, width)
    if start + width <= len(data):
        (old,) = struct.unpack_from(WIDTHS[width], data, start)
        struct.pack_into(WIDTHS[width], data, start, old + step.value % 65 - 32 & (1 << 8 * width) - 1)


def _point(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """A relative pointer leads to another place of the same data: before it, behind it, or to itself."""
    start = _start(data, step.place, 8)
    if start + 8 <= len(data):
        struct.pack_into("<q", data, start, 0 if step.value % 3 == 0 else _start(data, step.other, 4) - start)


def _swap(data: bytearray, step: Step, seeds: dict[str, bytes]) -> None:
    """Two words of 8 bytes change places."""
    one, other = _start(data, step.place, 8), _start(data, step.other, 8)
    if max(one, other) + 8 <= len(data):
        data[one : one + 8], data[other : other + 8] = data[other : other + 8], data[one : one + 8]


KINDS = {
    "flip": _flip,
    "cut": _cut,
    "head": _head,
    "insert": _insert,
    "repeat": _repeat,
    "splice": _splice,
    "word": _word,
    "add": _add,
    "point": _point,
    "swap": _swap,
}
_LIKELY = ("word", "word", "word", "point", "point", "add", "flip", *KINDS)


def _step(random: Random, longest: int) -> Step:
    """One step on data of up to `longest` bytes."""

    def place() -> int:
        return random.randint(0, min(NEAR_THE_END, longest) if random.random() < 0.5 else longest)

    size = random.randint(0, 16 if random.random() < 0.7 else min(longest, 4096))
    value = random.choice(EXTREMES) if random.random() < 0.6 else random.getrandbits(64)
    return Step(random.choice(_LIKELY), place(), place(), size, value)


def mutants(seeds: dict[str, bytes], names: Sequence[str] = (), most: int = 4) -> st.SearchStrategy[Mutant]:
    """Seeds (those called `names`, by default all) after one to `most` steps.

    One number decides everything: hypothesis would take ten times as long to draw each part by itself.
    """
    chosen = sorted(names or seeds)

    def made(number: int) -> Mutant:
        random = Random(number)
        name = random.choice(chosen)
        count = random.randint(1, most)
        return Mutant(name, tuple([_step(random, len(seeds[name])) for _ in range(count)]))

    return st.builds(made, st.integers(0, 2**64 - 1))
