"""A client: a process that works in its own directory of the mount and says what it is about to do and what was done.

It writes a line of JSON before each call, `+` after it, and `-` with the errno where the call failed, then ends; `=`
with number and message of a version that a commit made. The pipe keeps what a killed client said.
"""

from __future__ import annotations

import json
import mmap
import os
import random
import signal
import sys
import traceback
from pathlib import Path

from torturelib.activities import Activities, Story
from torturelib.model import Model, Operation, written
from torturelib.stripes import HALF, STRIPE, path_of

AT_ONCE = 4  # stories


class WrongStateError(Exception):
    """The mount shows something else than what was done."""


def start_client(model: Model, mountpoint: str, root: str, shared: str, seed: int, stop: mmap.mmap) -> tuple[int, int]:
    """Fork a client; returns its process id and the pipe that it talks into.

    root, shared: its directory, and the array that it writes its stripes of; stop: its first byte ends it.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.close(reader)
        os.umask(0)
        _Client(model, mountpoint, root, shared, seed, stop, writer).run()
    except BaseException:  # noqa: BLE001  the process ends here, this is its last word
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(0)


class _Client:
    def __init__(
        self, model: Model, mountpoint: str, root: str, shared: str, seed: int, stop: mmap.mmap, pipe: int
    ) -> None:
        self._model, self._mountpoint, self._stop, self._pipe = model, mountpoint, stop, pipe
        self._shared = Path(mountpoint, shared)
        self._rng = random.Random(seed)
        self._activities = Activities(model, root, self._rng)
        self._fds: dict[int, int] = {}

    def run(self) -> None:
        """Work until told to stop, then close what is open."""
        stories: list[Story] = []
        try:
            while not self._stop[0]:
                if len(stories) < AT_ONCE:
                    stories.append(self._activities.any())
                story = self._rng.choice(stories)
                operation = next(story, None)
                if operation is None:
                    stories.remove(story)
                else:
                    self._do(operation)
            for handle in list(self._fds):
                self._do(["close", handle])
            self._say(".")
        except WrongStateError as error:
            self._say(f"?{error}")
        except OSError as error:
            self._say(f"-{error.errno}")

    def _do(self, operation: Operation) -> None:
        self._say(json.dumps(operation))
        name, *arguments = operation
        getattr(self, f"_{name}")(*arguments)
        self._model.apply(operation)
        self._say("+")

    def _say(self, line: str) -> None:
        os.write(self._pipe, f"{line}\n".encode())

    def _at(self, path: str) -> str:
        return f"{self._mountpoint}/{path}"

    # --- operations ---------------------------------------------------------------------------------------------------

    def _mkdir(self, path: str) -> None:
        os.mkdir(self._at(path))

    def _rmdir(self, path: str) -> None:
        os.rmdir(self._at(path))

    def _unlink(self, path: str) -> None:
        os.unlink(self._at(path))

    def _rename(self, old: str, new: str) -> None:
        os.rename(self._at(old), self._at(new))

    def _link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new))

    def _create(self, handle: int, path: str, mode: int) -> None:
        self._fds[handle] = os.open(self._at(path), os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)

    def _open(self, handle: int, path: str, truncate: bool) -> None:
        self._fds[handle] = os.open(self._at(path), os.O_RDWR | (os.O_TRUNC if truncate else 0))

    def _write(self, handle: int, offset: int, what: list[int] | str) -> None:
        _put(self._fds[handle], offset, written(what))

    def _resize(self, handle: int, size: int) -> None:
        os.ftruncate(self._fds[handle], size)

    def _flush(self, handle: int) -> None:
        os.close(os.dup(self._fds[handle]))

    def _fsync(self, handle: int) -> None:
        os.fsync(self._fds[handle])

    def _close(self, handle: int) -> None:
        os.close(self._fds.pop(handle))

    def _truncate(self, path: str, size: int) -> None:
        os.truncate(self._at(path), size)

    def _chmod(self, path: str, mode: int) -> None:
        os.chmod(self._at(path), mode)

    def _utime(self, path: str, mtime_ns: int) -> None:
        os.utime(self._at(path), ns=(mtime_ns, mtime_ns))

    def _stripe(self, chunk: int, what: list[int]) -> None:
        start, data = self._model.client * STRIPE, written(what)
        fd = os.open(path_of(self._shared, chunk), os.O_WRONLY)
        try:
            _put(fd, start, data[:HALF])
            _put(fd, start + HALF, data[HALF:])
        finally:
            os.close(fd)

    def _fsyncdir(self, path: str) -> None:
        fd = os.open(self._at(path), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _commit(self, message: str) -> None:
        with open(self._at(".arrayfs/commit"), "wb", buffering=0) as file:
            file.write(message.encode())
        # no version is made of no changes, and the other client may have committed since
        with open(self._at(".arrayfs/status.json"), "rb") as file:
            made = json.load(file)["last_commit"]
        if made is not None and made["message"] == message:
            self._say(f"={made['version']} {message}")

    def _read(self, path: str) -> None:
        with open(self._at(path), "rb") as file:
            found = file.read()
        if found != self._model.files[path].data:
            raise WrongStateError(f"{path} reads otherwise than it was written")

    def _list(self, path: str) -> None:
        start, found = f"{path}/", sorted(os.listdir(self._at(path)))
        here = sorted(name[len(start) :] for name in self._model.below(path) if "/" not in name[len(start) :])
        if found != here:
            raise WrongStateError(f"{path} lists {found}, not {here}")


def _put(fd: int, offset: int, data: bytes) -> None:
    done = os.pwrite(fd, data, offset)
    if done < len(data):  # the daemon was killed half way, or there will be no error now
        os.pwrite(fd, data[done:], offset + done)
        raise WrongStateError("a short write")
