"""The check at the end of a test run finds what it is there to find."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.leftovers import MARK, mounts_below, processes_of, wait_for_end


@pytest.mark.parametrize("marked", [True, False])
def test_process_is_found_until_it_ends(marked: bool) -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        env={**os.environ, MARK: mark} if marked else None,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = processes_of(mark)
        assert process.pid in found
        assert "input()" in found[process.pid]
        assert process.pid in wait_for_end(found, 0.01)
        process.communicate(b"\n")
        assert process.pid not in wait_for_end(found, 5)
        assert process.pid not in processes_of(mark)


def test_process_that_left_its_parent_is_found_by_its_mark() -> None:
    mark = uuid.uuid4().hex
    waiting, go = os.pipe()
    # The shell ends at once; what it started waits for the end of the pipe.
    subprocess.run(
        ["sh", "-c", "exec 3<&0; cat <&3 >/dev/null &"], stdin=waiting, env={**os.environ, MARK: mark}, check=True
    )
    os.close(waiting)
    # the run may have children of its own, such as the server that the mounts of tests come from
    found = {pid: command for pid, command in processes_of(mark).items() if "cat" in command}
    os.close(go)
    assert found
    assert wait_for_end(found, 5) == {}


def test_mount_is_found_until_it_is_gone(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    outer = tmp_path / "a b\\ü"
    outer.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", outer], check=False, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    try:
        assert mounts_below(tmp_path.resolve()) == [str(outer.resolve())]
        assert mounts_below(outer.resolve()) == []
    finally:
        subprocess.run(["umount", outer], check=True)
    assert mounts_below(tmp_path.resolve()) == []
