"""Zarr stores as clients write them, and what a container or a folder has under its keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr

import arrayfs
from arrayfs.view.keys import Keys
from arrayfs.view.tree import open_tree
from tests.t3_view.zarr_python import unstable_types

# Name, what zarr-python is told, and whether only v3 has it.
ARRAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "plain": ({"shape": (50, 33), "chunks": (20, 20), "dtype": "f4", "compressors": None}, False),
    "g/zstd": ({"shape": (50, 33), "chunks": (20, 20), "dtype": "i4", "fill_value": 7}, False),
    "g/texts": ({"shape": (20,), "chunks": (6,), "dtype": str}, False),
    "g/half": ({"shape": (20,), "chunks": (6,), "dtype": "f2"}, False),
    "shards": ({"shape": (50, 33), "chunks": (5, 5), "shards": (20, 20), "dtype": "f8"}, True),
}


def values_of(name: str) -> Any:
    options = ARRAYS[name][0]
    if options["dtype"] is str:
        return np.array(["ä" * (n % 4) for n in range(20)], object)
    count = int(np.prod(options["shape"]))
    return np.random.default_rng(count).integers(0, 99, count).astype(options["dtype"]).reshape(options["shape"])


def write_store(folder: Path, look: int = 3, *, consolidated: bool = True) -> Path:
    """A store with every array of the table, some chunks missing, nested keys in v2, and files beside."""
    with unstable_types():
        root = zarr.open_group(str(folder), mode="w", zarr_format=look)  # type: ignore[arg-type]
        root.attrs["title"] = "a store"
        for name, (options, only_3) in ARRAYS.items():
            if only_3 and look == 2:
                continue
            keys = {"chunk_key_encoding": {"name": "v2", "separator": "/"}} if look == 2 and name == "plain" else {}
            array = root.create_array(name, attributes={"units": "K"}, **options, **keys)
            rows = slice(None, None if array.ndim == 1 else 30)
            array[rows] = values_of(name)[rows]
        if consolidated:
            zarr.consolidate_metadata(root.store)
    (folder / "README").write_text("beside\n")
    (folder / "g" / "labels.ome.json").write_text("{}")
    (folder / "empty").write_bytes(b"")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def keys_of(container: Path | str, below: str = "") -> dict[str, bytes]:
    """Every key of a container, or those below a group, and its value."""
    tree = open_tree(str(container))
    try:
        keys = Keys(tree)
        found = {}
        for key in keys.below(f"{below}/" if below else ""):
            reading = keys.plan(key)
            assert reading is not None
            found[key.removeprefix(f"{below}/")] = bytes(reading.fetch())
        return found
    finally:
        tree.close()


def dtype_of(container: Path | str, name: str) -> str | None:
    """The element type of a native array, None if there is none of that name."""
    tree = open_tree(str(container))
    try:
        return tree.container.get(name).spec.dtype.name if name in tree.container else None
    finally:
        tree.close()


def same_values(container: Path, look: int, group: str = "") -> None:
    """Every array of the table reads through zarr-python as it was written."""
    with unstable_types():
        root = zarr.open_group(arrayfs.ZarrStore(container, read_only=True), path=group, mode="r")
        for name, (options, only_3) in ARRAYS.items():
            if only_3 and look == 2:
                continue
            found, wanted = root[name], np.array(values_of(name), copy=True)
            assert isinstance(found, zarr.Array)
            if wanted.ndim > 1:
                wanted[30:] = options.get("fill_value", 0)
            assert (np.asarray(found[...]) == wanted).all(), name
            assert dict(found.attrs) == {"units": "K"}
