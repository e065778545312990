"""A mount answers as the local disk does, call by call, over commits and remounts; see `twin.py`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.mounts import Mounted
from tests.profiles import FACTOR
from tests.t4_fuse.twin import Script, Side

CALLS = 1500


@pytest.mark.parametrize("seed", range(2 * FACTOR))
def test_the_same_calls_give_the_same_as_on_the_local_disk(mounted: Mounted, tmp_path: Path, seed: int) -> None:
    local, mount = Side(tmp_path / "local" / "top"), Side(mounted / "top")
    local.root.mkdir(parents=True)  # `..` leads to what is alike, too
    mount.root.mkdir()
    script, said = Script(seed), []
    try:
        for number in range(CALLS):
            described, call = script.call()
            said.append(described)
            expected, found = local.do(call), mount.do(call)
            assert found == expected, (number, said[-12:])
            if number % 100 == 99:
                assert mount.state() == local.state(), (number, said[-100:])
            if number % 250 == 249:
                (mounted / ".arrayfs/commit").write_text("")
            if number % 500 == 499:
                local.close_all()
                mount.close_all()
                local.separate_links()
                mounted.remount()
                assert mount.state() == local.state(), number
    finally:
        local.close_all()
        mount.close_all()
    assert mounted.errors() == []
    assert set(os.listdir(mounted.mountpoint)) == set(os.listdir(local.root.parent))
