"""A journal of what was changed through the API, written when it is asked for (`flush`), not at every call.

Names and documents are noted as they change, in order; of chunks it is enough to know which were written since the last
flush: what they hold then is what counts. The records are those of a mount's journal (`format/log.py`): a killed
writer's work is taken up by the next open for writing, whichever program that is.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from arrayfs.container.array import Array, Change
from arrayfs.container.grid import Coord
from arrayfs.container.journal import Journal, new_header
from arrayfs.container.stack import LayerStack
from arrayfs.format.log import LogHeader, Op, Operation
from arrayfs.store.protocol import Store
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.nodes import Directory

if TYPE_CHECKING:
    from arrayfs.api.session import ApiTree

DIRECTORY = 0o755
FILE = 0o644
# One record of a write; a record may have 64 MiB.
PIECE = 4 << 20


class Keeper:
    """Notes changes, and writes them down.

    Invariants
    - `_noted` holds what was done with names and documents since the last flush. A document that is written again takes
      the place of its last note, as long as nothing came in between that its order matters to.
    - Chunks whose time is later than `_flushed_ns` are not in the journal; `_erased` are those that a journal has, and
      that are gone without a trace in the pool.
    """

    def __init__(self, tree: ApiTree, journals: Store) -> None:
        self._tree = tree
        self._container = tree.container
        self._journals = journals
        self._journal = Journal(journals, tree.container.names, self._header)
        self._noted: deque[list[Operation]] = deque()
        self._last: dict[str, list[Operation]] = {}
        self._layer_id = b""
        self._flushed_ns = 0
        self._erased: dict[tuple[Array, Coord], str] = {}
        self._handle = 0

    def _header(self) -> LogHeader:
        return new_header(self._container, self._journals, 3)

    @property
    def name(self) -> str | None:
        """The journal's file, None while there is none."""
        return self._journal.name

    # --- notes --------------------------------------------------------------------------------------------------------

    def made_directory(self, path: str) -> None:
        """A directory was made, and those above it as far as they were missing."""
        self._note(Operation(Op.MKDIR, self._tree.now(), path, number=DIRECTORY, flag=True))

    def removed(self, path: str) -> None:
        """Something was removed, with all below it."""
        self._note(Operation(Op.REMOVE, self._tree.now(), path))

    def renamed(self, path: str, new_path: str) -> None:
        """Something has another name."""
        self._note(Operation(Op.RENAME, self._tree.now(), path, new_path))

    def _note(self, operation: Operation) -> None:
        self._noted.append([operation])
        self._last.clear()

    def wrote_document(self, path: str, content: bytes, *, same_chunks: bool) -> None:
        """A document was written. same_chunks: what it says of chunks is what was said before."""
        note = list(self._write(path, [content], self._tree.now()))
        last = self._last.get(path)
        if last is None or not same_chunks:
            self._last[path] = note
            self._noted.append(note)
        else:
            last[:] = note

    def erased(self, zarr: ZarrArray, coord: Coord) -> None:
        """A chunk was removed."""
        if self._journal.records:
            self._erased[zarr.array, zarr.stored(coord)] = zarr.path(coord)

    # --- the journal --------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Have all that was changed survive the end of the process. Raises OSError; what it had taken is taken then."""
        now = self._tree.now()
        self._last.clear()
        while self._noted:
            self._add(self._noted.popleft())
        for operations in self._of_chunks(now):
            self._add(operations)
        self._journal.write()
        self._erased, self._flushed_ns = {}, now

    def _add(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            self._journal.add(operation)
        self._journal.make_room()

    def sync(self) -> None:
        """Have all that was flushed survive a loss of power. Raises OSError."""
        self._journal.sync(self._container.lock)

    def _of_chunks(self, now: int) -> Iterator[Iterable[Operation]]:
        """What has to be done again with each chunk; to do it twice is no harm."""
        for (array, coord), path in self._erased.items():
            if coord not in array.changes:
                yield [Operation(Op.UNLINK, now, path, flag=True)]
        for zarr in list(self._changed()):
            inner = (0,) * len(zarr.inner)
            for stored, change in sorted(zarr.array.changes.items()):
                if change.mtime_ns > self._flushed_ns:
                    yield self._of_chunk(zarr, (*stored, *inner), change)

    def _of_chunk(self, zarr: ZarrArray, coord: Coord, change: Change) -> Iterator[Operation]:
        path, time_ns = zarr.path(coord), change.mtime_ns
        if change.content is None:
            yield Operation(Op.UNLINK, time_ns, path, flag=True)
            return
        yield Operation(Op.MKDIR, time_ns, path.rpartition("/")[0], number=DIRECTORY, flag=True)
        yield from self._write(path, _cut(zarr.read(coord)), time_ns)

    def _changed(self) -> Iterator[ZarrArray]:
        """The arrays that were looked at, and whose chunks changed."""
        directories = [self._tree.root]
        while directories:
            directory = directories.pop()
            zarr = directory.zarr
            if zarr is not None and not zarr.gone and zarr.array.changes:
                yield zarr
            directories += [child for child in directory.children.values() if isinstance(child, Directory)]

    def _write(self, path: str, contents: Iterable[bytes], time_ns: int) -> Iterator[Operation]:
        self._handle += 1
        yield Operation(Op.CREATE, time_ns, path, number=FILE)
        yield Operation(Op.OPEN, time_ns, path, handle=self._handle, flag=True)
        offset = 0
        for content in contents:
            yield Operation(Op.WRITE, time_ns, handle=self._handle, number=offset, data=content)
            offset += len(content)
        yield Operation(Op.RELEASE, time_ns, handle=self._handle)

    # --- versions -----------------------------------------------------------------------------------------------------

    def moving(self, stack: LayerStack) -> None:
        """The changes are about to be carried over to a newer version: what is done from now on is done on that."""
        if not self._noted and not self._journal.records:
            return
        # what is not in the journal yet was done on the version before
        self.flush()
        ours = self._container.options.on_conflict == "ours"
        self._journal.add(Operation(Op.CATCH_UP, time.time_ns(), stack.newest.id.hex(), flag=ours))
        self._journal.write()

    def look_back(self) -> None:
        """Before anything changes: a commit of which it was not known whether it happened may have happened."""
        layer_id = self._container.pool.part.id
        if self._layer_id != layer_id:
            if self._layer_id:
                self.forget()
            self._layer_id = layer_id

    def forget(self) -> None:
        """All of it is in a version, or not wanted. Raises OSError if the journal is still there."""
        self._journal.discard()
        self._noted.clear()
        self._last, self._erased, self._flushed_ns, self._layer_id = {}, {}, 0, b""

    def close(self) -> None:
        """Let go of the journal; one that was not discarded stays for whoever opens the container next."""
        self._journal.close()


def _cut(content: bytes | memoryview) -> Iterator[bytes]:
    """Pieces that nobody changes any more: a chunk in the pool may be written to before they are in the file."""
    whole = memoryview(content)
    return (bytes(whole[start : start + PIECE]) for start in range(0, len(whole), PIECE))
