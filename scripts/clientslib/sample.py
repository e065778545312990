"""A tree for the tools to copy, pack and change: plain files of many sizes, and a Zarr store with a native and a
compressed array. The same bytes, modes and times each time.
"""

from __future__ import annotations

import array
import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

SIZES = {"empty": 0, "one": 1, "page": 4096, "odd": 100_003, "large": 3 << 20}
MTIME = 1_600_000_000
CHUNK_SHAPE = (30, 40)
GRID = (2, 3)


def make_sample(folder: Path) -> None:
    """Fill a new folder."""
    rng = random.Random(5)
    deep = folder / "files/a directory/ünï"
    deep.mkdir(parents=True)
    for name, size in SIZES.items():
        (folder / "files" / name).write_bytes(rng.randbytes(size))
    (deep / "text.txt").write_text("".join(f"line {number}\n" for number in range(1000)))
    (folder / "files/script.sh").write_text("#!/bin/sh\necho hello\n")
    (folder / "files/script.sh").chmod(0o755)
    (folder / "files/one").chmod(0o600)
    (folder / "files/nothing in it").mkdir()
    _make_array(folder / "store/native", [])
    _make_array(folder / "store/packed", [{"name": "gzip", "configuration": {"level": 5}}])
    (folder / "store/zarr.json").write_text(
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"n": 1}})
    )
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        os.utime(path, ns=((MTIME + number) * 10**9, (MTIME + number) * 10**9 + 123_456_789))


def _make_array(folder: Path, codecs: list[Any]) -> None:
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [GRID[0] * CHUNK_SHAPE[0], GRID[1] * CHUNK_SHAPE[1]],
        "data_type": "int32",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": CHUNK_SHAPE}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *codecs],
        "fill_value": 0,
        "attributes": {"units": "mm"},
    }
    for row in range(GRID[0]):
        (folder / "c" / str(row)).mkdir(parents=True)
        for column in range(GRID[1]):
            count = CHUNK_SHAPE[0] * CHUNK_SHAPE[1]
            values = array.array(
                "i", range(row * 10_000 + column * 1000, row * 10_000 + column * 1000 + count)
            ).tobytes()
            packed = gzip.compress(values, mtime=0) if codecs else values
            (folder / "c" / str(row) / str(column)).write_bytes(packed)
    (folder / "zarr.json").write_text(json.dumps(document, indent=2))
