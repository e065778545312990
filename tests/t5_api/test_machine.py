"""Any calls in any order, against a dict of numpy arrays: values, attributes, names; over commits, reopens, kills."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import Any

import hypothesis.strategies as st
import numpy as np
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import arrayfs
from arrayfs.view.tree import open_tree
from tests.profiles import examples
from tests.t5_api.killing import kill
from tests.t5_api.tree_values import values_of

NAMES = ("a", "b", "g/a", "g/b", "g/h/a")
DTYPES = ("u1", "<i4", "<f8", "<M8[ns]", "b1")
_serials = itertools.count()

lengths = st.integers(0, 5)


class Model:
    """An array as it should be."""

    def __init__(self, values: np.ndarray, chunks: tuple[int, ...], fill: Any) -> None:
        self.values, self.chunks, self.fill = values, chunks, fill
        self.attributes: dict[str, Any] = {}

    def resize(self, shape: tuple[int, ...]) -> None:
        new = np.full(shape, self.fill, self.values.dtype)
        common = tuple(slice(min(a, b)) for a, b in zip(shape, self.values.shape, strict=True))
        new[common] = self.values[common]
        self.values = new


class Machine(RuleBasedStateMachine):
    """A writer of one container."""

    def __init__(self) -> None:
        super().__init__()
        self.url = f"memory://api-machine-{next(_serials)}/c.af"
        self.container = self.open("x")
        self.now: dict[str, Model] = {}
        self.committed: dict[str, Model] = {}
        self.kept: dict[str, Model] | None = None
        self.versions: dict[int, dict[str, Model]] = {}

    def open(self, mode: str) -> arrayfs.Container:
        return arrayfs.open(self.url, mode, block_size=64, dirty_limit=200, cache_size=1 << 20)

    @initialize()
    def first(self) -> None:
        self.create("a", 0, [4, 3], [2, 2], 7)

    @rule(
        name=st.sampled_from(NAMES), dtype=st.integers(0, 4), shape=st.lists(lengths, max_size=3),
        chunks=st.lists(st.integers(1, 4), min_size=3, max_size=3), fill=st.integers(0, 1),
    )  # fmt: skip
    def create(self, name: str, dtype: int, shape: list[int], chunks: list[int], fill: int) -> None:
        kind = np.dtype(DTYPES[dtype])
        value = np.array(fill).astype(kind)[()]
        cut = tuple(chunks[: len(shape)])
        array = self.container.create(
            name, shape=shape, chunks=cut, dtype=kind, fill_value=value, existing="init", codec=(None, "lz4")[fill % 2]
        )
        self.now[name] = Model(np.full(shape, value, kind), cut, value)
        assert (array.shape, array.chunks, array.dtype) == (tuple(shape), cut, kind)

    def draw_name(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.now)))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), seed=st.integers(1, 200))
    def write(self, data: st.DataObject, seed: int) -> None:
        name = self.draw_name(data)
        model = self.now[name]
        key = data.draw(keys(model.values.shape))
        shape = model.values[key].shape
        new = (np.arange(np.prod(shape, dtype=int)) + seed).astype(model.values.dtype).reshape(shape)
        self.container.array(name)[key] = new
        model.values[key] = new

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        name = self.draw_name(data)
        key = data.draw(keys(self.now[name].values.shape))
        np.testing.assert_array_equal(self.container.array(name)[key], self.now[name].values[key])

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        name = self.draw_name(data)
        chunks = self.container.array(name).list_chunks()
        if not chunks:
            return
        coord = data.draw(st.sampled_from(chunks))
        assert self.container.array(name).erase_chunk(coord)
        model = self.now[name]
        model.values[tuple(slice(c * n, (c + 1) * n) for c, n in zip(coord, model.chunks, strict=True))] = model.fill

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def resize(self, data: st.DataObject) -> None:
        name = self.draw_name(data)
        shape = tuple(data.draw(lengths) for _ in self.now[name].values.shape)
        self.container.array(name).resize(shape)
        self.now[name].resize(shape)

    @precondition(lambda self: self.now)
    @rule(data=st.data(), count=st.integers(0, 3), seed=st.integers(1, 9))
    def append(self, data: st.DataObject, count: int, seed: int) -> None:
        name = self.draw_name(data)
        model = self.now[name]
        if model.values.ndim:
            new = np.full((count, *model.values.shape[1:]), seed).astype(model.values.dtype)
            self.container.array(name).append(new)
            model.values = np.concatenate((model.values, new))

    @precondition(lambda self: self.now)
    @rule(data=st.data(), key=st.sampled_from("xyz"), value=st.sampled_from([1, 1.5, None, "t", [1, 2], {"n": [None]}]))
    def set_attribute(self, data: st.DataObject, key: str, value: Any) -> None:
        name = self.draw_name(data)
        self.container[name].attrs[key] = value
        self.now[name].attributes[key] = value

    @precondition(lambda self: self.now)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        name = self.draw_name(data)
        del self.container[name]
        del self.now[name]

    @precondition(lambda self: "g" in self.container)
    @rule()
    def delete_group(self) -> None:
        del self.container["g"]
        self.now = {name: model for name, model in self.now.items() if not name.startswith("g/")}

    @precondition(lambda self: self.now)
    @rule(data=st.data(), new=st.sampled_from(NAMES))
    def rename(self, data: st.DataObject, new: str) -> None:
        name = self.draw_name(data)
        if new not in self.container:
            array = self.container.array(name)
            self.container.rename(name, new)
            assert array.name == new
            self.now[new] = self.now.pop(name)

    @rule()
    def commit(self) -> None:
        self.container.commit()
        self.committed, self.kept = deepcopy(self.now), None
        self.versions[self.container.version] = self.committed

    @rule()
    def discard(self) -> None:
        self.container.discard()
        self.now, self.kept = deepcopy(self.committed), None

    @rule()
    def flush(self) -> None:
        self.container.flush()
        self.kept = deepcopy(self.now)

    @rule()
    def killed(self) -> None:
        kill(self.container)
        self.container = self.open("a")
        self.committed = self.committed if self.kept is None else self.kept
        self.now, self.kept = deepcopy(self.committed), None
        self.versions[self.container.version] = self.committed

    @rule()
    def reopen(self) -> None:
        self.container.close()
        self.container = self.open("a")
        self.committed, self.kept = deepcopy(self.now), None
        self.versions[self.container.version] = self.committed

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.versions)))
        with arrayfs.open(self.url, version=number) as older:
            compare(older, self.versions[number])

    @invariant()
    def same(self) -> None:
        compare(self.container, self.now)

    def teardown(self) -> None:
        self.container.close()
        tree = open_tree(self.url)
        try:
            for name, model in self.now.items():
                np.testing.assert_array_equal(values_of(tree, name), model.values)
        finally:
            tree.close()


def keys(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Basic indices into a shape, as many as it has axes."""
    return st.tuples(*[index(length) for length in shape])


def index(length: int) -> st.SearchStrategy[Any]:
    slices = st.slices(length)
    return slices | st.integers(-length, length - 1) if length else slices


def compare(container: arrayfs.Container, models: dict[str, Model]) -> None:
    assert sorted(array.name for array in container.arrays()) == sorted(models)
    for name, model in models.items():
        array = container.array(name)
        assert dict(array.attrs) == model.attributes
        np.testing.assert_array_equal(array[...], model.values)


TestMachine = Machine.TestCase
TestMachine.settings = examples(12, steps=25)
