"""Telling the kernel what changed behind its back: a thread that holds no lock and answers no request.

The kernel's side of an invalidation waits for requests that are under way, so a handler that sent one could wait for
itself, for ever (in a read, a look-up or an unlink it does). `changed` therefore only notes it down. The thread may
well have to wait until the request that caused the change is answered; that is what makes it right.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue

import pyfuse3

log = logging.getLogger("arrayfs.fuse")


class Notifier:
    """Sends invalidations for one session. `changed` fits `Tree.on_invalidate` and never waits."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._send_all, name="arrayfs-notify", daemon=True)
        self._started = False

    def changed(self, inodes: Iterable[int], entries: Iterable[tuple[int, str]]) -> None:
        """Forget pages and attributes of `inodes`, and what `entries` (parent inode, name) lead to."""
        for inode in inodes:
            self._put(_forget_inode(inode))
        for parent, name in entries:
            self._put(_forget_entry(parent, name.encode("utf-8", "surrogateescape")))

    def flush(self) -> None:
        """Wait until everything noted down before has been sent. Never from a handler."""
        sent = threading.Event()
        self._put(sent.set)
        sent.wait()

    def close(self, timeout: float) -> bool:
        """End the thread after what is in the queue. False: it hangs in the kernel after `timeout` seconds.

        It can only hang when the loop ended before requests that concern the same entry were answered; whoever aborts
        the connection frees it.
        """
        if not self._started:
            return True
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _put(self, job: Callable[[], None]) -> None:
        if not self._started:
            self._started = True
            self._thread.start()
        self._queue.put(job)

    def _send_all(self) -> None:
        while (job := self._queue.get()) is not None:
            try:
                job()
            except OSError as error:  # the session is gone
                log.debug("invalidation: %s", error)
            except Exception:  # the next one must still be sent
                log.exception("an invalidation failed")


def _forget_inode(inode: int) -> Callable[[], None]:
    def job() -> None:
        with contextlib.suppress(FileNotFoundError):  # the kernel does not know it: nothing to forget
            pyfuse3.invalidate_inode(inode)

    return job


def _forget_entry(parent: int, name: bytes) -> Callable[[], None]:
    def job() -> None:
        with contextlib.suppress(FileNotFoundError):
            pyfuse3.invalidate_entry(parent, name)

    return job
