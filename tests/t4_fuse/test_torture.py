"""scripts/torture, for a few seconds: it loses nothing, it sees what is lost, and it leaves nothing running."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.t4_fuse.conftest import ROOT, take_away

TORTURE = [str(ROOT / "scripts" / "torture")]
# What a client was told is in the journal is in the file a thousand records later.
FORGETFUL = [
    sys.executable,
    "-c",
    "import sys; from arrayfs.container.journal import Journal; from torturelib.__main__ import main;"
    "write = Journal.write; Journal.write = lambda self: self.records % 1000 or write(self); sys.exit(main())",
]
# What was said of versions that are merged is forgotten.
SILENT = [
    sys.executable,
    "-c",
    "import sys; from dataclasses import replace; from arrayfs.container import merged; "
    "from torturelib.__main__ import main; real = merged._merged; "
    "merged._merged = lambda *run: (replace(one, message='') for one in real(*run)); sys.exit(main())",
]


class Torture:
    """A run of the program in a folder of its own."""

    def __init__(self, folder: Path, command: list[str], *arguments: str) -> None:
        self.folder = folder / "torture"
        self.folder.mkdir()
        path = os.pathsep.join((str(ROOT / "scripts"), str(ROOT), os.environ.get("PYTHONPATH", "")))
        environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [*command, *arguments, "--dir", str(self.folder)], stdout=subprocess.PIPE, text=True, env=environment
        )

    def end(self) -> str:
        """Wait for it; returns what it said."""
        said, _ = self.process.communicate(timeout=120)
        return said

    def left(self) -> list[str]:
        """Mounts and processes that are there because of it."""
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        return [line for line in mounts if str(self.folder) in line] + list(map(str, self.processes()))

    def processes(self) -> list[int]:
        """All that it started: they are forks, with its own command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                command = path.read_bytes().split(b"\0")
            except OSError:
                continue  # it has ended
            if os.fsencode(self.folder) in command:
                found.append(int(path.parent.name))
        return found

    def abandon(self) -> None:
        """Whatever happened, nothing stays."""
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()
        for name in ("mnt", "other"):
            for mountpoint in self.folder.glob(f"torture-*/{name}"):
                take_away(mountpoint, "-z")


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[list[Torture]]:
    made: list[Torture] = []
    yield made
    for run in made:
        run.abandon()


def test_nothing_is_lost(tmp_path: Path, runs: list[Torture]) -> None:
    run = Torture(tmp_path, TORTURE, "--operations", "3000", "--seed", "4")
    runs.append(run)
    said = run.end()
    assert run.process.returncode == 0, said
    lines = re.findall(r"^ *([\d,]+) ([a-z ]+)$", said, re.MULTILINE)
    figures = {name: int(number.replace(",", "")) for number, name in lines}
    assert figures["operations acknowledged"] >= 3000
    assert figures["rounds"] > 3
    assert figures["losses"] == figures["conflicts"] == 0
    assert figures["compactions"] > 0
    assert figures["versions merged"] > 0
    assert run.left() == []
    assert list(run.folder.iterdir()) == []


def test_a_loss_is_seen_and_told(tmp_path: Path, runs: list[Torture]) -> None:
    run = Torture(tmp_path, FORGETFUL, "--seed", "5")
    runs.append(run)
    said = run.end()
    assert run.process.returncode == 1, said
    assert "LOSS (seed 5): " in said
    assert '["create", ' in said
    assert "1 losses" in said
    assert run.left() == []
    (folder,) = run.folder.iterdir()
    assert (folder / "data" / "t.af").exists()
    assert (folder / "w0.history").stat().st_size > 0


def test_versions_that_a_compaction_forgets_are_told(tmp_path: Path, runs: list[Torture]) -> None:
    run = Torture(tmp_path, SILENT, "--seed", "8")
    runs.append(run)
    said = run.end()
    assert run.process.returncode == 1, said
    assert re.search(r"LOSS \(seed 8\): .*\n  versions \[[0-9, ]+\] are not listed as they were", said)
    assert run.left() == []


def test_interrupted_it_leaves_nothing(tmp_path: Path, runs: list[Torture]) -> None:
    run = Torture(tmp_path, TORTURE, "--minutes", "5", "--seed", "6")
    runs.append(run)
    assert run.process.stdout is not None
    assert run.process.stdout.readline() == "seed 6\n"
    assert run.process.stdout.readline().startswith("mounted ")
    run.process.send_signal(signal.SIGTERM)
    assert "operations acknowledged" in run.end()
    assert run.process.returncode == 130
    assert run.left() == []
    assert list(run.folder.iterdir()) == []
