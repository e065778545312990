"""mount, umount, status, commit and sync with real mounts, started as a user starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import find_mount
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
    assert "v.1.af was committed by another writer" in done.stderr
    assert "warning: commit failed" in place.run("status", place.mountpoint).stdout
    foreign.unlink()
    assert place.umount().startswith("committed version 1: v.1.af, ")
    assert content(place, "note") == "kept"


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
    with Container.open(str(place.container), "a"):
        assert "open for writing elsewhere" in reason(place.container, place.mountpoint)
    place.mount()
    assert "mounted already" in reason(place.container, place.mountpoint)


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
