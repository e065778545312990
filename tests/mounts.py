"""Real mounts for tests, a few milliseconds each: asked of one server process, ended with the test that asked.

The fixtures at the end are imported by the conftest of each folder that mounts.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.errors import MountError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.state import MountResult, wait_for_end
from arrayfs.fuse.unmount import find_mount, umount

ROOT = Path(__file__).parent.parent


class MountServer:
    """The process that mounts. One for a whole run; end it with `close`."""

    def __init__(self) -> None:
        environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        command = [sys.executable, "-m", "tests.mount_server"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT)

    def mount(self, container: Path, mountpoint: Path, mode: str, look: int, runtime_folder: Path, log: Path) -> None:
        """Returns when the mount answers. Raises MountError with what the daemon said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        wanted = {"container": str(container), "mountpoint": str(mountpoint), "mode": mode, "look": look}
        wanted |= {"runtime_folder": str(runtime_folder), "log": str(log)}
        self._process.stdin.write(json.dumps(wanted) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if answer:
            raise MountError(answer)

    def close(self) -> None:
        self._process.communicate(timeout=30)


class Mounted:
    """One container and its mount point: `mounted / "x"` is a path in the mount."""

    def __init__(self, server: MountServer, container: Path, mountpoint: Path, folder: Path) -> None:
        self.container = container
        self.mountpoint = mountpoint
        self.log = folder / "log"
        self._server = server
        self._runtime_folder = folder

    def __truediv__(self, name: str) -> Path:
        return self.mountpoint / name

    def mount(self, mode: str = "a", look: int = 3) -> None:
        self._server.mount(self.container, self.mountpoint, mode, look, self._runtime_folder, self.log)

    def umount(self) -> MountResult:
        """Unmount and wait for the commit."""
        with _environment("XDG_RUNTIME_DIR", str(self._runtime_folder)):
            return umount(str(self.mountpoint))

    def remount(self, mode: str = "a", look: int = 3) -> MountResult:
        """Everything that is kept must be what was committed."""
        result = self.umount()
        self.mount(mode, look)
        return result

    def status(self) -> dict[str, object]:
        """What `.arrayfs/status.json` says."""
        loaded: dict[str, object] = json.loads((self / ".arrayfs/status.json").read_bytes())
        return loaded

    def errors(self) -> list[str]:
        """What the daemon logged so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []

    def end(self) -> None:
        """Whatever state the test left it in, files open on it too: nothing stays mounted and no daemon stays."""
        path = str(self.mountpoint)
        if mountinfo.mount_at(path) is None:
            return
        with _environment("XDG_RUNTIME_DIR", str(self._runtime_folder)):
            state = find_mount(path)
            subprocess.run(["fusermount3", "-u", "-z", path], check=False, capture_output=True)
            if state is not None and state.alive:
                # a lazy unmount waits for the last file to be closed; without one the daemon may have ended by now
                with contextlib.suppress(ProcessLookupError):
                    os.kill(state.info.pid, signal.SIGTERM)
                wait_for_end(path)


def prepared(server: MountServer, folder: Path, container: Path | None = None) -> Mounted:
    """A container (an empty new one if none is given) and a place for its mount, below `folder`."""
    if container is None:
        container = folder / "data" / "t.af"
        container.parent.mkdir()
        Container.create(str(container))
    mountpoint, runtime_folder = folder / "m", folder / "runtime"
    mountpoint.mkdir()
    runtime_folder.mkdir()
    return Mounted(server, container, mountpoint, runtime_folder)


@contextlib.contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@pytest.fixture(scope="session")
def mount_server() -> Iterator[MountServer]:
    server = MountServer()
    yield server
    server.close()


@pytest.fixture
def place(mount_server: MountServer, tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """Give a container a mount point: `place()` for a new empty one, `place(path)` for one that is there."""
    made: list[Mounted] = []

    def placing(container: Path | None = None) -> Mounted:
        folder = tmp_path / f"place{len(made)}"
        folder.mkdir()
        made.append(prepared(mount_server, folder, container))
        return made[-1]

    yield placing
    for mounted in made:
        mounted.end()


@pytest.fixture
def mounted(place: Callable[..., Mounted]) -> Mounted:
    """An empty container, mounted."""
    fresh = place()
    fresh.mount()
    return fresh
