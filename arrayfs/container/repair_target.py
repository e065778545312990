"""A new container that is none before it is complete: its base, without which nothing opens it, is written last.

The order, and what is there if the process or the power ends after a step:

1. The base is kept in memory; blocks are appended to a part.     a part without a name: no container
2. The part is published as sidecar 1 (steps of `commit.py`).     a sidecar without a base: no container
3. The base is written.                                           the whole container

A failure takes the same way back: the base goes first.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from arrayfs.container import opening
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.errors import FormatError, MissingObjectError, ObjectExistsError
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store
from arrayfs.store.protocol import Blob, Hold, Lock, Part, Store


class _KeptBlob:
    """The base before it is written."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.size = self.stored_bytes = len(content)
        self.mtime_ns = time.time_ns()
        self._content = content

    def read(self, offset: int, size: int) -> bytes:
        return self._content[offset : offset + size]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        buffer[:] = self._content[offset : offset + buffer.nbytes]

    def is_current(self) -> bool:
        return True

    def close(self) -> None:
        """Nothing is open."""


class BaseLastStore:
    """A store in which one object, once put, is there for us alone until `release`."""

    def __init__(self, store: Store, base: str) -> None:
        self.url, self.supports = store.url, store.supports
        self._store, self._base = store, base
        self._kept: bytes | None = None

    def release(self) -> None:
        """Write the base. Raises ObjectExistsError if somebody made one meanwhile."""
        if self._kept is not None:
            self._store.put(self._base, self._kept, replace=False)

    def list(self) -> list[str]:
        mine = [] if self._kept is None else [self._base]
        return sorted({*self._store.list(), *mine})

    def open(self, name: str) -> Blob:
        if name == self._base and self._kept is not None:
            return _KeptBlob(name, self._kept)
        return self._store.open(name)

    def put(self, name: str, data: bytes, *, replace: bool) -> None:
        if name == self._base:
            self._kept = data
        else:
            self._store.put(name, data, replace=replace)

    def create_part(self, name: str) -> Part:
        return self._store.create_part(name)

    def adopt_part(self, name: str) -> Part:
        return self._store.adopt_part(name)

    def is_part_abandoned(self, name: str) -> bool:
        return self._store.is_part_abandoned(name)

    def remove_abandoned(self, name: str) -> None:
        self._store.remove_abandoned(name)

    def rename(self, name: str, new: str) -> None:
        self._store.rename(name, new)

    def put_all(self, names: Sequence[str], data: bytes) -> None:
        self._store.put_all(names, data)

    def delete(self, *names: str) -> None:
        self._store.delete(*names)

    def hold(self, mark: int) -> Hold:
        return self._store.hold(mark)

    def is_held(self, mark: int) -> bool:
        return self._store.is_held(mark)

    def lock(self, name: str) -> Lock:
        return self._store.lock(name)

    def statvfs(self) -> os.statvfs_result | None:
        return self._store.statvfs()


@contextmanager
def new_container(url: str, options: ContainerOptions, message: str) -> Iterator[Container]:
    """An empty container to be filled. Leaving normally commits it; leaving by an exception, there is none.

    Raises ObjectExistsError if anything of that name is there, FormatError for a name that is another's sidecar.
    """
    store, base = open_store(url)
    names = ContainerNames.from_base(base)
    _refuse_existing(store, names)
    staged = BaseLastStore(store, names.base)
    opening.create(staged, names)
    container = _opened(staged, names, options)
    try:
        yield container
        container.commit(message)
        staged.release()
    except BaseException as error:
        _take_back(store, container, base_is_ours=not isinstance(error, ObjectExistsError))
        raise
    finally:
        container.close()


def _opened(store: BaseLastStore, names: ContainerNames, options: ContainerOptions) -> Container:
    opening.prepare_writing(store, names)
    return Container(store, names, opening.open_stack(store, names), options, read_only=False)


def _refuse_existing(store: Store, names: ContainerNames) -> None:
    for name in sorted(store.list(), key=lambda name: name != names.base):
        if name in (names.base, names.stats) or names.parse_sidecar(name) is not None:
            raise ObjectExistsError(f"{name} is there already; nothing is replaced: choose another name")


def _take_back(store: Store, container: Container, *, base_is_ours: bool) -> None:
    """Remove what is there of the new container. What cannot be removed is no container, unless it is complete."""
    with suppress(OSError, FormatError):
        container.discard()
    with suppress(OSError):
        if base_is_ours:
            with suppress(MissingObjectError):
                store.delete(container.names.base)
        for layer in container.stack.layers[1:]:
            with suppress(MissingObjectError):
                store.delete(layer.name)
