"""Whole containers as inputs: files in a store of memory, packed into one byte string for the corpus.

Layers of ours carry checksums that would catch every change; `resealed` makes them right again, as whoever builds a
hostile container would.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.container.layer import extension_row
from arrayfs.errors import FormatError
from arrayfs.format.checksums import crc32c
from arrayfs.format.footer import TRAILER, decode_footer, encode_trailer
from arrayfs.format.model import DType
from arrayfs.store.memory import MemoryStore
from arrayfs.view.tree import Tree
from tests.t0_format.golden import CASES, VECTORS
from tests.t2_container.making import attributes, i32, new_container, new_url, open_container, spec, texts

Files = Mapping[str, bytes]
LARGEST_SEED = 12 << 10  # bytes of all layers of a golden container that is mutated
_FRAME = struct.Struct("<HI")
_EXT_HEADER = struct.Struct("<4sIQI12x")
_EXT_ROW = struct.Struct("<I4xQQ")
_FOOTER_SECTION = 7


def pack(files: Files) -> bytes:
    return b"".join(
        _FRAME.pack(len(name.encode()), len(data)) + name.encode() + data for name, data in sorted(files.items())
    )


def unpack(packed: bytes) -> dict[str, bytes]:
    files = {}
    position = 0
    while position < len(packed):
        name_size, size = _FRAME.unpack_from(packed, position)
        position += _FRAME.size
        name = packed[position : position + name_size].decode()
        position += name_size
        files[name] = packed[position : position + size]
        position += size
    return files


def open_files(files: Files, mode: str = "r") -> Container:
    """The container that these files are."""
    store = MemoryStore("hostile")
    for name in store.list():
        store.delete(name)
    for name, data in files.items():
        store.put(name, data, replace=True)
    return Container.open("memory://hostile/t.af", mode)


def files_of(url: str) -> dict[str, bytes]:
    """The layers of a container in memory."""
    store = MemoryStore(url.removeprefix("memory://").rpartition("/")[0])
    names = [name for name in store.list() if name.endswith(".af")]
    found = {}
    for name in names:
        blob = store.open(name)
        found[name] = blob.read(0, blob.size)
    return found


def parts(layer: bytes) -> tuple[bytes, bytes, bytes]:
    """A layer file as data, extension block (b"" without one) and footer."""
    size, _ = TRAILER.unpack(layer[-TRAILER.size :])
    end = len(layer) - TRAILER.size
    footer = layer[end - size : end]
    row = extension_row(decode_footer(footer))
    if row is None:
        return layer[: end - size], b"", footer
    blocks = decode_footer(footer).blocks
    start = int(blocks.file_offsets[row])
    return layer[:start], layer[start : end - size], footer


def resealed(data: bytes, extension: bytes, footer: bytes) -> bytes:
    """A layer file of these parts with checksums that are right, as far as the extension block has a place for them."""
    block = bytearray(extension)
    if len(block) >= _EXT_HEADER.size:
        _, _, _, count = _EXT_HEADER.unpack_from(block)
        for index in range(min(count, len(block) // _EXT_ROW.size)):
            at = _EXT_HEADER.size + index * _EXT_ROW.size
            if at + _EXT_ROW.size > len(block):
                break
            tag, start, _ = _EXT_ROW.unpack_from(block, at)
            if tag == _FOOTER_SECTION and start + 4 <= len(block):
                struct.pack_into("<I", block, start, crc32c(footer))
        block = bytearray(resealed_extension(bytes(block)))
    return data + bytes(block) + footer + encode_trailer(len(footer))


def resealed_extension(block: bytes) -> bytes:
    """The block with its own checksum made right."""
    if len(block) < _EXT_HEADER.size:
        return block
    return block[:4] + struct.pack("<I", crc32c(block[8:], crc32c(block[:4] + bytes(4)))) + block[8:]


def golden() -> dict[str, Files]:
    """The small containers among the vectors."""
    found = {}
    for case in CASES:
        files = {path.name: path.read_bytes() for path in (VECTORS / case).glob("*.af")}
        if sum(map(len, files.values())) <= LARGEST_SEED:
            found[case] = files
    return found


def of_ours() -> dict[str, Files]:
    """Containers with everything that arrayfs adds: holes, times, stored files, opaque arrays, renames, figures."""
    return {"ours/arrays": _arrays(), "ours/measured": _arrays(chunk_stats=True), "ours/files": _written_files()}


def _arrays(**options: object) -> dict[str, bytes]:
    url = new_url()
    container = new_container(url, **options)
    a = container.define("g/a", spec((5, 3), (2, 2), 7), attributes(units="m", offset=3))
    for row in range(3):
        for column in range(2):
            extent = min(2, 5 - 2 * row) * min(2, 3 - 2 * column)
            container.put(a, (row, column), i32(*range(extent)), 1000 + row)
    words = container.define("words", spec((3,), (2,), dtype=DType("String")))
    container.put(words, (0,), texts("one", "two"), 5)
    container.put(words, (1,), texts("three"), 6)
    pairs = container.define("pairs", ArraySpec(DType("FixedSizeList", DType("Int8"), 3), (2,), (2,), ("n",)))
    container.put(pairs, (0,), bytes(range(6)), 7)
    container.commit("first")
    container.put(a, (0, 0), None, 0)
    container.rename(words, "new/words")
    container.commit("second")
    container.remove(container.get("pairs"))
    container.commit("third")
    container.close()
    return files_of(url)


OPAQUE = b"""{"zarr_format": 3, "node_type": "array", "shape": [4], "data_type": "float16",
"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2]}}, "chunk_key_encoding": {"name": "default"},
"fill_value": 0.5, "codecs": [{"name": "bytes"}, {"name": "zstd"}], "attributes": {"a": [1, null]}}"""
NATIVE2 = b"""{"zarr_format": 2, "shape": [3, 3], "chunks": [2, 2], "dtype": "<i2", "compressor": null,
"fill_value": 4, "order": "C", "filters": null, "dimension_separator": "/"}"""


def _written_files() -> dict[str, bytes]:
    url = new_url()
    new_container(url).close()
    tree = Tree(open_container(url))
    group = tree.mkdir(1, "g", 0o755).ino
    opaque = tree.mkdir(group, "opaque", 0o755).ino
    write(tree, opaque, "zarr.json", OPAQUE)
    chunks = tree.mkdir(opaque, "c", 0o755).ino
    write(tree, chunks, "1", b"whatever")
    old = tree.mkdir(1, "old", 0o755).ino
    write(tree, old, ".zarray", NATIVE2)
    write(tree, old, ".zattrs", b'{"units": "m", "_ARRAY_DIMENSIONS": ["y", "x"]}')
    row = tree.mkdir(old, "1", 0o755).ino
    write(tree, row, "0", np.arange(4, dtype="<i2").tobytes())
    write(tree, 1, "zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {"title": "t"}}')
    write(tree, 1, "README", b"read me")
    tree.mkdir(1, "empty", 0o755)
    tree.commit("files")
    tree.unlink(1, "zarr.json")
    tree.close()
    return files_of(url)


def write(tree: Tree, parent: int, name: str, content: bytes) -> None:
    """A file, written and closed."""
    handle = tree.open(tree.create(parent, name, 0o644, False).ino, write=True, truncate=True)
    handle.write(0, content)
    handle.flush()
    handle.release()


def is_whole(layer: bytes) -> bool:
    """Whether the layer can be taken apart by `parts`."""
    try:
        parts(layer)
    except (FormatError, struct.error):
        return False
    return True
