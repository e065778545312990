"""The content of files: reading it, and putting what was written where each of a file's names keeps it.

A name that spells a chunk of an array keeps the content as a chunk, any other as a plain file. Which it is, is judged
when the file is flushed, synced, renamed and released, never while it is written.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING

from arrayfs.container.array import Array
from arrayfs.container.grid import Coord
from arrayfs.errors import FormatError, LimitError, RefusedError, StaleError
from arrayfs.view import documents, dying, plain
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.draft import PIECE_SIZE, BaseReader, Draft
from arrayfs.view.nodes import Binding, Directory, File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

# A file without a name keeps up to this much in memory for the handles that still read it.
KEPT_LIMIT = 64 << 20
# An opaque chunk is one Binary element: its u32 size and two offsets of 4 bytes (format chapter 9).
CHUNK_FILE_LIMIT = (1 << 32) - 8
# A plain file is an array of pieces, of which u32 counts the number.
FILE_LIMIT = ((1 << 32) - 1) * PIECE_SIZE
# Pieces of a plain file that is being written are handed to the pool above this, so that memory stays bounded.
DRAFT_LIMIT = 64 << 20


class Files:
    """Reads and writes the files of one tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._container = tree.container
        # Plain files that were flushed and not yet put into their arrays: a temporary name is mostly renamed at once.
        self.unsettled: dict[File, None] = {}
        self._unsettled_size = 0

    # --- reading ------------------------------------------------------------------------------------------------------

    def size(self, file: File) -> int:
        """Bytes of the file."""
        if file.draft is not None:
            return file.draft.size
        if file.synthetic:
            return len(self.whole(file))
        self.load(file)
        binding = file.bindings[0] if file.bindings else None
        if binding is not None and binding.zarr is not None:
            return binding.zarr.file_size(binding.coord)
        return file.size

    def read(self, file: File, offset: int, size: int) -> bytes | memoryview:
        """Bytes from `offset`, fewer at the end of the file."""
        self.load(file)
        if file.draft is not None:
            return file.draft.read(offset, size)
        whole = file.kept
        if whole is None:
            binding = file.bindings[0] if file.bindings else None
            if binding is None:
                raise StaleError(errno.ESTALE, "the file was removed, and its content with it")
            if binding.zarr is None and not file.synthetic and binding.array is not None:
                return plain.read(self._container, binding.array, file.size, offset, size)
            whole = self.whole(file)
            if file.opens:
                file.kept = whole
        return memoryview(whole)[offset : offset + size]

    def whole(self, file: File) -> bytes | memoryview:
        """The whole content of a file."""
        self.load(file)
        if file.draft is not None:
            return file.draft.whole()
        if file.kept is not None:
            return file.kept
        if not file.bindings:
            raise StaleError(errno.ESTALE, "the file was removed, and its content with it")
        binding = file.bindings[0]
        if file.synthetic:
            return self._tree.documents.render(binding.directory, binding.name)
        if binding.zarr is not None:
            return binding.zarr.read(binding.coord)
        if binding.array is None:
            return b""
        return plain.read(self._container, binding.array, file.size, 0, file.size)

    def load(self, file: File) -> None:
        """Look at the array of a stored file, if nobody did yet."""
        if file.size < 0:
            for binding in file.bindings:
                self.backing(binding)
            array = file.bindings[0].array
            if array is not None:
                file.size, file.mode, mtime_ns = plain.read_attributes(array)
                file.mtime_ns = self._container.stack.newest.time_ns if mtime_ns is None else mtime_ns

    def backing(self, binding: Binding) -> Array | None:
        """The array that keeps a plain file under this name, if it was stored."""
        if binding.array is None and binding.array_name is not None:
            binding.array = self._container.get(binding.array_name)
            binding.array_name = None
        return binding.array

    # --- writing ------------------------------------------------------------------------------------------------------

    def open_draft(self, file: File, size: int | None = None) -> Draft:
        """The file's draft, begun if there is none. size: what the file is truncated to, so that no more is read."""
        if not file.checked and size != 0:
            self._tree.stored_documents.check(
                file
            )  # what is written lies over what is shown, whether anybody looked or not
        if file.draft is not None and file.judged:
            self.settle(file)
            file.judged = False
        if file.draft is None:
            old = 0 if size == 0 else self.size(file)
            file.draft = Draft(self._base(file) if old else None, old)
            file.judged = False
        return file.draft

    def own(self, file: File) -> None:
        """Have the content in a draft, so that it can be put under another name."""
        if file.draft is None or file.judged:
            content = bytes(self.whole(file))
            self.unsettle(file)
            file.draft = Draft(None, 0)
            if content:
                file.draft.write(0, content)

    def _base(self, file: File) -> BaseReader:
        """What the draft lies over: the file as it is kept now."""
        binding = file.bindings[0] if file.bindings else None
        if binding is not None and binding.zarr is None and not file.synthetic and binding.array is not None:
            return partial(plain.read, self._container, binding.array, file.size)
        whole = memoryview(self.whole(file))
        return lambda offset, size: whole[offset : offset + size]

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Put `data` at `offset`. Raises RefusedError EFBIG where the file would cross the format's limit."""
        if offset + len(data) > CHUNK_FILE_LIMIT:
            self._check_size(file, offset + len(data))
        draft = self.open_draft(file)
        draft.write(offset, data)
        file.kept = None
        if len(draft.pieces) * PIECE_SIZE > DRAFT_LIMIT:
            self._spill(file, draft)
        return len(data)

    def _check_size(self, file: File, size: int) -> None:
        is_chunk = any(self.chunk_place(binding) for binding in file.bindings)
        limit = CHUNK_FILE_LIMIT if is_chunk else FILE_LIMIT
        if size > limit:
            raise RefusedError(errno.EFBIG, f"a {'chunk' if is_chunk else 'plain'} file may have {limit} bytes")

    def _spill(self, file: File, draft: Draft) -> None:
        """A large plain file is being written: hand its pieces to the pool already."""
        if len(file.bindings) != 1 or dying.counts_whole(self._tree, file):
            return
        self._store_plain(file, file.bindings[0], draft)
        file.draft = Draft(self._base(file), file.size)

    def truncate(self, file: File, size: int) -> None:
        """Cut the file, or let it grow by zeros. Raises RefusedError EFBIG as `write` does."""
        if size > CHUNK_FILE_LIMIT:
            self._check_size(file, size)
        self.open_draft(file, size).truncate(size)
        file.kept = None

    # --- judging ------------------------------------------------------------------------------------------------------

    def chunk_place(self, binding: Binding) -> tuple[ZarrArray, Coord] | None:
        """The chunk that a name spells, if its directory belongs to an array."""
        if binding.zarr is not None:
            return binding.zarr, binding.coord
        return self._tree.chunk_place(binding.directory, binding.name)

    def judge(self, file: File, *, final: bool) -> None:
        """Decide what the draft is. final: nobody writes on, so a chunk of a wrong length becomes a plain file."""
        draft = file.draft
        if draft is None or file.judged or not file.bindings:
            return
        places = [self.chunk_place(binding) for binding in file.bindings]
        if any(places):
            if not final and not all(
                place is None or place[0].chunks.accepts(draft.size) is not False for place in places
            ):
                return  # half-written, perhaps: FLUSH is a hint, the old content stays what a commit takes
            self._judge_chunk(file, draft, places, final=final)
            return
        file.judged, file.fresh, file.authors = True, False, frozenset()
        self.put_off(file, draft)
        for binding in file.bindings:
            if binding.name in documents.NAMES:
                if file.synthetic:  # it was made from the container; what a client wrote into it is the client's
                    file.synthetic = False
                    self._tree.synthetic.pop((binding.directory.ino, binding.name), None)
                    self._tree.materialise(binding.directory).children[binding.name] = file
                self._tree.documents.changed(binding.directory, binding.name)
        if self._unsettled_size > self._container.options.pool.dirty_limit // 4:
            self.settle_all()

    def _judge_chunk(
        self, file: File, draft: Draft, places: list[tuple[ZarrArray, Coord] | None], *, final: bool
    ) -> None:
        content: bytes | memoryview | None = None
        for binding, place in zip(list(file.bindings), places, strict=True):
            if place is None:
                self._store_plain(file, binding, draft)
                continue
            try:
                _check_length(*place, draft.size)
                # not before: a file of a wrong length may be long and hardly have bytes
                content = draft.whole() if content is None else content
                self.bind_chunk(file, binding, *place, content)
            except (FormatError, LimitError) as error:
                if not final:
                    return
                self._tree.warn(f"{'/'.join(self._tree.path_of(binding))}: kept as a plain file: {error}")
                self.bind_plain(file, binding, *place)
                self._store_plain(file, binding, draft)
        file.draft, file.judged, file.kept = None, False, None
        file.fresh, file.authors = False, frozenset()

    def bind_chunk(
        self, file: File, binding: Binding, zarr: ZarrArray, coord: Coord, content: bytes | memoryview
    ) -> None:
        """Keep a file's content as a chunk. Raises FormatError (and nothing changed) if it can be none."""
        _check_length(zarr, coord, len(content))
        zarr.write(coord, content, file.mtime_ns)
        self._drop_plain(binding)
        binding.directory.children.pop(binding.name, None)
        binding.zarr, binding.coord = zarr, coord
        zarr.files[coord] = file
        if self._tree.on_invalidate is not None and zarr.is_clipped(coord):
            self._tree.on_invalidate([file.ino], [])  # the kernel may keep pages of what was dropped at the edge

    def bind_plain(self, file: File, binding: Binding, zarr: ZarrArray, coord: Coord) -> None:
        """Keep a file's content as a plain file from now on; the chunk under that name is gone."""
        if zarr.has(coord):
            zarr.remove(coord, file.mtime_ns)
        zarr.files.pop(coord, None)
        binding.zarr = None
        self._tree.nodes[file.ino] = file  # the kernel goes on using the number, which was the chunk's
        self._tree.materialise(binding.directory).children[binding.name] = file

    # --- plain files --------------------------------------------------------------------------------------------------

    def settle(self, file: File) -> None:
        """Put a flushed plain file into its arrays."""
        if file not in self.unsettled or file.draft is None:
            return
        for binding in file.bindings:
            if binding.zarr is None:
                self._store_plain(file, binding, file.draft)
        if not file.bindings:
            file.kept = file.draft.whole()
        # last: where the medium failed above, the next settling has to do it again
        del self.unsettled[file]
        self._unsettled_size -= file.draft.held
        file.draft, file.judged = None, False

    def put_off(self, file: File, draft: Draft) -> None:
        """A plain file's draft is what a commit takes; until then, or until there are too many, it stays a draft."""
        self.unsettled[file] = None
        self._unsettled_size += draft.held

    def settle_all(self) -> None:
        """Put all flushed plain files into their arrays."""
        for file in list(self.unsettled):
            self.settle(file)

    def unsettle(self, file: File) -> None:
        """The file has no name any more: nothing of it has to be stored."""
        if file in self.unsettled:
            del self.unsettled[file]
            if file.draft is not None:
                self._unsettled_size -= file.draft.held
        file.judged = False

    def _store_plain(self, file: File, binding: Binding, draft: Draft) -> None:
        container = self._container
        array = self.backing(binding)
        if array is None:
            array = binding.array = container.define(self.array_name(binding), plain.spec_of(0), {})
            draft = _self_contained(draft)
        plain.store(container, array, draft, file.mtime_ns)
        file.size = draft.size
        container.set_attributes(array, plain.attributes_of(draft.size, file.mode, file.mtime_ns))

    def store_attributes(self, file: File) -> None:
        """Mode or time of a stored plain file changed."""
        for binding in file.bindings:
            if binding.array is not None:
                attributes = plain.attributes_of(file.size, file.mode, file.mtime_ns)
                self._container.set_attributes(binding.array, binding.array.attributes | attributes)

    def _drop_plain(self, binding: Binding) -> None:
        array = self.backing(binding)
        if array is not None:
            self._container.remove(array)
            binding.array = None

    def array_name(self, binding: Binding) -> str:
        """The container's name of a plain file."""
        return plain.FILES + "/".join((*binding.directory.path(), binding.name))

    def drop(self, file: File, binding: Binding, *, keep_chunk: bool = False) -> None:
        """One name of a file goes. With the last one, content is kept for the handles that are open.

        keep_chunk: what the array has there stays: another file takes the name, which may not be judged yet.
        """
        if len(file.bindings) == 1 and file.opens and file.draft is None:
            try:
                if self.size(file) <= KEPT_LIMIT:
                    file.kept = bytes(self.whole(file))
            except FormatError:
                pass  # damaged: the open handles read an error either way
        place = None if keep_chunk else self.chunk_place(binding)  # it may also be one that a file hides
        if place is not None and place[0].has(place[1]):
            place[0].remove(place[1], self._tree.now())
        if binding.zarr is not None:
            binding.zarr.files.pop(binding.coord, None)
        elif (
            len(file.bindings) > 1 and file.draft is None and binding.array is not None and binding is file.bindings[0]
        ):
            self._hand_over(file)
        file.bindings.remove(binding)
        self._drop_plain(binding)
        if not file.bindings:
            self.unsettle(file)
            if file.opens:
                self._tree.nodes[file.ino] = file  # its handles still ask by its number

    def _hand_over(self, file: File) -> None:
        """The first of several names goes: make sure that the next one has the content too."""
        other = file.bindings[1]
        if other.zarr is None and other.array is None:
            draft = Draft(None, 0)
            draft.write(0, bytes(self.whole(file)))
            self._store_plain(file, other, draft)

    def give_name(self, file: File, directory: Directory, name: str) -> Binding:
        """One more name for a file. Its content is judged for it at once unless it is still being written."""
        binding = Binding(directory, name)
        file.bindings.append(binding)
        self._tree.materialise(directory).children[name] = file
        return binding


def _check_length(zarr: ZarrArray, coord: Coord, size: int) -> None:
    if zarr.chunks.accepts(size) is False:
        raise FormatError(f"{size} bytes, but chunk {coord} of {zarr.array.name!r} has another length")


def _self_contained(draft: Draft) -> Draft:
    """A draft that needs no base: all of the file's content is in its pieces."""
    if not draft.base_size:
        return draft
    copy = Draft(None, 0)
    for number in range(-(-draft.size // PIECE_SIZE)):
        piece = bytes(draft.read(number * PIECE_SIZE, PIECE_SIZE))
        if any(piece):
            copy.write(number * PIECE_SIZE, piece)
    copy.size = draft.size
    return copy
