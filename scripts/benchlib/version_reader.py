"""Started by `versions.py`: open a container with 1024 descriptors, read chunks, print what each took.

Usage: version_reader.py CONTAINER CHUNKS SEED. The block cache is empty at first; the files are in the kernel's.
"""

from __future__ import annotations

import json
import random
import resource
import sys
import time

from arrayfs.container.container import Container
from benchlib.dataset import ARRAY

DESCRIPTORS = 1024


def main() -> None:
    """Print one JSON object: seconds by what was done."""
    path, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    took = {}
    start, cpu = time.perf_counter(), time.process_time()
    with Container.open(path) as container:
        took["open"], took["open, processor"] = time.perf_counter() - start, time.process_time() - cpu
        array = container.get(ARRAY)
        start = time.perf_counter()
        container.read(array, (0,))
        took["first chunk"] = time.perf_counter() - start
        coords = [(number,) for number in random.Random(seed).sample(range(len(array.index)), count)]
        for label in ("cold", "again"):
            start = time.perf_counter()
            for coord in coords:
                container.read(array, coord)
            took[label] = (time.perf_counter() - start) / count
    print(json.dumps(took))


if __name__ == "__main__":
    main()
