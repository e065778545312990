"""What stat says of a node, and what of it can be set."""

from __future__ import annotations

from arrayfs.container.grid import Coord
from arrayfs.view.arrays import STAT_BLOCK, ZarrArray
from arrayfs.view.attr import Attr, kept_time
from arrayfs.view.files import Files
from arrayfs.view.finding import Nodes
from arrayfs.view.nodes import DIRECTORY_LINKS, FILE_MODE, Directory, File, ctime_of
from arrayfs.view.stored_documents import StoredDocuments


class Stating(Nodes):
    """The attributes of the nodes of one tree."""

    files: Files
    stored_documents: StoredDocuments

    def getattr(self, ino: int) -> Attr:
        """Attributes of an inode. Raises StaleError if it is gone."""
        if ino >= self.lent_from:
            return self.control.versions.getattr(ino)
        with self.container.lock:
            return self.attr(self.node(ino))

    def mode(self, ino: int) -> int:
        """Type and permissions of an inode: asked at every open by a user who is not root."""
        if ino >= self.lent_from:
            return self.control.versions.getattr(ino).mode
        with self.container.lock:
            node = self.node(ino)
            return FILE_MODE if isinstance(node, tuple) else self.attr(node).mode

    def setattr(
        self,
        ino: int,
        *,
        size: int | None = None,
        mode: int | None = None,
        atime_ns: int | None = None,
        mtime_ns: int | None = None,
    ) -> Attr:
        """Change size (bytes), permissions or times. Times of access are not kept."""
        with self.container.lock:
            self.check_change(None)
            node = self.node(ino)
            if mtime_ns is not None:
                mtime_ns = kept_time(mtime_ns)
            if isinstance(node, Directory):
                self._set_of_directory(node, mode, mtime_ns)
                return self.attr(node)
            file = self.file(node)
            if size is not None:
                self._truncate(file, size)
            if mode is not None:
                self.control.refuse_mode(file)
                file.mode = (file.mode & ~0o7777) | (mode & 0o7777)
            if mtime_ns is not None:
                self._set_time(file, mtime_ns)
            if mode is not None or mtime_ns is not None:
                self.changed(file)
                self.files.store_attributes(file)
            return self.attr(file)

    def _set_of_directory(self, directory: Directory, mode: int | None, mtime_ns: int | None) -> None:
        own = directory is self.control.directory or self.control.arrays.owns(directory)
        if own or (mode is None and mtime_ns is None):
            return
        directory = self.materialise(directory)
        if mtime_ns is not None:
            directory.mtime_ns = directory.told_ns = mtime_ns
        if mode is not None:
            directory.mode = (directory.mode & ~0o7777) | (mode & 0o7777)
        self.changed(directory)
        self.watch(directory)

    def changed(self, node: Directory | File) -> None:
        """Something else of a node than its content has changed."""
        node.changed = node.mtime_ns, self.now()

    def _truncate(self, file: File, size: int) -> None:
        self.control.refuse_change(file)
        if self.control.owns(file):
            return  # programs empty a file before they write to it; there is nothing in this one
        file.mtime_ns = self.now()
        file.authors |= {None}
        self.files.truncate(file, size)
        if not file.writers:
            self.files.judge(file, final=True)

    def _set_time(self, file: File, mtime_ns: int) -> None:
        file.mtime_ns = mtime_ns
        for binding in file.bindings:
            if binding.zarr is not None:
                binding.zarr.array.set_mtime(binding.zarr.stored(binding.coord), mtime_ns)

    def attr(self, node: Directory | File | tuple[ZarrArray, Coord]) -> Attr:
        """What stat says of a node."""
        if isinstance(node, tuple):
            return node[0].attr(node[1])
        if isinstance(node, Directory):
            return Attr(node.ino, node.mode, 0, 0, node.mtime_ns, DIRECTORY_LINKS, ctime_of(node))
        if not node.checked:
            self.stored_documents.check(node)
        binding = node.bindings[0] if node.bindings else None
        if binding is not None and binding.zarr is not None and node.draft is None:
            chunk = binding.zarr.attr(binding.coord)
            return Attr(
                node.ino, node.mode, chunk.size, chunk.blocks, node.mtime_ns, len(node.bindings), ctime_of(node)
            )
        size = self.files.size(node)
        draft = node.draft
        below = size if draft is None else draft.base_size
        if below and binding is not None and binding.array is not None:
            below = binding.array.stored_bytes()
        taken = below if draft is None else min(size, below + draft.changed_size)
        blocks = -(-taken // STAT_BLOCK)
        return Attr(node.ino, node.mode, size, blocks, node.mtime_ns, len(node.bindings), ctime_of(node))
