"""Two mounts and two processes change one array at random, while a third merges its versions: nothing acknowledged is
lost, and an order explains what is there.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import zarr

from arrayfs.container.container import Container
from arrayfs.container.verify import verify
from arrayfs.format.attributes import attribute_to_python
from tests.conftest import Tell
from tests.mounts import Mounted
from tests.t4_fuse.conftest import HERE, ROOT, take_away

ROUNDS = {"container": 60, "mount": 12}


def test_every_acknowledged_commit_is_in_the_history_and_explains_what_is_there(
    mounted: Mounted, tmp_path: Path, tell: Tell
) -> None:
    zarr.create_array(
        str(mounted / "h"), shape=(8, 8), chunks=(2, 2), dtype="i4", compressors=None, attributes={"count": "0"}
    )
    mounted.umount()
    url = str(mounted.container)
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    points = [tmp_path / "m0", tmp_path / "m1"]
    workers = []
    for seed, (kind, rounds) in enumerate([*ROUNDS.items()] * 2):
        where = []
        if kind == "mount":
            points[seed // 2].mkdir()
            where = [str(points[seed // 2])]
        command = [sys.executable, str(HERE / "hammer.py"), kind, url, str(rounds), str(seed + 1), *where]
        workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment))
    command = [sys.executable, str(HERE / "hammer.py"), "compact", url, "0", "9"]
    compactor = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        said = [json.loads(worker.communicate(timeout=300)[0]) for worker in workers]
        compacted = json.loads(compactor.communicate(timeout=300)[0])
    finally:
        for worker in (*workers, compactor):
            worker.kill()
            worker.wait()
        for point in points:
            take_away(point, "-z")
    acknowledged = {what["round"]: what for one in said for what in one["done"]}
    conflicts = sum(one["conflicts"] for one in said)
    merged = compacted["merged"]
    tell(f"{len(acknowledged)} commits of 4 writers, {conflicts} conflicts, {merged} versions merged meanwhile")
    assert merged > 20
    assert conflicts
    with Container.open(url) as container:
        history = [json.loads(version.message) for version in container.versions().versions[2:]]
        assert sorted(what["round"] for what in history) == sorted(acknowledged)
        array = container.get("h")
        expected: dict[tuple[int, ...], int] = {}
        for what in history:
            assert what == acknowledged[what["round"]]
            expected |= {tuple(map(int, key.split("/"))): value for key, value in what["chunks"].items()}
        found = {tuple(coord): container.read(array, tuple(coord)) for coord in array.coords().tolist()}
        assert {coord: bytes(content or b"") for coord, content in found.items()} == {
            coord: struct.pack("<4i", *[value] * 4) for coord, value in expected.items()
        }
        assert array.spec.shape[0] == max([8, *(what["length"] for what in history if "length" in what)])
        counted = [what["count"] for what in history if "count" in what]
        assert attribute_to_python(array.attributes["count"]) == counted[-1]
        # nobody counted up from what was not the newest
        assert [int(count.split()[0]) for count in counted] == list(range(1, len(counted) + 1))
    assert list(verify(url)) == []
