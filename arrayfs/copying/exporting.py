"""Files out of a container into a Zarr store of another kind: threads unpack and write, and memory is bounded.

What is read is one version, which does not change and needs no lock. Small files go in batches, so that a million of
them is no million of tasks; large ones come in parts.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

from arrayfs.copying.ahead import ahead
from arrayfs.copying.contents import Contents
from arrayfs.copying.target import Content, FileTarget
from arrayfs.copying.walking import Chosen, Entry, is_array, walk
from arrayfs.errors import TargetError

# Files of one batch, and bytes of them.
BATCH = 64
BATCH_SIZE = 4 << 20
# Batches under way for each thread: what is read and not yet written.
WAITING = 3
# A large chunk in a compressed block is in memory while it is read.
LARGE_AT_ONCE = 2
Order = Literal["walk", "documents last", "documents first"]
# Called with the bytes of files that are done, and of how many.
Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was exported. dest: where to; kind: what it is; version: of the container; size: bytes, before any codec;
    notes: by path, what is said in another way there.
    """

    dest: str
    kind: str
    version: int
    arrays: int
    files: int
    size: int
    notes: dict[str, str] = field(default_factory=dict)


def default_jobs() -> int:
    """Threads that are worth having: more share one interpreter."""
    return min(len(os.sched_getaffinity(0)), 8)


class FileExport:
    """One export of files."""

    def __init__(self, contents: Contents, chosen: Chosen, target: FileTarget, jobs: int) -> None:
        self._contents, self._chosen, self._target = contents, chosen, target
        self._jobs = max(1, jobs)
        self._large = threading.Semaphore(LARGE_AT_ONCE)
        self.arrays = self.files = self.size = 0

    def count(self) -> None:
        """Look at every name: what cannot be put is refused before anything is written. Raises TargetError."""
        for entry in walk(self._contents.tree, self._chosen):
            self._target.accept(entry)
            if entry.is_directory:
                self.arrays += is_array(self._contents.tree, entry)
            else:
                self.files += 1
                self.size += entry.attr.size

    def run(self, *, order: Order, verify: bool, progress: Progress | None) -> None:
        """Copy. order: "walk" is that of the walk.

        Raises FormatError for damage, OSError where the medium fails, TargetError if `verify` finds another content.
        """
        if order == "walk":
            self._go_through(lambda entry: True, self._copy, progress)
        else:
            for documents in (False, True) if order == "documents last" else (True, False):
                wanted = partial(_is_document, documents)
                self._go_through(wanted, self._copy, None if documents else progress)
        if verify:
            self._go_through(lambda entry: not entry.is_directory, self._check, None)

    def finish(self) -> None:
        """Make it visible."""
        self._target.finish(self._directories())

    def _directories(self) -> Iterator[Entry]:
        """All directories, each after those below it."""
        above: list[Entry] = []
        for entry in walk(self._contents.tree, self._chosen, lambda entry: entry.is_directory):
            while above and not entry.path.startswith(f"{above[-1].path}/"):
                yield above.pop()
            above.append(entry)
        yield from reversed(above)

    def _go_through(
        self,
        wanted: Callable[[Entry], bool],
        act: Callable[[Entry, Content | None], None],
        progress: Progress | None,
    ) -> None:
        done = 0
        parallel = self._target.parallel
        prepare = partial(self._prepare, act if parallel else None)
        with closing(ahead(prepare, self._batches(wanted), self._jobs, self._jobs * WAITING)) as batches:
            for batch in batches:
                for entry, content in batch:
                    if not parallel:
                        act(entry, content)
                    done += entry.attr.size
                if progress is not None:
                    progress(done, self.size)

    def _batches(self, wanted: Callable[[Entry], bool]) -> Iterator[list[Entry]]:
        """Files that are read together; directories are made on the way, before anything is put into them."""
        batch: list[Entry] = []
        size = 0
        for entry in walk(self._contents.tree, self._chosen, wanted):
            if entry.is_directory and self._target.parallel:
                self._target.directory(entry)
                continue
            if batch and (len(batch) >= BATCH or size + entry.attr.size > BATCH_SIZE):
                yield batch
                batch, size = [], 0
            batch.append(entry)
            size += entry.attr.size
        if batch:
            yield batch

    def _prepare(
        self, act: Callable[[Entry, Content | None], None] | None, batch: list[Entry]
    ) -> list[tuple[Entry, Content | None]]:
        """Read files, and where threads may, do with them what is to be done."""
        found: list[tuple[Entry, Content | None]] = []
        for entry in batch:
            content = None if entry.is_directory else self._contents.whole(entry)
            if act is not None:
                act(entry, content)
                content = None
            found.append((entry, content))
        return found

    def _copy(self, entry: Entry, content: Content | None) -> None:
        if entry.is_directory:
            self._target.directory(entry)
        elif content is not None:
            self._target.put(entry, content)
        else:
            with self._large:
                self._target.put_parts(entry, self._contents.parts(entry), self._contents.size(entry))

    def _check(self, entry: Entry, content: Content | None) -> None:
        parts = self._contents.parts(entry) if content is None else iter((content,))
        if not self._target.check(entry, parts):
            raise TargetError(f"{entry.path}: reads back as something else")


def _is_document(wanted: bool, entry: Entry) -> bool:
    return entry.is_document == wanted
