"""The values of an array as the files of a tree have them: what a mount shows, decoded by hand."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np

from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree

TYPES = {"numpy.datetime64": "<M8[ns]", "bool": "|b1"}


def read_file(tree: Tree, path: str) -> bytes | None:
    """A file's bytes, None if it is not there."""
    ino = ROOT
    for name in path.split("/"):
        found = tree.lookup(ino, name)
        if found is None:
            return None
        ino = found.ino
    handle = tree.open(ino, write=False, truncate=False)
    try:
        return bytes(handle.read(0, tree.getattr(ino).size))
    finally:
        handle.release()


def document_of(tree: Tree, name: str) -> dict[str, Any]:
    """Its zarr.json."""
    return json.loads(read_file(tree, f"{name}/zarr.json") or b"{}")


def values_of(tree: Tree, name: str) -> np.ndarray:
    """All values of a native array of numbers, from its document and its chunk files."""
    document = document_of(tree, name)
    kind = document["data_type"]
    kind = kind if isinstance(kind, str) else kind["name"]
    bits = "".join(filter(str.isdigit, kind))
    dtype = np.dtype(TYPES.get(kind) or f"<{kind[0]}{int(bits) // 8}")
    fill = document["fill_value"]
    shape, chunk = document["shape"], document["chunk_grid"]["configuration"]["chunk_shape"]
    out = np.full(shape, np.array(np.nan if fill == "NaN" else fill).astype(dtype))
    counts = [-(-length // n) for length, n in zip(shape, chunk, strict=True)]
    for coord in itertools.product(*map(range, counts)):
        data = read_file(tree, "/".join((name, "c", *map(str, coord))))
        if data is not None:
            place = tuple(slice(c * n, (c + 1) * n) for c, n in zip(coord, chunk, strict=True))
            part = np.frombuffer(data, dtype).reshape(chunk)
            out[place] = part[tuple(slice(length) for length in out[place].shape)]
    return out
