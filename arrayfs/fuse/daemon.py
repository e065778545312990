"""A process in the background that says when it is ready, or why it never will be.

The caller waits on a pipe: the answer comes through it, and its end without an answer means that the daemon died.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator

from arrayfs import errors
from arrayfs.errors import ArrayFSError, DaemonDiedError, MountError, RefusedError


class Report:
    """The daemon's end of the pipe; one answer can be given.

    It raises BrokenPipeError if the caller has gone meanwhile.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def success(self) -> None:
        self._answer({})

    def failure(self, error: BaseException) -> None:
        """Say why; without effect after the answer."""
        self._answer({"kind": type(error).__name__, "text": str(error) or type(error).__name__})

    def _answer(self, words: dict[str, str]) -> None:
        pipe, self._pipe = self._pipe, -1
        if pipe >= 0:
            try:
                os.write(pipe, json.dumps(words).encode())
            finally:
                os.close(pipe)


def fork_daemon(serve: Callable[[Report], None]) -> None:
    """Run `serve` in a process without a terminal or a parent; return when it reports success.

    Raises the error that it reports, as the same class if it is one of ours, else as MountError, and DaemonDiedError if
    it ended without a word. The daemon keeps the working directory: relative paths that it has taken over still hold.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)  # so that writing fails when the caller has gone
        _run_as_daemon(serve, Report(writer))
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, "rb") as pipe:
        answer = pipe.read()
    if not answer:
        raise DaemonDiedError("the daemon died before the mount answered")
    words = json.loads(answer)
    if words:
        raise _same_error(words["kind"], words["text"])


def detach(output: int) -> None:
    """Let go of the caller's standard streams: nothing to read, and the descriptor `output` for what is said."""
    sys.stdout.flush()
    sys.stderr.flush()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for stream, target in ((0, nothing), (1, output), (2, output)):
        os.dup2(target, stream)
    for fd in {nothing, output} - {0, 1, 2}:
        os.close(fd)


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], str]]:
    """Collect what C code and child processes write to descriptor 2; gives a function that returns it as one line."""
    sys.stderr.flush()
    before = os.dup(2)
    memory = os.memfd_create("stderr")
    os.dup2(memory, 2)
    try:
        yield lambda: "; ".join(os.pread(memory, 1 << 16, 0).decode(errors="replace").split("\n")).strip("; ")
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(memory)


def _run_as_daemon(serve: Callable[[Report], None], report: Report) -> None:
    """Never returns: the caller's code above must not run twice."""
    status = 1
    try:
        os.setsid()
        if os.fork() == 0:
            serve(report)
        status = 0
    except BaseException as error:  # noqa: BLE001  the process ends here, this is its last word
        if not isinstance(error, ArrayFSError):
            traceback.print_exc()
        report.failure(error)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _same_error(kind: str, text: str) -> ArrayFSError:
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, ArrayFSError) and not issubclass(known, RefusedError):
        return known(text)
    return MountError(f"{kind}: {text}")
