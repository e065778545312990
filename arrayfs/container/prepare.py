"""The long part of a commit, done before it: changes are packed, blocks of renamed arrays copied, and all of it
synced while others read and write.

What is left to the commit, under the container's lock, is what changes meanwhile, the footer and the names. Nothing
here makes anything visible: if the process ends, the part has a few more blocks without a footer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arrayfs.container.copies import blocks_of
from arrayfs.container.layer import Layer

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
        renamed = [] if pool.doubtful else _renamed(container)
    packing: list[Callable[[], None]] = [*[partial(pool.pack, STEP)] * steps, *[pool.pack_spilled] * large]
    for pack in chain(packing, _copying(container, renamed)):
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


def _renamed(container: Container) -> list[tuple[Layer, NDArray[np.int64]]]:
    """The blocks that a commit would copy, by layer; none if that is little."""
    pool = container.pool
    arrays = [array for array in pool.arrays if array.origin not in (None, array.name)]
    blocks = [(layer, pool.copies.missing(layer, rows)) for array in arrays for layer, rows in blocks_of(array)]
    return blocks if sum(int(_sizes(layer, rows).sum()) for layer, rows in blocks) >= WORTH else []


def _copying(container: Container, blocks: list[tuple[Layer, NDArray[np.int64]]]) -> Iterator[Callable[[], None]]:
    """Steps that copy them."""
    for layer, rows in blocks:
        steps = np.cumsum(np.minimum(_sizes(layer, rows), STEP)) // STEP
        for some in np.split(rows, np.flatnonzero(np.diff(steps)) + 1):
            yield partial(_copy, container, layer, some)


def _copy(container: Container, layer: Layer, rows: NDArray[np.int64]) -> None:
    if layer in container.stack.layers:  # or its files were exchanged meanwhile; the commit copies from others
        container.pool.copies.add(container.pool.part, layer, rows)


def _sizes(layer: Layer, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Bytes of blocks as they are stored."""
    return layer.footer.blocks.compressed_sizes[rows]
