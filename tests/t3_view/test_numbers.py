"""Inode numbers: those of chunks are computed, invert, and last while an array grows along its first axis."""

from __future__ import annotations

import itertools
import math

import pytest

from arrayfs.view.numbers import FIRST_RANGE, LARGE_RANGE, ROOT, SPARE_FIRST_AXIS, InodeNumbers, NumberRange

ZARR = object()  # whose numbers they are is not looked at here


def take(numbers: InodeNumbers, *counts: int) -> NumberRange:
    return numbers.take_range(ZARR, counts)  # type: ignore[arg-type]


@pytest.mark.parametrize("counts", [(), (1,), (7,), (3, 4), (2, 1, 3), (1, 1, 1, 2), (0, 3)])
def test_numbers_of_chunks_and_of_their_directories_invert(counts: tuple[int, ...]) -> None:
    numbers = InodeNumbers()
    found = take(numbers, *counts)
    seen = set()
    for level in range(len(counts) + 1):
        for prefix in itertools.product(*(range(max(n, 1)) for n in counts[:level])):
            number = found.number(prefix)
            assert found.prefix(number) == prefix
            assert numbers.find_range(number) is found
            seen.add(number)
    assert len(seen) == sum(math.prod(max(n, 1) for n in counts[:level]) for level in range(len(counts) + 1))


def test_growth_along_the_first_axis_keeps_the_numbers() -> None:
    found = take(InodeNumbers(), 5, 3)
    before = [found.number((row, column)) for row in range(5) for column in range(3)]
    assert found.fits((5 + SPARE_FIRST_AXIS, 3))
    assert found.fits((1, 3))
    assert not found.fits((6 + SPARE_FIRST_AXIS, 3))
    assert not found.fits((5, 4))
    assert not found.fits((5, 2))
    assert before == [found.number((row, column)) for row in range(5) for column in range(3)]
    assert found.prefix(found.number((5 + SPARE_FIRST_AXIS - 1, 2))) == (5 + SPARE_FIRST_AXIS - 1, 2)


def test_numbers_are_never_given_twice() -> None:
    numbers = InodeNumbers()
    counted = [numbers.take() for _ in range(5)]
    assert len({ROOT, *counted}) == 6
    ranges = [take(numbers, *counts) for counts in ((3,), (), (2, 2), (3,))]
    for one, other in itertools.pairwise(ranges):
        last = one.number(tuple(n - 1 for n in one.counts))
        assert last < other.start
        assert numbers.find_range(last) is one
        assert numbers.find_range(other.start) is other
    assert all(number < FIRST_RANGE for number in counted)
    assert numbers.find_range(ROOT) is None
    assert numbers.find_range(ranges[-1].number(tuple(n - 1 for n in ranges[-1].counts)) + 1) is None


def test_large_array_gets_no_spare_room() -> None:
    numbers = InodeNumbers()
    found = take(numbers, 1 << 22, 1 << 22)
    assert LARGE_RANGE <= (1 << 44)
    assert found.counts == (1 << 22, 1 << 22)
    corner = ((1 << 22) - 1, (1 << 22) - 1)
    assert found.prefix(found.number(corner)) == corner
    assert found.number(corner) < 1 << 63
