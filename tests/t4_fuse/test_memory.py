"""The memory that a mount needs while much is written through it; the same in full size: scripts/bench --memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.conftest import Tell
from tests.t4_fuse.conftest import ROOT
from tests.t4_fuse.promises import keeps

# Two shards of half as much are in memory a third of their size at a time, and more than once if they are there whole.
WRITTEN = 384


@keeps("The memory that a mount needs does not depend on how large a file is, nor on how much is written.")
def test_large_shards_are_not_held_in_memory(tmp_path: Path, tell: Tell) -> None:
    command = [str(ROOT / "scripts" / "bench"), "--memory", "--mebibytes", str(WRITTEN), "--systems", "shards"]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(
        [*command, "--dir", str(tmp_path)], check=True, capture_output=True, text=True, timeout=300, env=environment
    )
    rows = re.findall(r"^shards: (.+?) +(\d+) +[\d.]+$", done.stdout, re.MULTILINE)
    peaks = {step: int(mebibytes) for step, mebibytes in rows}
    tell(f"MiB of the daemon while {WRITTEN} were written and read: {peaks}")
    assert len(peaks) == 11
    assert max(peaks.values()) < WRITTEN
    assert peaks["writing in order"] < WRITTEN // 2
    assert peaks["writing at random"] < WRITTEN // 2
