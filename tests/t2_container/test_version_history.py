"""Whatever is done to a container: every version stays what it was, differences are the models', and restore undoes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test
from numpy.typing import NDArray

from arrayfs.container.array import ArraySpec
from arrayfs.container.blame import writers
from arrayfs.container.changes import ArrayChange, changes
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.container.restore import restore
from arrayfs.container.value_changes import value_changes
from arrayfs.format.model import AttributeValue, DType, FillValue
from tests.profiles import examples
from tests.t2_container.array_model import TYPES, ModelArray
from tests.t2_container.making import open_container, state
from tests.t2_container.test_model import ContainerMachine, copied, expected, readable, some_attributes

Model = dict[str, ModelArray]


class HistoryMachine(ContainerMachine):
    """`history[n]` is what version n holds."""

    @initialize(
        dirty_limit=st.sampled_from((0, 40, 1 << 20)),
        block_size=st.sampled_from((1, 60, 1 << 16)),
        kinds=st.permutations(TYPES),
        shape=st.lists(st.integers(1, 7), min_size=1, max_size=2),
        given=some_attributes,
        seed=st.integers(0, 9),
    )
    def start(  # type: ignore[override]  # more is drawn: it begins with a history, which random steps seldom make
        self,
        dirty_limit: int,
        block_size: int,
        kinds: list[tuple[DType, FillValue | None, bytes]],
        shape: list[int],
        given: dict[str, AttributeValue],
        seed: int,
    ) -> None:
        super().start(dirty_limit, block_size)
        for name, kind in zip(("a", "b"), kinds, strict=False):
            self.define(name, kind, shape, 2, given)
            self.make_versions(name, seed)

    def make_versions(self, name: str, seed: int) -> None:
        """Three versions, each with other chunks of the array changed."""
        array = self.model[name]
        for step in range(3):
            for number, coord in enumerate(array.coords()):
                if (number + seed) % 3 <= step:
                    elements = array.chunk(coord, seed + step)
                    self.container.put(self.container.get(name), coord, array.stored(elements), self.now())
                    array.chunks[coord] = elements
            self.commit()

    def history(self) -> list[Model]:
        if not hasattr(self, "_history"):
            self._history: list[Model] = [{}]
        return self._history

    @rule()
    def commit(self) -> None:
        super().commit()
        if self.version == len(self.history()):
            self.history().append(copied(self.model))

    @precondition(lambda self: self.model)
    @rule(data=st.data(), seed=st.integers(0, 3))
    def go_on(self, data: st.DataObject, seed: int) -> None:
        self.make_versions(self.pick(data)[0], seed)

    def some_version(self, data: st.DataObject, name: str = "version") -> int:
        """One that no compaction has merged into another."""
        self.container.close()
        self.container = open_container(self.url, **self.pool)
        self.model = copied(self.committed)
        return data.draw(st.sampled_from(readable(self.url)), name)

    @rule(data=st.data())
    def look_back(self, data: st.DataObject) -> None:
        number = self.some_version(data)
        opened = Container.open(self.url, version=number)
        assert state(opened) == expected(self.history()[number])
        opened.close()
        assert state(self.container.at(self.container.versions().numbered(number))) == expected(self.history()[number])

    @rule(data=st.data(), quick=st.booleans())
    def compare(self, data: st.DataObject, quick: bool) -> None:
        numbers = [self.some_version(data, name) for name in ("a", "b")]
        table = self.container.versions()
        older, newer = (self.container.at(table.numbered(number)) for number in numbers)
        old, new = (self.history()[number] for number in numbers)
        found = list(changes(older, newer, quick=quick))
        seen = {change.name for change in found} | {change.before.name for change in found if change.before}
        for name in {*old, *new} - seen:
            assert expected({name: old[name]}) == expected({name: new[name]}), name
        for change in found:
            check_change(change, old, new, older, quick=quick)

    @rule(data=st.data())
    def bring_back(self, data: st.DataObject) -> None:
        self.discard()
        number = self.some_version(data)
        older = self.container.at(self.container.versions().numbered(number))
        chosen = data.draw(st.none() | st.sets(st.sampled_from(("a", "b", "a/b", ""))), "arrays")
        restore(self.container, older, lambda name: chosen is None or name in chosen)
        was = self.history()[number]
        for name in {*self.model, *was} if chosen is None else chosen:
            self.model.pop(name, None)
            if name in was:
                self.model[name] = was[name].copy()
        self.same_content()
        self.commit()

    @rule()
    def blame(self) -> None:
        container = Container.open(self.url)
        table = container.versions()
        for name in container.names_of_arrays():
            array = container.get(name)
            for coord, place in zip(array.coords().tolist(), writers(array, table).tolist(), strict=True):
                ref = array.index.find(tuple(coord))
                assert ref is not None
                assert ref.layer.name == table.versions[place].file
        container.close()


def check_change(change: ArrayChange, old: Model, new: Model, container: Container, *, quick: bool) -> None:
    name = change.name
    assert name in old or name in new
    if change.kind == "added":
        assert name not in old
        return
    if change.kind == "removed":
        assert name not in new
        return
    assert change.before is not None
    before, after = old[change.before.name], new[name]
    assert change.kind != "renamed" or (change.before.name not in new and name not in old)
    assert {*change.attributes.added} == {*after.attributes} - {*before.attributes}
    assert {*change.attributes.removed} == {*before.attributes} - {*after.attributes}
    assert {*change.attributes.changed} == {
        key for key in after.attributes if before.attributes.get(key, after.attributes[key]) != after.attributes[key]
    }
    if change.chunks is None:
        assert not after.spec.continues(before.spec)
        return
    added, removed, changed = (
        coords_of(part) for part in (change.chunks.added, change.chunks.removed, change.chunks.changed)
    )
    assert added == {*after.chunks} - {*before.chunks}
    assert removed == {*before.chunks} - {*after.chunks}
    really = {coord for coord in {*before.chunks} & {*after.chunks} if not equal(before, after, coord)}
    assert changed >= really if quick else changed == really
    if not quick:
        assert change.kind == "renamed" or change.chunks or change.attributes or before.spec != after.spec
        values = value_changes(change, container)
        assert values is not None
        assert values.unreadable == 0
        assert values.elements == elements_changed(before, after), name


def coords_of(part: NDArray[np.uint32]) -> set[Coord]:
    return {tuple(coord) for coord in part.tolist()}


def equal(before: ModelArray, after: ModelArray, coord: Coord) -> bool:
    """Whether a chunk has the same elements; what only one of the shapes reaches has to be fill there."""
    old, new = before.chunks[coord], after.chunks[coord]
    common = tuple(slice(min(a, b)) for a, b in zip(old.shape, new.shape, strict=True))
    fill = filler(after)
    for elements in (old, new):
        rest = elements.copy()
        rest[common] = fill_like(fill, rest[common].shape)
        if any(element != fill for element in rest.ravel()):
            return False
    return bool((old[common] == new[common]).all())


def fill_like(element: bytes, shape: tuple[int, ...]) -> NDArray[np.object_]:
    out = np.empty(shape, object)
    for place in np.ndindex(shape):
        out[place] = element
    return out


def filler(array: ModelArray) -> bytes:
    fill = array.spec.fill_value
    return fill.payload if fill is not None and fill.kind == "String" else array.fill


def elements_changed(before: ModelArray, after: ModelArray) -> int:
    """Numbers (or texts) that differ in the chunks that came, went or changed, inside both shapes."""
    count = 0
    inside = {*before.coords()} & {*after.coords()}
    for coord in inside & ({*before.chunks} | {*after.chunks}):
        if coord in before.chunks and coord in after.chunks and equal(before, after, coord):
            continue
        extents = [array.extent(coord) for array in (before, after)]
        common = tuple(slice(min(a, b)) for a, b in zip(*extents, strict=True))
        parts = [
            array.chunks[coord][common]
            if coord in array.chunks
            else fill_like(filler(array), array.extent(coord))[common]
            for array in (before, after)
        ]
        for old, new in zip(*(part.ravel() for part in parts), strict=True):
            count += numbers_differing(old, new, after.spec)
    return count


def numbers_differing(old: bytes, new: bytes, spec: ArraySpec) -> int:
    dtype = spec.dtype.name
    if dtype in ("Float64", "FixedSizeList"):
        width = "<f8" if dtype == "Float64" else "<f4"
        a, b = np.frombuffer(old, width), np.frombuffer(new, width)
        return int(((a != b) & ~(np.isnan(a) & np.isnan(b))).sum())
    return int(old != new)


def test_versions_stay_what_they_were() -> None:
    run_state_machine_as_test(HistoryMachine, settings=examples(80, steps=25))
