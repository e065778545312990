"""Consolidated metadata: a group's document that repeats what the documents below it say, for readers who then ask for
no other. It stays as its client wrote it; shown are those entries otherwise whose document changed, came or went since.

Whether one did is told by the contents: an entry that says what its document says is true, whoever wrote first. Where
the two differed when the client wrote, what the document said then is kept beside (as a digest), so that a client's own
words stay. What has to be compared is what was changed through the tree since the last look, or what newer layers speak
of; all of it only where nobody can tell, once in the life of a tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.stack import LayerStack, Span, attributes_of
from arrayfs.errors import FormatError
from arrayfs.format.model import AttributeValue
from arrayfs.view import merging, plain
from arrayfs.view.entries import (
    MEMBER,
    NO_ATTRIBUTES,
    NO_DOCUMENT,
    UNKNOWN,
    V2_DOCUMENTS,
    V2_NAME,
    V3_NAME,
    digest,
    digests_from_bytes,
    digests_to_bytes,
    entries_of,
    keys_of,
    put,
    says_the_same,
    without_member,
)
from arrayfs.view.metadata import DOCUMENT_LIMIT, dump_json, first_json
from arrayfs.view.nodes import Components, Directory, File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

# Attributes of the stored document (docs/FORMAT.md, "Stored files").
DIFFERING = "consolidated_differing"
TRUE_IN = "consolidated_true_in"


class Consolidated:
    """What is known of one consolidated document.

    nodes, trees: paths below its group of which it is to be seen whether it is true; trees with all that is below them.
    otherwise: entries that are shown otherwise than the client wrote them, `NO_DOCUMENT` where they are left out.
    differing: digests of a key, and of what the document said when the client wrote, where that was not the entry.
    newest_ns: when the newest was written of what made an entry untrue.
    """

    __slots__ = ("differing", "newest_ns", "nodes", "otherwise", "trees")

    def __init__(self, differing: dict[bytes, bytes]) -> None:
        self.nodes: set[Components] = set()
        self.trees: set[Components] = set()
        self.otherwise: dict[str, object] = {}
        self.differing = differing
        self.newest_ns = 0

    @property
    def stale(self) -> bool:
        """Whether something has to be looked at before the document can be shown."""
        return bool(self.nodes or self.trees)


class ConsolidatedDocuments:
    """The consolidated documents of one tree. The caller holds the container's lock."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        # None: a document that consolidates nothing
        self._all: dict[tuple[Directory, str], Consolidated | None] = {}
        self._since_commit: dict[tuple[Directory, str], None] = {}

    # --- showing ------------------------------------------------------------------------------------------------------

    def shown(self, directory: Directory, name: str, data: bytes) -> bytes:
        """A stored document as it is shown; the same bytes where all of its entries are true."""
        known = self._known(directory, name)
        if known is None:
            return data
        try:
            document = self._compare(directory, name, known, data) if known.stale else None
        except ValueError:  # half of it, or something else by that name
            self._all[directory, name] = None
            return data
        file = directory.children[name]
        file.mtime_ns = max(file.mtime_ns, known.newest_ns)
        if not known.otherwise:
            return data
        document = document or first_json(data)
        entries = entries_of(name, document)
        if entries is None:
            return data
        for key, value in known.otherwise.items():
            put(entries, key, value)
        return dump_json(document)

    def is_stale(self, directory: Directory, name: str) -> bool:
        """Whether this is a consolidated document that has to be looked at before it is shown."""
        known = self._all.get((directory, name))
        return known is not None and known.stale

    def _known(self, directory: Directory, name: str) -> Consolidated | None:
        """What is known of a document; None if it is no consolidated one."""
        if (directory, name) not in self._all:
            file = directory.children[name]
            if not isinstance(file, File) or (file.draft is not None and not file.judged):
                return None  # its writer has not closed it
            self._all[directory, name] = self._first_look(directory, name, file)
        return self._all[directory, name]

    def _first_look(self, directory: Directory, name: str, file: File) -> Consolidated | None:
        try:
            array = self._tree.files.backing(file.bindings[0])
            if array is None or not self._may_be(name, file):
                return None
            kept, truth = map(array.attributes.get, (DIFFERING, TRUE_IN))
        except FormatError:
            return None  # damaged: who reads it gets the error
        known = Consolidated({} if kept is None else digests_from_bytes(kept.payload))
        self._tree.changing.add(file.ino)
        stack, here = self._tree.container.stack, array.span[-1].layer if array.span else None
        known_here = here in stack.layers and array.name == array.origin
        if truth is None or here is None or not known_here or truth.payload != self._truth(here.id):
            known.trees.add(())
            return known
        group = directory.path()
        for path in _said_otherwise(stack, stack.layers.index(here) + 1):
            if path[: len(group)] == group:
                _mark(known, path[len(group) :])
        return known

    def _may_be(self, name: str, file: File) -> bool:
        """Whether a document may be a consolidated one, as far as can be told without a parser."""
        if self._tree.stored_documents.size(file) > DOCUMENT_LIMIT:
            path = "/".join(self._tree.path_of(file.bindings[0]))
            warning = f"{path}: more than {DOCUMENT_LIMIT} bytes: what it consolidates is shown as it was written"
            if warning not in self._tree.warnings:
                self._tree.warn(warning)
            return False
        return name == V2_NAME or MEMBER.encode() in self._tree.stored_documents.content(file)

    # --- changes ------------------------------------------------------------------------------------------------------

    def changed(self, directory: Directory, name: str) -> None:
        """A document was judged, came or went."""
        if name in (V2_NAME, V3_NAME):
            self._written(directory, name)
        if name != V2_NAME:
            self.touch(directory.path())

    def _written(self, directory: Directory, name: str) -> None:
        """What the client says now is to stay, also where the documents below say otherwise at this moment."""
        self._all.pop((directory, name), None)
        file = directory.children.get(name)
        if not isinstance(file, File):
            return
        known = None
        try:
            if self._may_be(name, file):
                known = Consolidated({})
                known.trees.add(())
                self._compare(directory, name, known, self._tree.stored_documents.content(file))
                known.differing = {digest(key): digest(value) for key, value in known.otherwise.items()}
                known.otherwise, known.newest_ns = {}, 0
        except ValueError:  # half of it, perhaps: the rest will come
            known = None
        self._all[directory, name] = known
        if known is not None:
            self._tree.changing.add(file.ino)
            self._since_commit[directory, name] = None
            if self._tree.on_invalidate is not None:
                self._tree.on_invalidate([file.ino], [(directory.ino, name)])

    def touch(self, path: Components, *, with_all_below: bool = False) -> None:
        """What is at a path may be another node now, or say something else."""
        directory = self._tree.root
        for length in range(len(path) + 1):
            for name in (V3_NAME, V2_NAME):
                if name in directory.children and (name == V2_NAME or length < len(path)):
                    self._touch_one(directory, name, path[length:], with_all_below)
            child = directory.children.get(path[length]) if length < len(path) else None
            if not isinstance(child, Directory):
                return
            directory = child

    def _touch_one(self, directory: Directory, name: str, path: Components, with_all_below: bool) -> None:
        known = self._known(directory, name)
        if known is None:
            return
        _mark(known, path)
        if with_all_below:
            known.trees.add(path)
        self._since_commit[directory, name] = None
        file = directory.children[name]
        if isinstance(file, File):
            self._tree.stored_documents.show_anew(file)

    def arrived(self, names: Iterable[str]) -> None:
        """Others changed arrays of these names."""
        for name in names:
            path = merging.path_of(name)
            if name.startswith(plain.FILES) and not name.endswith("/") and path[-1] in (V2_NAME, V3_NAME):
                directory = self._directory(self._tree.root, path[:-1])
                if directory is not None:
                    self._all.pop((directory, path[-1]), None)
        for place in set(map(_place_of, names)):
            if place is not None:
                self.touch(place)

    # --- at a commit --------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Keep with each document that is to be stored what a later mount has to know. Files are stored by now."""
        for directory, name in self._since_commit:
            known, file = self._all.get((directory, name)), directory.children.get(name)
            if known is None or directory.removed or not isinstance(file, File) or not file.bindings:
                continue
            array = self._tree.files.backing(file.bindings[0])
            if array is None or not (array.dirty or known.differing):
                continue
            before = dict(known.differing)
            try:
                if known.stale:
                    self._compare(directory, name, known, self._tree.stored_documents.content(file))
            except ValueError:
                continue
            if array.dirty or known.differing != before:
                self._keep(array, known)
        self._since_commit.clear()

    def _keep(self, array: Array, known: Consolidated) -> None:
        attributes = {key: value for key, value in array.attributes.items() if key not in (DIFFERING, TRUE_IN)}
        if known.differing:
            attributes[DIFFERING] = AttributeValue("Binary", digests_to_bytes(known.differing))
        if not known.otherwise and not known.stale:
            attributes[TRUE_IN] = AttributeValue("Binary", self._truth(self._tree.container.pool.part.id))
        self._tree.container.set_attributes(array, attributes)

    def _truth(self, layer_id: bytes) -> bytes:
        """What `TRUE_IN` says: in the other look, arrays without documents of a client's have other documents."""
        return layer_id + bytes((self._tree.documents.look,))

    def doubt(self) -> None:
        """Others' changes come below a commit that is under way: what was kept for it may not be so."""
        for array in list(self._tree.container.pool.arrays):
            if array.dirty and array.name.endswith((V2_NAME, V3_NAME)) and TRUE_IN in array.attributes:
                kept = {key: value for key, value in array.attributes.items() if key != TRUE_IN}
                self._tree.container.set_attributes(array, kept)

    # --- comparing ----------------------------------------------------------------------------------------------------

    def _compare(self, directory: Directory, name: str, known: Consolidated, data: bytes) -> Any:
        """See which entries are true. Returns the document. Raises ValueError if it does not parse or has none."""
        document = first_json(data)
        entries = entries_of(name, document)
        if entries is None:
            raise ValueError(f"{name}: no entries")
        for key in self._keys(directory, name, known, entries):
            self._compare_one(directory, name, known, entries, key)
        known.nodes.clear()
        known.trees.clear()
        return document

    def _compare_one(
        self, directory: Directory, name: str, known: Consolidated, entries: dict[str, object], key: str
    ) -> None:
        now, time_ns = self._now(directory, name, key)
        if now is UNKNOWN:
            return  # what was shown stays
        known.otherwise.pop(key, None)
        said = entries.get(key, NO_DOCUMENT)
        if now is NO_ATTRIBUTES:
            now = {} if said == {} else NO_DOCUMENT
        if says_the_same(said, now):
            if known.differing:
                known.differing.pop(digest(key), None)
        elif not known.differing or known.differing.get(digest(key)) != digest(now):
            known.otherwise[key] = now
            known.newest_ns = max(known.newest_ns, time_ns)

    def _keys(self, directory: Directory, name: str, known: Consolidated, entries: dict[str, object]) -> Iterable[str]:
        """The keys of what has to be looked at, each once; those of the document first, in its order."""
        nodes = set(known.nodes)
        keys: dict[str, None] = {}
        for tree in known.trees:
            prefix = "/".join(tree)
            # also what was put in by us: it may be gone again
            keys.update(
                dict.fromkeys(
                    key for key in (*entries, *known.otherwise) if not prefix or (key + "/").startswith(prefix + "/")
                )
            )
            below = self._directory(directory, tree)
            nodes.update(() if below is None else (tree + path for path in self._walk(below)))
        return keys | {key: None for path in sorted(nodes) for key in keys_of(name, path)}

    def _walk(self, directory: Directory) -> Iterator[Components]:
        """The paths of a directory (empty) and all below it in which nodes can be; below an array there are none."""
        waiting: list[tuple[Components, Directory]] = [((), directory)]
        while waiting:
            path, here = waiting.pop()
            yield path
            if self._tree.documents.zarr(here) is None:
                for name, child in here.children.items():
                    if isinstance(child, Directory) and child is not self._tree.control.directory:
                        waiting.append(((*path, name), child))

    def _directory(self, directory: Directory, path: Components) -> Directory | None:
        for name in path:
            child = directory.children.get(name)
            if not isinstance(child, Directory):
                return None
            directory = child
        return directory

    def _now(self, group: Directory, name: str, key: str) -> tuple[object, int]:
        """What the document of an entry says now, and since when, as far as that is known."""
        *path, document = (*key.split("/"), V3_NAME) if name == V3_NAME else key.split("/")
        directory = group
        for part in path:
            child = directory.children.get(part)
            zarr = None if directory is group else self._tree.documents.zarr(directory)
            if not isinstance(child, Directory) or (zarr is not None and not zarr.gone):
                return NO_DOCUMENT, directory.mtime_ns
            directory = child
        if document not in (V3_NAME, *V2_DOCUMENTS):
            return UNKNOWN, 0
        try:
            return self._content(directory, document)
        except ValueError:
            return UNKNOWN, 0

    def _content(self, directory: Directory, document: str) -> tuple[object, int]:
        documents, file = self._tree.documents, directory.children.get(document)
        if isinstance(file, File):
            if self._tree.stored_documents.size(file) > DOCUMENT_LIMIT:
                return UNKNOWN, 0
            data = documents.patched(directory, document, self._tree.stored_documents.content(file))
            return without_member(first_json(data)), file.mtime_ns
        if document in documents.synthetic_names(directory):
            return without_member(first_json(documents.render(directory, document))), directory.mtime_ns
        if document == ".zattrs" and self._is_v2_node(directory):
            return NO_ATTRIBUTES, directory.mtime_ns
        return NO_DOCUMENT, directory.mtime_ns

    def _is_v2_node(self, directory: Directory) -> bool:
        there = (*directory.children, *self._tree.documents.synthetic_names(directory))
        return ".zgroup" in there or ".zarray" in there


# --- what may say something else --------------------------------------------------------------------------------------


def _mark(known: Consolidated, path: Components) -> None:
    """The groups above, as far as they are made from the container, come and go with what is below them."""
    known.nodes.update(path[:length] for length in range(min(len(path), 1), len(path) + 1))


def _place_of(name: str) -> Components | None:
    """The node whose documents may say something else because an array of this name changed."""
    path = merging.path_of(name)
    if name.startswith(plain.CHUNKS):
        return path
    if name.startswith(plain.FILES):
        is_document = not name.endswith("/") and path and path[-1] in (V3_NAME, *V2_DOCUMENTS)
        return path[:-1] if is_document else None
    return path[:-1] if name.startswith(plain.RESERVED) else path


def _said_otherwise(stack: LayerStack, first: int) -> set[Components]:
    """The nodes of which the layers from number `first` on say something that documents tell."""
    newer = stack.layers[first:]
    names = {meta.name for layer in newer for meta in layer.footer.arrays}
    above = set(map(id, newer))
    places = {name: _place_of(name) for name in names if not _is_as_before(stack.spans.get(name, ()), name, above)}
    return {place for place in places.values() if place is not None}


def _is_as_before(span: Span, name: str, above: set[int]) -> bool:
    """Whether newer layers have nothing but chunks of an array."""
    if name.startswith(plain.RESERVED) and not name.startswith(plain.CHUNKS):
        return False
    before = tuple(entry for entry in span if id(entry.layer) not in above)
    return bool(before) and _said(before) == _said(span)


def _said(span: Span) -> tuple[ArraySpec, dict[str, AttributeValue]]:
    meta = span[-1].meta
    spec = ArraySpec(meta.dtype, meta.shape, meta.chunk_shape, meta.dimension_names, meta.fill_value)
    return spec, attributes_of(span)
