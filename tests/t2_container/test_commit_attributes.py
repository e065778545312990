"""Attributes as a commit writes them: whole sets, in dictionaries that every release of the crate reads right."""

from __future__ import annotations

import numpy as np
import pytest

from arrayfs.container.dictionary import ATTRIBUTE_BUDGET, AttributeDictionary
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.model import BlockTable, Footer
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


def test_dictionaries_begin_with_those_below_while_these_are_small() -> None:
    container = new_container()
    array = container.define("a", spec((4,), (2,)), attributes(x=1))
    before: list[Footer] = []
    large = ""
    for number in range(40):
        before.append(newest(container))
        large = "l" * 1000
        container.set_attributes(array, attributes(n=number, text=f"{number}{large}"))
        container.commit()
        below, now = before[-1], newest(container)
        size = sum(24 + len(key) for key in below.attr_keys) + sum(24 + len(v.payload) for v in below.attr_values)
        begins = (
            now.attr_keys[: len(below.attr_keys)] == below.attr_keys
            and now.attr_values[: len(below.attr_values)] == below.attr_values
        )
        assert begins == (size <= ATTRIBUTE_BUDGET), number
        assert array.attributes == attributes(n=number, text=f"{number}{large}")
    container.close()


def test_dictionaries_keep_the_numbers_of_a_layer_that_holds_a_thing_twice() -> None:
    value = attribute_from_python("Int8", 1)
    below = Footer(5, BlockTable.empty(), (), ("k", "k"), (value, value))
    made = AttributeDictionary(below)
    assert made.pairs({"k": value, "new": value}).tolist() == [[0, 0], [2, 0]]
    assert made.keys == ["k", "k", "new"]
    assert made.values == [value, value]


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
