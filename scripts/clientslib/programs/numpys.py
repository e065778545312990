"""NumPy's files and mappings, of plain files and of chunks; and h5py in a plain file."""

from __future__ import annotations

import json
import mmap
from pathlib import Path

import numpy as np

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import equal

COUNT = 100_000


def write_memmap(folder: Path) -> None:
    created = np.memmap(folder / "w.bin", "f8", "w+", shape=(COUNT,))
    created[:] = np.arange(COUNT)
    created.flush()
    del created
    changed = np.memmap(folder / "w.bin", "f8", "r+")
    changed[::1000] = -1
    del changed
    array = np.lib.format.open_memmap(folder / "m.npy", "w+", "i4", (50, 60))
    array[...] = 3
    array[7] = 4
    del array


def check_memmap(folder: Path) -> None:
    expected = np.arange(COUNT, dtype="f8")
    expected[::1000] = -1
    equal(np.memmap(folder / "w.bin", "f8", "r"), expected)
    equal(np.memmap(folder / "w.bin", "f8", "c"), expected)
    expect(int(np.load(folder / "m.npy", mmap_mode="r").sum()), 50 * 60 * 3 + 60)


def write_memmap_of_a_chunk(folder: Path) -> None:
    """A native Zarr array's chunk, changed through a mapping as if it were a raw file."""
    array = folder / "a"
    (array / "c").mkdir(parents=True)
    (array / "zarr.json").write_text(json.dumps(DOCUMENT))
    for chunk in ("0", "1"):
        np.arange(1000, dtype="<f4").tofile(array / "c" / chunk)
    mapped = np.memmap(array / "c/1", "<f4", "r+")
    mapped[10:20] = -2
    mapped.flush()
    del mapped
    with open(array / "c/0", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[:4] = np.float32(9).tobytes()


def check_memmap_of_a_chunk(folder: Path) -> None:
    first, second = np.arange(1000, dtype="<f4"), np.arange(1000, dtype="<f4")
    first[0], second[10:20] = 9, -2
    equal(np.memmap(folder / "a/c/0", "<f4", "r"), first)
    equal(np.fromfile(folder / "a/c/1", "<f4"), second)


DOCUMENT = {
    "zarr_format": 3,
    "node_type": "array",
    "shape": [2000],
    "data_type": "float32",
    "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1000]}},
    "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
    "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    "fill_value": 0.0,
    "attributes": {},
}


def write_save_and_savez(folder: Path) -> None:
    np.save(folder / "a.npy", np.arange(COUNT))
    np.savez_compressed(folder / "b.npz", x=np.arange(50), y=np.eye(30))
    np.savetxt(folder / "c.txt", np.eye(4))
    np.arange(7, dtype="u2").tofile(folder / "d.raw")


def check_save_and_savez(folder: Path) -> None:
    equal(np.load(folder / "a.npy"), np.arange(COUNT))
    equal(np.load(folder / "b.npz")["y"], np.eye(30))
    equal(np.loadtxt(folder / "c.txt"), np.eye(4))
    equal(np.fromfile(folder / "d.raw", "u2"), np.arange(7))


def write_h5py(folder: Path) -> None:
    import h5py

    with h5py.File(folder / "x.h5", "w", libver="latest") as file:
        file.create_dataset("g/a", data=np.arange(COUNT), chunks=(1000,), compression="gzip")
        file["g"].attrs["title"] = "é"
        grown = file.create_dataset("grown", (0,), "i4", maxshape=(None,), chunks=(64,))
        file.swmr_mode = True
        for start in range(0, 640, 64):
            grown.resize((start + 64,))
            grown[start:] = np.arange(start, start + 64)
            grown.flush()
    with h5py.File(folder / "x.h5", "r+") as file:
        file["g/a"][5:9] = -1


def check_h5py(folder: Path) -> None:
    import h5py

    expected = np.arange(COUNT)
    expected[5:9] = -1
    with h5py.File(folder / "x.h5", "r") as file:
        equal(file["g/a"][...], expected)
        equal(file["grown"][...], np.arange(640))
        expect(file["g"].attrs["title"], "é")


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
