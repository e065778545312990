"""`mount.arrayfs` and `umount.arrayfs`: called as mount(8) and umount(8) call them, and by these themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from arrayfs.cli.main import COMMANDS
from arrayfs.cli.mount import mount
from arrayfs.cli.mount_helper import HelperCode, is_call_of_mount_fuse, mount_container, run, umount_directory
from arrayfs.cli.mount_words import own_option
from arrayfs.container.container import Container
from arrayfs.container.figures import are_kept
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import umount
from tests.t4_fuse.promises import keeps, promised
from tests.t4_fuse.test_options import MOUNTING
from tests.t6_cli.conftest import DEADLINE, ROOT, Place

WORK = {"mount": mount_container, "umount": umount_directory}
BEGIN = "from arrayfs.cli.mount_helper import {name}_main; {name}_main()"


def mount_as_root_does(place: Place, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `mount.arrayfs CONTAINER DIRECTORY`, as `mount` does."""
    command = [sys.executable, "-c", BEGIN.format(name="mount"), str(place.container), str(place.mountpoint)]
    return subprocess.run(
        [*command, *map(str, arguments)],
        env=place.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


def umount_as_root_does(place: Place, *flags: str) -> int:
    """Run `umount.arrayfs DIRECTORY`, which begins no process, here; returns its exit code."""
    return run("umount.arrayfs", umount_directory, [str(place.mountpoint), *flags])


def source_at(place: Place) -> str | None:
    entry = mountinfo.mount_at(str(place.mountpoint))
    return None if entry is None else entry.source


def test_the_page_has_the_table_of_exit_codes() -> None:
    rows = re.findall(r"^\| (\d+) \|", MOUNTING.read_text(), re.MULTILINE)
    assert [int(code) for code in rows] == list(HelperCode)


def test_the_page_names_every_option_of_the_command() -> None:
    page = promised(MOUNTING)
    options = [opt for parameter in mount.params for opt in parameter.opts if opt.startswith("--")]
    assert [opt for opt in options if f" {opt[2:]}" not in page and opt not in ("--foreground", "--read-only")] == []


@keeps(
    "umount /mnt/weather returns when the commit is durable.",
    "umount -v says what was committed.",
    page=MOUNTING,
)
def test_mounting_and_unmounting_as_mount_does_it(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    options = 'rw,noatime,nosuid,create,codec=zstd,cache=1MiB,compact-when="layers=99,garbage=99%",stats,_netdev,nofail'
    done = mount_as_root_does(place, "-v", "-o", options, "-t", "fuse.arrayfs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert source_at(place) == str(place.container)
    status = json.loads((place / ".arrayfs/status.json").read_bytes())
    assert (status["cache"]["limit"], status["operations"] is None) == (1 << 20, False)
    (place / "note").write_text("kept" * 1000)
    (place / ".arrayfs/commit").write_text("one")
    with Container.open(str(place.container)) as container:
        assert container.versions().newest.message == "one"
    (place / "note").write_text("kept too")
    assert umount_as_root_does(place, "-v", "-t", "fuse.arrayfs") == HelperCode.DONE
    assert capsys.readouterr().out.startswith("committed version 2: v.2.af")
    assert place.container.with_name("v.2.af").exists()


@keeps("mount.fuse3 (package fuse3) runs arrayfs CONTAINER DIRECTORY -o OPTIONS", page=MOUNTING)
def test_the_call_of_mount_fuse(place: Place) -> None:
    Container.create(str(place.container))
    done = place.run(place.container, place.mountpoint, "-o", "ro,version=0,dev,suid")
    assert (done.returncode, done.stderr) == (0, "")
    assert source_at(place) == str(place.container)
    place.umount()
    done = place.run(place.container, place.mountpoint, "-o", "speed=11,dev,suid")
    assert (done.returncode, done.stderr) == (1, "mount.arrayfs: mount option 'speed=11' is not known\n")
    for arguments in (
        ["mount", "v.af", "-o", "ro"],
        ["log", "m", "-o", "ro"],
        ["v.af", "m", "-o"],
        ["v.af", "-o", "ro"],
    ):
        assert not is_call_of_mount_fuse(arguments, COMMANDS)


@keeps(
    "An option that is not known is refused by name, and nothing is mounted; mount -s leaves it out instead. "
    "mount -f reads the options, and mounts nothing. -o remount is refused: unmount, and mount again.",
    "mount -N is not supported.",
    page=MOUNTING,
)
def test_what_is_refused_and_how(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    def refusal(code: HelperCode, name: str, *arguments: str | Path) -> str:
        """In this process: nothing of this comes as far as a daemon."""
        assert run(f"{name}.arrayfs", WORK[name], [*map(str, arguments)]) == code
        assert source_at(place) is None
        out, err = capsys.readouterr()
        assert (out, err.count("\n"), err.partition(":")[0]) == ("", 1, f"{name}.arrayfs")
        return err

    pair = (place.container, place.mountpoint)
    Container.create(str(place.container))
    for options, said in [
        ("ro,speed=11", "'speed=11' is not known"),
        ("codec=brotli", "'brotli' is not one of"),
        ("codec", "'codec' needs a value"),
        ("stats=yes", "'stats=yes' takes no value"),
        ("foreground", "'foreground' is not known"),
        ("version=1,create", "read only"),
        ("remount,ro", "cannot be changed"),
        ('log="a', "does not end"),
        ("setuid=no such user", "no such user"),
    ]:
        assert said in refusal(HelperCode.USAGE, "mount", *pair, "-o", options)
    assert "namespaces" in refusal(HelperCode.USAGE, "mount", *pair, "-N", "/proc/1/ns/mnt")
    assert "CONTAINER DIRECTORY" in refusal(HelperCode.USAGE, "mount", place.container)
    assert "DIRECTORY" in refusal(HelperCode.USAGE, "umount")
    assert "no such directory" in refusal(HelperCode.FAILED, "mount", place.container, place.mountpoint / "x")
    assert "nothing is mounted" in refusal(HelperCode.FAILED, "umount", place.mountpoint)
    assert "nothing is mounted" in refusal(HelperCode.FAILED, "umount", "-l", place.mountpoint)
    assert run("mount.arrayfs", WORK["mount"], [*map(str, pair), "-f", "-o", "codec=zstd"]) == HelperCode.DONE
    assert source_at(place) is None
    assert mount_as_root_does(place, "-s", "-o", "speed=11,cache=1MiB,ro").returncode == HelperCode.DONE
    assert source_at(place) == str(place.container)
    assert run("mount.arrayfs", WORK["mount"], [*map(str, pair)]) == HelperCode.FAILED
    assert "mounted already" in capsys.readouterr().err


@keeps("it is unmounted, but the commit failed, and the journal has the work", page=MOUNTING)
def test_a_commit_that_fails_has_a_code_of_its_own(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.mount()
    (place / "note").write_text("kept")
    foreign = place.container.with_name("v.1.af")
    foreign.write_bytes(place.container.read_bytes())
    assert (umount_as_root_does(place), source_at(place)) == (HelperCode.SYSTEM, None)
    assert "v.1.af: was made on top of" in capsys.readouterr().err
    assert list(place.container.parent.glob("v.log-*"))


@keeps(
    "umount -l takes the name away and waits for nothing; the daemon commits after the last close.",
    "umount -f fails what programs are waiting for, then unmounts and commits what was closed.",
    page=MOUNTING,
)
def test_lazy_and_forced(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.mount()
    with (place / "note").open("w") as file:
        assert umount_as_root_does(place) == HelperCode.FAILED
        assert umount_as_root_does(place, "-l") == HelperCode.DONE
        assert source_at(place) is None
        file.write("kept")
    assert umount(str(place.mountpoint)).version == 1
    place.mount()
    (place / "more").write_text("kept")
    assert umount_as_root_does(place, "-f", "-v") == HelperCode.DONE
    assert capsys.readouterr().out.startswith("committed version 2")


def test_words_are_options_of_the_command(place: Place) -> None:
    for word, option in [("codec=zstd", "--codec"), ("zarr_format=2", "--zarr-format"), ("stats", "--stats")]:
        found = own_option(mount, word)
        assert found is not None
        assert option in found.opts
    assert [own_option(mount, word) for word in ("foreground", "options=x", "help", "o", "ro", "container=x")] == [
        None
    ] * 6
    place.mount("-o", "cache=1MiB,zarr-format=2", "--cache", "2MiB")
    assert '"limit": 2097152' in (place / ".arrayfs/status.json").read_text()
    umount(str(place.mountpoint))
    for word, kept in (("chunk-stats", True), ("no_chunk_stats", False)):
        place.mount("-o", word)
        (place / word).write_text("to be committed")
        umount(str(place.mountpoint))
        with Container.open(str(place.container)) as container:
            assert are_kept(container.stack.layers) is kept


@keeps("The daemon stays in the foreground, says when it is ready (Type=notify)", page=MOUNTING)
def test_a_service_manager_is_told(place: Place, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(DEADLINE)
        place.environment["NOTIFY_SOCKET"] = str(tmp_path / "notify")
        process = place.start()
        assert heard.recv(99) == b"READY=1"
        process.terminate()
        assert heard.recv(99) == b"STOPPING=1"
        assert process.wait(DEADLINE) == 0
        process.communicate()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_units_on_the_page_are_valid(tmp_path: Path) -> None:
    mount_unit, service = re.findall(r"```ini\n(.*?)```", MOUNTING.read_text(), re.DOTALL)
    (tmp_path / "mnt-weather.mount").write_text(mount_unit)
    (tmp_path / "weather.service").write_text(service.replace("/usr/local/bin/arrayfs", "/bin/true"))
    for unit in ("mnt-weather.mount", "weather.service"):
        done = subprocess.run(
            ["systemd-analyze", "verify", tmp_path / unit], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


# mount(8) itself, in a mount namespace of its own, where /sbin has what is installed elsewhere.
NAMESPACE = r"""
set -u
mount -t tmpfs none "$W/upper"; mkdir "$W/upper/u" "$W/upper/w"
mount -t overlay overlay -o "lowerdir=/usr/sbin,upperdir=$W/upper/u,workdir=$W/upper/w" /usr/sbin || exit 77
mount -t tmpfs none /run/mount 2>/dev/null || { mkdir -p /run/mount && mount -t tmpfs none /run/mount; }
cp "$W/helpers"/* /usr/sbin/
say() { echo "$1 $2"; }  # what, and with which exit code
mount -a; say all $?
findmnt -n -o SOURCE,FSTYPE "$W/m é"; mount -a; say again $?
findmnt -n "$W/m é" | wc -l
echo kept > "$W/m é/note"; umount -v "$W/m é"
mount "$W/m é"; echo more > "$W/m é/note"; mount -o remount,ro "$W/m é" 2>/dev/null; say remount $?
umount -c "$W/m é"; say canonical $?; ls "$W/data"
mount -t fuse.arrayfs "$W/data/w é,.af" "$W/m é" -o ro,nodev,compact-when='"layers=9,garbage=50%"'; say fuse $?
cat "$W/m é/note"; cd "$W"; umount "m é"; say umount $?
mount -t arrayfs "$W/data/w é,.af" "$W/m é" -o speed=11 2>&1; say unknown $?
mount -t arrayfs "$W/data/none.af" "$W/m é" 2>/dev/null; say missing $?
findmnt -n -t fuse.arrayfs "$W/m é"; say none $?
"""

SAID = """\
all 0
{W}/data/w é,.af fuse.arrayfs
again 0
1
committed version 1: w é,.1.af, SIZE
remount 1
canonical 0
w é,.1.af
w é,.2.af
w é,.af
w é,.lock
fuse 0
more
umount 0
mount.arrayfs: mount option 'speed=11' is not known
unknown 1
missing 32
none 1
"""


@pytest.fixture
def installed(place: Place, tmp_path: Path) -> Iterator[Path]:
    """A folder with the programs as they would be linked into /sbin, and a place for what hides it."""
    helpers = tmp_path / "helpers"
    helpers.mkdir()
    for name in ("mount.arrayfs", "umount.arrayfs", "umount.fuse.arrayfs", "arrayfs"):
        begin = (
            BEGIN.format(name=name.partition(".")[0])
            if name != "arrayfs"
            else "from arrayfs.cli.main import main; main()"
        )
        (helpers / name).write_text(f"#!/bin/sh\nexec {sys.executable} -c '{begin}' \"$@\"\n")
        (helpers / name).chmod(0o755)
    for name in ("upper", "m é"):
        (tmp_path / name).mkdir()
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path / "m é"], check=False, capture_output=True)


def can_unshare() -> bool:
    """Not without root, nor in a chroot."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    return not subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode


@pytest.mark.skipif(not can_unshare(), reason="needs root that may make a mount namespace")
@keeps(
    "mount /mnt/weather returns when the mount answers. umount /mnt/weather returns when the commit is durable.",
    "A second mount -a leaves alone what is mounted. findmnt shows the container and the type fuse.arrayfs.",
    page=MOUNTING,
)
def test_mount_and_umount_themselves(place: Place, installed: Path) -> None:
    folder = str(installed).replace(" ", r"\040")
    options = (
        'create,_netdev,nofail,x-foo=1,comment=abc,compact-when="layers=99,garbage=99%",noatime,allow_other,umask=027'
    )
    (installed / "fstab").write_text(f"{folder}/data/w\\040é,.af {folder}/m\\040é arrayfs {options} 0 0\n")
    environment = place.environment | {"W": str(installed), "LIBMOUNT_FSTAB": str(installed / "fstab")}
    command = ["unshare", "--mount", "sh", "-c", NAMESPACE]
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=5 * DEADLINE
    )
    if done.returncode == 77:
        pytest.skip("needs an overlay over /sbin")
    said = re.sub(r"\.af, .* (B|KiB)$", ".af, SIZE", done.stdout, flags=re.MULTILINE)
    assert said == SAID.format(W=installed), done.stderr
