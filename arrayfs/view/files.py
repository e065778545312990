"""The content of files: reading it, and putting what was written where each of a file's names keeps it.

A name that spells a chunk of an array keeps the content as a chunk, any other as a plain file. Which it is, is judged
when the file is flushed, synced, renamed and released, never while it is written.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from arrayfs.container.array import Array
from arrayfs.container.grid import Coord
from arrayfs.container.large import LARGE, Stretch
from arrayfs.errors import ArrayFSError, FormatError, LimitError, RefusedError, StaleError
from arrayfs.view import documents, plain
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.content import Content, cut, draft_over, size_of, whole_of
from arrayfs.view.draft import PIECE_SIZE, Draft
from arrayfs.view.nodes import Binding, Directory, File
from arrayfs.view.spill import Spill

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

# An opaque chunk is one Binary element: its u32 size and two offsets of 4 bytes (format chapter 9).
CHUNK_FILE_LIMIT = (1 << 32) - 8
# A plain file is an array of pieces, of which u32 counts the number.
FILE_LIMIT = ((1 << 32) - 1) * PIECE_SIZE


class Files:
    """Reads and writes the files of one tree."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._container = tree.container
        # Plain files that were flushed and not yet put into their arrays: a temporary name is mostly renamed at once.
        self.unsettled: dict[File, None] = {}
        self._unsettled_size = 0
        self._undecided: dict[File, None] = {}  # closed, and the medium failed while they were judged
        self.spill = Spill(tree, self)

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
        if file.kept is None:
            binding = file.bindings[0] if file.bindings else None
            if binding is not None and binding.zarr is None and not file.synthetic and binding.array is not None:
                return plain.read(self._container, binding.array, file.size, offset, size)
            content = self.content(file)
            if not file.opens:
                return cut(content, offset, size)
            file.kept = content
        return cut(file.kept, offset, size)

    def content(self, file: File) -> Content:
        """The content of a file, in memory only where that cannot be avoided, or it is small."""
        self.load(file)
        if file.draft is not None:
            return file.draft
        if file.kept is not None:
            return file.kept
        if not file.bindings:
            raise StaleError(errno.ESTALE, "the file was removed, and its content with it")
        binding = file.bindings[0]
        if file.synthetic:
            return self._tree.documents.render(binding.directory, binding.name)
        if binding.zarr is not None:
            return binding.zarr.content(binding.coord)
        if binding.array is None:
            return b""
        array = binding.array
        read = partial(plain.read, self._container, array, file.size)
        return Stretch(read, 0, file.size, partial(plain.pieces_of, array))

    def whole(self, file: File) -> bytes | memoryview:
        """The whole content of a file, in memory."""
        content = self.content(file)
        return content.whole() if isinstance(content, Draft) else whole_of(content)

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
            file.draft = self._begun(self.content(file)) if old else Draft(None, 0)
            file.judged = False
        return file.draft

    def own(self, file: File) -> None:
        """Have the content in a draft, so that it can be put under another name."""
        if file.draft is None or file.judged:
            content = self.content(file)
            if size_of(content) > LARGE:
                self._pack(file)
                draft = self._begun(content)
            else:
                draft = Draft(None, 0)
                draft.write(0, bytes(self.whole(file)))
            self.unsettle(file)
            file.draft = draft

    def own_later(self, file: File, content: Content) -> None:
        """The same, of content that cannot be read now: who reads it, or stores it, tries again."""
        self.unsettle(file)
        file.draft = self._begun(content)

    def _begun(self, content: Content) -> Draft:
        """A draft over this content, which nobody writes to."""
        return content.shared(self.spill.slots) if isinstance(content, Draft) else draft_over(content)

    def _pack(self, file: File) -> None:
        """A large plain file will be read where it is stored, though its array may be dropped: not out of memory."""
        for binding in file.bindings:
            if binding.array is not None:
                self._container.pool.pack_array(binding.array)

    def write(self, file: File, offset: int, data: bytes) -> int:
        """Put `data` at `offset`. Raises RefusedError EFBIG where the file would cross the format's limit."""
        if offset + len(data) > CHUNK_FILE_LIMIT:
            self._check_size(file, offset + len(data))
        self.spill.make_room()
        draft = self.open_draft(file)
        self.spill.count(draft.write(offset, data))
        file.kept = None
        return len(data)

    def _check_size(self, file: File, size: int) -> None:
        is_chunk = any(self.chunk_place(binding) for binding in file.bindings)
        limit = CHUNK_FILE_LIMIT if is_chunk else FILE_LIMIT
        if size > limit:
            raise RefusedError(errno.EFBIG, f"a {'chunk' if is_chunk else 'plain'} file may have {limit} bytes")

    def store_begun(self, file: File, draft: Draft) -> None:
        """Put what was written so far of a plain file that has one name into its array."""
        self._store_plain(file, file.bindings[0], draft)
        file.draft, file.kept = None, None
        file.draft = draft_over(self.content(file))

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
        """Decide what the draft is. final: nobody writes on, so a chunk of a wrong length becomes a plain file.

        Where the medium fails in a final judgement, the next commit judges again.
        """
        try:
            self._judge(file, final=final)
        except ArrayFSError:
            raise
        except OSError:
            if final:
                self._undecided[file] = None
            raise

    def _judge(self, file: File, *, final: bool) -> None:
        draft = file.draft
        if draft is None or file.judged or not file.bindings:
            return
        places = [None if file.is_link else self.chunk_place(binding) for binding in file.bindings]
        if file.is_link:
            self._take_places(file)
        if any(places):
            if not final and not all(
                place is None or place[0].chunks.accepts(draft.size) is not False for place in places
            ):
                return  # half-written, perhaps: FLUSH is a hint, the old content stays what a commit takes
            self._judge_chunk(file, draft, places, final=final)
            return
        self.spill.settle(file, draft)
        file.judged, file.fresh, file.authors = True, False, frozenset()
        self.put_off(file, file.draft or draft)
        for binding in file.bindings:
            if binding.name in documents.NAMES:
                if file.synthetic:  # it was made from the container; what a client wrote into it is the client's
                    file.synthetic = False
                    self._tree.synthetic.pop((binding.directory.ino, binding.name), None)
                    self._tree.materialise(binding.directory).children[binding.name] = file
                self._tree.documents.changed(binding.directory, binding.name)
        if self._unsettled_size > self._container.options.pool.dirty_limit // 4 or self.spill.is_full:
            self.settle_all()

    def take_unread(self, file: File) -> None:
        """A draft that cannot be read now is a plain file, whatever its name says; no commit goes without it."""
        if file.draft is not None and not file.writers:
            file.judged, file.fresh, file.authors = True, False, frozenset()
            self.put_off(file, file.draft)

    def _take_places(self, file: File) -> None:
        """A symbolic link is no chunk, whatever its name says, nor is what the array has there shown any more."""
        for binding in file.bindings:
            place = self.chunk_place(binding)
            if place is not None and place[0].has(place[1]):
                self.bind_plain(file, binding, *place)

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
                if draft.size > LARGE and place[0].takes_as_it_is(place[1], draft.size):
                    self.bind_chunk(file, binding, *place, draft.shared(self.spill.slots))
                    continue
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
        self, file: File, binding: Binding, zarr: ZarrArray, coord: Coord, content: bytes | memoryview | Draft
    ) -> None:
        """Keep a file's content as a chunk. Raises FormatError (and nothing changed) if it can be none."""
        _check_length(zarr, coord, size_of(content))
        if isinstance(content, Draft):
            zarr.write_draft(coord, content, file.mtime_ns)
        else:
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
            file.kept = file.draft
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
        for file in list(self._undecided):
            if not file.writers:
                self.judge(file, final=True)
            self._undecided.pop(file, None)
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
        new = array is None
        if array is None:
            array = binding.array = container.define(self.array_name(binding), plain.spec_of(draft.size), {})
        try:
            plain.store(container, array, draft, file.mtime_ns, new=new)
        except BaseException:
            if new:
                self._drop_plain(binding)  # who tries again must not take it for what the draft lies over
            raise
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
        if len(file.bindings) == 1 and file.opens:
            self.keep(file)
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
        if file.bindings:
            if binding.zarr is not None:  # the other names go on with the number, which was the chunk's
                self._tree.nodes[file.ino] = file
        else:
            self.unsettle(file)
            if file.opens:
                self._tree.nodes[file.ino] = file  # its handles still ask by its number

    def keep(self, file: File) -> None:
        """The last name goes: have the content where handles find it without one."""
        with suppress(FormatError):  # damaged: the open handles read an error either way
            content = self.content(file)
            if size_of(content) > LARGE:
                self._pack(file)
            if file.draft is None:
                file.kept = content if size_of(content) > LARGE else bytes(whole_of(content))
                file.size = size_of(content)

    def _hand_over(self, file: File) -> None:
        """The first of several names goes: make sure that the next one has the content too."""
        other = file.bindings[1]
        if other.zarr is None and other.array is None:
            self._store_plain(file, other, self._begun(self.content(file)))

    def give_name(self, file: File, directory: Directory, name: str) -> Binding:
        """One more name for a file. Its content is judged for it at once unless it is still being written."""
        binding = Binding(directory, name)
        file.bindings.append(binding)
        self._tree.materialise(directory).children[name] = file
        return binding


def _check_length(zarr: ZarrArray, coord: Coord, size: int) -> None:
    if zarr.chunks.accepts(size) is False:
        raise FormatError(f"{size} bytes, but chunk {coord} of {zarr.array.name!r} has another length")
