"""What can be imported: values under keys, wherever they come from, in loads that are read side by side.

A `Source` gives loads; what they hold is put into a container as it comes. A `KeySource` is one whose values can be
asked for one by one: folders, archives, stores. Others (files of numbers) make their keys while they read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

from arrayfs.view.entries import V2_NAME, V3_NAME

Value = bytes | memoryview

# Metadata documents. They come before what they describe, and before all else in their directory.
DOCUMENTS = (V3_NAME, ".zarray", ".zattrs", ".zgroup", V2_NAME)
ARRAY_DOCUMENTS = (V3_NAME, ".zarray")
# A value of more bytes is not had in memory as a whole.
LARGE = 32 << 20
# What one read takes of such a one out of a file.
PART = 4 << 20
# Threads that read files: while one waits for the disk, others read.
FILE_READERS = 4
# Small values are read many at a time: handing one to a thread and back takes as long as reading 64 KiB.
TOGETHER = 1 << 20
MOST_TOGETHER = 64
# Longer numbers are no chunk's, and Python refuses to read the longest.
_DIGITS = 20
# Values of which nobody says how large they are count as this until one is seen.
UNKNOWN = 1 << 20


@dataclass(frozen=True, slots=True)
class Large:
    """A value that comes in parts. size: bytes; parts: gives them, anew at each call."""

    size: int
    parts: Callable[[], Iterator[Value]]


# A key and its value; None: there is no such value any more.
Entry = tuple[str, Value | Large | None]


@dataclass(frozen=True, slots=True)
class Load:
    """Values that are read together. size: about the bytes of memory that they need.

    alone: there may be more of it than memory holds, so whoever takes the entries reads them one by one.
    """

    size: int
    read: Callable[[], Iterable[Entry]]
    alone: bool = False


class Item(NamedTuple):
    """A key, and how many bytes its value has; None: nobody says."""

    key: str
    size: int | None


class Remarks:
    """What people are told of a source, by path. left_out: what it has and a container cannot keep; notes: the rest."""

    def __init__(self) -> None:
        self.left_out: dict[str, str] = {}
        self.notes: dict[str, str] = {}


class Source(Protocol):
    """Something to be imported. Keys are paths without a slash in front.

    name: for people. threads: how many loads may be read at a time. look: the Zarr format of its documents, 3 or 2.
    groups: paths that get a group's document where none is. remarks: grow while loads are given.
    """

    name: str
    threads: int
    look: int
    groups: tuple[str, ...]
    remarks: Remarks

    def loads(self) -> Iterator[Load]:
        """All values, always in the same order, documents before what they describe. Raises OSError, SourceError."""

    def keys(self) -> Iterator[str]:
        """The keys that a value is found under before anything is read; of an array's chunks perhaps others."""

    def has(self, key: str) -> bool:
        """Whether there is a value of this key."""

    def total(self) -> int:
        """Bytes of all values, as far as they are known."""

    def close(self) -> None: ...


class KeySource(Protocol):
    """Values that can be asked for by key, from several threads at a time."""

    name: str
    threads: int
    remarks: Remarks

    def items(self) -> Iterator[Item]:
        """All keys in the order of `order`, directory by directory."""

    def read(self, key: str) -> Value:
        """A value."""

    def parts(self, key: str) -> Iterator[Value]:
        """A value in parts of some MiB."""

    def has(self, key: str) -> bool: ...

    def close(self) -> None: ...


def order(name: str) -> tuple[int, tuple[int, ...], str]:
    """Sorts the names of one directory: documents, then names of chunks by their numbers, then all others."""
    if name in DOCUMENTS:
        return 0, (DOCUMENTS.index(name),), name
    numbers = name.removeprefix("c.").split(".")
    if all(number.isdecimal() and number.isascii() and len(number) < _DIGITS for number in numbers):
        return 1, tuple(map(int, numbers)), name
    return 2, (), name


def path_order(key: str) -> tuple[tuple[int, tuple[int, ...], str], ...]:
    """Sorts whole keys as walking through directories does, the files of each before its directories."""
    *above, name = key.split("/")
    return (*((3, *order(part)[1:]) for part in above), order(name))


class AsTheyAre:
    """A `Source` that gives the values of a `KeySource` bit for bit."""

    def __init__(self, values: KeySource) -> None:
        self._values = values
        self.name, self.threads, self.remarks = values.name, values.threads, values.remarks
        self.groups: tuple[str, ...] = ()
        self.look = 2 if not values.has(V3_NAME) and (values.has(".zgroup") or values.has(".zarray")) else 3

    def loads(self) -> Iterator[Load]:
        return loads_of(self._values, self._values.items())

    def keys(self) -> Iterator[str]:
        return (item.key for item in self._values.items())

    def has(self, key: str) -> bool:
        return self._values.has(key)

    def total(self) -> int:
        return sum(item.size or 0 for item in self._values.items())

    def close(self) -> None:
        self._values.close()


def load_of(*documents: tuple[str, bytes]) -> Load:
    """Documents that need not be read any more."""
    return Load(sum(len(content) for _, content in documents), partial(list, documents))


def loads_of(values: KeySource, items: Iterable[Item]) -> Iterator[Load]:
    """The values of these items, small ones together."""
    waiting: list[str] = []
    held = 0
    seen = [UNKNOWN]
    for key, size in items:
        if size is not None and size > LARGE:
            yield Load(0, partial(list, [(key, Large(size, partial(values.parts, key)))]))
            continue
        if size is None:
            yield Load(seen[0], partial(_alone, values, key, seen))
            continue
        waiting.append(key)
        held += size
        if held >= TOGETHER or len(waiting) == MOST_TOGETHER:
            yield _together(values, waiting, held)
            waiting, held = [], 0
    if waiting:
        yield _together(values, waiting, held)


def _together(values: KeySource, keys: list[str], size: int) -> Load:
    return Load(size, lambda: [(key, values.read(key)) for key in keys])


def _alone(values: KeySource, key: str, seen: list[int]) -> list[Entry]:
    """A value of unknown size; the next ones count as the largest that was seen."""
    value = values.read(key)
    seen[0] = max(seen[0], len(value))
    return [(key, value)]
