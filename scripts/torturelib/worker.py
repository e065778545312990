"""One client as its controller sees it: what it said it did, and what must be there because of that."""

from __future__ import annotations

import copy
import json
import mmap
import os
import signal
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from torturelib.check import Observed, candidates, differences, model_of
from torturelib.client import start_client
from torturelib.model import LASTING, Model, Operation
from torturelib.stripes import half_written, read


class Worker:
    """A client process and what it did.

    - `model` is what survives a daemon that is killed now, `later` are the acknowledged operations that may not.
    - `in_flight` is what the client was about to do; nobody answered yet.
    - `committed` are numbers and messages of versions that it was told are made.
    """

    def __init__(self, mountpoint: Path, root: str, shared: str, number: int, history: Path) -> None:
        """root: its directory in the mount; shared: the array of which it writes the stripes `number`; history: a file
        for all that it says.
        """
        self._mountpoint, self._shared, self._number, self.root = mountpoint, shared, number, root
        self.history = history.open("w")
        self.model = Model({root: None}, client=number)
        self.later: list[Operation] = []
        self.in_flight: Operation | None = None
        self.acknowledged = 0
        self.committed: dict[int, str] = {}
        self.said = ""  # the client's last word
        self.recent: deque[str] = deque(maxlen=40)
        self.pid = self.pipe = 0
        self._rest = b""
        self._stop = mmap.mmap(-1, 1)

    def start(self, seed: int) -> None:
        """Begin a client on what is there."""
        self.said, self._rest, self._stop[0] = "", b"", 0
        self.note(f"--- client with seed {seed}")
        self.pid, self.pipe = start_client(self.model, str(self._mountpoint), self.root, self._shared, seed, self._stop)

    def hear(self) -> bool:
        """Take in what the client said; False when it has ended."""
        said = os.read(self.pipe, 1 << 16)
        *lines, self._rest = (self._rest + said).split(b"\n")
        for line in lines:
            self._take(line.decode())
        return bool(said)

    def _take(self, line: str) -> None:
        if line == "+":
            assert self.in_flight is not None
            self.note("+")
            self.acknowledged += 1
            self.later.append(self.in_flight)
            if self.in_flight[0] in LASTING:
                self.settle()
            self.in_flight = None
        elif line[0] == "=":
            number, _, message = line[1:].partition(" ")
            self.committed[int(number)] = message
            self.note(line)
        elif line[0] == "[":
            self.in_flight = json.loads(line)
            self.note(line)
        else:
            self.said = line
            self.note(line)

    def note(self, line: str) -> None:
        """Keep in mind what happened, to be told after a loss."""
        self.history.write(f"{line}\n")
        if line == "+":
            self.recent[-1] += " done"
        else:
            self.recent.append(line)

    def settle(self) -> None:
        """All that was acknowledged must be there from now on."""
        for operation in self.later:
            self.model.apply(operation)
        self.later.clear()

    def stop(self) -> None:
        """Ask the client to end, wait until it has, and take in what it said."""
        self._stop[0] = 1
        self.drain()

    def kill(self) -> None:
        """SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        self.drain()

    def drain(self) -> None:
        """Until the client has ended."""
        if self.pid:
            while self.hear():
                pass
            os.close(self.pipe)
            os.waitpid(self.pid, 0)
            self.pid = 0

    def compare(self, observed: Observed, *, client_died: bool) -> list[str]:
        """What is wrong with what is there, as the best of the allowed states has it; goes on from it if nothing is."""
        later = [*self.later, *([self.in_flight] if self.in_flight else [])]
        best: list[str] | None = None
        for expected in candidates(self.model, later, client_died=client_died):
            wrong = differences(expected, observed)
            if best is None or len(wrong) < len(best):
                best = wrong
            if not wrong:
                break
        stripes = read(self._mountpoint / self._shared, self._number)
        best = [*(best or ()), *self._wrong_stripes(stripes)]
        if not best:
            self.model, self.later, self.in_flight = model_of(observed), [], None
            self.model.client, self.model.stripes = self._number, stripes
            self.note(f"--- compared: {len(self.model.files)} files are right")
        return best

    def _wrong_stripes(self, found: list[bytes]) -> Iterator[str]:
        after = copy.deepcopy(self.model)
        if self.in_flight and self.in_flight[0] == "stripe":
            after.apply(self.in_flight)
        for chunk, (old, new) in enumerate(zip(self.model.stripes, after.stripes, strict=True)):
            if found[chunk] not in half_written(old, new, self._number):
                yield f"the stripe in chunk {chunk} of the shared array is not what was written last"
