"""The daemon of a mount, as a child of this process, so that it can be killed at any moment, also while it starts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

from arrayfs.container.container import ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.fuse import mountinfo
from arrayfs.fuse.mount import MountRequest, mount
from arrayfs.fuse.state import wait_for_end
from arrayfs.view.autocommit import open_writable_tree

PATIENCE = 60.0  # seconds for a mount to answer, and for a daemon to end


class DaemonError(Exception):
    """A daemon that does not start, or does not end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a mount is made. Small limits have the next sidecar written long before the commit."""

    dirty_limit: int
    block_size: int
    commit_every: float | None

    @staticmethod
    def any(rng: random.Random) -> Settings:
        limit, block = rng.choice(((256 << 20, 64 << 10), (64 << 10, 4 << 10), (4 << 10, 1 << 10)))
        return Settings(limit, block, rng.choice((None, None, 0.05, 0.5)))


class Daemon:
    """One daemon, from its start to its death."""

    def __init__(self, container: Path, mountpoint: Path, log: Path, settings: Settings) -> None:
        self._mountpoint = str(mountpoint)
        self._started = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            _serve(container, mountpoint, log, settings)

    def wait_until_ready(self) -> float:
        """Returns how many seconds it took. Raises DaemonError if it ended or does not answer."""
        while mountinfo.mount_at(self._mountpoint) is None:
            if self._has_ended():
                raise DaemonError("the daemon ended before the mount was there")
            if time.monotonic() > self._started + PATIENCE:
                raise DaemonError("the mount does not answer")
            time.sleep(0.002)
        os.stat(self._mountpoint)
        return time.monotonic() - self._started

    def _has_ended(self) -> bool:
        return bool(self.pid) and os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def kill(self) -> None:
        """SIGKILL; the dead mount stays."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def take_away(self) -> None:
        """Of a daemon that was killed, what is left of its mount."""
        if mountinfo.mount_at(self._mountpoint) is not None:
            subprocess.run(["fusermount3", "-u", "-z", "--", self._mountpoint], check=True)
        wait_for_end(self._mountpoint)

    def wait(self) -> None:
        """Until the process is gone."""
        os.waitpid(self.pid, 0)
        self.pid = 0


def _serve(container: Path, mountpoint: Path, log: Path, settings: Settings) -> None:
    """In the child; never returns."""
    pool = PoolOptions(dirty_limit=settings.dirty_limit, block_size=settings.block_size)
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        request = MountRequest(
            str(container),
            str(mountpoint),
            lambda: open_writable_tree(
                str(container), options=ContainerOptions(pool), commit_every=settings.commit_every
            ),
            usage_log=str(log.with_suffix(".usage")),
        )
        result = mount(request, foreground=True)
        if result is not None and result.error:
            print(result.error, file=sys.stderr)
    except BaseException:  # noqa: BLE001  the process ends here, this is its last word
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)
