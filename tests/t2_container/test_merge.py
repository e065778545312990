"""Two writers of one container: what both may do, what overlaps, and that a serial order explains the outcome."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.grid import Coord
from arrayfs.errors import ArrayNotFoundError, ConflictError
from tests.profiles import examples
from tests.t2_container.making import State, attributes, i32, int_fill, new_url, spec, state, state_at

FILL = -1
Change = Callable[[Container], object]


def put(name: str, coord: Coord, value: int, limit: tuple[int, ...] = (5, 5)) -> Change:
    """Set a chunk to one value in all elements that lie inside the shape `limit`, the one that its writer sees."""

    def change(container: Container) -> None:
        array = container.get(name)
        extent = array.grid.extent(coord)
        places = [[c * 2 + n for n in range(length)] for c, length in zip(coord, extent, strict=True)]
        inside = (all(n < end for n, end in zip(place, limit, strict=True)) for place in itertools.product(*places))
        container.put(array, coord, i32(*(value if seen else FILL for seen in inside)), 7)

    return change


def drop(name: str, coord: Coord) -> Change:
    return lambda container: container.put(container.get(name), coord, None, 7)


def resize(name: str, *lengths: int | None) -> Change:
    """Set the length of some axes; the others (None) stay."""

    def change(container: Container) -> None:
        array = container.get(name)
        shape = tuple(old if new is None else new for old, new in zip(array.spec.shape, lengths, strict=True))
        container.respec(array, replace(array.spec, shape=shape), 7)

    return change


def refill(name: str, value: int) -> Change:
    def change(container: Container) -> None:
        array = container.get(name)
        container.respec(array, replace(array.spec, fill_value=int_fill(value)), 7)

    return change


def label(name: str, *names: str) -> Change:
    def change(container: Container) -> None:
        array = container.get(name)
        container.respec(array, replace(array.spec, dimension_names=names), 7)

    return change


def describe(name: str, **values: int | str | float | None) -> Change:
    def change(container: Container) -> None:
        array = container.get(name)
        given_ = attributes(**{key: value for key, value in values.items() if value is not None})
        kept = {key: value for key, value in array.attributes.items() if key not in values}
        container.set_attributes(array, kept | given_)

    return change


def define(name: str, shape: tuple[int, ...] = (5, 5)) -> Change:
    """Have such an array."""

    def change(container: Container) -> None:
        if name not in container:
            container.define(name, spec(shape, (2,) * len(shape), FILL), {})

    return change


def remove(name: str) -> Change:
    """Have no such array."""
    return lambda container: container.remove(container.get(name)) if name in container else None


def rename(name: str, new: str) -> Change:
    return lambda container: container.rename(container.get(name), new)


def both(*changes: Change) -> Change:
    return lambda container: [change(container) for change in changes]


def common() -> str:
    """A container that both begin with: `a` and `b`, 5 x 5 in chunks of 2 x 2, the chunks of `a` all set."""
    url = new_url()
    Container.create(url)
    with opened(url) as container:
        both(define("a"), define("b"), describe("a", units="m", scale=2))(container)
        for number, coord in enumerate(itertools.product(range(3), range(3))):
            put("a", coord, number)(container)
    return url


def opened(url: str, on_conflict: str = "fail") -> Container:
    return Container.open(url, "a", ContainerOptions(on_conflict=on_conflict))  # type: ignore[arg-type]


def merged(ours: Change, theirs: Change, on_conflict: str = "fail") -> tuple[str, Container]:
    """Both change what they began with; theirs is committed first."""
    url = common()
    one, other = opened(url, on_conflict), opened(url)
    ours(one)
    theirs(other)
    other.commit()
    other.close()
    return url, one


def after(*changes: Change) -> dict[str, object]:
    url = common()
    for change in changes:
        with opened(url) as container:
            change(container)
    return dict(state_at(url))


AGREEING: list[tuple[str, Change, Change]] = [
    ("chunks of one array", put("a", (0, 0), 50), put("a", (2, 2), 60)),
    ("a chunk removed, another set", drop("a", (0, 0)), put("a", (0, 1), 60)),
    ("the same chunk removed", drop("a", (0, 0)), drop("a", (0, 0))),
    ("the same content", put("a", (0, 0), 50), put("a", (0, 0), 50)),
    ("arrays", put("a", (0, 0), 50), put("b", (0, 0), 60)),
    ("attributes by key", describe("a", scale=3), describe("a", units="km")),
    ("an attribute removed, one added", describe("a", units=None), describe("a", new=1)),
    ("an attribute and a chunk", describe("a", units=None), put("a", (1, 1), 60)),
    ("the same attribute to the same value", describe("a", scale=3), describe("a", scale=3)),
    ("growing, other axes", resize("a", 9, None), resize("a", None, 7)),
    ("growing and a chunk that its edge cuts", resize("a", 9, 5), put("a", (2, 1), 60)),
    ("a chunk at the edge and growing", put("a", (2, 1), 60), resize("a", 9, 5)),
    (
        "growing and filling",
        both(resize("a", 9, None), put("a", (4, 0), 1, (9, 5))),
        both(resize("a", None, 9), put("a", (0, 4), 2, (5, 9))),
    ),
    ("shrinking and a chunk inside", resize("a", 2, 2), put("a", (0, 0), 60)),
    ("shrinking and a chunk removed outside", resize("a", 2, 2), drop("a", (2, 2))),
    ("a chunk inside and shrinking", put("a", (0, 0), 60), resize("a", 3, 3)),
    ("names of axes and a fill value", label("a", "y", "x"), refill("b", 4)),
    ("a fill value and growing", refill("a", 4), resize("a", 9, 9)),
    ("new arrays", define("c"), define("d")),
    ("the same array made", define("c"), define("c")),
    ("an array removed, another changed", remove("a"), put("b", (0, 0), 60)),
    ("both removed", remove("a"), remove("a")),
    ("made anew here, removed there", both(remove("a"), define("a", (3,))), remove("a")),
    ("renamed, another changed", rename("a", "z"), put("b", (0, 0), 60)),
    ("made and removed there, made here", define("c"), both(define("c"), Container.commit, remove("c"))),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), [row[1:] for row in AGREEING], ids=[row[0] for row in AGREEING])
def test_changes_that_do_not_overlap_are_both_there(ours: Change, theirs: Change) -> None:
    url, container = merged(ours, theirs)
    container.commit()
    assert not container.dirty
    found = state(container)
    container.close()
    assert found == state_at(url)
    assert found in orders(ours, theirs)


def orders(ours: Change, theirs: Change) -> list[dict[str, object]]:
    """What comes of one after the other, where the second can be done then."""
    found = []
    for first, second in ((theirs, ours), (ours, theirs)):
        with suppress(ArrayNotFoundError):
            found.append(after(first, second))
    return found


def test_both_grow_one_axis_and_the_longer_one_holds() -> None:
    url, container = merged(
        both(resize("a", 7, 5), put("a", (3, 0), 70, (7, 5))), both(resize("a", 11, 5), put("a", (5, 0), 110, (11, 5)))
    )
    container.commit()
    container.close()
    array, _, chunks = state_at(url)["a"]
    assert array.shape == (11, 5)
    assert chunks[3, 0] == i32(70, 70, FILL, FILL)  # of our shape it was one row
    assert chunks[5, 0] == i32(110, 110)
    assert chunks[2, 0] == i32(6, 6, FILL, FILL)


OVERLAPPING: list[tuple[str, Change, Change, str]] = [
    ("a chunk", put("a", (0, 0), 50), put("a", (0, 0), 60), r"'a' chunk \(0, 0\)"),
    ("a chunk set and removed", put("a", (0, 0), 50), drop("a", (0, 0)), r"'a' chunk \(0, 0\)"),
    ("a chunk removed and set", drop("a", (0, 0)), put("a", (0, 0), 60), r"'a' chunk \(0, 0\)"),
    ("a new chunk", put("b", (1, 0), 50), put("b", (1, 0), 60), r"'b' chunk \(1, 0\)"),
    ("an attribute", describe("a", scale=3), describe("a", scale=4), "attribute 'scale'"),
    ("an attribute removed", describe("a", scale=None), describe("a", scale=4), "attribute 'scale'"),
    ("a new attribute", describe("a", new=3), describe("a", new=4), "attribute 'new'"),
    ("shrinking and growing", resize("a", 2, 5), resize("a", 9, 5), "length of axis 0"),
    ("growing and shrinking", resize("a", 9, 5), resize("a", 2, 5), "length of axis 0"),
    ("shrinking both", resize("a", 2, 5), resize("a", 3, 5), "length of axis 0"),
    ("shrinking over a chunk", resize("a", 2, 2), put("a", (2, 2), 60), r"\(2, 2\): cut off here, written there"),
    ("a chunk shrunk over", put("a", (2, 2), 60), resize("a", 2, 2), r"\(2, 2\): written here, cut off there"),
    ("a chunk shrunk over and grown again", put("a", (2, 2), 60), both(resize("a", 2, 2), resize("a", 5, 5)), "chunk"),
    ("fill values", refill("a", 4), refill("a", 5), "fill value"),
    ("names of axes", label("a", "y", "x"), label("a", "lat", "lon"), "dimension names"),
    ("removed, changed", remove("a"), put("a", (0, 0), 60), "'a': removed here, changed there"),
    ("changed, removed", put("a", (0, 0), 60), remove("a"), "'a': changed here, removed there"),
    ("described, removed", describe("a", scale=4), remove("a"), "'a': changed here, removed there"),
    ("changed, made anew", put("a", (0, 0), 60), both(remove("a"), define("a")), "'a': changed here, made anew there"),
    ("made anew, changed", both(remove("a"), define("a")), put("a", (0, 0), 60), "'a': made here and there"),
    ("made otherwise", define("c"), define("c", (3, 3)), "'c': made here and there"),
    ("renamed, changed", rename("a", "z"), put("a", (0, 0), 60), "'a': renamed to 'z' here, changed there"),
    ("renamed, removed", rename("a", "z"), remove("a"), "'a': renamed to 'z' here, changed there"),
    ("a file", define(".arrayfs/files/f", (9, 5)), both(define(".arrayfs/files/f"), put(".arrayfs/files/f", (2, 0), 1)),
     r"'\.arrayfs/files/f': changed here and there"),
    ("renamed to what is made", rename("a", "z"), define("z"), "'z': made here and there"),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs", "named"), [row[1:] for row in OVERLAPPING], ids=[r[0] for r in OVERLAPPING])
def test_changes_that_overlap_are_named_and_kept(ours: Change, theirs: Change, named: str) -> None:
    url, container = merged(ours, theirs)
    before, committed = state(container), state_at(url)
    for _ in range(2):
        with pytest.raises(ConflictError, match=named) as refused:
            container.commit()
        assert "t.2.af" in str(refused.value)
        assert state(container) == before
        assert container.dirty
    container.close()
    assert state_at(url) == committed
    assert [name for name in container.store.list() if name.endswith(".af")] == ["t.1.af", "t.2.af", "t.af"]


@pytest.mark.parametrize(("ours", "theirs"), [row[1:3] for row in OVERLAPPING], ids=[row[0] for row in OVERLAPPING])
def test_ours_can_win(ours: Change, theirs: Change) -> None:
    url, container = merged(ours, theirs, "ours")
    base, wanted = items(state_at(common())), items(state(container))
    container.commit()
    assert container.conflicts
    assert state(container) == state_at(url)
    found = items(state(container))
    assert wanted - base <= found
    assert not (base - wanted) & found
    container.close()


def items(found: State) -> set[tuple[object, ...]]:
    """Every length, attribute and chunk."""
    out: set[tuple[object, ...]] = set()
    for name, (array, values, chunks) in found.items():
        out.update((name, "length", axis, length) for axis, length in enumerate(array.shape))
        out.update((name, "attribute", key, value) for key, value in values.items())
        out.update((name, "chunk", coord, content) for coord, content in chunks.items())
        out.add((name, array.fill_value, array.dimension_names))
    return out


def test_every_writer_gets_in_however_many_there_are() -> None:
    url = common()
    writers = [opened(url) for _ in range(8)]
    for number, writer in enumerate(writers):
        put("a", divmod(number, 3), 100 + number)(writer)
    reports = [writer.commit() for writer in reversed(writers)]
    assert [report.version for report in reports if report] == list(range(2, 10))
    for writer in writers:
        assert writer.refresh() is (writer is not writers[0])
        assert state(writer) == state_at(url)
        writer.close()
    chunks = state_at(url)["a"][2]
    assert [chunks[divmod(number, 3)][:4] for number in range(8)] == [i32(100 + number) for number in range(8)]


def test_a_part_holds_nothing_of_the_tries_that_came_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer comes in between the look at the newest version and the lock, several times."""
    url = common()
    ours, others = opened(url), [opened(url) for _ in range(3)]
    put("a", (0, 0), 50)(ours)
    drop("a", (1, 1))(ours)  # a hole: a block that only the layer of the moment needs
    waiting = list(enumerate(others))
    seal = Container._seal

    def slow_seal(self: Container, *arguments: object) -> object:
        sealed = seal(self, *arguments)  # type: ignore[arg-type]
        if self is ours and waiting:
            number, other = waiting.pop()
            put("b", (number, 0), 60 + number)(other)
            other.commit()
        return sealed

    monkeypatch.setattr(Container, "_seal", slow_seal)
    report = ours.commit()
    assert report is not None
    assert report.version == 5
    assert len(ours.stack.newest.footer.blocks) == 3  # the chunk, the hole, the extension
    assert sorted(state(ours)["b"][2]) == [(0, 0), (1, 0), (2, 0)]
    assert state(ours) == state_at(url)
    for container in (ours, *others):
        container.close()


def test_readers_see_what_others_committed_when_they_look() -> None:
    url = common()
    reader, writer = Container.open(url), opened(url)
    array = reader.get("a")
    put("a", (0, 0), 50)(writer)
    resize("a", 5, 9)(writer)
    remove("b")(writer)
    define("c")(writer)
    writer.commit()
    before = bytes(reader.read(array, (0, 0)) or b"")
    assert before == i32(0, 0, 0, 0)
    assert reader.refresh()
    assert not reader.refresh()
    assert reader.get("a") is array
    assert bytes(reader.read(array, (0, 0)) or b"") == i32(50, 50, 50, 50)
    assert state(reader) == state_at(url)
    writer.close()
    reader.close()


def test_a_writer_with_changes_looks_at_its_own_version_until_it_commits() -> None:
    url = common()
    one, other = opened(url), opened(url)
    put("a", (0, 0), 50)(one)
    put("a", (1, 1), 60)(other)
    other.commit()
    assert not one.refresh()
    assert state(one)["a"][2][1, 1] == i32(4, 4, 4, 4)
    one.commit()
    assert state(one)["a"][2][1, 1] == i32(60, 60, 60, 60)
    one.close()
    other.close()


# --- any two histories ------------------------------------------------------------------------------------------------

NAMES = ("a", "b", "c")
coords = st.tuples(st.integers(0, 2), st.integers(0, 2))
lengths = st.integers(1, 8)
Step = tuple[str, str, tuple[object, ...]]
names, axes = st.sampled_from(NAMES), st.integers(0, 1)
steps: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("put"), names, st.tuples(coords, st.integers(100, 102))),
    st.tuples(st.just("drop"), names, st.tuples(coords)),
    st.tuples(st.just("grow"), names, st.tuples(axes, lengths)),
    st.tuples(st.just("cut"), names, st.tuples(axes, lengths)),
    st.tuples(st.just("set"), names, st.tuples(st.sampled_from("pq"), st.integers(0, 2))),
    st.tuples(st.just("define"), names, st.tuples()),
    st.tuples(st.just("remove"), names, st.tuples()),
)


def take(container: Container, step: Step) -> tuple[Change, set[tuple[object, ...]]] | None:
    """Do one step, if it can be done; returns it as a change, as its writer meant it, and what it touched."""
    kind, name, arguments = step
    if (kind == "define") is (name in container):
        return None
    change, touched = CHANGES[kind](container, name, *arguments)
    change(container)
    return change, touched


Meant = tuple[Change, set[tuple[object, ...]]]


def _put(container: Container, name: str, coord: Coord, value: int) -> Meant:
    array = container.get(name)
    inside = coord in array.grid
    shape = array.spec.shape
    return (put(name, coord, value, shape) if inside else both()), {(name, "chunk", coord)} if inside else set()


def _drop(container: Container, name: str, coord: Coord) -> Meant:
    there = container.get(name).has(coord)
    return (drop(name, coord) if there else both()), {(name, "chunk", coord)} if there else set()


def _grow(container: Container, name: str, axis: int, length: int) -> Meant:
    def change(container: Container) -> None:
        shape = list(container.get(name).spec.shape)
        shape[axis] = max(shape[axis], length)
        resize(name, *shape)(container)

    return change, {(name, "axis", axis)} if length > container.get(name).spec.shape[axis] else set()


def _cut(container: Container, name: str, axis: int, length: int) -> Meant:
    old = container.get(name).spec.shape[axis]
    if length >= old:
        return both(), set()
    shape: list[int | None] = [None, None]
    shape[axis] = length
    gone = {(name, "chunk", c) for c in itertools.product(range(5), range(5)) if (c[axis] + 1) * 2 > length}
    return resize(name, *shape), {(name, "axis", axis), *gone}


def _says(container: Container, name: str, key: str, value: int) -> bool:
    return container.get(name).attributes.get(key) == attributes(**{key: value})[key]


def _set(container: Container, name: str, key: str, value: int) -> Meant:
    said = _says(container, name, key, value)
    return (both() if said else describe(name, **{key: value})), set() if said else {(name, "attribute", key)}


CHANGES: dict[str, Callable[..., Meant]] = {
    "put": _put,
    "drop": _drop,
    "grow": _grow,
    "cut": _cut,
    "set": _set,
    "define": lambda _container, name: (define(name), {(name,)}),
    "remove": lambda _container, name: (remove(name), {(name,)}),
}


def meet(ours: set[tuple[object, ...]], theirs: set[tuple[object, ...]]) -> bool:
    """Whether two sides touched the same; an array as a whole is all that is of it."""
    return any(
        mine[0] == other[0] and (len(mine) == 1 or len(other) == 1 or mine == other)
        for mine in ours
        for other in theirs
    )


def net(history: list[tuple[Step, Meant]], before: Container) -> list[Change]:
    """A history without what came to nothing: changes of arrays that it removed afterwards, and attributes that have
    the value again that they had when it began.
    """
    last = {step[1]: place for place, (step, _) in enumerate(history) if step[0] == "remove"}
    kept = [(step, meant[0]) for place, (step, meant) in enumerate(history) if place >= last.get(step[1], 0)]
    whole = {name for (kind, name, _), _ in kept if kind in ("define", "remove")}
    values = {(name, *given_[:1]): given_[1] for (kind, name, given_), _ in kept if kind == "set" and name not in whole}
    same = {place for place, value in values.items() if _says(before, *place, value)}
    return [change for (kind, name, given_), change in kept if kind != "set" or (name, given_[0]) not in same]


def done(url: str, *histories: list[Change]) -> dict[str, object] | None:
    """What is there after each history was committed; None if they cannot be done in this order."""
    for changes in histories:
        try:
            with opened(url) as container:
                both(*changes)(container)
        except ArrayNotFoundError:
            return None
    return dict(state_at(url))


@examples(150)
@given(st.lists(steps, max_size=4), st.lists(steps, max_size=6), st.lists(steps, max_size=6))
def test_a_serial_order_explains_what_comes_of_any_two_histories(
    first: list[Step], mine: list[Step], others: list[Step]
) -> None:
    url = common()
    with opened(url) as container:
        begun = [meant[0] for step in first if (meant := take(container, step))]
    one, other, before = opened(url), opened(url), Container.open(url)
    ours = [(step, meant) for step in mine if (meant := take(one, step))]
    theirs = [(step, meant) for step in others if (meant := take(other, step))]
    other.commit()
    other.close()
    try:
        one.commit()
    except ConflictError:
        assert meet(*(set().union(*(meant[1] for _, meant in side)) for side in (ours, theirs)))
    else:
        histories = [net(theirs, before), net(ours, before)]
        assert state(one) == state_at(url)
        assert state(one) in [done(common(), begun, *order) for order in (histories, histories[::-1])]
    one.close()
    before.close()
