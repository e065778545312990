"""One mount of the container with its clients: they begin, are killed, and what is there is compared.

Each client has a directory of its own, and the clients of one mount write stripes of one array: so the changes of two
mounts never overlap, and all of them have to be there.
"""

from __future__ import annotations

import errno
import random
import time
from collections import Counter
from pathlib import Path

from torturelib import stripes
from torturelib.check import Observed, observe
from torturelib.daemon import DaemonError
from torturelib.mount import Mount
from torturelib.worker import Worker

# A client's last word when it was told to stop, and when the daemon is gone.
DONE, GONE = ".", (f"-{errno.ENOTCONN}", f"-{errno.ECONNABORTED}")
INVALIDATED_WITHIN = 10.0  # seconds until the kernel has been told what changed under a killed client


class LossError(Exception):
    """Something is not as it was acknowledged."""


class Site:
    """A mount and its clients. figures: what is counted."""

    def __init__(
        self, container: Path, folder: Path, name: str, clients: range, rng: random.Random, figures: Counter[str]
    ) -> None:
        """name: of the mount point in `folder`; clients: their numbers, over all sites."""
        self._rng, self._figures = rng, figures
        self.mount = Mount(container, folder, name, rng)
        self.shared = f"shared-{name}"
        self.workers = [
            Worker(self.mount.mountpoint, f"w{client}", self.shared, place, folder / f"w{client}.history")
            for place, client in enumerate(clients)
        ]

    @property
    def names(self) -> list[str]:
        """What its clients have in the root directory."""
        return [self.shared, *(worker.root for worker in self.workers)]

    def furnish(self, mountpoint: Path) -> None:
        """Make the array and a directory for each client, through any mount."""
        for worker in self.workers:
            (mountpoint / worker.root).mkdir()
        stripes.make(mountpoint / self.shared, len(self.workers))

    def work(self) -> None:
        """Have its clients begin."""
        for worker in self.workers:
            worker.start(self._rng.getrandbits(40))

    def start(self) -> list[str]:
        """Mount; returns the daemon's warnings. Raises LossError."""
        try:
            return self.mount.start()
        except DaemonError as error:
            raise LossError(str(error)) from error

    def stop_clients(self) -> None:
        """Let them come to an end. Raises LossError if one had a reason of its own."""
        for worker in self.workers:
            worker.stop()
            if worker.said != DONE:
                raise LossError(f"{worker.root}: the client ended: {worker.said or 'without a word'}")
            worker.settle()

    def kill_daemon(self, when: str) -> None:
        """And take in what the clients said. Raises LossError if they ended otherwise than by that."""
        self.mount.kill(self._drain)
        self._figures[f"kills of the daemon {when}"] += 1
        for worker in self.workers:
            if worker.said not in (DONE, *GONE):
                raise LossError(f"{worker.root}: the client ended: {worker.said or 'without a word'}")

    def _drain(self) -> None:
        for worker in self.workers:
            worker.drain()

    def kill_client(self, worker: Worker) -> None:
        """What it left has to be right; then another one begins. Raises LossError."""
        worker.kill()
        if worker.said:
            raise LossError(f"{worker.root}: the client ended: {worker.said}")
        self._figures["kills of clients"] += 1
        worker.settle()
        until = time.monotonic() + INVALIDATED_WITHIN
        while wrong := worker.compare(observe(self.mount.mountpoint, worker.root), client_died=True):
            if time.monotonic() > until:
                raise LossError(f"{worker.root}, after its client was killed:", *wrong)
        worker.start(self._rng.getrandbits(40))

    def unmount(self) -> None:
        """And wait for the commit. Raises LossError if it fails."""
        try:
            self.mount.unmount()
        except DaemonError as error:
            raise LossError(str(error)) from error

    def compare(self) -> Observed:
        """Returns all that its clients have. Raises LossError if it is not what they have to have."""
        everything = observe(self.mount.mountpoint, self.shared)
        for worker in self.workers:
            observed = observe(self.mount.mountpoint, worker.root)
            if wrong := worker.compare(observed, client_died=False):
                raise LossError(f"{worker.root}, after a remount:", *wrong)
            everything |= observed
        return everything

    def abandon(self) -> None:
        """Leave no process and no mount behind."""
        for worker in self.workers:
            if worker.pid:
                worker.kill()
            worker.history.close()
        self.mount.abandon()
