"""Attributes as a commit writes them: whole sets, in dictionaries that every release of the crate reads right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayfs.container import dictionary
from arrayfs.container.dictionary import ATTRIBUTE_BUDGET, DEAD_BUDGET, AttributeDictionary
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import AttributeValue, BlockTable, Footer
from tests.t2_container.crate_reader import CrateReader
from tests.t2_container.making import (
    attributes,
    i32,
    new_container,
    spec,
    state_at,
)
from tests.t2_container.newest_layer import entry, newest


def test_every_entry_has_the_whole_set_in_its_own_dictionaries() -> None:
    container = new_container()
    array = container.define("a", spec((4,), (2,)), attributes(x=1, y="m", z=1))
    container.define("b", spec((4,), (2,)), attributes(y="m"))
    container.commit()
    container.put(array, (0,), i32(1, 2), 1)
    container.commit()
    footer, pairs = newest(container), entry(container).attribute_pairs
    assert pairs.dtype == np.uint16
    assert (np.diff(pairs[:, 0].astype(int)) > 0).all()
    found = {footer.attr_keys[key]: footer.attr_values[value] for key, value in pairs.tolist()}
    assert found == attributes(x=1, y="m", z=1)
    container.close()


def sizes(values: Sequence[AttributeValue]) -> int:
    return sum(24 + len(value.payload) for value in values)


def begins(now: Footer, below: Footer) -> bool:
    keys, values = now.attr_keys[: len(below.attr_keys)], now.attr_values[: len(below.attr_values)]
    return (keys, values) == (below.attr_keys, below.attr_values)


def test_dictionaries_begin_with_those_below_while_little_in_them_is_dead() -> None:
    container = new_container()
    array = container.define("a", spec((4,), (2,)), attributes(n=-1))
    container.commit()
    for number in range(200):
        below = newest(container)
        dead = sizes(below.attr_values[:-1])  # all but the present one
        container.set_attributes(array, attributes(n=number))
        container.commit()
        assert begins(newest(container), below) == (dead <= DEAD_BUDGET), number
    container.close()


def test_dictionaries_begin_with_those_below_while_these_are_small() -> None:
    container = new_container()
    small = True
    for number in range(40):
        below = newest(container)
        container.define(f"{number}", spec((4,), (2,)), attributes(text=f"{number}" + "l" * 1000))
        container.commit()
        small = small and sizes(below.attr_values) + 28 <= ATTRIBUTE_BUDGET
        assert begins(newest(container), below) or not small, number
        assert sizes(newest(container).attr_values) <= ATTRIBUTE_BUDGET + 1100
    assert not small
    container.close()


def test_what_thousands_of_commits_leave_behind_is_in_no_layer() -> None:
    container = new_container()
    changing = container.define("changing", spec((4,), (2,)), attributes(n=-1, units="K"))
    for number in range(1000):
        if number % 300 == 50:  # their values stand wherever there was room
            container.define(f"still{number}", spec((4,), (2,)), attributes(n=-number, units="K", number=number))
        container.set_attributes(changing, attributes(n=number, units="K"))
        container.commit()
        assert sizes(newest(container).attr_values) <= DEAD_BUDGET + 1000, number
    reader = CrateReader(container.stack)
    for name, meta in reader.visible().items():
        assert reader.attributes(meta) == container.get(name).attributes
    assert container.get("still350").attributes == attributes(n=-350, units="K", number=350)
    container.close()


changed_attributes = st.dictionaries(
    st.sampled_from("klmn"), st.integers(0, 5) | st.text("xyz", max_size=20), max_size=4
).map(lambda values: attributes(**values))


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.none() | changed_attributes), min_size=5, max_size=40),
    st.integers(0, 200),
)
def test_every_release_reads_what_was_set_whatever_made_room(
    steps: list[tuple[str, dict[str, AttributeValue] | None]], budget: int
) -> None:
    """A commit after each step: the attributes of one array set, or (None) the array removed."""
    with pytest.MonkeyPatch.context() as patch, new_container() as container:
        patch.setattr(dictionary, "DEAD_BUDGET", budget)
        for name, wanted in steps:
            if wanted is None:
                if name in container:
                    container.remove(container.get(name))
            elif name in container:
                container.set_attributes(container.get(name), wanted)
            else:
                container.define(name, spec((4,), (2,)), wanted)
            container.commit()
            reader = CrateReader(container.stack)
            found = {name: reader.attributes(meta) for name, meta in reader.visible().items()}
            assert found == {name: container.get(name).attributes for name in container.names_of_arrays()}
        url = f"{container.store.url}/t.af"
        assert {name: one[1] for name, one in state_at(url).items()} == found


def test_a_commit_does_not_look_at_all_arrays_of_a_large_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dictionary, "MOST_ARRAYS", 2)
    container = new_container()
    arrays = [container.define(name, spec((4,), (2,)), attributes(n=-1)) for name in "abc"]
    container.commit()
    for number in range(150):
        below = newest(container)
        container.set_attributes(arrays[0], attributes(n=number))
        container.commit()
        assert begins(newest(container), below)
    container.close()


def test_dictionaries_keep_the_numbers_of_a_layer_that_holds_a_thing_twice() -> None:
    value = attribute_from_python("Int8", 1)
    below = Footer(5, BlockTable.empty(), (), ("k", "k"), (value, value))
    made = AttributeDictionary(below)
    assert made.pairs({"k": value, "new": value}).tolist() == [[0, 0], [2, 0]]
    assert made.keys == ["k", "k", "new"]
    assert made.values == [value, value]


def test_what_keeps_a_place_free_is_nobodys_value() -> None:
    values = tuple(attribute_from_python("Int64", number) for number in range(200))
    first = AttributeDictionary(Footer(5, BlockTable.empty(), (), ("k",), values), lambda: {7})
    assert (first.values[7], len(first.values)) == (values[7], 8)
    assert first.pairs({"k": attribute_from_python("Bool", False)}).tolist() == [[0, 0]]
    below = Footer(5, BlockTable.empty(), (), tuple(first.keys), tuple(first.values))
    second = AttributeDictionary(below)
    assert second.pairs({"k": dictionary.NOTHING}).tolist() == [[0, 8]]
    assert second.pairs({"k": values[7]}).tolist() == [[0, 7]]


@pytest.mark.parametrize(("count", "width"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_index_widths_grow_where_they_must(count: int, width: type) -> None:
    container = new_container()
    values = {"k": attribute_from_python("StringList", ["x"])}
    many = {f"{n:05}": attribute_from_python("Int32", n) for n in range(count - 1)}
    array = container.define("a", spec((4,), (2,)), many | values)
    container.commit()
    assert entry(container).attribute_pairs.dtype == width
    assert array.attributes == many | values
    url = f"{container.store.url}/t.af"
    container.close()
    assert state_at(url)["a"][1] == many | values


def test_attributes_of_one_array_do_not_widen_those_of_another() -> None:
    made = AttributeDictionary()
    made.pairs({f"{n}": attribute_from_python("Int32", n) for n in range(70_000)})
    assert made.pairs({"0": attribute_from_python("Int32", 5)}).dtype == np.uint16
    assert made.pairs({}).shape == (0, 2)
