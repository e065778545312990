"""Write the chunks of a Zarr v3 array with TensorStore and print the seconds.

`tensorstore_writer.py FOLDER COUNT LENGTH one|many`: COUNT chunks of LENGTH float32 each. one: each write is awaited
before the next; many: all are begun and then awaited. TensorStore makes each file under another name, syncs it, renames
it
and syncs its directory.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import tensorstore


def main(folder: str, count: str, length: str, how: str) -> None:
    """Make the array, then write its chunks."""
    chunks, size = int(count), int(length)
    values = np.random.default_rng(7).standard_normal(chunks * size).astype("<f4")
    array = tensorstore.open(
        {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{folder}/"},
            "metadata": {
                "shape": [chunks * size],
                "data_type": "float32",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [size]}},
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            },
        },
        create=True,
        delete_existing=False,
    ).result()
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    waiting = []
    for number in range(chunks):
        span = slice(number * size, (number + 1) * size)
        writing = array[span].write(values[span])
        if how == "one":
            writing.result()
        else:
            waiting.append(writing)
    for writing in waiting:
        writing.result()
    print(time.perf_counter() - start)
    if not np.array_equal(array.read().result(), values):
        raise ValueError(f"{folder}: what was written does not read again")


if __name__ == "__main__":
    main(*sys.argv[1:])
