"""The values of a container as zarr-python asks for them: every method of its store that looks or changes something.

What is in memory, and what is quickly unpacked, is answered at once, in the calling thread or coroutine; a coroutine
has large blocks unpacked by a thread. The synchronous methods are the implementation, the asynchronous ones call them.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from zarr.abc.store import OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, default_buffer_prototype

from arrayfs.api.usage import Usage
from arrayfs.view.keys import WHOLE, Keys, Reading, Value

if TYPE_CHECKING:
    from zarr.abc.store import ByteRequest
    from zarr.core.buffer import BufferPrototype


class ValueStore(Store):
    """A store over whatever `_keys` gives. `_usage` notes what is asked."""

    supports_writes = True
    supports_deletes = True
    supports_listing = True
    _usage: Usage

    @abstractmethod
    def _keys(self) -> Keys:
        """What the store works on, opened if need be."""

    @abstractmethod
    def _changed(self) -> None:
        """Something was set or removed."""

    # --- reading ------------------------------------------------------------------------------------------------------

    def get_sync(
        self, key: str, *, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        begin = time.perf_counter_ns()
        window = WHOLE if byte_range is None else _window(byte_range)
        reading = self._keys().plan(key, window)
        return self._got(key, None if reading is None else reading.fetch(), prototype, begin)

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        begin = time.perf_counter_ns()
        window = WHOLE if byte_range is None else _window(byte_range)
        reading: Reading | None = self._keys().plan(key, window)
        content: Value | None = None
        if reading is not None:
            content = await asyncio.to_thread(reading.fetch) if reading.slow else reading.fetch()
        return self._got(key, content, prototype, begin)

    def _got(self, key: str, content: Value | None, prototype: BufferPrototype | None, begin: int) -> Buffer | None:
        if content is None:
            self._usage.add("get", key, None, begin)
            return None
        self._usage.add("get", key, len(content), begin)
        buffer = (prototype or default_buffer_prototype()).buffer
        return buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        begin = time.perf_counter_ns()
        found = key in self._keys()
        self._usage.add("exists", key, 0 if found else None, begin)
        return found

    async def getsize(self, key: str) -> int:
        size = self._keys().size(key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def getsize_prefix(self, prefix: str) -> int:
        keys = self._keys()
        return sum(keys.size(key) or 0 for key in keys.below(_directory(prefix)))

    # --- writing ------------------------------------------------------------------------------------------------------

    def set_sync(self, key: str, value: Buffer) -> None:
        self._set(key, value, replace=True)

    async def set(self, key: str, value: Buffer) -> None:
        self._set(key, value, replace=True)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        self._set(key, value, replace=False)

    def _set(self, key: str, value: Buffer, *, replace: bool) -> None:
        begin = time.perf_counter_ns()
        self._check_writable()
        if not isinstance(value, Buffer):
            raise TypeError(f"{type(self).__name__}.set(): a Buffer is wanted, not {type(value).__name__}")
        content = value.to_bytes()
        done = self._keys().put(key, content, replace=replace)
        self._changed()
        self._usage.add("set", key, len(content) if done else None, begin)

    def delete_sync(self, key: str) -> None:
        begin = time.perf_counter_ns()
        self._check_writable()
        done = self._keys().remove(key)
        self._changed()
        self._usage.add("delete", key, 0 if done else None, begin)

    async def delete(self, key: str) -> None:
        self.delete_sync(key)

    async def delete_dir(self, prefix: str) -> None:
        """Remove all below a prefix, arrays at one stroke."""
        begin = time.perf_counter_ns()
        self._check_writable()
        done = self._keys().remove_below(prefix.rstrip("/"))
        self._changed()
        self._usage.add("delete_dir", prefix, 0 if done else None, begin)

    # --- listing ------------------------------------------------------------------------------------------------------

    async def is_empty(self, prefix: str) -> bool:
        return next(self._keys().below(_directory(prefix)), None) is None

    def list(self) -> AsyncIterator[str]:
        return self.list_prefix("")

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        begin = time.perf_counter_ns()
        for key in self._keys().below(prefix):
            yield key
        self._usage.add("list", prefix, 0, begin)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        begin = time.perf_counter_ns()
        for name in self._keys().names(prefix):
            yield name
        self._usage.add("list", prefix, 0, begin)


def _directory(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def _window(byte_range: ByteRequest) -> slice:
    """The part of a value that is asked for."""
    match byte_range:
        case RangeByteRequest(start, end):
            return slice(start, end)
        case OffsetByteRequest(offset):
            return slice(offset, None)
        case SuffixByteRequest(suffix):
            return slice(-suffix, None) if suffix else slice(0, 0)
    raise ValueError(f"Unexpected byte_range, got {byte_range!r}.")
