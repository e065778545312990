"""Rounds of one container: mounted, used by clients until something is killed or ends, mounted again, compared."""

from __future__ import annotations

import errno
import os
import random
import selectors
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from arrayfs.container.container import Container
from arrayfs.errors import ArrayFSError
from torturelib import stripes
from torturelib.check import check_container, left_behind, observe
from torturelib.compaction import HALF_DONE, KILLED, Compaction
from torturelib.daemon import DaemonError
from torturelib.history import History
from torturelib.mount import Mount
from torturelib.worker import Worker

CLIENTS = 2
VERSIONS_READ = 12  # at most, of a finished container
# A client's last word when it was told to stop, and when the daemon is gone.
DONE, GONE = ".", (f"-{errno.ENOTCONN}", f"-{errno.ECONNABORTED}")
INVALIDATED_WITHIN = 10.0  # seconds until the kernel has been told what changed under a killed client


class LossError(Exception):
    """Something is not as it was acknowledged."""


class Rounds:
    """One container and its clients. figures: what is counted, over all containers; check: raises to end it all."""

    def __init__(
        self, folder: Path, rng: random.Random, figures: Counter[str], check: Callable[[], None] = lambda: None
    ) -> None:
        self._check_going_on = check
        self._folder, self._rng, self._figures = folder, rng, figures
        self.container = folder / "data" / "t.af"
        self.container.parent.mkdir()
        Container.create(str(self.container))
        self._mount = Mount(self.container, folder, "mnt", rng)
        self._mountpoint = self._mount.mountpoint
        self.workers = [Worker(self._mountpoint, number, folder / f"w{number}.history") for number in range(CLIENTS)]
        self._history = History(self.container, folder / "version", rng.getrandbits(40))
        self._compaction: Compaction | None = None

    # --- a round ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Mount for the first time, with a directory for each client."""
        self._start()
        for worker in self.workers:
            (self._mountpoint / worker.root).mkdir()
        stripes.make(self._mountpoint, CLIENTS)

    def round(self, operations: int) -> None:
        """Let clients do so many operations, end it somehow, mount again and compare. Raises LossError."""
        for worker in self.workers:
            worker.start(self._rng.getrandbits(40))
        wanted = self.acknowledged + operations
        while self.acknowledged < wanted:
            part = min(wanted, self.acknowledged + self._rng.randint(20, 400))
            self._listen(lambda part=part: self.acknowledged >= part)  # type: ignore[misc]
            if self._rng.random() < 0.8:
                self._compact()
            if self.acknowledged < wanted and self._rng.random() < 0.5:
                self._kill_client(self._rng.choice(self.workers))
        endings: dict[Callable[[], None], int] = {
            self._end_by_kill: 6,
            self._end_by_kill_in_commit: 4,
            self._end_by_kill_in_unmount: 2,
            self._end_cleanly: 2,
        }
        ending = self._rng.choices(list(endings), list(endings.values()))[0]
        ending()
        while self._rng.random() < 0.4:
            self._end_compaction()  # so that one finds what another has left half done
            self._compact()
        while self._rng.random() < 0.3:
            self._mount.start_and_kill()
            self._figures["kills of the daemon at its start"] += 1
        if ending != self._end_cleanly or self._rng.random() < 0.5:
            # what a killed daemon left is taken up by whoever is first, and the next daemon shows it when that is done
            self._end_compaction()
        self._start()
        self._compare()
        self._figures["rounds"] += 1

    @property
    def acknowledged(self) -> int:
        """Operations that clients were told are done."""
        return sum(worker.acknowledged for worker in self.workers)

    @property
    def versions(self) -> int:
        """How many there were when it was last mounted, merged ones too."""
        return self._history.newest

    def _listen(self, enough: Callable[[], bool]) -> None:
        """Take in what clients say. Raises LossError if one ends by itself."""
        with selectors.DefaultSelector() as selector:
            for worker in self.workers:
                selector.register(worker.pipe, selectors.EVENT_READ, worker)
            while not enough():
                self._check_going_on()
                for key, _ in selector.select(timeout=0.5):
                    if not key.data.hear():
                        raise LossError(f"{key.data.root}: the client ended: {key.data.said or 'without a word'}")

    # --- endings ------------------------------------------------------------------------------------------------------

    def _end_by_kill(self) -> None:
        time.sleep(self._rng.random() * 0.005)
        self._kill_daemon("at work")

    def _end_by_kill_in_commit(self) -> None:
        self._listen(lambda: any((worker.in_flight or [""])[0] == "commit" for worker in self.workers))
        time.sleep(self._rng.random() * self._rng.choice((0.005, 0.05)))
        self._kill_daemon("in a commit")

    def _end_by_kill_in_unmount(self) -> None:
        self._stop_clients()
        self._mount.detach()
        time.sleep(self._rng.random() * 0.05)
        self._kill_daemon("in an unmount")

    def _end_cleanly(self) -> None:
        self._stop_clients()
        self.unmount()
        self._figures["clean unmounts"] += 1

    def _stop_clients(self) -> None:
        for worker in self.workers:
            worker.stop()
            if worker.said != DONE:
                raise LossError(f"{worker.root}: the client ended: {worker.said or 'without a word'}")
            worker.settle()

    def _kill_daemon(self, when: str) -> None:
        self._mount.kill()
        self._figures[f"kills of the daemon {when}"] += 1
        for worker in self.workers:
            worker.drain()
            if worker.said not in (DONE, *GONE):
                raise LossError(f"{worker.root}: the client ended: {worker.said or 'without a word'}")
        self._keep()

    def _kill_client(self, worker: Worker) -> None:
        worker.kill()
        if worker.said:
            raise LossError(f"{worker.root}: the client ended: {worker.said}")
        self._figures["kills of clients"] += 1
        worker.settle()
        until = time.monotonic() + INVALIDATED_WITHIN
        while wrong := worker.compare(observe(self._mountpoint, worker.root), client_died=True):
            if time.monotonic() > until:
                raise LossError(f"{worker.root}, after its client was killed:", *wrong)
        worker.start(self._rng.getrandbits(40))

    # --- compactions --------------------------------------------------------------------------------------------------

    def _compact(self) -> None:
        """Start one, if there is none at work."""
        seed = self._rng.getrandbits(40)  # also if it is not needed: what comes later is to be the same
        if self._compaction is not None and self._compaction.has_ended():
            self._end_compaction()
        if self._compaction is None:
            self._compaction = Compaction(self.container, self._folder / "compact.log", seed)
            self._figures["compactions"] += 1

    def _end_compaction(self) -> None:
        """Wait until there is none any more. Raises LossError if it failed."""
        if self._compaction is None:
            return
        compaction, self._compaction = self._compaction, None
        code, said = compaction.wait(), compaction.said()
        self._figures["compactions killed"] += code in (KILLED, HALF_DONE)
        self._figures["exchanges of files half done then"] += code == HALF_DONE
        self._judge(said)
        if code not in (0, KILLED, HALF_DONE):
            raise LossError("a compaction failed:", *said)

    # --- mounting and comparing ---------------------------------------------------------------------------------------

    def _start(self) -> None:
        try:
            warnings = self._mount.start()
        except DaemonError as error:
            raise LossError(str(error)) from error
        self._judge(warnings)
        if self._compaction is None and (wrong := check_container(self.container)):
            raise LossError("after a mount:", *wrong)

    def _judge(self, warnings: list[str]) -> None:
        """Count what was taken up. Raises LossError if something could not be."""
        for warning in warnings:
            if "were committed as" in warning:
                self._figures["recoveries"] += 1
            elif ".log-" in warning and "bytes behind the last whole record" not in warning:
                self._figures["conflicts"] += 1
                raise LossError(warning)

    def _compare(self) -> None:
        everything = observe(self._mountpoint, stripes.ARRAY)
        for worker in self.workers:
            observed = observe(self._mountpoint, worker.root)
            if wrong := worker.compare(observed, client_died=False):
                raise LossError(f"{worker.root}, after a remount:", *wrong)
            everything |= observed
        if (names := sorted(os.listdir(self._mountpoint))) != [stripes.ARRAY, *(w.root for w in self.workers)]:
            raise LossError(f"the root lists {names}")
        committed = {number: message for worker in self.workers for number, message in worker.committed.items()}
        if wrong := self._history.follow(committed):
            raise LossError("after a remount:", *wrong)
        self._history.show(everything)
        if self._rng.random() < 0.4 and self._compaction is None:
            self._read_again(1)

    def _read_again(self, at_most: int) -> None:
        """Versions have to be what they were. Raises LossError."""
        chosen = self._history.some(at_most)
        try:
            wrong = [line for version in chosen for line in self._history.check(version)]
        except ArrayFSError as error:
            raise LossError(f"an earlier version: {error}") from error
        self._figures["versions read again"] += len(chosen)
        if wrong:
            raise LossError("earlier versions:", *wrong)

    def _keep(self) -> None:
        """Keep what the daemon has left, to look at if something of it is lost."""
        kept = self._folder / "before"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        for file in self.container.parent.iterdir():
            with suppress(FileNotFoundError):  # a compaction is at work
                if file.suffix == ".af":
                    os.link(file, kept / file.name)
                else:
                    shutil.copy(file, kept)

    def finish(self) -> None:
        """Unmount; versions that can still be read have to be what they were. Raises LossError."""
        self.unmount()
        self._end_compaction()
        Container.open(str(self.container), "a").close()  # finishes what a compaction left
        self._figures["versions merged"] += self._history.merged
        self._read_again(VERSIONS_READ)
        wrong = [*check_container(self.container), *left_behind(self.container)]
        if wrong:
            raise LossError("at the end:", *wrong)

    def unmount(self) -> None:
        """And wait for the commit. Raises LossError if it fails."""
        try:
            self._mount.unmount()
        except DaemonError as error:
            raise LossError(str(error)) from error

    def abandon(self) -> None:
        """Leave no process and no mount behind."""
        for worker in self.workers:
            if worker.pid:
                worker.kill()
            worker.history.close()
        if self._compaction is not None:
            self._compaction.abandon()
        self._mount.abandon()
