"""Figures of chunks: made when blocks are packed, carried wherever the chunks go, and never wrong."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from arrayfs.container import large, pool, statistics
from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.figures import are_kept, figures_at
from arrayfs.container.index import ALL
from arrayfs.container.large import Spilled, Stretch
from arrayfs.container.layer import Layer
from arrayfs.container.pool import PoolOptions
from arrayfs.container.repack import PackOptions
from arrayfs.container.restore import restore
from arrayfs.format.dtypes import ELEMENTS, ElementType
from arrayfs.format.model import ArrayMeta, DType, FillValue
from arrayfs.format.stats import ArrayStats
from tests.t2_container.making import STRING, i32, layer_bytes, new_container, new_url, spec, table, texts
from tests.t2_container.test_verify import findings_of


def measuring(url: str | None = None, **options: object) -> Container:
    return new_container(url, chunk_stats=True, **options)


def reopened(url: str, *, chunk_stats: bool | None = None) -> Container:
    return Container.open(url, "a", ContainerOptions(PoolOptions(block_size=16, chunk_stats=chunk_stats)))


def known(array: Array) -> list[bool]:
    """Of which of its chunks something is known, in C order."""
    found = figures_at(array.index, ALL, array.spec)
    return [False] * len(array.index) if found is None else found.known.tolist()


def from_values(array: Array, container: Container) -> ArrayStats:
    """The statistics of all its chunks, from their values alone."""
    nothing = ArrayStats(array.name, None, None, 0, 0)
    coords = map(tuple, array.coords().tolist())
    read = (statistics.of_chunk(array, coord, container.read(array, coord)) for coord in coords)
    merged = statistics.merge(nothing, read)
    rows = math.prod(array.spec.shape)
    return replace(merged, null_count=rows - (merged.row_count - merged.null_count), row_count=rows)


def check(container: Container) -> None:
    """The statistics of each array, and of each chunk, are those of its values."""
    for name in container.names_of_arrays():
        array = container.get(name)
        assert statistics.of_array(array, container.cache) == from_values(array, container), name
        for coord in map(tuple, array.coords().tolist()):
            values = statistics.of_chunk(array, coord, container.read(array, coord))
            assert statistics.at(array, coord, container.cache) == values, (name, coord)


@contextmanager
def unpacked() -> Iterator[list[int]]:
    """The rows of blocks that are unpacked meanwhile."""
    rows: list[int] = []
    unpack = Layer.unpack_block

    def noting(layer: Layer, row: int) -> bytes | memoryview:
        rows.append(row)
        return unpack(layer, row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Layer, "unpack_block", noting)
        yield rows


# --- they are those of the values -------------------------------------------------------------------------------------

FLOATS = (0.0, -0.0, 1.5, -2.0, math.inf, -math.inf, math.nan, -math.nan, 1e-45, -1e-45)


def fill(kind: str, value: float) -> FillValue:
    codes = {"Int": "<q", "UInt": "<Q", "Float": "<d", "Bool": "?", "TimestampNs": "<q"}
    return FillValue(kind, struct.pack(codes[kind], value))


def fills_and_values(row: ElementType) -> tuple[list[FillValue | None], list[float]]:
    if row.kind == "float":
        return [None, fill("Int", 0), *(fill("Float", value) for value in FLOATS[:8])], list(FLOATS)
    if row.kind == "bool":
        return [None, fill("Bool", False), fill("Bool", True)], [0, 1]
    signed = row.kind != "uint"
    low, high = (-(1 << (8 * row.size - 1)), (1 << (8 * row.size - 1)) - 1) if signed else (0, (1 << 8 * row.size) - 1)
    kind = {"int": "Int", "uint": "UInt", "time": "TimestampNs"}[row.kind]
    return [None, *(fill(kind, value) for value in (low, high, 0, 5))], [low, low + 1, 0, 5, high - 1, high]


@pytest.mark.parametrize("row", [row for row in ELEMENTS.values() if row.size], ids=lambda row: row.name)
def test_of_all_numbers_and_fill_values_they_are_those_of_the_values(row: ElementType) -> None:
    random = np.random.default_rng(3)
    code = row.numpy.replace("M8[ns]", "i8").replace("b1", "u1")
    fills, values = fills_and_values(row)
    with np.errstate(over="ignore"):
        elements = np.array(values).astype(code) if row.kind == "float" else np.array(values, code)
    container = measuring(codec=None, block_size=5000)
    sizes = {1: 8, 3: 8, 700: 4}  # elements of a chunk: how many chunks
    for number, one in enumerate(fills):
        for size, count in sizes.items():
            shape = (size * count - size // 2,)  # the last one is cut
            array = container.define(f"{number} {size}", ArraySpec(DType(row.name), shape, (size,), ("x",), one))
            for coord in range(count):
                few = random.choice(elements, random.integers(1, 4))
                content = random.choice(few, array.grid.extent((coord,)))
                container.put(array, (coord,), content.tobytes(), 1)
    container.commit()
    assert all(all(known(container.get(name))) for name in container.names_of_arrays())
    check(container)
    assert not findings_of(container.store.url + "/t.af")


def test_nothing_is_read_but_what_nothing_is_known_of() -> None:
    container = measuring(block_size=4)
    array = container.define("a", spec((12,), (1,), 0))
    container.put(container.define("text", spec((2,), (2,), dtype=STRING)), (0,), texts("a", "b"), 1)
    for number in range(12):
        container.put(array, (number,), i32(number), 1)
    container.commit()
    container.put(array, (3,), i32(99), 1)
    with unpacked() as rows:
        found = statistics.of_array(array, container.cache)
        assert statistics.at(array, (5,), container.cache).maximum == statistics.StatValue(
            "Int", bytes((5,)) + bytes(7)
        )
        assert statistics.known_of(array) is None
        assert not rows  # what is not committed is in memory
        container.pool.pack()  # reads what is there, to see whether it is the same
        rows.clear()
        assert statistics.of_array(array, container.cache) == found
        assert not rows
        statistics.of_array(container.get("text"), container.cache)
        assert len(rows) == 1
    check(container)


def test_files_and_encoded_chunks_have_none() -> None:
    container = measuring()
    array = container.define(".arrayfs/files/a", spec((1,), (1,)))
    container.put(array, (0,), i32(1), 1)
    container.commit()
    assert known(array) == [False]


@pytest.mark.parametrize("codec", [None, "lz4"])
def test_a_large_chunk_is_measured_in_parts(monkeypatch: pytest.MonkeyPatch, codec: str | None) -> None:
    for module, name, value in ((large, "STEP", 64), (pool, "STEP", 64), (pool, "COMPRESSED_LIMIT", 100)):
        monkeypatch.setattr(module, name, value)
    container = measuring(codec=codec)
    content = np.array([0.0, math.nan, -3.5, 2.0] * 16 + [0.0] * 16, "<f4").tobytes()
    array = container.define("a", ArraySpec(DType("Float32"), (80,), (80,), ("x",), fill("Float", 0.0)))
    nulls = container.define("n", ArraySpec(DType("Float32"), (80,), (80,), ("x",), fill("Float", 0.0)))
    for one, bytes_of in ((array, content), (nulls, bytes(320))):
        container.put(one, (0,), Spilled(b"", Stretch(lambda at, n, b=bytes_of: b[at : at + n], 0, 320)), 1)
    container.commit()
    assert known(array) == known(nulls) == [True]
    check(container)


# --- they go where the chunks go --------------------------------------------------------------------------------------

Step = Callable[[Container], None]


def write(container: Container, *numbers: int, name: str = "a", value: int = 7) -> None:
    for number in numbers:
        container.put(container.get(name), (number,), i32(value, number), 5)


def respec(**fields: object) -> Step:
    return lambda one: one.respec(one.get("a"), replace(one.get("a").spec, **fields), 9)


def compacted(container: Container, **options: object) -> None:
    compact(f"{container.store.url}/t.af", Keep(), PackOptions(**options))  # type: ignore[arg-type]


def back(container: Container) -> None:
    restore(container, container.at(container.versions().numbered(1)))


def foreign(container: Container) -> None:
    """A layer of the crate on top, which sets chunk 1."""
    meta = ArrayMeta("a", DType("Int32"), (8,), (2,), ("axis0",), table(((1,), 0, 0, 8)), fill("Int", -1))
    store, names = container.store, container.names
    store.put(names.sidecar(len(container.stack.layers)), layer_bytes(meta, data=i32(50, 60)), replace=False)


STEPS: dict[str, tuple[Step, str, list[bool]]] = {
    "nothing": (lambda _: None, "a", [True] * 4),
    "chunks written": (lambda one: write(one, 1, 2), "a", [True] * 4),
    "a chunk removed": (lambda one: one.put(one.get("a"), (1,), None, 5), "a", [True] * 3),
    "renamed": (lambda one: one.rename(one.get("a"), "b"), "b", [True] * 4),
    "another fill value": (respec(fill_value=fill("Int", 2)), "a", [False] * 4),
    "another fill value, and chunks": (
        lambda one: (respec(fill_value=fill("Int", 2))(one), write(one, 1))[1], "a", [False, True, False, False],
    ),
    "written, then another fill value": (
        lambda one: (write(one, 1), one.pool.pack(), respec(fill_value=fill("Int", 2))(one))[2], "a", [False] * 4,
    ),
    "smaller": (respec(shape=(5,)), "a", [True] * 3),
    "larger": (respec(shape=(12,)), "a", [True] * 4),
    "compacted": (compacted, "a", [True] * 4),
    "compacted without": (lambda one: compacted(one, chunk_stats=False), "a", [False] * 4),
    "packed anew": (lambda one: compacted(one, block_size=1000, codec="zstd"), "a", [True] * 4),
    "restored": (lambda one: (write(one, 1), one.commit(), back(one))[2], "a", [True] * 4),
    "the crate's layer": (foreign, "a", [True, False, True, True]),
    "the crate's layer, compacted": (
        lambda one: (foreign(one), compacted(one))[1], "a", [True, False, True, True],
    ),
    "the crate's layer, compacted with all": (
        lambda one: (foreign(one), compacted(one, chunk_stats=True))[1], "a", [True] * 4,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("step", "name", "expected"), STEPS.values(), ids=list(STEPS))
def test_what_is_known_after_each_step(step: Step, name: str, expected: list[bool]) -> None:
    container = measuring(url := new_url(), block_size=16)
    array = container.define("a", spec((8,), (2,), -1))
    for number in range(4):
        container.put(array, (number,), i32(number, 2), 1)
    container.commit()
    step(container)
    if container.dirty:
        container.commit()
    container.close()
    with Container.open(url) as opened:
        assert known(opened.get(name)) == expected
        check(opened)
    assert not findings_of(url)
    # and after everything is merged
    compact(url)
    with Container.open(url) as opened:
        assert known(opened.get(name)) == expected
        check(opened)


def test_a_commit_that_is_tried_again_keeps_them() -> None:
    one = measuring(url := new_url(), block_size=16)
    array = one.define("a", spec((8,), (2,), 0))
    one.put(array, (0,), i32(1, 2), 1)
    one.commit()
    other = reopened(url)
    write(one, 1)
    one.pool.pack()
    write(other, 2, value=-5)
    other.commit()
    one.commit()
    assert known(one.get("a")) == [True] * 3
    check(one)


def test_a_part_that_is_written_anew_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    container = measuring(block_size=16)
    array = container.define("a", spec((8,), (2,), 0))
    container.put(array, (0,), i32(1, 2), 1)
    container.pool.pack()
    monkeypatch.setattr(type(container.pool.part), "can_sync", lambda part: False)
    container.pool.renew()
    monkeypatch.undo()
    container.put(array, (1,), i32(3, 4), 1)
    container.commit()
    assert known(array) == [True, True]
    check(container)


def test_whether_they_are_kept_is_as_the_newest_layer_says() -> None:
    Container.create(url := new_url(), chunk_stats=True)
    said = []
    for number, chunk_stats in enumerate((None, None, False, None, True, None)):
        container = reopened(url, chunk_stats=chunk_stats)
        name = f"a{number}"
        container.put(container.define(name, spec((2,), (2,))), (0,), i32(1, 2), 1)
        container.commit()
        said.append((are_kept(container.stack.layers), known(container.get(name))[0]))
        container.close()
    assert said == [(True, True), (True, True), (False, False), (False, False), (True, True), (True, True)]
    assert not are_kept(new_container().stack.layers)


def test_a_random_history_is_never_told_wrongly() -> None:
    random = np.random.default_rng(11)
    container = measuring(url := new_url(), block_size=24)
    container.define("a", spec((9,), (2,), 0))
    for _ in range(60):
        array = container.get("a")
        kind = random.integers(0, 9)
        if kind < 5:
            for coord in map(tuple, random.integers(0, array.grid.counts, (3, 1)).tolist()):
                count = array.grid.extent(coord)[0]
                content = i32(*random.integers(-2, 3, count).tolist()) if random.integers(0, 5) else None
                container.put(array, coord, content, 1)
        elif kind == 5:
            respec(shape=(int(random.integers(1, 14)),))(container)
        elif kind == 6:
            respec(fill_value=fill("Int", int(random.integers(0, 2))))(container)
        elif kind == 7:
            container.rename(array, "b")
            container.commit()
            container.rename(array, "a")
        else:
            container.commit()
            compacted(container, chunk_stats=[None, True][random.integers(0, 2)])
            container.close()
            container = reopened(url)
        check(container)
    container.commit()
    assert not findings_of(url)
