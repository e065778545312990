"""The fastest of the runtimes: it reads the requests from the device itself, and calls the handlers as pyfuse3 would.

pyfuse3 mounts, says hello to the kernel and ends the session; what comes between is done here and in `requests.py`.
That spares libfuse, Cython and their coroutines, and reaches what pyfuse3 does not pass on. It begins where
`InlineRuntime` waits for the second request; the rules at the top of runtime.py hold.
"""

from __future__ import annotations

import errno
import logging
import os
from collections import deque
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, Final, Literal

import pyfuse3
import trio

from arrayfs.fuse.answer import Done
from arrayfs.fuse.requests import Requests
from arrayfs.fuse.runtime import MAX_PARKED, TRIED, InlineRuntime, Loop, Runtime, TrioRuntime

log = logging.getLogger("arrayfs.fuse")

RuntimeName = Literal["direct", "inline", "trio"]

# As libfuse: the largest WRITE and what stands before its data.
BUFFER_SIZE: Final = (1 << 20) + 4096

Answer = Callable[[int, Any], None]
# A read of the device that fails so has no request for us: it was taken back, or a signal came.
NOTHING: Final = (errno.ENOENT, errno.EAGAIN, errno.EINTR)


class DirectRuntime(InlineRuntime):
    """Answers requests read from the device.

    Invariants
    - The buffer holds the request that is answered just now: what a parked handler still needs of it was copied.
    - `_resumed` is filled by worker threads, which then `_wake` that of `run`; all else belongs to the latter.
    """

    takes_fields = True

    def __init__(self) -> None:
        super().__init__()
        self._said_hello = False
        self._served = False
        self._buffer = bytearray(BUFFER_SIZE)
        self._requests: Requests | None = None
        self._resumed: deque[Callable[[], None]] = deque()
        self._waiting = 0

    def run(self, operations: pyfuse3.Operations) -> None:
        self._requests = Requests(operations, self._buffer, self._finish)
        super().run(operations)

    def _wait_readable(self, device: int) -> Done[None] | Loop:
        """What pyfuse3 calls before it reads a request: the first is the kernel's hello, all others are served here."""
        if not self._said_hello:
            answer = super()._wait_readable(device)
            self._said_hello = True
            return answer
        if not self._served:
            self._served = True
            try:
                self._serve(device)
            finally:
                self._finish_parked()
        raise trio.ClosedResourceError

    def _serve(self, device: int) -> None:
        assert self._requests is not None
        self._requests.device = device
        buffer, answer, read = [self._buffer], self._requests.answer, os.readv
        while not self._closing:
            if self._waiting >= MAX_PARKED:
                self._sleep_until_done()
            elif len(events := self._poll.poll(0) or self._wait()) == 1 and events[0][0] == device:
                try:
                    read(device, buffer)
                except OSError as error:
                    if error.errno in NOTHING:
                        continue
                    if error.errno == errno.ENODEV:
                        return  # unmounted
                    raise
                answer()
                continue
            else:
                self._rest()
            self._go_on()

    # --- parking ------------------------------------------------------------------------------------------------------

    def _finish(self, unique: int, handler: Coroutine[Any, Any, Any], answer: Answer) -> None:
        """Run a handler that may park, and answer with what it returns, then or when it comes back."""
        try:
            parked: Future[Any] = handler.send(None)
        except StopIteration as end:
            answer(unique, end.value)
        except pyfuse3.FUSEError as error:
            assert self._requests is not None
            self._requests.refuse(unique, error.errno)
        else:
            self._waiting += 1
            parked.add_done_callback(partial(self._come_back, partial(self._finish, unique, handler, answer)))

    def _come_back(self, go_on: Callable[[], None], _parked: Future[Any]) -> None:
        """Called in the worker's thread."""
        self._resumed.append(go_on)
        self._wake()

    def _go_on(self) -> None:
        """Answer those whose parked work is done."""
        while self._resumed:
            self._waiting -= 1
            self._resumed.popleft()()

    def _finish_parked(self) -> None:
        self._go_on()
        while self._waiting:
            self._sleep_until_done()
            self._go_on()


def make_runtime(name: RuntimeName) -> Runtime:
    """Return a runtime for one session: `direct` is the fastest, `trio` the slowest; all have the same meaning."""
    if name != "trio" and not pyfuse3.__version__.startswith(TRIED):
        log.warning("pyfuse3 %s: its loop is run by trio, which is slower", pyfuse3.__version__)
        name = "trio"
    return _RUNTIMES[name]()


_RUNTIMES: Final[dict[RuntimeName, Callable[[], Runtime]]] = {
    "direct": DirectRuntime,
    "inline": InlineRuntime,
    "trio": TrioRuntime,
}
