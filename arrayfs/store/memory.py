"""A store in memory: a dict of byte strings, shared by all of a process that name it; the reference for the others.

`_Shared.guard` protects everything in a shared store; nothing waits while holding it.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from arrayfs.errors import LockedError, MissingObjectError, ObjectExistsError
from arrayfs.store import protocol
from arrayfs.store.descriptor import short_read
from arrayfs.store.protocol import check_name, check_range

if TYPE_CHECKING:
    from typing_extensions import Buffer


class _Object:
    """What a name stands for; `content` is replaced, never changed, once the object is no part any more."""

    def __init__(self, content: bytes | bytearray) -> None:
        self.content = content
        self.mtime_ns = time.time_ns()
        self.owner: weakref.ref[MemoryPart] | None = None

    def has_owner(self) -> bool:
        return self.owner is not None and self.owner() is not None


class _Shared:
    """The objects of all stores of one name."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.guard = threading.Lock()
        self.objects: dict[str, _Object] = {}
        self.locks: dict[str, threading.Lock] = {}
        self.holds: weakref.WeakSet[MemoryHold] = weakref.WeakSet()

    def find(self, name: str) -> _Object:
        found = self.objects.get(name)
        if found is None:
            raise MissingObjectError(f"{self.url}/{name}: no such object")
        return found

    def must_be_free(self, name: str) -> None:
        if name in self.objects:
            raise ObjectExistsError(f"{self.url}/{name}: already exists")

    def forget(self, name: str, content: _Object) -> None:
        if self.objects.get(name) is content:
            del self.objects[name]


_SHARED: dict[str, _Shared] = {}
_SHARED_GUARD = threading.Lock()


class MemoryBlob:
    """The bytes that an object had when it was opened."""

    def __init__(self, shared: _Shared, name: str, found: _Object) -> None:
        self.name = name
        content = bytes(found.content)
        self.size = self.stored_bytes = len(content)
        self.mtime_ns = found.mtime_ns
        self._url = f"{shared.url}/{name}"
        self._shared, self._object = shared, found
        self._content: bytes | None = content

    def read(self, offset: int, size: int) -> bytes:
        return self._opened(offset, size)[offset : offset + size]

    def read_into(self, offset: int, buffer: memoryview) -> None:
        content = self._opened(offset, buffer.nbytes)
        if buffer.nbytes:
            buffer.cast("B")[:] = content[offset : offset + buffer.nbytes]

    def is_current(self) -> bool:
        with self._shared.guard:
            return self._shared.objects.get(self.name) is self._object

    def close(self) -> None:
        self._content = None

    def _opened(self, offset: int, size: int) -> bytes:
        content = self._content
        if content is None:
            raise ValueError(f"{self._url}: read after close")
        check_range(offset, size)
        if offset + size > len(content):
            raise short_read(self._url, offset, size, max(len(content) - offset, 0))
        return content


class MemoryPart:
    """A growing byte array under a name of the shared store; abandoned when nobody refers to this object."""

    def __init__(self, shared: _Shared, name: str, content: _Object) -> None:
        self.name = name
        self.size = len(content.content)
        self._url = f"{shared.url}/{name}"
        self._shared = shared
        self._object: _Object | None = content
        self._writable = True
        content.owner = weakref.ref(self)

    def append(self, *buffers: Buffer) -> int:
        added = b"".join(buffers)
        with self._shared.guard:
            content = self._writing()
            start = len(content)
            content += added
            self.size = len(content)
            return start

    def read(self, offset: int, size: int) -> bytes:
        check_range(offset, size)
        with self._shared.guard:
            content = self._opened().content
            if offset + size > len(content):
                raise short_read(self._url, offset, size, max(len(content) - offset, 0))
            return bytes(memoryview(content)[offset : offset + size])

    def truncate(self, size: int) -> None:
        with self._shared.guard:
            content = self._writing()
            if not 0 <= size <= len(content):
                raise ValueError(f"{self._url}: cannot cut {len(content)} bytes to {size}")
            del content[size:]
            self.size = size

    def sync(self) -> None:
        with self._shared.guard:
            self._writing()

    def publish(self, name: str) -> None:
        check_name(name)
        with self._shared.guard:
            self._writing()
            self._shared.must_be_free(name)
            self._show(name)

    def replace(self, name: str) -> None:
        check_name(name)
        with self._shared.guard:
            self._show(name)

    def discard(self) -> None:
        with self._shared.guard:
            self._writing()
            self._shared.forget(self.name, self._opened())
            self._object = None

    def close(self) -> None:
        with self._shared.guard:
            if self._object is not None and self._writable:
                self._object.owner = None
            self._object = None

    def _show(self, name: str) -> None:
        content = bytes(self._writing())
        self._shared.forget(self.name, self._opened())
        self._object = self._shared.objects[name] = _Object(content)
        self._writable = False

    def _opened(self) -> _Object:
        if self._object is None:
            raise ValueError(f"{self._url}: used after close")
        return self._object

    def _writing(self) -> bytearray:
        content = self._opened().content
        if not isinstance(content, bytearray):
            raise ValueError(f"{self._url}: already published")
        return content


class MemoryHold:
    """One that is held until it is released, or nobody refers to it."""

    def __init__(self, shared: _Shared, mark: int) -> None:
        self.mark: int | None = mark
        shared.holds.add(self)

    def release(self) -> None:
        self.mark = None


class MemoryLock:
    """A lock of the shared store."""

    def __init__(self, shared: _Shared, name: str) -> None:
        self._shared = shared
        self._name = name
        self._held: threading.Lock | None = None

    def __del__(self) -> None:
        self.release()

    def acquire(self) -> None:
        lock = self._made()
        lock.acquire()
        self._held = lock

    def try_lock(self) -> None:
        lock = self._made()
        if not lock.acquire(blocking=False):
            raise LockedError(f"{self._shared.url}/{self._name}: another writer holds the lock")
        self._held = lock

    def release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            held.release()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _made(self) -> threading.Lock:
        if self._held is not None:
            raise RuntimeError(f"{self._shared.url}/{self._name}: this lock is already held by its owner")
        with self._shared.guard:
            self._shared.objects.setdefault(self._name, _Object(b""))
            return self._shared.locks.setdefault(self._name, threading.Lock())


class MemoryStore:
    """The objects that the process keeps under `memory://NAME`; they live until they are deleted."""

    supports = frozenset(
        {protocol.LIST, protocol.CONDITIONAL_PUT, protocol.ATOMIC_RENAME, protocol.RANGE_READS, protocol.LOCKS}
    )

    def __init__(self, name: str) -> None:
        self.url = f"memory://{name}"
        with _SHARED_GUARD:
            self._shared = _SHARED.setdefault(name, _Shared(self.url))

    def list(self) -> list[str]:
        with self._shared.guard:
            return sorted(self._shared.objects)

    def open(self, name: str) -> MemoryBlob:
        with self._shared.guard:
            found = self._shared.find(check_name(name))
            return MemoryBlob(self._shared, name, found)

    def create_part(self, name: str) -> MemoryPart:
        with self._shared.guard:
            self._shared.must_be_free(check_name(name))
            made = self._shared.objects[name] = _Object(bytearray())
            return MemoryPart(self._shared, name, made)

    def adopt_part(self, name: str) -> MemoryPart:
        with self._shared.guard:
            found = self._shared.find(check_name(name))
            if found.has_owner():
                raise LockedError(f"{self.url}/{name}: its writer is still at work")
            found.content = bytearray(found.content)
            return MemoryPart(self._shared, name, found)

    def is_part_abandoned(self, name: str) -> bool:
        with self._shared.guard:
            return not self._shared.find(check_name(name)).has_owner()

    def remove_abandoned(self, name: str) -> None:
        self.adopt_part(name).discard()

    def put(self, name: str, data: bytes, *, replace: bool) -> None:
        check_name(name)
        with self._shared.guard:
            if not replace:
                self._shared.must_be_free(name)
            self._shared.objects[name] = _Object(bytes(data))

    def rename(self, name: str, new: str) -> None:
        with self._shared.guard:
            self._shared.objects[check_name(new)] = self._shared.find(check_name(name))

    def put_all(self, names: Sequence[str], data: bytes) -> None:
        for name in names:
            self.put(name, data, replace=True)

    def delete(self, *names: str) -> None:
        with self._shared.guard:
            for name in names:
                self._shared.find(check_name(name))
                del self._shared.objects[name]

    def lock(self, name: str) -> MemoryLock:
        return MemoryLock(self._shared, check_name(name))

    def hold(self, mark: int) -> MemoryHold:
        with self._shared.guard:
            return MemoryHold(self._shared, mark)

    def is_held(self, mark: int) -> bool:
        with self._shared.guard:
            return any(hold.mark == mark for hold in self._shared.holds)

    def statvfs(self) -> os.statvfs_result | None:
        return None
