"""`arrayfs import` and `arrayfs estimate` as a user runs them: what they say, exit codes, signals, mounts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import arrayfs as package
from arrayfs.cli.exit_codes import ExitCode
from arrayfs.copying import importing
from tests.t4_fuse.promises import keeps
from tests.t5_copying.stores import files_of, keys_of, write_store
from tests.t6_cli.conftest import DEADLINE, ROOT, Arrayfs, Place


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "s.zarr")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "t.af"


def test_what_it_says(arrayfs: Arrayfs, store: Path, target: Path) -> None:
    done = arrayfs("import", store, target, "--native", "--verify", "-m", "why")
    assert (done.exit_code, done.stderr) == (ExitCode.DONE, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("g/half: stays as it is encoded: ")
    assert lines[1].startswith("imported ")
    assert lines[2].startswith("committed version 1: t.1.af")
    assert lines[3:] == ["all was read back as it is in the source"]
    done = arrayfs("import", store, target, "--native", "--update", "--json", "--verify")
    told = json.loads(done.stdout)
    assert (told["commits"], told["unchanged"], told["verified"]) == ([], told["values"], True)
    assert list(told["notes"]) == ["g/half"]
    assert "why" in arrayfs("log", target).stdout
    assert arrayfs("import", store, target, "--update", "--native").stdout.endswith(
        "nothing had changed since the last commit\n"
    )


def test_each_option_of_raw_numbers(arrayfs: Arrayfs, tmp_path: Path, target: Path) -> None:
    values = np.arange(24, dtype=">i2").reshape(6, 4)
    (tmp_path / "r.bin").write_bytes(b"12" + values.tobytes("F"))
    said = ("--dtype", ">i2", "--shape", "6,4", "--order", "F", "--offset", 2, "--chunks", "4,3", "--name", "n")
    done = arrayfs(
        "import", tmp_path / "r.bin", target, "--into", "g", "--codec", "zstd", "--block-size", "1KiB", *said
    )
    assert done.exit_code == ExitCode.DONE
    with package.open(target) as container:
        array = container.array("g/n")
        assert (array[...].tolist(), array.chunks) == (values.tolist(), (4, 3))
    done = arrayfs("import", tmp_path / "r.bin", target, "--into", "h", "--zarr-format", "2", *said)
    assert (done.exit_code, "n/.zarray" in keys_of(target, "h")) == (ExitCode.DONE, True)
    done = arrayfs("import", tmp_path / "r.bin", target, "--dtype", "i2", "--shape", "24", "--offset", "-1")
    assert (done.exit_code, "'--offset': -1" in done.stderr) == (ExitCode.USAGE, True)
    for wrong in ("6;4", "-1", "x"):
        assert (
            arrayfs("import", tmp_path / "r.bin", target, "--dtype", "i2", "--shape", wrong).exit_code == ExitCode.USAGE
        )


def test_failures_are_one_line_and_leave_things_as_they_were(arrayfs: Arrayfs, store: Path, target: Path) -> None:
    done = arrayfs("import", store.with_name("absent"), target)
    assert (done.exit_code, done.stderr.count("\n")) == (ExitCode.FAILED, 1)
    os.mkfifo(store / "pipe")
    done = arrayfs("import", store, target)
    assert (done.exit_code, done.stdout, target.exists()) == (ExitCode.FAILED, "", False)
    assert done.stderr.endswith("a container cannot keep pipe: neither a file nor a directory\n")
    (store / ".arrayfs").mkdir()
    (store / ".arrayfs" / "x").write_text("")
    done = arrayfs("import", store, target, "--skip-refused", "--verify")
    assert (done.exit_code, done.stdout.splitlines()[:2]) == (
        ExitCode.DONE,
        [
            "left out: pipe: neither a file nor a directory",
            "left out: .arrayfs: a name that a container keeps for itself, with all that lies below",
        ],
    )
    done = arrayfs("import", store, target, "--skip-refused")
    assert (done.exit_code, "already: import into a group of its own (--into)" in done.stderr) == (
        ExitCode.FAILED,
        True,
    )


def test_what_reads_back_otherwise_is_damage(
    arrayfs: Arrayfs, store: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "differing", lambda *_: ["a/c/0"])
    done = arrayfs("import", store, target, "--verify")
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (ExitCode.DAMAGED, "differs: a/c/0")


def start(store: Path, target: Path, *options: str) -> subprocess.Popen[str]:
    """An import of its own that stops, having put in ten values, until it gets a signal."""
    program = (
        "import signal, sys\n"
        "from arrayfs.cli.main import main\n"
        "from arrayfs.copying.importing import _Import\n"
        "put, count = _Import._put, 0\n"
        "def stopping(*arguments):\n"
        "    global count\n"
        "    count += 1\n"
        "    if count == 10:\n"
        "        print('there', flush=True)\n"
        "        signal.pause()\n"
        "    return put(*arguments)\n"
        "_Import._put = stopping\n"
        "main()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, "import", str(store), str(target), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    return process


@keeps(
    "arrayfs import is one commit: when it ends early, by an error, a signal or a loss of power, nothing has happened."
)
@pytest.mark.parametrize(("number", "new"), [(signal.SIGINT, True), (signal.SIGINT, False), (signal.SIGKILL, False)])
def test_an_import_that_ends_early_has_not_happened(
    store: Path, target: Path, number: signal.Signals, new: bool
) -> None:
    if not new:
        package.import_from(store / "g", target, into="before")
    before = keys_of(target) if not new else {}
    process = start(store, target, "--into", "x")
    process.send_signal(number)
    _, said = process.communicate(timeout=DEADLINE)
    if number == signal.SIGINT:
        assert (process.returncode, said.splitlines()[-1]) == (ExitCode.INTERRUPTED, "arrayfs: interrupted")
        assert target.exists() is not new
    else:
        assert process.returncode == -number
        assert keys_of(target) == before
    package.import_from(store, target, into="x", verify=True)
    assert keys_of(target, "x") == files_of(store)
    assert [path.name for path in target.parent.iterdir() if ".part" in path.name] == []


@keeps(
    "With --commit-every the versions that it made on the way stay, and the same command with --update goes on from "
    "there."
)
def test_what_was_committed_on_the_way_stays(store: Path, target: Path) -> None:
    process = start(store, target, "--commit-every", "1")
    process.kill()
    process.communicate(timeout=DEADLINE)
    kept = keys_of(target)
    assert kept
    assert kept.items() <= files_of(store).items()
    done = package.import_from(store, target, update=True)
    assert done.unchanged == len(kept)
    assert keys_of(target) == files_of(store)


def test_a_mount_to_import_and_to_import_into(place: Place, store: Path, tmp_path: Path) -> None:
    package.import_from(store, place.container, into="a")
    place.mount()
    assert place.run("import", place / "a", tmp_path / "copy.af").returncode == ExitCode.DONE
    done = place.run("import", store, place.mountpoint, "--into", "x", "--verify")
    assert (done.returncode, done.stderr) == (ExitCode.DONE, "")
    place.umount()
    assert keys_of(tmp_path / "copy.af") == keys_of(place.container, "x") == files_of(store)


def test_estimate(arrayfs: Arrayfs, tmp_path: Path) -> None:
    folder = write_store(tmp_path / "s")
    for number in range(200):
        (folder / f"packs.{number}").write_bytes(bytes(range(250)) * 40)
    os.mkfifo(folder / "pipe")
    told = json.loads(arrayfs("estimate", folder, "--json").stdout)
    files = files_of(folder)
    assert (told["files"], told["bytes"], told["others"]) == (len(files), sum(map(len, files.values())), 1)
    assert told["directories"] == 1 + sum(path.is_dir() for path in folder.rglob("*"))
    assert told["saved_files"] == told["files"] + told["directories"] - told["container_files"]
    assert told["saved_bytes"] == told["bytes_on_disk"] - told["container_bytes"]
    (folder / "pipe").unlink()
    arrayfs("import", folder, tmp_path / "t.af")
    taken = sum(path.stat().st_size for path in tmp_path.glob("t*"))
    assert taken / 2 < told["container_bytes"] < taken * 2
    plain = json.loads(arrayfs("estimate", folder, "--json", "--codec", "none").stdout)
    assert plain["ratio"] == 1
    shown = arrayfs("estimate", folder).stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["files", "now", "container", "saved:"]
    assert arrayfs("estimate", folder / "absent").exit_code == ExitCode.USAGE
