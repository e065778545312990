"""The container mounted in one place: daemons come and go, the place stays."""

from __future__ import annotations

import json
import random
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from arrayfs.errors import ArrayFSError
from arrayfs.fuse import mountinfo
from arrayfs.fuse.unmount import umount
from torturelib.daemon import Daemon, DaemonError, Settings


class Mount:
    """One mount point of a container. folder: where the mount point is made, and the log of its daemons.

    Several of them can show one container, each with clients of its own.
    """

    def __init__(self, container: Path, folder: Path, name: str, rng: random.Random) -> None:
        self._container, self._rng = container, rng
        self.mountpoint = folder / name
        self.mountpoint.mkdir()
        self._log = folder / f"{name}.log"
        self._daemon: Daemon | None = None
        self._start_takes = 0.05

    def start(self) -> list[str]:
        """Returns the warnings that the daemon begins with. Raises DaemonError."""
        self._daemon = self._begin()
        self._start_takes = self._daemon.wait_until_ready()
        status: dict[str, list[str]] = json.loads((self.mountpoint / ".arrayfs/status.json").read_bytes())
        return status["warnings"]

    def _begin(self) -> Daemon:
        return Daemon(self._container, self.mountpoint, self._log, Settings.any(self._rng))

    def start_and_kill(self) -> None:
        """A daemon that is killed before it is ready, most likely."""
        daemon = self._begin()
        time.sleep(self._rng.random() * 1.3 * self._start_takes)
        daemon.kill()
        daemon.take_away()

    def kill(self, drain: Callable[[], None] = lambda: None) -> None:
        """SIGKILL for the daemon, if there is one. drain: called before the dead mount is taken away.

        Who works in it learns there what happened; what is below the mount point is another folder, without his files.
        """
        if self._daemon is not None:
            self._daemon.kill()
            drain()
            self._daemon.take_away()

    def detach(self) -> None:
        """Unmount and do not wait: the daemon commits now."""
        subprocess.run(["fusermount3", "-u", "--", str(self.mountpoint)], check=True)

    def unmount(self) -> None:
        """And wait for the commit. Raises DaemonError if it fails."""
        try:
            umount(str(self.mountpoint))
        except ArrayFSError as error:
            raise DaemonError(f"the unmount failed: {error}") from error
        if self._daemon is not None:
            self._daemon.wait()

    def abandon(self) -> None:
        """Leave no process and no mount behind."""
        self.kill()
        if mountinfo.mount_at(str(self.mountpoint)) is not None:
            with suppress(subprocess.CalledProcessError):
                subprocess.run(["fusermount3", "-u", "-z", "--", str(self.mountpoint)], check=True)
