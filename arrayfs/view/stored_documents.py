"""Documents that a client wrote: what is stored of one, and what it shows where the container says otherwise now.

What is shown otherwise lies over the stored document as a draft that no commit takes. Nothing here knows JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.errors import FormatError
from arrayfs.view import paths, plain
from arrayfs.view.draft import Draft
from arrayfs.view.metadata import DOCUMENT_LIMIT
from arrayfs.view.nodes import File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


class StoredDocuments:
    """The stored documents of one tree. The caller holds the container's lock."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    def check(self, file: File) -> None:
        """Have a stored document show what it has to; another file is left alone."""
        file.checked = True
        binding = file.bindings[0] if file.bindings else None
        if binding is None or binding.name not in paths.DOCUMENT_NAMES or file.synthetic:
            return
        files = self._tree.files
        if file.draft is not None:
            if file not in files.unsettled or not self._tree.consolidated.is_stale(binding.directory, binding.name):
                return
            files.settle(file)
        try:
            if files.size(file) > DOCUMENT_LIMIT or file.is_link:
                return
            data = bytes(files.whole(file))
        except FormatError:
            return  # damaged: who reads it gets the error, the listing that it stands in does not
        shown = self._tree.documents.shown(binding.directory, binding.name, data)
        if shown != data:
            file.draft, file.judged = Draft(None, 0), True
            file.draft.write(0, shown)

    def _is_shown_otherwise(self, file: File) -> bool:
        return file.draft is not None and file.judged and file not in self._tree.files.unsettled

    def keep_as_shown(self, file: File) -> None:
        """A document gets another name: what it shows is its content from now on."""
        if self._is_shown_otherwise(file) and file.draft is not None:
            self._tree.files.put_off(file, file.draft)

    def show_anew(self, file: File) -> None:
        """What a document has to show may be otherwise now; who has it open for reading keeps what it showed."""
        if not file.checked:
            return  # nobody has looked since it was told last
        file.checked = False
        if file.writers:
            return  # what they write lies over what they see
        if file.opens and len(file.bindings) == 1:
            self._leave_to_readers(file)
        elif self._is_shown_otherwise(file):
            file.draft, file.judged = None, False

    def _leave_to_readers(self, file: File) -> None:
        """The name leads to another inode; this one keeps the content for those who have it open."""
        files, (binding,) = self._tree.files, file.bindings
        files.settle(file)
        files.load(file)
        fresh = File(self._tree.numbers.take(), file.mtime_ns, file.mode)
        fresh.size, fresh.bindings = file.size, [binding]
        file.kept = bytes(files.whole(file))
        file.draft, file.judged, file.bindings, file.size = None, False, [], len(file.kept)
        binding.directory.children[binding.name] = self._tree.nodes[fresh.ino] = fresh
        self._tree.changing.add(fresh.ino)

    def size(self, file: File) -> int:
        """Bytes of `content`."""
        self._tree.files.load(file)
        return file.draft.size if file.draft is not None and file in self._tree.files.unsettled else max(file.size, 0)

    def content(self, file: File) -> bytes:
        """A document as its client wrote it and closed it last, whatever is shown; empty if nobody closed it yet."""
        files = self._tree.files
        if file.draft is None or file in files.unsettled:
            return bytes(files.whole(file))
        array = files.backing(file.bindings[0])
        return b"" if array is None else bytes(plain.read(self._tree.container, array, file.size, 0, file.size))
