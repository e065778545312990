"""`.arrayfs/arrays`: arrays as NumPy files, byte for byte what numpy itself would have written, of one moment each."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arrayfs
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.errors import RefusedError, StaleError
from arrayfs.format.model import DType, FillValue
from arrayfs.view import npy, whole_arrays, whole_reader
from arrayfs.view.attr import Attr
from arrayfs.view.tree import Tree, open_tree
from arrayfs.view.whole_reader import WholeReader
from tests.t4_fuse.promises import keeps

TYPES = ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "M8[ns]"]
# shape, chunk shape, what is written of it
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...], Any]] = [
    ((), (), ...),
    ((7,), (3,), ...),
    ((7, 9, 11), (3, 4, 5), np.s_[1:5, 2:, 3:]),
    ((5, 6), (9, 9), ...),
    ((0, 4), (1, 2), ...),
    ((4, 3), (1, 3), np.s_[2]),
]


def lookup(tree: Tree, path: str) -> Attr | None:
    found = tree.getattr(1)
    for name in path.split("/"):
        below = tree.lookup(found.ino, name)
        if below is None:
            return None
        found = below
    return found


def inode(tree: Tree, name: str) -> int:
    found = lookup(tree, f".arrayfs/arrays/{name}")
    assert found is not None, name
    return found.ino


def listed(tree: Tree, path: str = "") -> list[str]:
    found = lookup(tree, f".arrayfs/arrays/{path}".rstrip("/"))
    assert found is not None
    return [name for name, _, _ in tree.opendir(found.ino).entries(0)]


def opened(tree: Tree, name: str) -> WholeReader:
    handle = tree.open(inode(tree, name), write=False, truncate=False)
    assert isinstance(handle, WholeReader)
    return handle


def content(tree: Tree, name: str) -> bytes:
    handle = opened(tree, name)
    data = bytes(handle.read(0, 1 << 40))
    assert len(data) == handle.size == tree.getattr(handle.ino).size
    handle.release()
    return data


def saved(values: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "v.af")


@pytest.mark.parametrize("dtype", TYPES)
def test_a_file_is_what_numpy_would_have_written(path: str, dtype: str) -> None:
    rng = np.random.default_rng(1)
    with arrayfs.open(path, "w") as c:
        for number, (shape, chunks, key) in enumerate(SHAPES):
            fill = True if dtype == "bool" else np.array(3).astype(dtype)[()]
            array = c.create(f"{number}", shape=shape, chunks=chunks, dtype=dtype, fill_value=fill)
            array[key] = rng.integers(0, 2 if dtype == "bool" else 100, np.empty(shape)[key].shape).astype(dtype)
        want = {array.name: array[...] for array in c.arrays()}
    tree = open_tree(path)
    for name, values in want.items():
        whole = content(tree, f"{name}.npy")
        assert whole == saved(values), name
        assert len(whole) % 64 == values.nbytes % 64
        handle = opened(tree, f"{name}.npy")
        for offset, size in rng.integers(0, len(whole) + 9, (50, 2)).tolist():
            assert bytes(handle.read(offset, size)) == whole[offset : offset + size]
    tree.close()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_boxes_follow_each_other_and_are_whole_but_for_one_axis(shape: list[int], data: st.DataObject) -> None:
    total = int(np.prod(shape))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, total), st.integers(0, total))))
    places = np.arange(total).reshape(shape)
    parts = list(npy.boxes(tuple(shape), start, stop))
    seen = [places[tuple(map(slice, *box))].ravel() for box in parts]
    assert np.concatenate([[], *seen]).tolist() == list(range(start, stop))
    assert len(parts) <= 2 * len(shape)


def test_inner_axes_are_axes_and_only_numbers_are_shown(path: str) -> None:
    Container.create(path)
    with Container.open(path, "a") as c:
        pairs = DType("FixedSizeList", DType("Int16"), 3)
        array = c.define("g/pairs", ArraySpec(pairs, (5,), (2,), ("n",), FillValue("Int", (7).to_bytes(8, "little"))))
        c.put(array, (1,), np.arange(6, dtype="<i2").tobytes(), 1)
        lists = DType("FixedSizeList", DType("UInt8"), 1 << 30)
        c.define("g/one", ArraySpec(lists, (2,), (1,), ("n",), FillValue("Int", (7).to_bytes(8, "little"))))
        c.define("text", ArraySpec(DType("String"), (5,), (2,)))
        c.define("huge", ArraySpec(DType("Float64"), (1 << 31, 1 << 31, 1 << 31), (1 << 20, 1 << 10, 1 << 10)))
        c.define("large", ArraySpec(DType("UInt8"), (1 << 31, 1 << 31), (1 << 15, 1 << 15)))
    tree = open_tree(path)
    want = np.full((5, 3), 7, "<i2")
    want[2:4] = np.arange(6).reshape(2, 3)
    assert content(tree, "g/pairs.npy") == saved(want)
    assert (sorted(listed(tree)), listed(tree, "g")) == (["g", "large.npy"], ["pairs.npy", "one.npy"])
    one = opened(tree, "g/one.npy")
    assert bytes(one.read(1 << 30, 5)) == b"\7" * 5
    assert lookup(tree, ".arrayfs/arrays/text.npy") is lookup(tree, ".arrayfs/arrays/huge.npy") is None
    handle = opened(tree, "large.npy")
    assert handle.size > 1 << 61
    assert handle.read(1 << 60, 100) == bytes(100)
    tree.close()


def test_names_are_those_of_the_tree_and_no_two_mean_the_same(path: str) -> None:
    long, longer = "n" * 255, "ä" * 127 + ".npy"
    names = ["", "a", "a.npy/b", "a.npy%/b", "a/inner", "sub/.arrayfs/x", long, f"{longer[:125]}.npy/x"]
    Container.create(path)
    with Container.open(path, "a") as c:
        for number, name in enumerate(names):
            c.put(c.define(name, ArraySpec(DType("UInt8"), (1,), (1,))), (0,), bytes([number]), 1)
    tree = open_tree(path)
    top = listed(tree)
    assert sorted(top[:-2])[:5] == ["%.npy", "a", "a.npy", "a.npy%", "a.npy%%"]
    found = {}
    waiting = [""]
    while waiting:
        above = waiting.pop()
        for name in listed(tree, above):
            below = f"{above}/{name}".lstrip("/")
            assert len(name.encode()) <= 255
            if name.endswith(".npy"):
                found[content(tree, below)[-1]] = below
            else:
                waiting.append(below)
    assert len(found) == len(names)
    assert found[4] == "a/inner.npy"
    assert found[0] == "%.npy"
    assert found[5] == "sub/%2Earrayfs/x.npy"
    tree.close()


def test_the_array_at_the_root(path: str) -> None:
    tree = writable(path)
    document = {"shape": [4], "chunks": [4], "dtype": "|u1", "compressor": None, "fill_value": 5, "order": "C"}
    write(tree, ".zarray", json.dumps(document | {"filters": None, "zarr_format": 2}).encode())
    assert listed(tree) == ["%.npy"]
    assert content(tree, "%.npy") == saved(np.full(4, 5, "u1"))
    tree.close()


def writable(path: str, dirty_limit: int = 64 << 20) -> Tree:
    Container.create(path)
    return open_tree(path, mode="a", options=ContainerOptions(PoolOptions(dirty_limit=dirty_limit)))


def write(tree: Tree, path: str, data: bytes) -> None:
    parent = 1
    *above, name = path.split("/")
    for part in above:
        parent = (tree.lookup(parent, part) or tree.mkdir(parent, part, 0o755)).ino
    _, file = tree.make(parent, name, 0o644, exclusive=False, write=True, truncate=True)
    file.write(0, data)
    file.release()


def document(shape: list[int], chunks: list[int], fill: int = 0) -> bytes:
    return json.dumps(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": shape,
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            "chunk_key_encoding": {"name": "default"},
            "fill_value": fill,
            "codecs": [{"name": "bytes"}],
        }
    ).encode()


def values(tree: Tree, name: str) -> list[int]:
    return list(content(tree, name)[-4:])


@keeps(
    "Who opens a file here gets what the array is at that moment, and reads that until he closes it, in mappings too: "
    "when the array changes, the name leads to another inode.",
)
def test_content_belongs_to_the_inode(path: str) -> None:
    tree = writable(path)
    write(tree, "t/zarr.json", document([4], [2]))
    first = opened(tree, "t.npy")
    write(tree, "t/c/1", b"\1\2")
    second = opened(tree, "t.npy")
    write(tree, "t/c/1", b"\3\4")
    unopened = inode(tree, "t.npy")
    tree.commit()
    assert inode(tree, "t.npy") == unopened
    assert values(tree, "t.npy") == [0, 0, 3, 4]
    third = opened(tree, "t.npy")
    write(tree, "t/zarr.json", document([3], [2], 9))
    fourth = opened(tree, "t.npy")
    tree.unlink(inode_of(tree, "t/c"), "1")
    fifth = opened(tree, "t.npy")
    tree.remove_all(1, "t")
    tree.commit()
    states = [bytes(handle.read(128, 99)) for handle in (first, second, third, fourth, fifth)]
    assert states == [bytes(4), b"\0\0\1\2", b"\0\0\3\4", b"\t\t\3", b"\t\t\t"]
    assert lookup(tree, ".arrayfs/arrays/t.npy") is None
    assert len({handle.ino for handle in (first, second, third, fourth, fifth)}) == 5
    for handle in (first, second, third, fourth, fifth):
        assert tree.getattr(handle.ino).size == handle.size
        handle.release()
        with pytest.raises(StaleError):
            tree.getattr(handle.ino)
    tree.close()


def inode_of(tree: Tree, path: str) -> int:
    found = lookup(tree, path)
    assert found is not None
    return found.ino


def test_what_the_kernel_knows_otherwise_is_looked_up_anew(path: str) -> None:
    tree = writable(path)
    write(tree, "t/zarr.json", document([4], [2]))
    number = inode(tree, "t.npy")
    write(tree, "t/c/1", b"\1\2")
    handle = tree.open(number, write=False, truncate=False)  # nobody has pages of it, and its size is the same
    assert bytes(handle.read(128, 9)) == b"\0\0\1\2"
    handle.release()
    write(tree, "t/c/1", b"\3\4")
    fresh = inode(tree, "t.npy")
    write(tree, "t/zarr.json", document([5], [2]))
    for old in (number, fresh):
        with pytest.raises(StaleError):
            tree.open(old, write=False, truncate=False)
    assert values(tree, "t.npy") == [0, 3, 4, 0]
    tree.close()


def test_what_is_not_packed_is_not_held_in_memory_by_who_reads(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_arrays, "RAW_LIMIT", 10)
    tree = writable(path)
    write(tree, "t/zarr.json", document([4, 6], [2, 6]))
    write(tree, "t/c/0/0", bytes(range(12)))
    handle = opened(tree, "t.npy")
    assert not tree.container.pool.raw
    write(tree, "t/c/0/0", bytes(12))
    tree.commit()
    assert bytes(handle.read(128, 99)) == bytes(range(12)) + bytes(12)
    tree.close()


def test_another_commits_while_the_file_is_open(path: str) -> None:
    tree = writable(path)
    write(tree, "t/zarr.json", document([4], [2]))
    write(tree, "t/c/0", b"\1\1")
    tree.commit()
    handle, number = opened(tree, "t.npy"), inode(tree, "t.npy")
    other = open_tree(path, mode="a")
    write(other, "t/c/1", b"\7\7")
    other.close()
    assert tree.refresh()
    assert inode(tree, "t.npy") != number
    assert values(tree, "t.npy") == [1, 1, 7, 7]
    assert bytes(handle.read(128, 4)) == b"\1\1\0\0"
    tree.close()


def test_nothing_here_can_be_changed_and_the_kernel_forgets(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = writable(path)
    write(tree, "g/t/zarr.json", document([4], [2]))
    below, number = inode_of(tree, ".arrayfs/arrays/g"), inode(tree, "g/t.npy")
    refused = [
        lambda: tree.create(below, "new", 0o644, True),
        lambda: tree.mkdir(below, "new", 0o755),
        lambda: tree.unlink(below, "t.npy"),
        lambda: tree.rename(below, "t.npy", 1, "x", no_replace=False),
        lambda: tree.link(number, 1, "x"),
        lambda: tree.setattr(number, mode=0o777),
        lambda: tree.setattr(number, size=0),
        lambda: tree.open(number, write=True, truncate=False),
    ]
    for change in refused:
        with pytest.raises(RefusedError):
            change()
    handle = opened(tree, "g/t.npy")
    for change in (lambda: handle.write(0, b"x"), lambda: handle.truncate(0)):
        with pytest.raises(RefusedError):
            change()
    assert tree.control.path_of(number) == ".arrayfs/arrays/g/t.npy"
    assert [oct(tree.getattr(ino).mode) for ino in (below, number)] == ["0o40500", "0o100400"]
    tree.forget(number, 1)
    tree.forget(below, 1)
    assert (inode_of(tree, ".arrayfs/arrays/g"), inode(tree, "g/t.npy")) == (below, number)
    known = len(tree.nodes)
    monkeypatch.setattr(whole_arrays, "KEPT", 0)
    tree.forget(number, 1)
    assert bytes(handle.read(128, 9)) == bytes(4)
    handle.release()
    tree.forget(number, 1)
    tree.forget(below, 1)
    assert len(tree.nodes) == known - 2
    assert values(tree, "g/t.npy") == [0] * 4
    tree.close()


def test_who_reads_from_start_to_end_gets_all_of_it(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_reader, "STRETCH", 1000)
    with arrayfs.open(path, "w") as c:
        want = np.arange(7 * 30 * 11, dtype="u2").reshape(7, 30, 11)
        c.create("t", shape=want.shape, chunks=(2, 7, 4), dtype="u2")[...] = want
    tree, whole = open_tree(path), saved(want)
    for step in (1, 128, 300, 999, 1000, 1001, 5000):
        handle = opened(tree, "t.npy")
        parts = [bytes(handle.read(offset, step)) for offset in range(0, len(whole) + step, step)]
        assert b"".join(parts) == whole, step
    with ThreadPoolExecutor(4) as threads:  # as the kernel asks ahead
        handle = opened(tree, "t.npy")
        offsets = range(0, len(whole), 128)
        parts = list(threads.map(lambda offset: bytes(handle.read(offset, 128)), offsets))
    assert b"".join(parts) == whole
    tree.close()


def test_large_chunks_are_read_by_ranges_or_once(path: str) -> None:
    rng = np.random.default_rng(1)
    given = {"raw": rng.integers(0, 255, (9, 2 << 20), "u1"), "packed": np.arange(9 << 18, dtype="u8").reshape(9, -1)}
    with arrayfs.open(path, "w", codec="lz4") as c:
        for name, array in given.items():
            c.create(
                name, shape=array.shape, chunks=array.shape, dtype=array.dtype, codec=None if name == "raw" else "lz4"
            )
            c.array(name)[...] = array
    tree = open_tree(path, options=ContainerOptions(cache_size=4 << 20))
    for name, array in given.items():
        handle = opened(tree, f"{name}.npy")
        before = tree.container.cache.misses
        for offset in range(128, array.nbytes, 1 << 20):
            assert bytes(handle.read(offset, 100)) == array.tobytes()[offset - 128 : offset - 28]
        is_ready, _ = handle.plan(128, 100)
        assert (tree.container.cache.misses > before, is_ready) == (name == "raw", name == "packed")
    tree.close()
