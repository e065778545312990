"""The long part of a commit, done before it: changes are packed and synced while others read and write.

What is left to the commit, under the container's lock, is what changes meanwhile, the footer and the names. Nothing
here makes anything visible: if the process ends, the part has a few more blocks without a footer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arrayfs.container.container import Container

# Raw bytes, or bytes of the part that are not synced, that a commit deals with in less time than preparing it takes.
WORTH = 8 << 20
# Raw bytes that are packed before others get the lock: a few ms.
STEP = 4 << 20
# Seconds without the lock between two steps. Python's locks are not fair: who lets go has it again before any other.
PAUSE = 0.001


def prepare(container: Container) -> None:
    """Leave little to do for a commit that comes next. Called without the container's lock, by one thread at a time.

    Raises OSError as a commit does, and the changes are kept as then.
    """
    pool, lock = container.pool, container.lock
    with lock:
        container.check_writable()
        # not more than there is now: writers may be faster than packing
        steps = pool.raw_size // STEP if pool.raw_size >= WORTH and not pool.doubtful else 0
        large = 0 if pool.doubtful else len(pool.spilled)
    packing: list[Callable[[], None]] = [*[partial(pool.pack, STEP)] * steps, *[pool.pack_spilled] * large]
    for pack in packing:
        with lock:
            pack()
        time.sleep(PAUSE)
    with lock:
        part = pool.unsynced(WORTH)
    if part is None:
        return
    try:
        part.sync()
    except OSError:
        with lock:
            pool.doubtful = True
        raise
