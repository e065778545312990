"""mount, umount, status, commit and sync with real mounts, started as a user starts them."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import find_mount
from tests.t4_fuse.promises import keeps
from tests.t6_cli.conftest import DEADLINE, Place


def content(place: Place, name: str) -> str:
    """A file as a new mount shows it: what was committed."""
    place.mount("--read-only")
    text = (place / name).read_text()
    place.umount()
    return text


def test_mount_write_umount_mount_again(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    said = place.umount()
    assert said.startswith("committed version 1: v.1.af, ")
    assert content(place, "note") == "kept"
    place.mount()
    assert place.umount() == "nothing had changed since the last commit\n"
    assert sorted(path.name for path in place.container.parent.glob("*.af")) == ["v.1.af", "v.af"]


def test_umount_as_json_has_the_size_of_the_sidecar(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    result = json.loads(place.run("umount", "--json", place.mountpoint).stdout)
    assert result["size"] == place.container.with_name(result["sidecar"]).stat().st_size


def test_commit_with_a_message_while_mounted(place: Place) -> None:
    place.mount()
    (place / "note").write_text("first")
    done = place.run("commit", place.mountpoint, "-m", "früher")
    assert (done.returncode, done.stdout.partition(",")[0]) == (0, "committed version 1: v.1.af")
    assert place.run("commit", place.mountpoint).stdout == "nothing had changed since the last commit\n"
    (place / "note").write_text("second")
    assert json.loads(place.run("sync", "--json", place / "").stdout)["durable"] is True
    committed = json.loads(place.run("commit", "--json", place.mountpoint).stdout)
    assert (committed["version"], committed["sidecar"], committed["message"]) == (2, "v.2.af", "")
    status = json.loads(place.run("status", "--json", place.mountpoint).stdout)
    assert status["last_commit"] == committed
    assert status["version"] == 2
    assert "last commit" in place.run("status", place.mountpoint).stdout
    place.umount()
    with Container.open(str(place.container)) as container:
        extensions = [layer.extension for layer in container.stack.layers]
    assert [extension.message for extension in extensions if extension is not None] == ["", "früher", ""]


def test_a_commit_that_fails_says_why_and_loses_nothing(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    foreign = place.container.with_name("v.1.af")
    foreign.write_bytes(place.container.read_bytes())
    done = place.run("commit", place.mountpoint)
    assert (done.returncode, done.stdout) == (1, "")
    assert "v.1.af: was made on top of" in done.stderr
    assert "warning: commit failed" in place.run("status", place.mountpoint).stdout
    foreign.unlink()
    assert place.umount().startswith("committed version 1: v.1.af, ")
    assert content(place, "note") == "kept"


def test_status_tells_of_writers_that_were_killed(place: Place) -> None:
    place.mount()
    killed = 'printf "{" > "$0"; exec >> "$0"; printf "}"; kill -KILL $$'
    subprocess.run(["sh", "-c", killed, str(place / "zarr.json")], check=False)
    told = [line for line in place.run("status", place.mountpoint).stdout.splitlines() if line.startswith("lost+found")]
    assert [line.partition(" (")[0] for line in told] == ["lost+found: zarr.json: its writer was killed by SIGKILL"]
    place.umount()
    assert content(place, "zarr.json") == "{"


def test_status_is_right_after_the_control_directory_was_listed(place: Place) -> None:
    place.mount()
    listed = subprocess.run(["ls", "-la", str(place / ".arrayfs")], capture_output=True, text=True, check=True)
    assert "status.json" in listed.stdout
    for number in range(12):
        (place / f"note{number}").write_text("x" * 2000)
        status = json.loads((place / ".arrayfs/status.json").read_bytes())
        assert status["dirty"]["unsettled_files"] + status["arrays"] == number + 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_mount_in_the_foreground_commits_and_unmounts(place: Place, number: signal.Signals) -> None:
    process = place.start()
    (place / "note").write_text("kept")
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert stdout.startswith("committed version 1: v.1.af, ")
    assert mountinfo.mount_at(str(place.mountpoint)) is None
    assert content(place, "note") == "kept"


def test_fusermount_ends_a_mount_in_the_foreground_with_a_commit(place: Place) -> None:
    process = place.start()
    (place / "note").write_text("kept")
    subprocess.run(["fusermount3", "-u", str(place.mountpoint)], check=True)
    stdout, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, stdout.partition(",")[0]) == (0, "committed version 1: v.1.af")


def test_umount_after_fusermount_waits_for_the_commit_and_tells_of_it(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    subprocess.run(["fusermount3", "-u", str(place.mountpoint)], check=True)
    assert place.umount().startswith("committed version 1: v.1.af, ")
    assert content(place, "note") == "kept"


def test_umount_of_what_is_not_mounted_fails(place: Place) -> None:
    done = place.run("umount", place.mountpoint)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"arrayfs: {place.mountpoint}: nothing is mounted here\n"
    for command in ("status", "commit", "sync"):
        done = place.run(command, place.mountpoint)
        assert done.returncode == 1
        assert done.stderr == f"arrayfs: {place.mountpoint}: no container is mounted here\n"


def test_umount_names_who_uses_the_mount(place: Place) -> None:
    place.mount()
    with (place / "note").open("w") as file:
        done = place.run("umount", place.mountpoint)
        assert done.returncode == 1
        assert f"(pid {os.getpid()})" in done.stderr
        file.write("still there")
    assert place.umount().startswith("committed")


def test_mount_fails_with_the_reason(place: Place, tmp_path: Path) -> None:
    def reason(*arguments: str | Path) -> str:
        done = place.run("mount", *arguments)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        return done.stderr

    assert "no such container" in reason(place.container, place.mountpoint)
    assert "--create" in reason(place.container, place.mountpoint)
    assert "no such directory" in reason("--create", place.container, tmp_path / "absent")
    assert "'speed'" in reason("-o", "speed", place.container, place.mountpoint)
    (place.container.parent / "inside").mkdir()
    assert "lies inside" in reason(place.container, place.container.parent / "inside")
    Container.create(str(place.container))
    place.mount()
    assert "mounted already" in reason(place.container, place.mountpoint)


def test_what_the_disk_refuses_is_told_in_one_line(place: Place, tmp_path: Path) -> None:
    lock, other = place.container.with_name("v.lock"), tmp_path / "other"
    Container.create(str(place.container))
    lock.mkdir()
    done = place.run("mount", place.container, place.mountpoint)
    assert (done.returncode, done.stderr) == (1, f"arrayfs: {lock}: Is a directory\n")
    lock.rmdir()
    place.mount()
    Container.create(str(place / "inner.af"))
    place.umount()
    place.mount("--read-only")
    other.mkdir()
    done = place.run("mount", place / "inner.af", other)
    refused = f"{place / 'inner.lock'}: Read-only file system; --read-only shows what is committed"
    assert (done.returncode, done.stderr) == (1, f"arrayfs: {refused}\n")
    place.umount()


def test_commands_that_read_take_a_mount_for_its_container(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    place.run("commit", place.mountpoint)
    for command in (["ls", "--all"], ["ls", "--where", "units"], ["info"], ["journal", "list"], ["log"], ["verify"]):
        there, at_mount = (place.run(*command, "--json", path) for path in (place.container, place / ""))
        assert (at_mount.returncode, at_mount.stdout) == (0, there.stdout), at_mount.stderr
    place.umount()


def test_a_mount_leads_to_its_container_whatever_that_is_called(place: Place) -> None:
    place.container = place.container.with_name("50%25 ü#?.af")
    place.mount()
    (place / "note").write_text("kept")
    place.run("commit", place.mountpoint, "-m", "why")
    done = place.run("log", "--json", place.mountpoint)
    assert (done.returncode, [one["message"] for one in json.loads(done.stdout)]) == (0, ["why", ""]), done.stderr
    place.umount()


def test_a_message_that_cannot_be_kept_is_told_so(place: Place) -> None:
    place.mount()
    (place / "note").write_text("kept")
    for message, why in (
        ("ü" * 2048, "a message of 4097 bytes; 4096 is the limit"),
        ("a\udcffb", r"the message is not UTF-8: 'a\udcffb'"),
    ):
        done = place.run("commit", place.mountpoint, "-m", message)
        assert (done.returncode, done.stderr) == (1, f"arrayfs: {place.mountpoint}: {why}\n")
    assert place.run("commit", place.mountpoint, "-m", "ü" * 2047).returncode == 0
    place.umount()


def test_a_mount_point_is_looked_at_before_a_container_is_made(place: Place, tmp_path: Path) -> None:
    place.run("mount", "--create", place.container, tmp_path / "absent")
    assert not place.container.exists()


def test_a_read_only_mount_beside_a_writing_one(place: Place, tmp_path: Path) -> None:
    place.mount()
    (place / "note").write_text("kept")
    place.run("commit", place.mountpoint)
    other = tmp_path / "other"
    other.mkdir()
    done = place.run("mount", "-o", "ro", place.container, other)
    try:
        assert (done.returncode, done.stderr) == (0, "")
        assert (other / "note").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only file system"):
            (other / "note").write_text("not here")
        refused = place.run("commit", other)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"arrayfs: {other}: ")
    finally:
        assert place.run("umount", other).returncode == 0


def test_options_reach_the_container(place: Place) -> None:
    place.mount("--codec", "zstd", "--cache", "1MiB", "--zarr-format", "2")
    (place / "note").write_text("x" * 10000)
    assert json.loads((place / ".arrayfs/status.json").read_bytes())["cache"]["limit"] == 1 << 20
    place.umount()
    info = json.loads(place.run("info", "--json", place.container).stdout)
    assert list(info["codecs"]) == ["zstd"]


def test_commit_every_commits_without_being_asked(place: Place) -> None:
    place.mount("--commit-every", "0.2s")
    (place / "note").write_text("kept")
    deadline = time.monotonic() + DEADLINE
    while json.loads((place / ".arrayfs/status.json").read_bytes())["last_commit"] is None:
        assert time.monotonic() < deadline
    state = find_mount(str(place.mountpoint))
    assert state is not None
    os.kill(state.info.pid, signal.SIGKILL)
    done = place.run("umount", place.mountpoint)
    assert done.returncode == 1
    assert "died without a commit" in done.stderr
    assert content(place, "note") == "kept"


def test_the_log_of_a_mount_in_the_background_goes_to_its_file(place: Place, tmp_path: Path) -> None:
    place.mount("--log", str(tmp_path / "log"), "--log-level", "info")
    place.umount()
    assert [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()] == ["INFO", "INFO"]
    place.mount("--log", str(tmp_path / "quiet"), "--log-level", "warning")
    place.umount()
    assert (tmp_path / "quiet").read_text() == ""


def test_the_log_of_a_mount_in_the_foreground_is_standard_error_or_a_file(place: Place, tmp_path: Path) -> None:
    for options, place_of_log in [((), None), (("--log", str(tmp_path / "log")), tmp_path / "log")]:
        process = place.start(*options)
        os.listdir(place.mountpoint)
        process.send_signal(signal.SIGTERM)
        _, stderr = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0
        said = stderr if place_of_log is None else place_of_log.read_text()
        assert f"INFO v.af[{process.pid}]: SIGTERM: unmounting {place.mountpoint}" in said
        assert place_of_log is None or stderr == ""


def test_log_stderr_stays_with_the_terminal_of_the_caller(place: Place, tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        command = [sys.executable, "-m", "arrayfs", "mount", "--create", "--log", "stderr"]
        subprocess.run(
            [*command, place.container, place.mountpoint], env=place.environment, stderr=terminal, check=True
        )
    place.umount()
    assert "nothing to commit" in (tmp_path / "terminal").read_text()


def test_what_was_asked_is_in_the_status_and_the_usage_log(place: Place, tmp_path: Path) -> None:
    place.mount("--usage-log", str(tmp_path / "usage"), "--log", str(tmp_path / "log"))
    (place / "note").write_text("x" * 1000)
    assert not (place / "absent").exists()
    figures = json.loads(place.run("status", "--json", place.mountpoint).stdout)["operations"]
    assert (figures["write"]["count"], figures["write"]["bytes"]) == (1, 1000)
    assert figures["lookup"]["errors"] >= 1
    assert sum(figures["lookup"]["us_below"].values()) == figures["lookup"]["count"]
    shown = place.run("status", place.mountpoint).stdout
    assert [line.split()[:4] for line in shown.splitlines() if line.startswith("write")] == [
        ["write", "1", "1000", "B"]
    ]
    recent = (place / ".arrayfs/log").read_bytes()
    written = (tmp_path / "usage").read_bytes()
    assert written.startswith(recent)
    lines = [json.loads(line) for line in recent.splitlines()]
    made = next(line for line in lines if line["op"] == "create")
    assert (made["path"], made["pid"], made["errno"]) == ("note", os.getpid(), 0)
    assert "absent" in [line.get("path") for line in lines if line["errno"] == errno.ENOENT]
    with (place / "note").open("rb") as note:
        note.read()
    asked = [json.loads(line) for line in (place / ".arrayfs/log").read_bytes().splitlines()]
    inode = (place / "note").stat().st_ino
    assert {line["op"] for line in asked if line.get("inode") == inode} >= {"create", "write", "release", "open"}
    assert all(line["inode"] for line in asked if line["op"] in ("lookup", "create", "open") and not line["errno"])
    place.umount()
    assert "nobody expected this" not in (tmp_path / "log").read_text()


@keeps(".arrayfs/log has the last 1000 operations of a mount with a usage log, and is empty without one.")
def test_operations_are_counted_when_that_was_asked_for(place: Place) -> None:
    place.mount()
    assert json.loads((place / ".arrayfs/status.json").read_bytes())["operations"] is None
    assert "slowest" not in place.run("status", place.mountpoint).stdout
    assert (place / ".arrayfs/log").read_bytes() == b""
    place.umount()
    place.mount("--stats")
    (place / "note").write_text("x")
    assert json.loads((place / ".arrayfs/status.json").read_bytes())["operations"]["write"]["count"] == 1
    assert (place / ".arrayfs/log").read_bytes() == b""
    place.umount()


def test_a_log_that_cannot_be_written_is_named_and_nothing_mounted(place: Place) -> None:
    for option in ("--log", "--usage-log"):
        done = place.run("mount", "--create", option, "/nowhere/at/all", place.container, place.mountpoint)
        assert done.returncode == 1
        assert "/nowhere/at/all: No such file or directory" in done.stderr
        assert mountinfo.mount_at(str(place.mountpoint)) is None


def test_mount_takes_a_dead_mount_away(place: Place) -> None:
    place.mount()
    state = find_mount(str(place.mountpoint))
    assert state is not None
    daemon = os.pidfd_open(state.info.pid)
    os.kill(state.info.pid, signal.SIGKILL)
    select.select([daemon], [], [], DEADLINE)
    os.close(daemon)
    assert "its daemon died" in place.run("status", place.mountpoint).stderr
    place.mount()
    place.umount()
