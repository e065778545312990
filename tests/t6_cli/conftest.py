"""The command line as a user starts it, in a process of its own, and mounts that end with the test."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arrayfs.cli.main import commands
from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container
from arrayfs.errors import MountError
from arrayfs.format.model import AttributeValue, DType
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import umount

ROOT = Path(__file__).parents[2]
Arrayfs = Callable[..., Result]
DEADLINE = 60.0  # seconds for what takes one or two


def ours(value: str) -> AttributeValue:
    return AttributeValue("String", value.encode())


@pytest.fixture
def arrayfs() -> Arrayfs:
    """Run a command in this process; what it does not catch comes through."""
    return lambda *arguments: CliRunner().invoke(commands, [*map(str, arguments)], prog_name="arrayfs")


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    """A container with two versions: an Int16 array `t` of 3 × 2 chunks, four of them stored, and a scalar `g/s`."""
    path = tmp_path / "data" / "weather.af"
    path.parent.mkdir()
    Container.create(str(path))
    with Container.open(str(path), "a") as container:
        t = container.define("t", ArraySpec(DType("Int16"), (5, 4), (2, 2), ("y", "x")), {"units": ours("K")})
        for coord in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            container.put(t, coord, bytes(range(8)), 1)
        container.commit("first")
        container.put(t, (0, 0), bytes(8), 2)
        container.define("g/s", ArraySpec(DType("Float64"), (), ()))
        container.commit("second")
    return path


class Place:
    """A container and a mount point; `place / "x"` is a path in the mount."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.container = folder / "data" / "v.af"
        self.container.parent.mkdir()
        self.mountpoint = folder / "mnt"
        self.mountpoint.mkdir()
        self.environment = environment

    def __truediv__(self, name: str) -> Path:
        return self.mountpoint / name

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command; its output must end with it, whatever daemon it leaves behind."""
        command = [sys.executable, "-m", "arrayfs", *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=DEADLINE
        )

    def mount(self, *options: str) -> None:
        done = self.run("mount", "--create", *options, self.container, self.mountpoint)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def umount(self) -> str:
        done = self.run("umount", self.mountpoint)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Mount in the foreground; returns when the mount is there."""
        command = [sys.executable, "-m", "arrayfs", "mount", "--create", "--foreground", *options]
        process = subprocess.Popen(
            [*command, str(self.container), str(self.mountpoint)],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.wait_for_mount(process)
        return process

    def wait_for_mount(self, process: subprocess.Popen[str]) -> None:
        with open("/proc/self/mountinfo") as table:
            poll = select.poll()
            poll.register(table, select.POLLERR | select.POLLPRI)  # proc(5): told of each change
            while mountinfo.mount_at(str(self.mountpoint)) is None:
                if process.poll() is not None:
                    raise AssertionError(f"it ended instead: {process.communicate()}")
                poll.poll(100)

    def end(self) -> None:
        if mountinfo.mount_at(str(self.mountpoint)) is not None:
            with contextlib.suppress(MountError):
                umount(str(self.mountpoint), lazy=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    place = Place(tmp_path, os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    yield place
    place.end()
