"""Containers made by hand, with what no honest writer would write; footers as they would stand on a disk."""

from __future__ import annotations

import numpy as np

from arrayfs.errors import ArrayFSError
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import ArrayMeta, BlockTable, ChunkTable, DType, FillValue, Footer
from arrayfs.view.tree import Tree
from tests.t2_container.making import layer_bytes, table
from tests.t8_hostile.containers import open_files

UINT8 = DType("UInt8")
Row = tuple[tuple[int, ...], int, int, int]
ONE_CHUNK: tuple[Row, ...] = (((0,), 0, 0, 4),)


def array(
    name: str,
    shape: tuple[int, ...] = (4,),
    chunk_shape: tuple[int, ...] = (4,),
    rows: tuple[Row, ...] = ONE_CHUNK,
    dtype: DType = UINT8,
    fill: FillValue | None = None,
) -> ArrayMeta:
    """An array entry; rows: coordinate, block, offset and size of each chunk."""
    chunks = table(*rows) if rows else ChunkTable.empty(len(shape))
    return ArrayMeta(name, dtype, shape, chunk_shape, chunks=chunks, fill_value=fill)


def tree_of(*metas: ArrayMeta, data: bytes = b"abcd", look: int = 3) -> Tree:
    """The tree of a container of one layer."""
    return Tree(open_files({"t.af": layer_bytes(*metas, data=data)}), look)


def with_blocks(
    data: bytes, *blocks: tuple[int, int, int, str | None], metas: tuple[ArrayMeta, ...] = (array("a"),)
) -> bytes:
    """A layer whose block table says (offset, packed size, unpacked size, codec) of its blocks, whatever is there."""
    names = tuple(dict.fromkeys(codec for *_, codec in blocks))
    columns = [np.array([block[column] for block in blocks], np.uint64) for column in range(3)]
    codecs = np.array([names.index(codec) for *_, codec in blocks], np.uint32)
    ids = np.arange(len(blocks), dtype=np.uint32)
    footer = encode_footer(Footer(5, BlockTable(ids, *columns, codecs, names), metas))
    return data + footer + encode_trailer(len(footer))


def names_in(tree: Tree, ino: int = 1) -> list[str]:
    """What a directory lists, but for documents."""
    listed = [name for name, _, _ in tree.opendir(ino).entries(0)]
    return sorted(name for name in listed if name != "zarr.json")


def at(tree: Tree, *names: str) -> int:
    """The inode number of a path."""
    ino = 1
    for name in names:
        found = tree.lookup(ino, name)
        assert found is not None, name
        ino = found.ino
    return ino


def content(tree: Tree, *names: str) -> bytes:
    """All of a file."""
    ino = at(tree, *names)
    handle = tree.open(ino, write=False, truncate=False)
    try:
        return bytes(handle.read(0, tree.getattr(ino).size))
    finally:
        handle.release()


def why_not(tree: Tree, *names: str) -> str:
    """With which error of ours a file cannot be read."""
    try:
        content(tree, *names)
    except ArrayFSError as error:
        return str(error)
    raise AssertionError(f"{names} could be read")
