"""A container does what a dict of arrays does, whatever is done to it in whatever order, and the crate agrees."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arrayfs.container.array import ArraySpec
from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.container.repack import KEEP, PackOptions
from arrayfs.container.verify import verify
from arrayfs.format.model import AttributeValue, DType, FillValue
from tests.profiles import examples
from tests.t2_container.array_model import TYPES, ModelArray
from tests.t2_container.crate_reader import CrateReader
from tests.t2_container.making import State, attributes, new_container, new_url, open_container, state, state_at

NAMES = ("a", "b", "a/b", "")
names = st.sampled_from(NAMES)
extents = st.lists(st.integers(0, 7), max_size=3)
some_attributes = st.dictionaries(
    st.sampled_from(("units", "scale", "x")), st.one_of(st.integers(0, 3), st.text(max_size=3)), max_size=3
).map(lambda values: attributes(**values))


class ContainerMachine(RuleBasedStateMachine):
    """`model` is the container as this writer sees it, `committed` as the next one would."""

    @initialize(dirty_limit=st.sampled_from((0, 40, 1 << 20)), block_size=st.sampled_from((1, 60, 1 << 16)))
    def start(self, dirty_limit: int, block_size: int) -> None:
        self.url = self.place()
        self.pool = {"dirty_limit": dirty_limit, "block_size": block_size}
        self.container = new_container(self.url, **self.pool)
        self.model: dict[str, ModelArray] = {}
        self.committed: dict[str, ModelArray] = {}
        self.version = 0
        self.clock = 0

    def place(self) -> str:
        """The URL of the next container."""
        return new_url()

    def teardown(self) -> None:
        if hasattr(self, "container"):
            self.container.close()

    def now(self) -> int:
        self.clock += 1
        return self.clock

    # --- changes ------------------------------------------------------------------------------------------------------

    @rule(name=names, kind=st.sampled_from(TYPES), shape=extents, chunk=st.integers(1, 4), given=some_attributes)
    def define(
        self,
        name: str,
        kind: tuple[DType, FillValue | None, bytes],
        shape: list[int],
        chunk: int,
        given: dict[str, AttributeValue],
    ) -> None:
        if name in self.model:
            return
        dtype, fill, element = kind
        spec = ArraySpec(dtype, tuple(shape), (chunk,) * len(shape), tuple(f"d{n}" for n in range(len(shape))), fill)
        self.container.define(name, spec, dict(given))
        self.model[name] = ModelArray(spec, element, dict(given))

    def pick(self, data: st.DataObject) -> tuple[str, ModelArray]:
        name = data.draw(st.sampled_from(sorted(self.model)), "array")
        return name, self.model[name]

    @precondition(lambda self: self.model)
    @rule(data=st.data(), seed=st.integers(0, 3))
    def put(self, data: st.DataObject, seed: int) -> None:
        name, array = self.pick(data)
        places = array.coords()
        if not places:
            return
        coord = data.draw(st.sampled_from(places), "place")
        elements = array.chunk(coord, seed)
        self.container.put(self.container.get(name), coord, array.stored(elements), self.now())
        array.chunks[coord] = elements

    @precondition(lambda self: self.model)
    @rule(data=st.data(), seed=st.integers(0, 3))
    def put_all(self, data: st.DataObject, seed: int) -> None:
        name, array = self.pick(data)
        for number, coord in enumerate(array.coords()):
            elements = array.chunk(coord, seed + number)
            self.container.put(self.container.get(name), coord, array.stored(elements), self.now())
            array.chunks[coord] = elements

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def put_again(self, data: st.DataObject) -> None:
        name, array = self.pick(data)
        for coord, elements in array.chunks.items():
            self.container.put(self.container.get(name), coord, array.stored(elements), self.now())

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove_chunk(self, data: st.DataObject) -> None:
        name, array = self.pick(data)
        places = array.coords()
        if not places:
            return
        coord = data.draw(st.sampled_from(places), "place")
        self.container.put(self.container.get(name), coord, None, self.now())
        array.chunks.pop(coord, None)

    @precondition(lambda self: self.model)
    @rule(data=st.data(), given=some_attributes)
    def set_attributes(self, data: st.DataObject, given: dict[str, AttributeValue]) -> None:
        name, array = self.pick(data)
        self.container.set_attributes(self.container.get(name), dict(given))
        array.attributes = dict(given)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def reshape(self, data: st.DataObject) -> None:
        name, array = self.pick(data)
        rank = len(array.spec.shape)
        shape = tuple(data.draw(st.lists(st.integers(0, 7), min_size=rank, max_size=rank), "shape"))
        array.reshape(shape)
        self.container.respec(self.container.get(name), array.spec, self.now())

    @precondition(lambda self: self.model)
    @rule(data=st.data(), kept=st.booleans())
    def change_fill(self, data: st.DataObject, kept: bool) -> None:
        name, array = self.pick(data)
        fills: list[tuple[FillValue | None, bytes]] = [(None, bytes(len(array.fill)))]
        fills += [(fill, element) for dtype, fill, element in TYPES if dtype == array.spec.dtype]
        fill, array.fill = fills[kept and len(fills) - 1]
        array.spec = replace(array.spec, fill_value=fill)
        self.container.respec(self.container.get(name), array.spec, self.now())

    @precondition(lambda self: self.model)
    @rule(data=st.data(), new=names)
    def rename(self, data: st.DataObject, new: str) -> None:
        name, _ = self.pick(data)
        if new in self.model:
            return
        self.container.rename(self.container.get(name), new)
        self.model[new] = self.model.pop(name)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def remove_array(self, data: st.DataObject) -> None:
        name, _ = self.pick(data)
        self.container.remove(self.container.get(name))
        del self.model[name]

    # --- versions -----------------------------------------------------------------------------------------------------

    @rule()
    def commit(self) -> None:
        report = self.container.commit("message")
        if report is None:
            assert same(self.model, self.committed)
        else:
            self.version += 1
            assert report.version == self.version
        assert not self.container.dirty
        self.committed = copied(self.model)
        assert self.container.version == self.version
        assert [str(finding) for finding in verify(self.url)] == []
        self.check_crate()

    @rule(last=st.integers(1, 4), codec=st.sampled_from((KEEP, KEEP, "zstd", None)), size=st.sampled_from((None, 100)))
    def compact(self, last: int, codec: str | None, size: int | None) -> None:
        """By somebody else; what is not committed here stays, and goes on from what was made."""
        before = readable(self.url)
        compact(self.url, Keep(last), PackOptions(codec, size))
        assert readable(self.url) == before[-last:]
        assert [str(finding) for finding in verify(self.url)] == []
        assert state_at(self.url) == expected(self.committed)
        files = self.container.store.list()
        assert {"t.af", "t.lock", *(f"t.{n}.af" for n in range(1, len(before[-last:])))} == {
            name for name in files if ".part-" not in name
        }
        assert sum(".part-" in name for name in files) <= 1  # this writer's own
        if not self.container.dirty:
            assert not self.container.refresh()
            self.check_crate()

    @rule()
    def reopen(self) -> None:
        self.container.close()
        self.container = open_container(self.url, **self.pool)
        self.model = copied(self.committed)

    @rule()
    def commit_and_reopen(self) -> None:
        self.commit()
        self.reopen()

    @rule()
    def discard(self) -> None:
        self.container.discard()
        self.model = copied(self.committed)

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def same_content(self) -> None:
        if not hasattr(self, "container"):
            return
        assert state(self.container) == expected(self.model)
        assert self.container.pool.raw_size <= self.container.options.pool.dirty_limit
        assert self.container.pool.raw_size == sum(self.container.pool.raw.values())

    def check_crate(self) -> None:
        reader = CrateReader(self.container.stack)
        visible = reader.visible()
        assert set(visible) == set(self.model)
        for name, array in self.model.items():
            meta = visible[name]
            assert (meta.shape, meta.chunk_shape, meta.dtype) == (
                array.spec.shape,
                array.spec.chunk_shape,
                array.spec.dtype,
            )
            if reader.panics(meta):
                continue
            stored = array.stored_chunks()
            for coord in array.coords():
                content = reader.chunk(meta, coord)
                want = stored.get(coord, array.stored_fill(coord))
                assert (array.stored_fill(coord) if content is None else content) == want, (name, coord)


def readable(url: str) -> list[int]:
    """The numbers of versions that can be read, oldest first."""
    container = Container.open(url)
    try:
        return [version.number for version in container.versions() if version.merged_into is None]
    finally:
        container.close()


def copied(model: dict[str, ModelArray]) -> dict[str, ModelArray]:
    return {name: array.copy() for name, array in model.items()}


def expected(model: dict[str, ModelArray]) -> State:
    return {name: (array.spec, array.attributes, array.stored_chunks()) for name, array in model.items()}


def same(one: dict[str, ModelArray], other: dict[str, ModelArray]) -> bool:
    return expected(one) == expected(other)


def test_container_does_what_a_dict_of_arrays_does() -> None:
    run_state_machine_as_test(ContainerMachine, settings=examples(60, steps=40))
