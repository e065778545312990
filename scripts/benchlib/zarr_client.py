"""Write or read the chunks of a Zarr v3 array with zarr-python's LocalStore, and print the seconds.

`zarr_client.py ARRAY COUNT LENGTH write|read one|slices`: COUNT chunks of LENGTH float32 each, not compressed. one: a
chunk at a time; slices: AT_ONCE of them in one assignment, which zarr-python does side by side.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import zarr
from zarr.storage import LocalStore

AT_ONCE = 1000


def main(path: str, count: str, length: str, what: str, how: str) -> None:
    """Make or open the array, then write or read all of it. Raises ValueError if it reads wrongly."""
    size = int(count) * int(length)
    values = np.random.default_rng(7).standard_normal(size).astype("<f4")
    step = int(length) * (1 if how == "one" else AT_ONCE)
    if what == "write":
        array = zarr.create_array(
            LocalStore(path), shape=(size,), chunks=(int(length),), dtype="f4", compressors=None, fill_value=0.0
        )
    else:
        array = zarr.open_array(LocalStore(path), mode="r")
    found = np.empty_like(values)
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for first in range(0, size, step):
        if what == "write":
            array[first : first + step] = values[first : first + step]
        else:
            found[first : first + step] = array[first : first + step]
    print(time.perf_counter() - start)
    if what == "read" and not np.array_equal(found, values):
        raise ValueError(f"{path}: what was written does not read again")


if __name__ == "__main__":
    main(*sys.argv[1:])
