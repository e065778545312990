"""A container with something of everything, drawn by a seed: what has to come out of it as it is."""

from __future__ import annotations

import os
import random
import stat
from pathlib import Path
from typing import Any

import numpy as np
import zarr

import arrayfs
from arrayfs.view.attr import Attr
from arrayfs.view.keys import Keys
from arrayfs.view.tree import Tree, open_tree

NUMBERS = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8", "M8[ns]")
ATTRIBUTES: dict[str, Any] = {
    "unit": "K",
    "valid": [1, 2],
    "scale": 0.5,
    "flag": True,
    "names": ["a", "é"],
    "n": 2**63,
}


def draw(path: Path, seed: int) -> None:
    """Make the container."""
    rng = random.Random(seed)
    with arrayfs.open(path, "w", codec=rng.choice([None, "lz4", "zstd"])) as c:
        for group in ("", "g/", "g/deep/"):
            for dtype in rng.sample([*NUMBERS, "str", "bytes"], 4):
                draw_array(c, f"{group}{dtype.replace('[', '').replace(']', '')}", dtype, rng)
        c.group("g").attrs.update(ATTRIBUTES)
    with arrayfs.ZarrStore(path) as store:
        root = zarr.open_group(store, mode="a")
        for number, (dtype, options) in enumerate(OPAQUE):
            shape, chunks = (rng.randint(1, 9), rng.randint(1, 9)), (rng.randint(1, 4), rng.randint(1, 4))
            opaque = root.create_array(f"opaque/{number}", shape=shape, chunks=chunks, dtype=dtype, **options)
            rows = rng.randint(0, shape[0])
            opaque[:rows] = np.arange(rows * shape[1]).reshape(rows, shape[1]).astype(dtype)
        if rng.random() < 0.5:
            zarr.consolidate_metadata(store)
    tree = open_tree(str(path), mode="a")
    draw_files(tree, rng)
    tree.close()


OPAQUE: list[tuple[str, dict[str, Any]]] = [
    ("f2", {}),
    ("c8", {}),
    (">i4", {}),
    ("f8", {"compressors": None, "filters": None}),
]


def draw_array(container: arrayfs.Container, name: str, dtype: str, rng: random.Random) -> None:
    """An array of which some chunks are missing, and some stand at an edge."""
    rank = rng.randint(0, 3)
    shape = tuple(rng.randint(0 if rng.random() < 0.1 else 1, 9) for _ in range(rank))
    chunks = tuple(rng.randint(1, 5) for _ in range(rank))
    text = dtype in ("str", "bytes")
    fill = None if text or rng.random() < 0.5 else values(dtype, (), rng)[()]
    names = [f"{name}_{axis}" for axis in range(rank)] if rng.random() < 0.5 else None
    made = container.create(
        name,
        shape=shape,
        chunks=chunks,
        dtype={"str": str, "bytes": bytes}.get(dtype, dtype),
        fill_value=fill,
        dimension_names=names,
        attributes=ATTRIBUTES,
    )
    for coord in np.ndindex(made.chunk_grid_shape):
        if rng.random() < 0.7:
            made.store_chunk(coord, values(dtype, made.retrieve_chunk(coord).shape, rng))


def values(dtype: str, shape: tuple[int, ...], rng: random.Random) -> np.ndarray[Any, Any]:
    """Elements of a type."""
    generator = np.random.default_rng(rng.getrandbits(30))
    if dtype in ("str", "bytes"):
        out = np.empty(shape, object)
        for place in np.ndindex(shape):
            text = "".join(rng.choices("aé€𝄞 ", k=rng.randint(0, 5)))
            out[place] = text if dtype == "str" else text.encode() + b"\0\xff"
        return out
    return generator.integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)


def draw_files(tree: Tree, rng: random.Random) -> None:
    """Plain files, some large, links, empty directories, modes and times."""
    write(tree, 1, "README", rng.randbytes(rng.randint(0, 3000)), 0o640)
    folder = tree.mkdir(1, "ünder [x]*", 0o750).ino
    write(tree, folder, "large", rng.randbytes(9 << 20) + bytes(4 << 20), 0o444)
    tree.symlink(folder, "link", b"../nowhere\xff")
    tree.mkdir(folder, "empty", 0o700)
    tree.setattr(tree.mkdir(folder, "old", 0o500).ino, mtime_ns=12345678901234567)
    group = tree.lookup(1, "g")
    assert group is not None
    write(tree, group.ino, ".lock", b"", 0o600)


def write(tree: Tree, parent: int, name: str, data: bytes, mode: int) -> None:
    _, file = tree.make(parent, name, mode, exclusive=True, write=True, truncate=True)
    for offset in range(0, len(data), 1 << 20):
        file.write(offset, data[offset : offset + (1 << 20)])
    file.release()


def listing(path: Path, look: int = 3) -> dict[str, tuple[int, int, bytes | None]]:
    """All that the tree shows: mode, time and content (of a directory: None) by path, as an export does not ask."""
    tree = open_tree(str(path), look=look)
    keys = Keys(tree)
    found: dict[str, tuple[int, int, bytes | None]] = {}

    def go(ino: int, above: str) -> None:
        for name, attr, _ in list(tree.opendir(ino).entries(0)):
            where = f"{above}{name}"
            found[where] = attr.mode, attr.mtime_ns, content(where, attr)
            if stat.S_ISDIR(attr.mode):
                go(attr.ino, f"{where}/")

    def content(where: str, attr: Attr) -> bytes | None:
        if stat.S_ISDIR(attr.mode):
            return None
        if stat.S_ISLNK(attr.mode):
            return tree.readlink(attr.ino)
        reading = keys.plan(where)
        assert reading is not None
        return bytes(reading.fetch())

    go(1, "")
    tree.close()
    return found


def folder_listing(path: Path) -> dict[str, tuple[int, int, bytes | None]]:
    """The same of a folder."""
    found: dict[str, tuple[int, int, bytes | None]] = {}
    for above, folders, files in os.walk(path):
        for name in (*folders, *files):
            full = Path(above, name)
            status = full.lstat()
            content: bytes | None = None
            if stat.S_ISLNK(status.st_mode):
                content = os.readlink(os.fsencode(full))
            elif stat.S_ISREG(status.st_mode):
                content = full.read_bytes()
            found[str(full.relative_to(path))] = status.st_mode, status.st_mtime_ns, content
    return found
