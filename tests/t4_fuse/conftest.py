"""Mounts in processes of their own, which end with the test that asked for them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.state import MountResult
from arrayfs.fuse.unmount import umount
from tests.mounts import mount_server, mounted, place

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Server:
    """A process that serves a mount. It says what happens, a line each, on its standard output."""

    def __init__(self, script: str, mountpoint: Path, *arguments: str) -> None:
        self.mountpoint = mountpoint
        self.heard: list[str] = []
        command = [sys.executable, str(HERE / script), str(mountpoint), *arguments]
        pipe = subprocess.PIPE
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def wait_for(self, word: str) -> str:
        """Return the next line that begins with `word`; what came before is in `heard`."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.heard.append(line.strip())
            if line.startswith(word):
                return line.strip()
        raise AssertionError(f"the server ended without saying {word!r}; it said {self.heard}")

    def tell(self, word: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def ask(self, word: str) -> str:
        """Return the answer to a command: the rest of the line that begins with it."""
        self.tell(word)
        return self.wait_for(word.split()[0]).partition(" ")[2]

    def unmount(self) -> None:
        subprocess.run(["fusermount3", "-u", str(self.mountpoint)], check=True)

    def end(self) -> None:
        take_away(self.mountpoint)
        try:
            self.process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            take_away(self.mountpoint, "-z")
            self.process.kill()
            self.process.communicate()
            raise


def take_away(mountpoint: Path, *options: str) -> None:
    """Unmount what is there, if anything still is."""
    if mountinfo.mount_at(str(mountpoint)) is not None:
        subprocess.run(["fusermount3", "-u", *options, str(mountpoint)], check=False, capture_output=True)


@pytest.fixture
def mountpoint(tmp_path: Path) -> Path:
    path = tmp_path / "mnt"
    path.mkdir()
    return path


@pytest.fixture
def start(mountpoint: Path) -> Iterator[Callable[..., Server]]:
    """Start a server script on the test's mount point and wait until it answers."""
    servers: list[Server] = []

    def starting(script: str, *arguments: str) -> Server:
        server = Server(script, mountpoint, *arguments)
        servers.append(server)
        server.wait_for("ready")
        return server

    yield starting
    for server in servers:
        server.end()


class Volume:
    """A container and a place to mount it: `volume / "x"` is a path in the mount."""

    def __init__(self, folder: Path) -> None:
        self.container = folder / "data" / "v.af"
        self.container.parent.mkdir()
        Container.create(str(self.container))
        self.mountpoint = folder / "mnt"
        self.mountpoint.mkdir(exist_ok=True)

    def __truediv__(self, name: str) -> Path:
        return self.mountpoint / name

    def try_to_mount(
        self, options: str = "", runtime: str = "direct", log: str = ""
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(HERE / "mount_it.py"), str(self.container), str(self.mountpoint)]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        return subprocess.run(
            [*command, options, runtime, log],
            env=environment,
            text=True,
            check=False,
            stdout=subprocess.PIPE,
            timeout=60,
        )

    def mount(self, options: str = "", runtime: str = "direct", log: str = "") -> None:
        done = self.try_to_mount(options, runtime, log)
        assert (done.returncode, done.stdout) == (0, "")

    def umount(self) -> MountResult:
        return umount(str(self.mountpoint))

    def count(self, call: str) -> int:
        """How often the tree was called so."""
        self._questions = getattr(self, "_questions", 0) + 1
        return os.stat(self / f"tell:count:{call}-{self._questions}").st_size

    def tell(self, word: str, name: str = "") -> None:
        assert not os.path.exists(self / f"tell:{word}:{name}")


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def unmounted(tmp_path: Path, own_runtime_folder: Path) -> Iterator[Volume]:
    volume = Volume(tmp_path)
    yield volume
    if mountinfo.mount_at(str(volume.mountpoint)) is not None:
        with contextlib.suppress(MountError):
            umount(str(volume.mountpoint), lazy=True)


@pytest.fixture
def volume(unmounted: Volume) -> Volume:
    unmounted.mount()
    return unmounted


# Mounts that take a few milliseconds, of the tree as it is.
__all__ = ["Server", "Volume", "mount_server", "mounted", "place"]
