"""Layers seen as arrays: tombstones, redefinitions, and whose attributes count."""

from __future__ import annotations

import numpy as np
import pytest

from arrayfs.container.container import Container
from arrayfs.container.layer import open_layer
from arrayfs.container.stack import LayerStack, attributes_of
from arrayfs.format.model import ArrayMeta, AttributeValue, DType
from arrayfs.store import MemoryStore
from tests.t2_container.making import (
    INT32,
    attributes,
    layer_bytes,
    new_container,
    new_url,
    open_container,
    spec,
    table,
)

CHUNK = table(((0,), 0, 0, 8))
FLOAT = DType("Float32")


def stack_of(*layers: bytes) -> LayerStack:
    store = MemoryStore(new_url())
    for number, data in enumerate(layers):
        store.put(f"t.{number}.af", data, replace=False)
    return LayerStack.of(open_layer(number, store.open(f"t.{number}.af")) for number in range(len(layers)))


def entry(name: str = "a", dtype: DType = INT32, shape: tuple[int, ...] = (4,), deleted: bool = False) -> ArrayMeta:
    return ArrayMeta(name, dtype, shape, (2,) * len(shape), chunks=table() if deleted else CHUNK, deleted=deleted)


def with_data(*metas: ArrayMeta) -> bytes:
    return layer_bytes(*metas, data=bytes(8))


# layers, oldest first; which layers speak for `a` (None: no such array), and which are buried
SPANS = {
    "one": ([with_data(entry())], [0], []),
    "two that belong together": ([with_data(entry()), with_data(entry())], [0, 1], []),
    "another shape continues": ([with_data(entry()), with_data(entry(shape=(9,)))], [0, 1], []),
    "tombstone": ([with_data(entry()), with_data(entry(deleted=True))], None, [0]),
    "tombstone of nothing": ([with_data(entry(deleted=True))], None, []),
    "defined again": ([with_data(entry()), with_data(entry(deleted=True)), with_data(entry())], [2], [0]),
    "defined again in one layer": ([with_data(entry()), with_data(entry(deleted=True), entry())], [1], [0]),
    "another type without a tombstone": ([with_data(entry()), with_data(entry(dtype=FLOAT))], [1], [0]),
    "another chunk shape": (
        [with_data(entry()), with_data(ArrayMeta("a", INT32, (4,), (4,), chunks=CHUNK))],
        [1],
        [0],
    ),
    "another rank": ([with_data(entry()), with_data(ArrayMeta("a", INT32, (4, 4), (2, 2)))], [1], [0]),
    "another, then deleted": (
        [with_data(entry()), with_data(entry(dtype=FLOAT)), with_data(entry(deleted=True))], None, [0, 1],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPANS)
def test_entries_that_speak_for_an_array(case: str) -> None:
    layers, span, buried = SPANS[case]
    stack = stack_of(*layers)
    found = stack.spans.get("a")
    assert (None if found is None else [part.layer.number for part in found]) == span
    assert [part.layer.number for part in stack.buried.get("a", ())] == buried
    pushed = LayerStack.of(stack.layers[:1])
    for layer in stack.layers[1:]:
        pushed = pushed.push(layer)
    assert pushed.spans == stack.spans
    assert pushed.buried == stack.buried


def test_names_come_in_order_of_reappearance() -> None:
    stack = stack_of(
        with_data(entry("a"), entry("b"), entry("c")),
        with_data(entry("a", deleted=True), entry("b", dtype=FLOAT)),
        with_data(entry("a")),
    )
    assert list(stack.spans) == ["c", "b", "a"]


def test_push_leaves_the_stack_below_as_it_was() -> None:
    stack = stack_of(with_data(entry()), with_data(entry(deleted=True)))
    below = LayerStack.of(stack.layers[:1])
    below.push(stack.layers[1])
    assert list(below.spans) == ["a"]


def crate_layer(pairs: list[tuple[int, int]], keys: tuple[str, ...], *values: int) -> bytes:
    meta = ArrayMeta("a", INT32, (4,), (2,), chunks=CHUNK, attribute_pairs=np.array(pairs, np.uint16).reshape(-1, 2))
    typed = tuple(AttributeValue("Int8", bytes([value])) for value in values)
    return layer_bytes(meta, data=bytes(8), keys=keys, values=typed)


# What layers of the crate say of one array's attributes, and what a right reader makes of it (docs/FORMAT.md, "Layers")
ATTRIBUTES = {
    "own dictionaries": ([crate_layer([(0, 1), (1, 0)], ("x", "y"), 5, 6)], {"x": 6, "y": 5}),
    "newest wins": ([crate_layer([(0, 0)], ("x",), 5), crate_layer([(0, 0)], ("x",), 7)], {"x": 7}),
    "united": ([crate_layer([(0, 0)], ("x",), 5), crate_layer([(0, 0)], ("y",), 7)], {"x": 5, "y": 7}),
    "carried pairs out of range mean nothing": (
        [crate_layer([(0, 0), (1, 1)], ("x", "y"), 5, 6), crate_layer([(0, 0), (1, 1)], ("x",), 9)],
        {"x": 9, "y": 6},
    ),
    "value out of range": ([crate_layer([(0, 3)], ("x",), 5)], {}),
}


@pytest.mark.parametrize("case", ATTRIBUTES)
def test_attributes_of_the_crate_s_layers(case: str) -> None:
    layers, want = ATTRIBUTES[case]
    found = attributes_of(stack_of(*layers).spans["a"])
    assert found == {key: AttributeValue("Int8", bytes([value])) for key, value in want.items()}


def test_attributes_of_a_layer_of_ours_are_complete() -> None:
    """What a layer with an extension block does not name was removed, whatever lies below it."""
    url = new_url()
    container = open_crate(url, crate_layer([(0, 0), (1, 1)], ("x", "y"), 5, 6))
    array = container.get("a")
    assert list(array.attributes) == ["x", "y"]
    container.set_attributes(array, attributes(z=1))
    container.commit()
    container.close()
    container = open_container(url)
    assert container.get("a").attributes == attributes(z=1)
    container.set_attributes(container.get("a"), {})
    container.commit()
    container.close()
    container = open_container(url)
    assert container.get("a").attributes == {}
    container.close()


def open_crate(url: str, base: bytes) -> Container:
    """A container whose base is a layer of the crate, open for writing."""
    MemoryStore(url.split("/")[2]).put("t.af", base, replace=False)
    return open_container(url)


def test_redefinition_in_the_same_layer_as_the_tombstone_is_read_back() -> None:
    container = new_container()
    url = f"{container.store.url}/t.af"
    first = container.define("a", spec((4,), (2,)))
    container.put(first, (0,), bytes(8), 1)
    container.commit()
    container.remove(first)
    container.define("a", spec((4,), (2,)), attributes(n=1))
    container.commit()
    container.close()
    container = open_container(url)
    assert container.get("a").coords().tolist() == []
    assert container.get("a").attributes == attributes(n=1)
    metas = container.stack.newest.footer.arrays
    assert [(meta.name, meta.deleted) for meta in metas] == [("a", True), ("a", False)]
    container.close()
