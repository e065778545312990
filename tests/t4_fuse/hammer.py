"""One of several writers that change one array at random, until all have committed enough: for test_hammer.py.

`hammer.py container URL ROUNDS SEED` writes without a mount, `hammer.py mount URL ROUNDS SEED MOUNTPOINT` through one
of its own; `hammer.py compact URL 0 SEED` merges versions meanwhile, until its standard input ends. Each round sets
chunks, may make the array longer, and may count up an attribute that it has read before; the message of its commit says
what it did. Prints a JSON object: the rounds that were acknowledged, and the conflicts.
"""

from __future__ import annotations

import json
import os
import random
import select
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.errors import ConflictError
from arrayfs.format.attributes import attribute_from_python, attribute_to_python

LONGEST = 40
Round = dict[str, Any]


def plan(rng: random.Random, number: int, seed: int, length: int, count: int) -> Round:
    """What a round does: chunks by their coordinates, the length of the first axis, the counter."""
    # mostly the same few chunks, so that writers meet
    coords = {(rng.randrange(length // 2 if rng.random() < 0.3 else 1), rng.randrange(4)) for _ in range(3)}
    what: Round = {"round": f"{seed}.{number}"}
    what["chunks"] = {f"{i}/{j}": seed * 1_000_000 + number * 10 + j for i, j in coords}
    if rng.random() < 0.2 and length < LONGEST:
        what["length"] = length + 2
    if rng.random() < 0.3:
        what["count"] = f"{count + 1} by {seed}.{number}"
    return what


def without_a_mount(url: str, rounds: int, seed: int) -> Round:
    rng, done, conflicts = random.Random(seed), [], 0
    with Container.open(url, "a") as container:
        for number in range(rounds):
            container.refresh()
            array = container.get("h")
            count = attribute_to_python(array.attributes["count"])
            what = plan(rng, number, seed, array.spec.shape[0], int(str(count).split()[0]))
            if "length" in what:
                container.respec(array, replace(array.spec, shape=(what["length"], 8)), 1)
            for key, value in what["chunks"].items():
                i, j = map(int, key.split("/"))
                container.put(array, (i, j), struct.pack("<4i", *[value] * 4), 1)
            if "count" in what:
                told = {"count": attribute_from_python("String", what["count"])}
                container.set_attributes(array, array.attributes | told)
            try:
                container.commit(json.dumps(what))
                done.append(what)
            except ConflictError:
                conflicts += 1
                container.discard()
    return {"done": done, "conflicts": conflicts}


def through_a_mount(url: str, rounds: int, seed: int, mountpoint: Path) -> Round:
    rng, done, conflicts = random.Random(seed), [], 0
    arrayfs("mount", "--refresh", "0.05", url, str(mountpoint))
    for number in range(rounds):
        document = json.loads((mountpoint / "h/zarr.json").read_bytes())
        count = document["attributes"]["count"]
        what = plan(rng, number, seed, document["shape"][0], int(count.split()[0]))
        if "length" in what:
            document["shape"][0] = what["length"]
        if "count" in what:
            document["attributes"]["count"] = what["count"]
        if "length" in what or "count" in what:
            put(mountpoint / "h/zarr.json", json.dumps(document).encode())
        for key, value in what["chunks"].items():
            put(mountpoint / "h/c" / key, struct.pack("<4i", *[value] * 4))
        try:
            fd = os.open(mountpoint / ".arrayfs/commit", os.O_WRONLY)
            try:
                os.write(fd, json.dumps(what).encode())
            finally:
                os.close(fd)
            done.append(what)
        except OSError as error:
            if error.errno != 16:
                raise
            conflicts += 1
            settle(url, mountpoint)
    arrayfs("umount", str(mountpoint))
    return {"done": done, "conflicts": conflicts}


def merging(url: str, _rounds: int, seed: int) -> Round:
    rng, merged, kept = random.Random(seed), 0, 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        report = compact(url, Keep(rng.randint(1, 5)))
        merged += len(report.merged)
        kept += len(report.kept)
    return {"done": [], "conflicts": 0, "merged": merged, "kept": kept}


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.with_name("temporary").write_bytes(content)
    path.with_name("temporary").rename(path)


def settle(url: str, mountpoint: Path) -> None:
    """Give the refused work up: its journal is the one that nobody holds."""
    arrayfs("umount", str(mountpoint), code=1)
    for journal in json.loads(arrayfs("journal", "list", "--json", url)):
        if journal["state"] in ("behind", "ready"):
            with suppress(AssertionError):  # another writer drops the same
                arrayfs("journal", "drop", "--yes", url, journal["name"])
    arrayfs("mount", "--refresh", "0.05", url, str(mountpoint))


def arrayfs(*arguments: str, code: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "arrayfs", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout


HOW: dict[str, Callable[..., Round]] = {"container": without_a_mount, "mount": through_a_mount, "compact": merging}

if __name__ == "__main__":
    kind, url_, rounds_, seed_, *where = sys.argv[1:]
    sys.stdout.write(json.dumps(HOW[kind](url_, int(rounds_), int(seed_), *map(Path, where))) + "\n")
