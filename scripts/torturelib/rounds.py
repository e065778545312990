"""Rounds of one container: mounted, used by clients until something is killed or ends, mounted again, compared."""

from __future__ import annotations

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
from torturelib.check import check_container, left_behind
from torturelib.compaction import HALF_DONE, KILLED, Compaction
from torturelib.history import History
from torturelib.site import LossError, Site
from torturelib.worker import Worker

# The mounts of a container, each with clients of its own; half of all containers have the first one alone.
MOUNTS = {"mnt": range(2), "other": range(2, 3)}
VERSIONS_READ = 12  # at most, of a finished container


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
        count = rng.randint(1, len(MOUNTS))
        self._sites = [
            Site(self.container, folder, name, clients, rng, figures) for name, clients in list(MOUNTS.items())[:count]
        ]
        self._history = History(self.container, folder / "version", rng.getrandbits(40))
        self._compaction: Compaction | None = None

    # --- a round ------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Mount for the first time, with a directory for each client."""
        first, *others = self._sites
        self._start(first)
        for site in self._sites:
            site.furnish(first.mount.mountpoint)
        (first.mount.mountpoint / ".arrayfs/commit").write_text("furnished")
        for site in others:
            self._start(site)

    def round(self, operations: int) -> None:
        """Let clients do so many operations, end it somehow, mount again and compare. Raises LossError."""
        wanted = self.acknowledged + operations
        for site in self._sites:
            site.work()
        while self.acknowledged < wanted:
            part = min(wanted, self.acknowledged + self._rng.randint(20, 400))
            self._listen(lambda part=part: self.acknowledged >= part)  # type: ignore[misc]
            if self._rng.random() < 0.8:
                self._compact()
            if self.acknowledged < wanted and self._rng.random() < 0.5:
                site = self._rng.choice(self._sites)
                site.kill_client(self._rng.choice(site.workers))
            if self.acknowledged < wanted and len(self._sites) > 1 and self._rng.random() < 0.5:
                self._replace(self._rng.choice(self._sites))
        cleanly = [self._end(site) for site in self._rng.sample(self._sites, len(self._sites))]
        while self._rng.random() < 0.4:
            self._end_compaction()  # so that one finds what another has left half done
            self._compact()
        while self._rng.random() < 0.3:
            self._rng.choice(self._sites).mount.start_and_kill()
            self._figures["kills of the daemon at its start"] += 1
        if not all(cleanly) or self._rng.random() < 0.5:
            # what a killed daemon left is taken up by whoever is first, and the next daemon shows it when that is done
            self._end_compaction()
        for site in self._sites:
            self._start(site)
        self._compare()
        self._figures["rounds"] += 1

    def _replace(self, site: Site) -> None:
        """End one mount and begin it anew, while others go on."""
        self._end(site)
        self._end_compaction()  # which may be taking up what this one has left
        self._judge(site.start())
        site.compare()
        site.work()
        self._figures["mounts that ended beside others"] += 1

    @property
    def workers(self) -> list[Worker]:
        """Of all mounts."""
        return [worker for site in self._sites for worker in site.workers]

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
                if worker.pid:
                    selector.register(worker.pipe, selectors.EVENT_READ, worker)
            while not enough():
                self._check_going_on()
                for key, _ in selector.select(timeout=0.5):
                    if not key.data.hear():
                        raise LossError(f"{key.data.root}: the client ended: {key.data.said or 'without a word'}")

    # --- endings ------------------------------------------------------------------------------------------------------

    def _end(self, site: Site) -> bool:
        """Somehow; whether it was cleanly."""
        endings: dict[Callable[[Site], bool], int] = {
            self._end_by_kill: 6,
            self._end_by_kill_in_commit: 4,
            self._end_by_kill_in_unmount: 2,
            self._end_cleanly: 2,
        }
        return self._rng.choices(list(endings), list(endings.values()))[0](site)

    def _end_by_kill(self, site: Site) -> bool:
        time.sleep(self._rng.random() * 0.005)
        return self._kill(site, "at work")

    def _end_by_kill_in_commit(self, site: Site) -> bool:
        self._listen(lambda: any((worker.in_flight or [""])[0] == "commit" for worker in site.workers))
        time.sleep(self._rng.random() * self._rng.choice((0.005, 0.05)))
        return self._kill(site, "in a commit")

    def _end_by_kill_in_unmount(self, site: Site) -> bool:
        site.stop_clients()
        site.mount.detach()
        time.sleep(self._rng.random() * 0.05)
        return self._kill(site, "in an unmount")

    def _kill(self, site: Site, when: str) -> bool:
        site.kill_daemon(when)
        self._keep()
        return False

    def _end_cleanly(self, site: Site) -> bool:
        site.stop_clients()
        site.unmount()
        self._figures["clean unmounts"] += 1
        return True

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

    def _start(self, site: Site) -> None:
        self._judge(site.start())
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
        everything = {path: seen for site in self._sites for path, seen in site.compare().items()}
        names = sorted(name for site in self._sites for name in site.names)
        for site in self._sites:
            if (listed := sorted(os.listdir(site.mount.mountpoint))) != names:
                raise LossError(f"the root lists {listed}")
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
        for site in self._sites:
            site.unmount()
        self._end_compaction()
        Container.open(str(self.container), "a").close()  # finishes what a compaction left
        self._figures["versions merged"] += self._history.merged
        self._read_again(VERSIONS_READ)
        wrong = [*check_container(self.container), *left_behind(self.container)]
        if wrong:
            raise LossError("at the end:", *wrong)

    def abandon(self) -> None:
        """Leave no process and no mount behind."""
        for site in self._sites:
            site.abandon()
        if self._compaction is not None:
            self._compaction.abandon()
