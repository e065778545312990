"""Mounts in processes of their own, which end with the test that asked for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arrayfs.fuse import mountinfo

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
