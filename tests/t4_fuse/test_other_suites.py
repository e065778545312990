"""Other programs' tests of file systems, where they are installed: fsx, for a while, and what pjdfstest said."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import ROOT, take_away
from tests.t4_fuse.promises import promised


def test_fsx_is_clean_over_commits_and_remounts(tmp_path: Path) -> None:
    program = os.environ.get("ARRAYFS_FSX") or shutil.which("fsx")
    if program is None:
        pytest.skip("needs fsx (`cargo install fsx`), or its path in ARRAYFS_FSX")
    environment = os.environ | {"PYTHON": sys.executable, "ARRAYFS_FSX": program}
    few = ["--operations", "200", "--rounds", "1", "--commit-every", "70", "--dir", str(tmp_path)]
    try:
        done = subprocess.run(
            [ROOT / "scripts/fsx", *few], check=False, capture_output=True, text=True, env=environment, timeout=300
        )
    finally:
        for point in tmp_path.glob("fsx-*/mnt"):
            take_away(point, "-z")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("200 operations, 2 commits, one remount: clean") == 3


def test_each_failure_of_pjdfstest_has_a_sentence() -> None:
    page = (ROOT / "docs/PJDFSTEST.md").read_text()
    reasons, tests = page.split("\n## ")[1:]
    told = {sentence: int(count) for sentence, count in _rows(reasons)}
    assert sum(told.values()) == [here for _, here, _ in _rows(tests)].count("FAILED")
    assert [sentence for sentence in told if sentence not in promised()] == []


def _rows(part: str) -> list[list[str]]:
    """The rows of the table in a part of a page, below its head."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in part.splitlines() if line[:1] == "|"][2:]
