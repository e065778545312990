"""The systems under test: each shows the same files below a folder, freshly mounted for every measurement."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from arrayfs.fuse.unmount import umount
from benchlib.dataset import ARRAY, Stored

SERVE = Path(__file__).parent / "serve.py"


@dataclass(frozen=True, slots=True)
class System:
    """name: in the report. command: what mounts a stored set at a mount point, None for files that are just there."""

    name: str
    program: str
    command: Callable[[Stored, Path], list[str]] | None
    end: Callable[[Path], object]

    @contextlib.contextmanager
    def shown(self, stored: Stored, mountpoint: Path) -> Iterator[Path]:
        """The directory of the chunk files, while it is there."""
        if self.command is None:
            yield stored.plain / ARRAY / "c"
            return
        subprocess.run(self.command(stored, mountpoint), check=True)
        try:
            yield mountpoint / ARRAY / "c"
        finally:
            self.end(mountpoint)


def serve_command(container: Path, mountpoint: Path, *more: str) -> list[str]:
    """What mounts a container."""
    return [sys.executable, str(SERVE), str(container), str(mountpoint), *more]


def _arrayfs(codec: str) -> System:
    return System(
        f"arrayfs {codec}",
        sys.executable,
        lambda stored, mountpoint: serve_command(stored.containers[codec], mountpoint),
        lambda mountpoint: umount(str(mountpoint)),
    )


def _fusermount(mountpoint: Path) -> None:
    subprocess.run(["fusermount3", "-u", str(mountpoint)], check=True)


PLAIN = "plain files"
BINDFS = "bindfs"
SQUASHFUSE = "squashfuse lz4"

SYSTEMS = (
    System(PLAIN, "", None, lambda _: None),
    System(BINDFS, "bindfs", lambda stored, mountpoint: ["bindfs", str(stored.plain), str(mountpoint)], _fusermount),
    System(
        SQUASHFUSE,
        "squashfuse",
        lambda stored, mountpoint: ["squashfuse", str(stored.image), str(mountpoint)],
        _fusermount,
    ),
    _arrayfs("none"),
    _arrayfs("lz4"),
)
