"""A container that is mounted by the command, in a folder of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from arrayfs.errors import ArrayFSError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import umount


class LossError(Exception):
    """The mount did not do what a file system does."""


class Mount:
    """A container and its mount point, both below `folder`. options: of `arrayfs mount`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self._options = folder, options

    @property
    def point(self) -> Path:
        return self.folder / "mnt"

    @property
    def container(self) -> Path:
        return self.folder / "data" / "t.af"

    def start(self) -> None:
        """Mount the container, made if it is not there. Raises CalledProcessError."""
        self.point.mkdir(exist_ok=True)
        self.container.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "arrayfs", "mount", "--create", *self._options]
        subprocess.run([*command, str(self.container), str(self.point)], check=True)

    def end(self) -> None:
        """Unmount and wait for the commit. Raises LossError."""
        try:
            result = umount(str(self.point))
        except ArrayFSError as error:
            raise LossError(f"unmount: {error}") from error
        if result.error:
            raise LossError(f"unmount: {result.error}")

    def take_away(self) -> None:
        """Unmount what is still there, whatever has files open in it."""
        if mountinfo.mount_at(str(self.point)) is not None:
            subprocess.run(["fusermount3", "-u", "-z", str(self.point)], check=False)

    def verify(self) -> None:
        """Read every block that is committed. Raises LossError."""
        command = [sys.executable, "-m", "arrayfs", "verify", str(self.container)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise LossError(f"verify: {done.stdout}{done.stderr}")
