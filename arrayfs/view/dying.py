"""What a writer that was killed half way leaves: the last whole content stays, the rest goes to lost+found.

That holds for chunk files and documents, of which half is worse than the old one or none; a plain file keeps what was
written, as in any file system. Who was killed is found out in `fuse`; here it is decided when the handle is released,
since until then another process may have the same descriptor and write on.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from arrayfs.view import documents
from arrayfs.view.chunks import NativeChunks
from arrayfs.view.draft import Draft
from arrayfs.view.nodes import Binding, File
from arrayfs.view.paths import DOCUMENT_NAMES
from arrayfs.view.plain import read_attributes
from arrayfs.view.reshaping import renew

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


# A document that is being written is held in memory, so that it can be dropped. A file that is larger than any document
# (bytes) is written like a plain one, whatever its name is.
WHOLE_LIMIT = 256 << 20


def counts_whole(tree: Tree, file: File) -> bool:
    """Whether half of this file would be taken for a chunk or a document."""
    small = file.draft is None or file.draft.size <= WHOLE_LIMIT
    return any(
        binding.zarr is not None
        or (binding.name in DOCUMENT_NAMES and small)
        # the last name of a key is a number, or the `c` of a scalar: temporary names need not be looked at closer
        or ((binding.name[-1:].isdigit() or binding.name == "c") and tree.files.chunk_place(binding) is not None)
        for binding in file.bindings
    )


def undo(tree: Tree, file: File, number: int) -> bool:
    """Put the last whole content in the place of a draft all of whose writers were killed; `number`: by which signal.

    A new file, which had none, loses its names. False: the draft stays, to be judged like any other: it is whole,
    somebody else wrote to it too, or what it lies over is not kept any more.
    """
    draft = file.draft
    if draft is None or file.judged or not counts_whole(tree, file):
        return False
    path = "/".join(tree.path_of(file.bindings[0]))
    if any(author is None or not author.death for author in file.authors):
        tree.warn(f"{path}: a writer was killed; what it wrote is kept together with what others wrote")
        return False
    kept = [_has_content(binding, file) for binding in file.bindings]
    if _is_whole(tree, file, draft) or not (all(kept) or (file.fresh and not any(kept))):
        return False
    tree.control.lost_found.keep(path, draft, f"its writer was killed by {_name(number)}")
    if file.fresh:
        _take_names(tree, file)
    else:
        _take_back(tree, file)
    return True


def _is_whole(tree: Tree, file: File, draft: Draft) -> bool:
    """Whether each byte of a native chunk was written once and in order; then it is a chunk now."""
    places = [tree.files.chunk_place(binding) for binding in file.bindings]
    if draft.in_order != draft.size or not all(place and isinstance(place[0].chunks, NativeChunks) for place in places):
        return False
    tree.files.judge(file, final=False)
    return file.draft is None


def _has_content(binding: Binding, file: File) -> bool:
    """Whether something is kept under this name that shows again when the draft goes."""
    if binding.zarr is not None:
        return binding.zarr.has(binding.coord)
    return file.synthetic or binding.array is not None or binding.array_name is not None


def _take_back(tree: Tree, file: File) -> None:
    file.draft, file.kept, file.authors = None, None, frozenset()
    file.checked = False
    binding = file.bindings[0]
    if binding.zarr is not None:
        file.mtime_ns = binding.zarr.array.mtime_ns(binding.zarr.stored(binding.coord))
    elif file.synthetic:
        file.mtime_ns = binding.directory.mtime_ns
    else:
        array = tree.files.backing(binding)
        mtime_ns = None if array is None else read_attributes(array)[2]
        file.mtime_ns = file.mtime_ns if mtime_ns is None else mtime_ns
    _follow(tree, file.bindings)
    if tree.on_invalidate is not None:
        tree.on_invalidate([file.ino], [])


def _take_names(tree: Tree, file: File) -> None:
    bindings = list(file.bindings)
    for binding in bindings:
        tree.materialise(binding.directory).children.pop(binding.name, None)
        tree.files.drop(file, binding, keep_chunk=True)
        place = tree.files.chunk_place(binding)
        if place is not None and place[0].has(place[1]):  # it was renamed over a chunk before it was judged
            renew(tree, *place)
    file.authors = frozenset()
    _follow(tree, bindings)
    if tree.on_invalidate is not None:
        tree.on_invalidate([file.ino], [(binding.directory.ino, binding.name) for binding in bindings])


def _follow(tree: Tree, bindings: list[Binding]) -> None:
    for binding in bindings:
        if binding.name in documents.NAMES:
            tree.documents.changed(binding.directory, binding.name)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
