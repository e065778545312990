"""TensorStore: its zarr and zarr3 drivers, many writes in flight, several processes, transactions."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import CHUNKS, PART, SHAPE, equal, final, first

REGULAR = {"name": "regular", "configuration": {"chunk_shape": list(CHUNKS)}}
BYTES = {"name": "bytes", "configuration": {"endian": "little"}}
SHARDING = {
    "name": "sharding_indexed",
    "configuration": {"chunk_shape": [1, 10], "codecs": [BYTES, {"name": "zstd", "configuration": {"level": 1}}]},
}
# name: what the metadata say beside shape, chunks and type
KINDS: dict[str, dict[str, Any]] = {
    "v3-default": {"data_type": "int32", "chunk_grid": REGULAR},
    "v3-plain": {"data_type": "int32", "chunk_grid": REGULAR, "codecs": [BYTES]},
    "v3-gzip": {"data_type": "int32", "chunk_grid": REGULAR, "codecs": [BYTES, {"name": "gzip"}]},
    "v3-sharded": {"data_type": "int32", "chunk_grid": REGULAR, "codecs": [SHARDING]},
    "v2-default": {"dtype": "<i4", "chunks": CHUNKS},
    "v2-plain": {"dtype": "<i4", "chunks": CHUNKS, "compressor": None},
    "v2-nested": {"dtype": "<i4", "chunks": CHUNKS, "compressor": None, "dimension_separator": "/"},
    "v2-big": {"dtype": ">i4", "chunks": CHUNKS, "compressor": {"id": "zlib", "level": 2}},
}


def _open(folder: Path, name: str, **options: Any) -> Any:
    spec = {
        "driver": "zarr3" if name.startswith("v3") else "zarr",
        "kvstore": {"driver": "file", "path": f"{folder / name}/"},
    }
    if options.get("create"):
        spec["metadata"] = KINDS[name] | {"shape": list(SHAPE)}
        if name.startswith("v3"):
            spec["metadata"]["attributes"] = {"units": "mm"}
    return tensorstore.open(spec, **options).result()


def write_exchange(folder: Path) -> None:
    for name in KINDS:
        array = _open(folder, name, create=True)
        array.write(first()).result()
        array[PART].write(-1).result()
        if name.startswith("v2"):
            (folder / name / ".zattrs").write_text('{"units": "mm"}')


def check_exchange(folder: Path) -> None:
    """Whatever arrays of the exchange are there, by whichever library."""
    found = sorted(path.name for path in folder.iterdir() if path.name[:2] in ("v2", "v3"))
    for name in found:
        equal(_open(folder, name, open=True).read().result(), final(), name)


def write_in_flight(folder: Path) -> None:
    """500 writes at once, half of them of the same chunks."""
    array = tensorstore.open(_flight(folder), create=True).result()
    waiting = [array[n * 10 : n * 10 + 10].write(np.arange(n * 10, n * 10 + 10)) for n in range(500)]
    for write in waiting:
        write.result()


def check_in_flight(folder: Path) -> None:
    array = tensorstore.open(_flight(folder), open=True).result()
    equal(array.read().result(), np.arange(5000))


def _flight(folder: Path) -> dict[str, Any]:
    return {
        "driver": "zarr3",
        "kvstore": {"driver": "file", "path": f"{folder}/a/"},
        "metadata": {
            "shape": [5000],
            "data_type": "int64",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [20]}},
            "codecs": [BYTES],
        },
    }


def write_several_processes(folder: Path) -> None:
    """Four processes write every fourth element: each chunk is changed by all of them, under locks."""
    tensorstore.open(_shared(folder), create=True).result()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        pool.starmap(_write_every_fourth, [(str(folder), start) for start in range(4)])


def _write_every_fourth(folder: str, start: int) -> None:
    array = tensorstore.open(_shared(Path(folder)), open=True).result()
    for index in range(start, 200, 4):
        array[index].write(index).result()


def check_several_processes(folder: Path) -> None:
    array = tensorstore.open(_shared(folder), open=True).result()
    equal(array.read().result(), np.arange(200))
    expect([path.name for path in folder.rglob("*__lock")], [])


def _shared(folder: Path) -> dict[str, Any]:
    return {
        "driver": "zarr",
        "kvstore": {"driver": "file", "path": f"{folder}/a/"},
        "metadata": {"shape": [200], "dtype": "<i4", "chunks": [50], "compressor": None},
    }


def write_resize_and_transaction(folder: Path) -> None:
    array = _open(folder, "v3-plain", create=True)
    array.write(first()).result()
    array = array.resize(exclusive_max=[4, 33]).result()
    array = array.resize(exclusive_max=[6, 50]).result()
    with tensorstore.Transaction(atomic=False) as transaction:
        array.with_transaction(transaction)[5:, :] = 77
        array.with_transaction(transaction)[5:, :3] = 78
    _open(folder, "v2-plain", create=True).write(first()).result()
    _open(folder, "v2-plain", create=True, delete_existing=True)


def check_resize_and_transaction(folder: Path) -> None:
    found = _open(folder, "v3-plain", open=True).read().result()
    equal(found.shape, (6, 50))
    equal(found[:4, :33], first()[:4, :33])
    equal(found[5], [78] * 3 + [77] * 47)
    equal(_open(folder, "v2-plain", open=True).read().result(), np.zeros(SHAPE))


def write_ocdbt_and_n5(folder: Path) -> None:
    """Other formats that it keeps in files: a database of its own, and N5."""
    for name, spec in _others(folder).items():
        tensorstore.open(spec, create=True, dtype=tensorstore.int32, shape=list(SHAPE)).result().write(final()).result()
        if not (folder / name).is_dir():
            raise AssertionError(f"{name} is not there")


def check_ocdbt_and_n5(folder: Path) -> None:
    for name, spec in _others(folder).items():
        equal(tensorstore.open(spec, open=True).result().read().result(), final(), name)


def _others(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "ocdbt": {"driver": "zarr3", "kvstore": {"driver": "ocdbt", "base": f"file://{folder}/ocdbt/"}},
        "n5": {"driver": "n5", "kvstore": {"driver": "file", "path": f"{folder}/n5/"}},
    }


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
