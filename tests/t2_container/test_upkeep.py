"""When a container is compacted without being asked."""

from __future__ import annotations

import pytest

from arrayfs.container.compact import CompactReport
from arrayfs.container.upkeep import CompactWhen, Upkeep
from tests.t2_container.making import filled, i32, new_container
from tests.t2_container.test_model import readable


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("layers=100", CompactWhen(100)),
        ("garbage=50%", CompactWhen(None, 0.5)),
        ("layers=3, garbage=12.5%,keep=10", CompactWhen(3, 0.125, 10)),
    ],
)
def test_what_is_typed(text: str, when: CompactWhen) -> None:
    assert CompactWhen.parse(text) == when


@pytest.mark.parametrize("text", ["", "layers", "layers=0", "garbage=50", "garbage=100%", "keep=3", "layers=5;keep=2"])
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match=r"layers=N"):
        CompactWhen.parse(text)


@pytest.mark.parametrize(
    ("when", "layers", "size_after", "merged", "due"),
    [
        (CompactWhen(layers=3), 3, 100, 2, False),
        (CompactWhen(layers=3), 4, 100, 3, True),
        (CompactWhen(layers=3), 4, 100, 0, False),
        (CompactWhen(layers=3, keep=6), 6, 100, 1, False),
        (CompactWhen(layers=3, keep=6), 7, 100, 1, True),
        (CompactWhen(garbage=0.5), 9, 50, 1, False),
        (CompactWhen(garbage=0.5), 2, 49, 1, True),
        (CompactWhen(garbage=0.5), 2, 49, 0, False),
    ],
)
def test_when_it_is_due(when: CompactWhen, layers: int, size_after: int, merged: int, due: bool) -> None:
    would = CompactReport(layers, layers - merged, 100, size_after, tuple(range(merged)), ())
    assert when.is_due(would) is due


def test_each_version_is_looked_at_once_and_tags_stay() -> None:
    container = new_container()
    array = filled(container)
    url = f"{container.store.url}/t.af"
    upkeep = Upkeep(url, CompactWhen(layers=4, keep=2))
    done = []
    for number in range(9):
        container.put(array, (0,), i32(number, number), 1)
        container.commit()
        if number == 1:
            container.tag("good", 2)
        newest = container.stack.newest.id
        done.append(upkeep.look(newest) is not None)
        assert upkeep.look(newest) is None
    assert done[:3] == [False, False, False]
    assert done.count(True) >= 2
    numbers = readable(url)
    assert 2 in numbers
    assert numbers[-2:] == [8, 9]
    assert len(numbers) <= 5
    container.close()
