"""Bombs and absurd counts: refused before anything is allocated, in a process that has little memory."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import cramjam
import numpy as np
import pytest
import zstandard

from arrayfs.container import limits
from arrayfs.errors import FormatError
from arrayfs.format.attributes import attribute_from_python
from arrayfs.format.footer import decode_footer
from arrayfs.format.model import ArrayMeta, DType, FillValue
from arrayfs.view.tree import Tree
from tests.mounts import ROOT
from tests.t0_format.golden import all_footers
from tests.t2_container.making import int_fill, layer_bytes
from tests.t4_fuse.promises import defends
from tests.t8_hostile.containers import of_ours, open_files, parts, resealed
from tests.t8_hostile.crafted import UINT8, array, at, content, names_in, tree_of, why_not, with_blocks
from tests.t8_hostile.measured import measure, watching
from tests.t8_hostile.walking import walk

MIB = 1 << 20
LITTLE = 16 * MIB


def reading(layer: bytes, *names: str) -> str:
    """What reading a chunk is refused with; it must take little memory and time."""
    said: list[str] = []
    with watching():
        cost = measure(lambda: said.append(why_not(Tree(open_files({"t.af": layer})), *names)))
    assert cost.peak < LITTLE
    return said[0]


@defends(
    "no block may claim more than 8 GiB, than its codec could make of its bytes (lz4: 255 bytes from one, zstd: "
    "128 KiB from four), or than half of the machine's memory"
)
@pytest.mark.parametrize("codec", ["lz4", "zstd", None])
@pytest.mark.parametrize("claimed", [1 << 30, 1 << 33, (1 << 33) + 1, 1 << 62, (1 << 64) - 1])
def test_a_block_that_claims_more_than_its_bytes_hold(codec: str | None, claimed: int) -> None:
    packed = {
        "lz4": struct.pack("<I", claimed & 0xFFFFFFFF) + bytes(cramjam.lz4.compress_block(b"abcd", store_size=False)),
        "zstd": zstandard.ZstdCompressor(write_content_size=False).compress(b"abcd"),
        None: b"abcd",
    }[codec]
    assert "block 0" in reading(with_blocks(packed, (0, len(packed), claimed, codec)), "a", "c", "0")


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_block_that_unpacks_to_more_than_it_claims(codec: str) -> None:
    bomb = bytes(200 * MIB)
    packed = {
        "lz4": struct.pack("<I", 4) + bytes(cramjam.lz4.compress_block(bomb, store_size=False)),
        "zstd": zstandard.ZstdCompressor(write_content_size=False).compress(bomb),
    }[codec]
    assert "codec" in reading(with_blocks(packed, (0, len(packed), 4, codec)), "a", "c", "0")


def test_an_honest_bomb_is_refused_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = zstandard.compress(bytes(100 * MIB))
    assert len(packed) < 10_000
    layer = with_blocks(packed, (0, len(packed), 100 * MIB, "zstd"))
    tree = Tree(open_files({"t.af": layer}))
    assert content(tree, "a", "c", "0") == bytes(4)
    monkeypatch.setattr(limits, "ROOM", 50 * MIB)
    assert "the most on this machine" in reading(layer, "a", "c", "0")


@pytest.mark.parametrize("where", [(1 << 40, 4), (0, 1 << 40), ((1 << 64) - 1, 1), (2, (1 << 64) - 1), (3, 400)])
def test_blocks_outside_of_the_file(where: tuple[int, int]) -> None:
    assert "outside the data region" in reading(with_blocks(b"abcd", (*where, 4, None)), "a", "c", "0")


@defends("Chunks and blocks may overlap: such a chunk reads as the bytes that it points at, and as nothing else.")
def test_blocks_and_chunks_that_overlap() -> None:
    rows = (((0,), 0, 0, 2), ((1,), 0, 1, 2), ((2,), 1, 0, 2))
    layer = with_blocks(b"abcdef", (0, 4, 4, None), (2, 4, 4, None), metas=(array("a", (6,), (2,), rows),))
    tree = Tree(open_files({"t.af": layer}))
    assert [content(tree, "a", "c", str(number)) for number in range(3)] == [b"ab", b"bc", b"cd"]


@defends("A chunk in the extension block is an error.")
def test_a_chunk_that_points_into_the_extension_block() -> None:
    files = of_ours()["ours/arrays"]
    name = "t.1.af"
    data, block, footer = parts(files[name])
    blocks = decode_footer(footer).blocks
    target = int(blocks.ids[-1])
    pointed = [
        changed
        for place in range(0, len(footer) - 4, 4)
        if _first_block_of_a(changed := footer[:place] + struct.pack("<I", target) + footer[place + 4 :]) == target
    ]
    assert pointed
    for changed in pointed:
        tree = Tree(open_files({"t.af": files["t.af"], name: resealed(data, block, changed)}))
        meta = next(meta for meta in decode_footer(changed).arrays if meta.name == "g/a")
        coord = map(str, meta.chunks.coords[0].tolist())
        assert f"block {target}: " in why_not(tree, "g", "a", "c", *coord)


def _first_block_of_a(footer: bytes) -> int | None:
    try:
        arrays = decode_footer(footer).arrays
    except FormatError:
        return None
    ids = [meta.chunks.block_ids for meta in arrays if meta.name == "g/a" and len(meta.chunks)]
    return int(ids[0][0]) if ids else None


# --- counts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", [2**32, 2**31, 2**61, 2**63, 2**64 - 1])
def test_counts_of_any_list_are_checked_against_the_bytes(word: int) -> None:
    footer = all_footers()["v5/layers_redefine/t.1.af"]
    with watching():
        for place in range(0, len(footer), 8):
            changed = footer[:place] + struct.pack("<Q", word) + footer[place + 8 :]
            assert measure(lambda changed=changed: _decoded(changed)).peak < MIB  # type: ignore[misc]


@defends("Links in a container's archive can neither form a cycle nor lead twice to the same bytes.")
def test_pointers_to_themselves_backwards_and_to_what_was_read() -> None:
    footer = all_footers()["v5/layers_redefine/t.1.af"]
    with watching():
        for place in range(0, len(footer), 8):
            for target in (place, 0, 8, place - 8, place + 8, len(footer) - 96, len(footer) - 88):
                changed = footer[:place] + struct.pack("<q", target - place) + footer[place + 8 :]
                assert measure(lambda changed=changed: _decoded(changed)).peak < MIB  # type: ignore[misc]


def _decoded(footer: bytes) -> bool:
    try:
        decode_footer(footer)
    except FormatError:
        return False
    return True


@defends("more than 31: its directory is there, but no array is shown")
@pytest.mark.parametrize("rank", [31, 32, 65, 255, 20_000])
def test_many_axes(rank: int) -> None:
    for dtype, size in ((UINT8, 1), (DType("String"), 8)):
        tree = tree_of(array("a", (1,) * rank, (2,) * rank, (((0,) * rank, 0, 0, size),), dtype), array("fine"))
        assert names_in(tree) == ["a", "fine"]
        walk(tree)
        assert names_in(tree, at(tree, "a")) == (["c"] if rank == 31 else [])
        assert content(tree, "fine", "c", "0") == b"abcd"


@defends("2^60; all arrays that are looked at share 2^62 inode numbers; what does not fit is not shown")
def test_grids_without_end() -> None:
    most = 2**32 - 1
    grids = [array(f"big{number}", (2**30 - 1, 2**29), (1, 1), (((5, 5), 0, 0, 1),)) for number in range(20)]
    tree = tree_of(array("over", (most,) * 3, (1,) * 3, (((0,) * 3, 0, 0, 1),)), *grids, array("fine"))
    assert walk(tree) == []
    assert any("'over' cannot be shown" in warning and "2^" not in warning for warning in tree.warnings)
    assert any("no inode numbers are left" in warning for warning in tree.warnings)
    assert content(tree, "fine", "c", "0") == b"abcd"
    shown = [name for name in names_in(tree) if names_in(tree, at(tree, name)) == ["c"]]
    assert 5 < len(shown) < 20


@pytest.mark.parametrize(("shape", "chunk_shape"), [((4,), (0,)), ((0,), (0,)), ((4, 0), (0, 0)), ((2**32 - 1,), (1,))])
def test_chunk_extents_of_zero_and_endless_axes(shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> None:
    tree = tree_of(array("a", shape, chunk_shape, rows=()), array("fine"))
    assert walk(tree) == []
    assert content(tree, "fine", "c", "0") == b"abcd"


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (2**31, 2**31), (0,), (1,) * 40, (1,) * 64])
def test_lists_of_fixed_size_without_end(sizes: tuple[int, ...]) -> None:
    dtype = UINT8
    for size in sizes:
        dtype = DType("FixedSizeList", dtype, size)
    tree = tree_of(array("a", dtype=dtype), array("fine"))
    walk(tree)
    assert content(tree, "fine", "c", "0") == b"abcd"


@defends("refused (EIO) above half of the machine's memory")
@pytest.mark.parametrize("dtype", [UINT8, DType("String")])
def test_a_chunk_file_that_is_mostly_padding(dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ROOM", 512 * MIB)
    huge = 2**32 - 64 if dtype is UINT8 else 2**30 - 64
    rows = (((0, 0), 0, 0, 4 if dtype is UINT8 else 8),)
    shape = (1, 4) if dtype is UINT8 else (1, 1)
    layer = layer_bytes(array("a", shape, (1, huge), rows, dtype, int_fill(7)), data=bytes(8))
    assert "the most on this machine" in reading(layer, "a", "c", "0", "0")
    assert Tree(open_files({"t.af": layer})).getattr(1).size == 0


def test_padding_with_a_long_text() -> None:
    text = FillValue("String", b"x" * 100_000)
    layer = layer_bytes(array("a", (1,), (10**6,), (((0,), 0, 0, 8),), DType("String"), text), data=bytes(8))
    assert "its chunk file would have" in reading(layer, "a", "c", "0")


def test_what_a_table_says_a_block_takes_fits_a_stat() -> None:
    layer = with_blocks(b"abcd", (0, (1 << 64) - 1, 1, None))
    assert walk(Tree(open_files({"t.af": layer}))) != []


def test_a_name_or_attribute_of_megabytes() -> None:
    keys, value = ("k" * MIB,), attribute_from_python("String", "v" * (8 * MIB))
    meta = ArrayMeta("n" * MIB, UINT8, (4,), (4,), attribute_pairs=np.array([[0, 0]], np.uint16))
    layer = layer_bytes(meta, array("fine"), data=b"abcd", keys=keys, values=(value,))
    with watching():
        cost = measure(lambda: walk(Tree(open_files({"t.af": layer}))))
    assert cost.peak < 8 * len(layer)


# --- layers -----------------------------------------------------------------------------------------------------------

LAYERS = 10_000
_OPEN = r"""
import os, re, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
from arrayfs.view.tree import open_tree
tree = open_tree(sys.argv[1])
most = len(os.listdir("/proc/self/fd"))
for number in (0, 1, 5000, 9998, 9999, 3):
    attr = tree.lookup(tree.lookup(tree.lookup(1, "a").ino, "c").ino, str(number))
    handle = tree.open(attr.ino, write=False, truncate=False)
    assert bytes(handle.read(0, 8)) == number.to_bytes(4, "little"), number
    handle.release()
assert most < 1024 and len(os.listdir("/proc/self/fd")) < 1024
# not ru_maxrss: that of a process counts what its parent had when it was forked
print(most, re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])
folder = os.path.dirname(sys.argv[1])
os.rename(f"{folder}/t.9000.af", f"{folder}/moved")
os.link(f"{folder}/t.9001.af", f"{folder}/t.9000.af")
from arrayfs.errors import StaleError
handle = tree.open(tree.lookup(tree.lookup(tree.lookup(1, "a").ino, "c").ino, "9000").ino, write=False, truncate=False)
try:
    handle.read(0, 8)
except StaleError as error:
    assert "t.9000.af: replaced since it was opened" in str(error)
else:
    raise AssertionError("a foreign file was read")
"""


@defends(
    "as many descriptors as half of ulimit -n, which is raised as far as it may be; further layers are opened when "
    "they are read, and refused (ESTALE) if another file has the name by then"
)
def test_ten_thousand_layers(tmp_path: Path) -> None:
    meta = array("a", (LAYERS,), (1,), (((7777,), 0, 0, 4),), DType("UInt32"))
    template, mark = layer_bytes(meta, data=struct.pack("<I", 7777)), struct.pack("<I", 7777)
    assert template.count(mark) == 2  # the chunk's content and its coordinate
    for number in range(LAYERS):
        name = f"t.{number}.af" if number else "t.af"
        (tmp_path / name).write_bytes(template.replace(mark, struct.pack("<I", number)))
    done = subprocess.run(
        [sys.executable, "-c", _OPEN, str(tmp_path / "t.af")],
        cwd=ROOT, check=False, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    most, memory = map(float, done.stdout.split())
    assert most < 700
    assert memory * 1024 < 400 * MIB
