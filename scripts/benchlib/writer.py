"""Write files and print the seconds: `writer.py FROM TO COUNT create|rename`.

The contents of FROM/0, FROM/1, … are in memory before the clock starts; the start is a line on standard input. create:
open, write, close under the name; rename: the same under another name, then a rename, as most libraries write.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main(source: str, target: str, count: str, how: str) -> None:
    """Write all files."""
    contents = [Path(source, str(number)).read_bytes() for number in range(int(count))]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    print("ready", flush=True)
    sys.stdin.readline()
    start = time.perf_counter()
    for number, content in enumerate(contents):
        name = f"{target}/{number}"
        written = name if how == "create" else f"{name}.tmp"
        fd = os.open(written, flags, 0o644)
        if os.write(fd, content) != len(content):
            raise OSError(f"{written}: a short write")
        os.close(fd)
        if written != name:
            os.rename(written, name)
    print(time.perf_counter() - start)


if __name__ == "__main__":
    main(*sys.argv[1:])
