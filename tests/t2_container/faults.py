"""A store that fails, or whose process stops, at its n-th call, and that knows what would be left on the medium then.

Over a store in memory. What was appended to a part and not synced may be lost with the power; all else that a store
call did is durable when it returns (arrayfs.store.protocol).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from arrayfs.errors import LockedError
from arrayfs.store import MemoryStore
from arrayfs.store.protocol import Blob, Hold, Lock, Part

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Stop(BaseException):
    """The process has ended."""


@dataclass(slots=True)
class Fault:
    """What happens at call number `at` (from 1; 0: nothing).

    code: the errno it fails with, None to stop the process. late: only after the call has done its work. last: the call
    up to which calls go on failing.
    """

    at: int = 0
    code: int | None = None
    late: bool = False
    last: int = 0
    calls: int = 0
    log: list[str] = field(default_factory=list)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        """Around one call of the store."""
        self.calls += 1
        self.log.append(name)
        due = self.at and self.at <= self.calls <= max(self.at, self.last)
        if due and not self.late:
            self.fail()
        if self.at and self.calls > self.at and self.code is None:
            raise Stop
        yield
        if due and self.late:
            self.fail()

    def fail(self) -> None:
        if self.code is None:
            raise Stop
        raise OSError(self.code, os.strerror(self.code))


def is_locked(store: MemoryStore) -> bool:
    """Whether somebody publishes, or exchanges files: who wants to write would have to wait."""
    lock = store.lock("t.lock")
    try:
        lock.try_lock()
    except LockedError:
        return True
    lock.release()
    return False


@dataclass(slots=True)
class VisitedFault(Fault):
    """Somebody comes in at call number `visited`, before it."""

    visited: int = 0
    visitor: Callable[[], None] = lambda: None
    inside: bool = field(default=False)

    @contextmanager
    def call(self, name: str) -> Iterator[None]:
        if self.calls + 1 == self.visited and not self.inside:
            self.inside = True
            self.visitor()
        with Fault.call(self, name):  # super() does not know a class with slots
            yield


class FaultStore:
    """A MemoryStore of its own, and the fault that waits in it."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        self.inner = MemoryStore(uuid.uuid4().hex)
        for name, data in (objects or {}).items():
            self.inner.put(name, data, replace=False)
        self.url = self.inner.url
        self.supports = self.inner.supports
        self.fault = Fault()
        self.synced: dict[str, int] = {}

    def left(self, *, unsynced: bool) -> dict[str, bytes]:
        """What the medium has if the power goes now; `unsynced`: with or without what was not synced."""
        objects = {}
        for name in self.inner.list():
            blob = self.inner.open(name)
            data = blob.read(0, blob.size)
            objects[name] = data if unsynced else data[: self.synced.get(name, len(data))]
        return objects

    def list(self) -> list[str]:
        with self.fault.call("list"):
            return self.inner.list()

    def open(self, name: str) -> Blob:
        with self.fault.call(f"open {name}"):
            return FaultBlob(self, self.inner.open(name))  # type: ignore[return-value]

    def create_part(self, name: str) -> Part:
        with self.fault.call("create_part"):
            self.synced[name] = 0
            return FaultPart(self, self.inner.create_part(name))  # type: ignore[return-value]

    def adopt_part(self, name: str) -> Part:
        with self.fault.call("adopt_part"):
            return FaultPart(self, self.inner.adopt_part(name))  # type: ignore[return-value]

    def is_part_abandoned(self, name: str) -> bool:
        with self.fault.call("is_part_abandoned"):
            return self.inner.is_part_abandoned(name)

    def remove_abandoned(self, name: str) -> None:
        with self.fault.call("remove_abandoned"):
            self.inner.remove_abandoned(name)

    def put(self, name: str, data: bytes, *, replace: bool) -> None:
        with self.fault.call(f"put {name}"):
            self.inner.put(name, data, replace=replace)

    def rename(self, name: str, new: str) -> None:
        with self.fault.call(f"rename {name} {new}"):
            self.inner.rename(name, new)

    def put_all(self, names: Sequence[str], data: bytes) -> None:
        for name in names:
            self.put(name, data, replace=True)

    def delete(self, *names: str) -> None:
        for name in names:
            with self.fault.call(f"delete {name}"):
                self.inner.delete(name)

    def hold(self, mark: int) -> Hold:
        with self.fault.call("hold"):
            return self.inner.hold(mark)

    def is_held(self, mark: int) -> bool:
        with self.fault.call("is_held"):
            return self.inner.is_held(mark)

    def lock(self, name: str) -> Lock:
        with self.fault.call("lock"):
            return self.inner.lock(name)

    def statvfs(self) -> os.statvfs_result | None:
        return None


class FaultBlob:
    """An open object; only its reads can fail."""

    def __init__(self, store: FaultStore, inner: Blob) -> None:
        self._store, self._inner = store, inner
        self.name, self.size, self.mtime_ns = inner.name, inner.size, inner.mtime_ns
        self.stored_bytes = inner.stored_bytes

    def read(self, offset: int, size: int) -> bytes:
        with self._store.fault.call(f"read {self.name}"):
            return self._inner.read(offset, size)

    def is_current(self) -> bool:
        return self._inner.is_current()

    def close(self) -> None:
        self._inner.close()


class FaultPart:
    """A part; a sync that failed once fails for good."""

    def __init__(self, store: FaultStore, inner: Part) -> None:
        self._store, self._inner, self.name = store, inner, inner.name
        self._broken: OSError | None = None

    @property
    def size(self) -> int:
        return self._inner.size

    def append(self, *buffers: Buffer) -> int:
        with self._store.fault.call("append"):
            return self._inner.append(*buffers)

    def read(self, offset: int, size: int) -> bytes:
        with self._store.fault.call("read part"):
            return self._inner.read(offset, size)

    def truncate(self, size: int) -> None:
        with self._store.fault.call("truncate"):
            self._inner.truncate(size)
            self._store.synced[self.name] = min(self._store.synced[self.name], size)

    def sync(self) -> None:
        if self._broken is not None:
            raise self._broken
        try:
            with self._store.fault.call("sync"):
                self._store.synced[self.name] = self.size
        except OSError as error:
            self._broken = error
            raise

    def publish(self, name: str) -> None:
        self.sync()
        with self._store.fault.call("link"):
            self._store.inner.put(name, self._inner.read(0, self.size), replace=False)
        with self._store.fault.call("unlink"):
            self._inner.discard()
        self._store.synced.pop(self.name)

    def replace(self, name: str) -> None:
        self.sync()
        with self._store.fault.call(f"replace {name}"):
            self._inner.replace(name)
        self._store.synced.pop(self.name)

    def discard(self) -> None:
        with self._store.fault.call("discard"):
            self._inner.discard()

    def close(self) -> None:
        self._inner.close()


def use(monkeypatch: pytest.MonkeyPatch, store: FaultStore) -> str:
    """Have the next containers opened on this store; returns their URL."""
    monkeypatch.setattr("arrayfs.container.container.open_store", lambda _url: (store, "t.af"))
    return f"{store.url}/t.af"
