"""Where what is being written goes when it takes too much memory: to disk, whichever file it belongs to.

A file of which half may be taken for something, or that may get another name any moment, goes into slots as it is. Any
other plain file goes into its array already, for nothing else has to be done with it when it is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.container.large import LARGE
from arrayfs.container.pool import SPILLED_LIMIT
from arrayfs.store.scratch import Scratch
from arrayfs.view import dying
from arrayfs.view.draft import PIECE_SIZE, Draft
from arrayfs.view.nodes import File
from arrayfs.view.slots import Slots

if TYPE_CHECKING:
    from arrayfs.view.files import Files
    from arrayfs.view.tree import Tree

# All files that are being written have this much in memory together.
DRAFT_LIMIT = 64 << 20
# All slots may take this much of the disk before plain files that wait for another name go into their arrays.
SLOTS_LIMIT = 3 * SPILLED_LIMIT


class Spill:
    """The room of one tree's drafts, in memory and on disk."""

    def __init__(self, tree: Tree, files: Files) -> None:
        self._tree, self._files = tree, files
        self.slots = Slots(PIECE_SIZE, lambda: Scratch.beside(tree.scratch_store))
        # drafts have at most this much in memory; what was closed meanwhile counts until somebody looks
        self._held = 0

    def count(self, size: int) -> None:
        """A draft has grown by `size` bytes."""
        self._held += size

    def make_room(self) -> None:
        """Before something is written. Raises OSError if the disk is full, and nothing was lost."""
        if self._held <= DRAFT_LIMIT:
            return
        drafts = {
            file: file.draft.held for file in self._tree.being_written if file.draft is not None and not file.judged
        }
        self._held = sum(drafts.values())
        if self._held <= DRAFT_LIMIT:
            return
        for file in sorted(drafts, key=lambda file: drafts[file], reverse=True):
            self._put_on_disk(file, file.draft)
            self._held -= drafts[file]
            if self._held <= DRAFT_LIMIT // 2:
                return

    def _put_on_disk(self, file: File, draft: Draft | None) -> None:
        if draft is None:
            return
        if self.stays_plain(file):
            self._files.store_begun(file, draft)
        else:
            draft.put_on_disk(self.slots)

    def stays_plain(self, file: File) -> bool:
        """Whether a file is likely to keep its one name, and is plain under it.

        Not in the directory of an array: most libraries write a chunk under another name there, and rename it.
        """
        if len(file.bindings) != 1 or dying.counts_whole(self._tree, file):
            return False
        return not any(True for _ in self._tree.arrays_of(file.bindings[0].directory))

    def settle(self, file: File, draft: Draft) -> None:
        """A plain file was closed, and waits for another name, or to be stored: it does not hold much meanwhile."""
        if draft.held <= LARGE:
            return
        if self.stays_plain(file):
            self._files.store_begun(file, draft)
        else:
            draft.put_on_disk(self.slots)

    @property
    def is_full(self) -> bool:
        """Whether too much of the disk is taken."""
        return self.slots.size > SLOTS_LIMIT
