"""What a store promises: a flat set of named byte objects that are made whole, never change, and are removed whole.

Everything is synchronous and may be called from several threads. Offsets and sizes are bytes. What the medium itself
refuses (ENOSPC, EIO, EDQUOT, EROFS, EACCES, …) is raised as the OSError it is, with its errno; what a caller can act
on has a name in `errors.py`. What a particular store can do is data: `Store.supports`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

if TYPE_CHECKING:
    from typing_extensions import Buffer

LIST = "list"
CONDITIONAL_PUT = "conditional_put"
ATOMIC_RENAME = "atomic_rename"
RANGE_READS = "range_reads"
LOCKS = "locks"
DURABLE = "durable"

# The end of what `put` is still writing; such names are the store's own: not listed, and refused from outside.
PUT_SUFFIX = ".put"


def check_name(name: str) -> str:
    """Return `name` if it can name an object in a folder; raise ValueError otherwise."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot name an object")
    if is_own_name(name):
        raise ValueError(f"{name!r} is a name that the store keeps for itself")
    return name


def is_own_name(name: str) -> bool:
    """Tell whether `name` is one that `put` uses for what it has not finished."""
    return name.startswith(".") and name.endswith(PUT_SUFFIX)


def check_range(offset: int, size: int) -> None:
    """Raise ValueError for a range that no object can have."""
    if offset < 0 or size < 0:
        raise ValueError(f"offset {offset} and size {size} must not be negative")


class Blob(Protocol):
    """One immutable object, opened: it keeps its content even when its name is removed or replaced."""

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def stored_bytes(self) -> int:
        """What the object takes on its medium."""

    @property
    def mtime_ns(self) -> int: ...

    def read(self, offset: int, size: int) -> bytes:
        """Return exactly `size` bytes; raise ShortReadError where the object has fewer."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill `buffer` (writable, contiguous); raise ShortReadError where the object has fewer bytes."""

    def is_current(self) -> bool:
        """Tell whether its name still stands for this object, not for another or nothing."""

    def close(self) -> None:
        """Let go of the object; reads that run in other threads still finish. Closing twice is allowed."""


class Part(Protocol):
    """An object in the making, append-only and owned by one writer until it is published, discarded or closed.

    Appends of several threads are put one after another. A part whose owner ended without either is *abandoned*: it
    stays under its name until `Store.adopt_part` or `Store.remove_abandoned`.
    """

    @property
    def name(self) -> str: ...

    @property
    def size(self) -> int: ...

    def append(self, *buffers: Buffer) -> int:
        """Write all buffers, one after another, and return the offset of the first byte.

        When that fails, the part is cut back to where it ended before, then the error is raised.
        """

    def read(self, offset: int, size: int) -> bytes:
        """As `Blob.read`. Works until `close`, also after `publish`."""

    def truncate(self, size: int) -> None:
        """Cut the part back to `size`, for a torn end that recovery found. Raise ValueError if it is shorter."""

    def sync(self) -> None:
        """Return when power loss takes nothing of what was appended.

        Once this has failed it fails for good, with the same errno: the kernel reports a lost page only once, and
        what a later sync says of it means nothing.
        """

    def publish(self, name: str) -> None:
        """Sync, then show the content under `name`, durably; the part's own name goes.

        Raises ObjectExistsError (and the part is as before) if `name` is there. An OSError may come from before or
        after the moment at which `name` appeared: look, before trying again.
        """

    def replace(self, name: str) -> None:
        """As `publish`, but what had the name is replaced, in one step. Readers of that keep it."""

    def discard(self) -> None:
        """Remove the part and close it."""

    def close(self) -> None:
        """Let go of the part. One that was not published stays behind, abandoned. Closing twice is allowed."""


class Lock(Protocol):
    """An exclusive lock, between threads, stores and processes; not held when made. Not re-entrant."""

    def acquire(self) -> None:
        """Wait for the lock."""

    def try_lock(self) -> None:
        """Take the lock, or raise LockedError at once if another holds it."""

    def release(self) -> None:
        """Give the lock up; nothing happens if it is not held."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Hold(Protocol):
    """Says to others that something is in use; ends with `release`, or with the process."""

    def release(self) -> None: ...


class Store(Protocol):
    """A flat folder of objects. A name has no `/` and is not `.` or `..` (ValueError)."""

    @property
    def url(self) -> str: ...

    @property
    def supports(self) -> frozenset[str]:
        """Which of the abilities named in this module the store has."""

    def list(self) -> list[str]:
        """Return the names of all objects, parts and locks, sorted."""

    def open(self, name: str) -> Blob:
        """Open an object. Raises MissingObjectError."""

    def create_part(self, name: str) -> Part:
        """Begin an object. Raises ObjectExistsError if `name` is there."""

    def adopt_part(self, name: str) -> Part:
        """Become the owner of an abandoned part. Raises LockedError if it has an owner, MissingObjectError."""

    def is_part_abandoned(self, name: str) -> bool:
        """Tell whether a part has no owner at this moment. Raises MissingObjectError."""

    def remove_abandoned(self, name: str) -> None:
        """Remove a part that has no owner. Raises LockedError if it has one, MissingObjectError."""

    def put(self, name: str, data: bytes, *, replace: bool) -> None:
        """Store a whole object, atomically and durably.

        Raises ObjectExistsError if `name` is there and `replace` is false.
        """

    def rename(self, name: str, new: str) -> None:
        """Have `new` stand for the object `name`, in one step and durably, replacing what it stood for.

        `name` may go on standing for it too: so there is a moment at which both do, and none at which neither does.
        One process at a time may do this for a name. Raises MissingObjectError.
        """

    def put_all(self, names: Sequence[str], data: bytes) -> None:
        """Store one object under each of these names, replacing what they stood for, in this order.

        Durable when it returns. What is left if it does not return is a beginning of it, as far as the medium keeps the
        order of changes.
        """

    def delete(self, *names: str) -> None:
        """Remove objects, in this order, with the same promise. Raises MissingObjectError."""

    def hold(self, mark: int) -> Hold:
        """Say that what `mark` stands for is in use; any number may. mark: 0 to 2**62 - 1, as users of the store agree.

        Where the medium cannot say such a thing, nobody hears of it.
        """

    def is_held(self, mark: int) -> bool:
        """Tell whether anybody holds `mark` at this moment."""

    def lock(self, name: str) -> Lock:
        """Return the lock of this name. Its object is made when it is first taken and must never be deleted."""

    def statvfs(self) -> os.statvfs_result | None:
        """Return what the medium says of its space, or None where it cannot say."""


@runtime_checkable
class Shared(Protocol):
    """A store whose objects have permissions of their own."""

    def take_after(self, name: str) -> None:
        """From now on give what is published, and locks that are made, the permissions of the object `name`."""


@runtime_checkable
class Hastened(Protocol):
    """A part that can be on its way to the medium before `sync` waits for it."""

    def begin_sync(self) -> None:
        """Have what was appended written out, without waiting for it; what fails, `sync` says."""
