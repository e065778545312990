"""What runs the requests of a mount: pyfuse3's own loop without an event loop below it, or with trio.

pyfuse3 looks the name `trio` up in its module whenever it needs it. `InlineRuntime` puts a stand-in there: its lock
never waits, its `wait_readable` is a `poll`, its nursery runs the session loops itself. A request then costs 9 µs
instead of 33, and 20 or more of waking up are saved by asking a while before sleeping. That is a seam of pyfuse3's, but
not a promised one: with a version in which it was not tried, trio runs the mount. `direct.py` builds on it.

Rules
- One thread (that of `run`) receives all requests and answers them, one at a time.
- A handler may await `park(work)` and nothing else. `work` runs in another thread; meanwhile another session loop
  serves the other requests; the handler goes on in the first thread when the work is done.
- The session ends only when no request is parked any more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from time import monotonic_ns
from types import SimpleNamespace
from typing import Any, Protocol, TypeVar

import pyfuse3
import trio

from arrayfs.fuse.answer import DONE, Done

log = logging.getLogger("arrayfs.fuse")

T = TypeVar("T")
Loop = Coroutine[Any, Any, None]

# Versions of pyfuse3 whose main loop uses of trio just what `_stand_in` has.
TRIED = ("3.5.",)

# Waking up costs 20 µs and more, so a wait that is likely to be short is spent asking the device, for at most this
# long (ns). A client that goes through files asks again within 60 µs; whoever does not, asks much later.
SPIN_NS = 100_000
# How many short waits make up for a long one: spinning in vain costs SPIN_NS, being woken about a twentieth of it.
PRICE = 20
# A burst of requests after a time of rest is spun for after so many short waits, 3 ms at most.
REST = 100
# A spin that ends so much too late (ns) gave its core to somebody else: on a busy machine, or one whose host is, being
# woken is sooner than getting the core back, and the time is better left to others.
LATE_NS = 200_000
# Waits without spinning after that: at 10,000 requests a second a time slice of 3 ms is lost every 0.1 s.
PAUSE = 1000

# Requests that can be parked at once. Each costs a thread and a receive buffer of 1 MiB; more of them wait in the
# kernel.
MAX_PARKED = 31


class Runtime(Protocol):
    """Serves the session that `pyfuse3.init` opened.

    takes_fields: a handler may answer with the fields of `wire.EntryFields` in place of EntryAttributes.
    """

    takes_fields: bool

    def run(self, operations: pyfuse3.Operations) -> None:
        """Serve requests until the file system is unmounted or `terminate` is called; finish the parked ones.

        operations: those that `pyfuse3.init` was called with.
        """

    def terminate(self) -> None:
        """Make `run` return soon, also one about to begin. From a signal handler, or while `run` is known to run."""

    async def park(self, work: Callable[[], T]) -> T:
        """Return `work()`, run in another thread while other requests are served; what it raises is raised here."""


def is_end_of_connection(error: BaseException) -> bool:
    """Whether the kernel ended the connection while it was handing out a request: an end like any other.

    It then says ECONNABORTED instead of ENODEV: when the last file of a mount that was detached is closed, or when the
    connection was aborted.
    """
    if isinstance(error, BaseExceptionGroup):  # trio's
        return all(map(is_end_of_connection, error.exceptions))
    return isinstance(error, ConnectionAbortedError)


class TrioRuntime:
    """pyfuse3 as its authors run it."""

    takes_fields = False

    def __init__(self) -> None:
        self._closing = False
        self._token: trio.lowlevel.TrioToken | None = None

    def run(self, operations: pyfuse3.Operations) -> None:
        trio.run(self._main)

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        if self._closing:
            pyfuse3.terminate()
        await pyfuse3.main(1, MAX_PARKED + 1)

    def terminate(self) -> None:
        self._closing = True
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(pyfuse3.terminate)

    async def park(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work)


class InlineRuntime:
    """Runs pyfuse3's session loops in the calling thread; see the rules at the top of the module.

    Invariants
    - At most one loop waits for the device; it is the one that holds pyfuse3's read lock, which therefore never waits.
      (A loop that comes back from a parked request while another one reads ends itself: pyfuse3's `min_tasks` is 0.)
    - `_done` is filled by worker threads, which then `_wake` that of `run`; everything else belongs to the latter.
    - A signal wakes it too: one that comes between Python's last look for signals and the `poll` would else be handled
      with the next request, whenever that comes.
    """

    takes_fields = False

    def __init__(self) -> None:
        self._spares: list[Callable[[], Loop]] = []
        self._done: deque[Loop] = deque()
        self._parked = 0
        self._closing = False
        self._running = False
        self._woken = self._waker = -1  # the ends of a pipe
        self._device = -1
        self._poll = select.poll()
        self._luck = 0  # short waits so far, less PRICE for each long one; above 0, spinning is likely to pay
        self._threads = ThreadPoolExecutor(MAX_PARKED, "arrayfs-parked")

    def run(self, operations: pyfuse3.Operations) -> None:
        self._woken, self._waker = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll.register(self._woken, select.POLLIN)
        woken_by_signals = threading.current_thread() is threading.main_thread()
        if woken_by_signals:
            signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        pyfuse3.__dict__["trio"] = self._stand_in()
        self._running = True
        try:
            if self._closing:
                pyfuse3.terminate()
            pyfuse3.main(0, MAX_PARKED + 1).send(None)
        except StopIteration:
            pass
        finally:
            self._running = False
            self._threads.shutdown()  # before the close: the last worker may still be about to write to it
            pyfuse3.__dict__["trio"] = trio
            if woken_by_signals:
                signal.set_wakeup_fd(-1)
            os.close(self._woken)
            os.close(self._waker)

    def terminate(self) -> None:
        self._closing = True
        if self._running:
            pyfuse3.terminate()

    async def park(self, work: Callable[[], T]) -> T:
        answer: T = await _Parked(self._threads.submit(work))
        return answer

    def _stand_in(self) -> SimpleNamespace:
        """Return all that pyfuse3 3.5 uses of the module `trio`."""
        lowlevel = SimpleNamespace(
            current_trio_token=lambda: None,
            current_task=lambda: _TASK,
            wait_readable=self._wait_readable,
            notify_closing=self._notify_closing,
        )
        return SimpleNamespace(
            lowlevel=lowlevel,
            Lock=_FreeLock,
            ClosedResourceError=trio.ClosedResourceError,
            open_nursery=partial(_Nursery, self._spares, self._drive),
        )

    def _notify_closing(self, _device: int) -> None:
        self._closing = True
        self._wake()

    def _wait_readable(self, device: int) -> Done[None] | Loop:
        if self._request_is_there(device):
            return DONE
        return self._let_others_go_on(device)

    async def _let_others_go_on(self, device: int) -> None:
        while True:
            await _TURN
            if self._request_is_there(device):
                return

    def _request_is_there(self, device: int) -> bool:
        """Wait for something to do. True: the device has a request. False: a parked request is done.

        Raises ClosedResourceError after `terminate`, as trio does.
        """
        if device != self._device:
            self._device = device
            self._poll.register(device, select.POLLIN)
        events = self._wait()
        if len(events) == 1 and events[0][0] == device:
            return True
        self._rest()
        if self._closing:
            raise trio.ClosedResourceError
        return False

    def _wait(self) -> list[tuple[int, int]]:
        """What is there to do, by descriptor; waits for it."""
        start = monotonic_ns()
        events = self._spin(start) if self._luck > 0 else None
        if not events:
            events = self._poll.poll()
        if monotonic_ns() - start < SPIN_NS:
            self._luck = min(self._luck + 1, PRICE)
        elif self._luck > -REST:
            self._luck = max(self._luck - PRICE, -REST)
        return events

    def _spin(self, start: int) -> list[tuple[int, int]]:
        """Ask again and again for SPIN_NS. The yield lets a client on the same core go on."""
        poll, rest, now = self._poll.poll, os.sched_yield, start
        end = start + SPIN_NS
        while not (events := poll(0)) and now < end:
            rest()
            now = monotonic_ns()
        if now > end + LATE_NS:
            self._luck = -PAUSE
        return events

    def _drive(self) -> None:
        """Run session loops until all have ended: those whose parked work is done first, then the reader, then a spare.

        pyfuse3 offers a spare at each request, up to MAX_PARKED in all; none is started before a loop is parked. When a
        loop fails, the session is ended, the parked requests are finished, and the failure is raised.
        """
        reader: Loop | None = None
        failure: BaseException | None = None
        while True:
            if self._done:
                loop = self._done.popleft()
                self._parked -= 1
            elif reader is not None:
                loop, reader = reader, None
            elif self._spares:
                loop = self._spares.pop()()
            elif self._parked:
                self._sleep_until_done()
                continue
            else:
                break
            try:
                work: Future[Any] | None = loop.send(None)
            except StopIteration:
                continue
            except BaseException as error:  # noqa: BLE001  a signal handler's too: parked requests must end in any case
                failure = failure or error
                pyfuse3.terminate()
                continue
            if work is None:
                reader = loop
            else:
                self._parked += 1
                work.add_done_callback(partial(self._resume, loop))
        if failure is not None:
            raise failure

    def _resume(self, loop: Loop, _work: Future[Any]) -> None:
        """Called in the worker's thread."""
        self._done.append(loop)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full: it is as good as awake
            os.write(self._waker, b"w")

    def _rest(self) -> None:
        """Forget why we were woken, before looking for what there is to do."""
        os.read(self._woken, select.PIPE_BUF)

    def _sleep_until_done(self) -> None:
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        poll.poll()
        self._rest()


class _Turn:
    """Awaited by the loop that reads, to let the loops whose parked work is done go on first."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield None


class _Parked:
    """Awaited by a handler: hands its future up to `_drive` and answers with the future's result."""

    __slots__ = ("_work",)

    def __init__(self, work: Future[Any]) -> None:
        self._work = work

    def __await__(self) -> Generator[Future[Any], None, Any]:
        yield self._work
        return self._work.result()


class _FreeLock:
    """pyfuse3's read lock, which is always free here (first invariant of InlineRuntime)."""

    def __aenter__(self) -> Done[None]:
        return DONE

    def __aexit__(self, *_exception: object) -> Done[None]:
        return DONE


class _Nursery:
    """Collects the session loops; leaving it runs them."""

    def __init__(self, spares: list[Callable[[], Loop]], drive: Callable[[], None]) -> None:
        self._spares = spares
        self._drive = drive

    def start_soon(self, loop: Callable[..., Loop], *arguments: object, name: str) -> None:
        self._spares.append(partial(loop, *arguments))

    async def __aenter__(self) -> _Nursery:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._drive()


_TURN = _Turn()
_TASK = SimpleNamespace(name="arrayfs")
