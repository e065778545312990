"""Metadata documents and what they do: which directory is an array, and what a changed document does to its chunks.

A document as a client wrote it is a stored file, kept bit for bit. Here it is read: when one is closed, renamed or
removed, the container's array follows; where no client wrote one, it is made from the container.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.stack import Span, attributes_of
from arrayfs.errors import FormatError, LimitError
from arrayfs.format.dtypes import leaf
from arrayfs.format.model import AttributeValue, DType
from arrayfs.view import entries, paths, zarr2, zarr3
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.chunks import NativeChunks, OpaqueChunks
from arrayfs.view.metadata import DOCUMENT_LIMIT, ArrayDocument, GroupDocument, KeyStyle, opaque_spec
from arrayfs.view.nodes import Directory, File
from arrayfs.view.opaque_arrays import opaque_array, opaque_name, patch_opaque
from arrayfs.view.reshaping import follow_spec, stay

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

V3_NAMES = ("zarr.json",)
V2_ARRAY_NAMES = (".zarray", ".zattrs")
V2_GROUP_NAMES = (".zgroup", ".zattrs")
NAMES = paths.DOCUMENT_NAMES
DEFAULT_KEYS = {3: KeyStyle("c", "/"), 2: KeyStyle("", ".")}
# The crate's convention: a scalar without chunks whose attributes are the file's.
FILE_ARRAY = "__file__"


class Documents:
    """The documents of one tree."""

    def __init__(self, tree: Tree, look: int) -> None:
        self._tree = tree
        self._container = tree.container
        self.look = look
        # the root's last document was removed since the last commit
        self._root_left = False

    # --- reading ------------------------------------------------------------------------------------------------------

    def zarr(self, directory: Directory) -> ZarrArray | None:
        """The Zarr array whose directory this is, if it is one. Looked up when first asked for."""
        if not directory.loaded:
            directory.loaded = True
            try:
                directory.zarr = self._load(directory)
            except (OSError, MemoryError):
                directory.loaded = False  # who asks next may be told
                raise
            if directory.zarr is not None:
                self._tree.place_below(directory, directory.zarr)
        return directory.zarr

    def _load(self, directory: Directory) -> ZarrArray | None:
        native = directory.array_name
        try:
            look, document = self._stored(directory)
        except ValueError:
            # half-written when it was committed: what the container says holds, and other documents are left alone
            look, document = 3 if "zarr.json" in directory.children else 2, None
        try:
            if isinstance(document, ArrayDocument):
                array = self._committed(directory, document)
                return self._make(directory, array, document.keys, document.native is None, look)
            if native is None or native not in self._container:
                return None
            return self._make(directory, self._container.get(native), DEFAULT_KEYS[look], False, look)
        except (FormatError, LimitError) as error:
            name = "/".join(directory.path()) if native is None else native
            self._tree.warn(f"array {name!r} cannot be shown: {error}")
            return None

    def _committed(self, directory: Directory, document: ArrayDocument) -> Array:
        """The container's array of a stored document; one without chunks where the container has lost it."""
        name = self.array_name(directory) if document.native else opaque_name(directory)
        spec = document.native or opaque_spec(document)
        if name in self._container:
            array = self._container.get(name)
            if array.spec.continues(spec):
                return array
        return Array(name, spec, attributes=dict(document.typed))

    def _make(self, directory: Directory, array: Array, keys: KeyStyle, opaque: bool, look: int) -> ZarrArray:
        chunks = OpaqueChunks() if opaque else NativeChunks(array.spec)
        inner = () if opaque else leaf(array.spec.dtype)[1]
        zarr = ZarrArray(self._container, self._tree.numbers, directory, array, keys, chunks, inner, look)
        zarr.number(())  # fails here if there are no inode numbers for its chunks, not half way through a listing
        return zarr

    def array_name(self, directory: Directory) -> str:
        """The container's name of a native array in this directory."""
        if directory.array_name is not None:
            return directory.array_name
        return "/".join(map(paths.unshow, directory.path()))

    def _bytes(self, directory: Directory, name: str) -> bytes | None:
        """The content of a document that a client wrote. Raises ValueError for one that is too large to be read."""
        file = directory.children.get(name)
        if not isinstance(file, File):
            return None
        if self._tree.files.size(file) > DOCUMENT_LIMIT:
            raise ValueError(f"a document of more than {DOCUMENT_LIMIT} bytes")
        return None if file.is_link else bytes(self._tree.content(file))  # what a link leads to may be anywhere

    def _stored(self, directory: Directory) -> tuple[int, ArrayDocument | GroupDocument | None]:
        """What the clients' documents say: their Zarr format and content; v3 before v2. Raises ValueError."""
        version = self._container.stack.newest.footer.version
        current = self._current(directory)
        spec = None if current is None else current.spec
        described = current or opaque_array(self._container, directory)
        attributes = self._attributes_without(directory) if described is None else described.attributes
        data = self._bytes(directory, "zarr.json")
        if data is not None:
            return 3, zarr3.parse(data, version, current=spec, attributes=attributes)
        zattrs = self._bytes(directory, ".zattrs")
        # a client may write one of two documents that are made from the container: they belong together
        made = self.synthetic_names(directory)
        if zattrs is None and ".zattrs" in made and not {".zarray", ".zgroup"}.isdisjoint(directory.children):
            zattrs = self.render(directory, ".zattrs")
        made = made if zattrs is not None else ()
        data = self.render(directory, ".zarray") if ".zarray" in made else self._bytes(directory, ".zarray")
        if data is not None:
            return 2, zarr2.parse(data, zattrs, version, current=spec, attributes=attributes)
        data = self.render(directory, ".zgroup") if ".zgroup" in made else self._bytes(directory, ".zgroup")
        if data is not None:
            return 2, zarr2.parse_group(data, zattrs, version, attributes=attributes)
        return self.look, None

    def described(self, directory: Directory) -> ArrayDocument | GroupDocument | None:
        """What clients' documents here say; None if there are none, or none that parses."""
        try:
            return self._stored(directory)[1]
        except ValueError:
            return None

    def describes_array(self, directory: Directory) -> bool:
        """Whether a client's document here describes an array."""
        return isinstance(self.described(directory), ArrayDocument)

    def still_describes(self, directory: Directory, zarr: ZarrArray) -> bool:
        """Whether what the container says now makes the same array of a directory, be it with another shape."""
        if zarr.gone or zarr.torn:
            return True
        try:
            look, document = self._stored(directory)
        except ValueError:
            return True
        opaque = isinstance(zarr.chunks, OpaqueChunks)
        if isinstance(document, ArrayDocument):
            zarr.look = look
            spec = document.native or opaque_spec(document)
            as_said = opaque == (document.native is None) and zarr.keys == document.keys
            return as_said and zarr.array.spec.continues(spec) and self._is_current(zarr.array)
        return not opaque and directory.array_name == zarr.array.name and self._is_current(zarr.array)

    def _is_current(self, array: Array) -> bool:
        return array.name in self._container and self._container.get(array.name) is array

    def is_found_without(self, directory: Directory, zarr: ZarrArray) -> bool:
        """Whether a later mount finds the array and its chunks though its document does not parse."""
        look = 3 if "zarr.json" in directory.children else 2
        opaque = isinstance(zarr.chunks, OpaqueChunks)
        return not opaque and directory.parent is not None and zarr.keys == DEFAULT_KEYS[look]

    def _current(self, directory: Directory) -> Array | None:
        """The native array that is here now: what a document says the same of keeps the container's types."""
        name = self.array_name(directory)
        if directory.array_name is None or name not in self._container:
            return None
        return self._container.get(name)

    # --- what is made from the container -----------------------------------------------------------------------------

    def synthetic_names(self, directory: Directory) -> tuple[str, ...]:
        """The documents that this directory shows though no client wrote one."""
        zarr = self.zarr(directory)
        if zarr is not None and zarr.gone:
            return ()
        if any(name in directory.children for name in ("zarr.json", ".zarray", ".zgroup")):
            return self._made_attributes(directory, zarr)
        if zarr is not None and isinstance(zarr.chunks, OpaqueChunks):
            return ()
        # an array that cannot be shown does not make a group of its own directory, only of those above
        if zarr is None and directory.natives <= (directory.array_name in self._tree.counted):
            return ()
        names: tuple[str, ...]
        if self.look == 3:
            names = V3_NAMES
        elif zarr is None:
            names = V2_GROUP_NAMES
        else:
            names = V2_ARRAY_NAMES if zarr2.has_type(zarr.array.spec) else V3_NAMES
        # what was hidden under the other look stays hidden under this one
        if directory.hidden & ({".zarray", ".zgroup"} if names == V3_NAMES else {"zarr.json"}):
            return ()
        return tuple(name for name in names if name not in directory.children and name not in directory.hidden)

    def _made_attributes(self, directory: Directory, zarr: ZarrArray | None) -> tuple[str, ...]:
        """`.zattrs` beside a client's document of v2: whoever rewrites that alone does not lose attributes."""
        if any(name in directory.children or name in directory.hidden for name in ("zarr.json", ".zattrs")):
            return ()
        if zarr is None and self._root_left:
            return ()  # those of the file were of a document that is gone, and go with it
        there = self._attributes_without(directory) if zarr is None else zarr.array.attributes
        return (".zattrs",) if there else ()

    def render(self, directory: Directory, name: str) -> bytes:
        """A document made from what the container says now."""
        zarr = self.zarr(directory)
        if zarr is not None and isinstance(zarr.chunks, OpaqueChunks):
            return zarr2.render_attributes(None, zarr.array.attributes)
        if zarr is not None:
            spec, attributes = zarr.array.spec, zarr.array.attributes
            if name == ".zarray":
                return zarr2.render_array(spec)
            return (
                zarr3.render_array(spec, attributes)
                if name == "zarr.json"
                else zarr2.render_attributes(spec, attributes)
            )
        attributes = self._attributes_without(directory)
        if name == ".zgroup":
            return zarr2.render_group()
        return zarr3.render_group(attributes) if name == "zarr.json" else zarr2.render_attributes(None, attributes)

    def _attributes_without(self, directory: Directory) -> dict[str, AttributeValue]:
        """The container's attributes of a directory without an array: those of the file, if it is the root."""
        if directory.parent is not None or FILE_ARRAY not in self._container:
            return {}
        try:
            return self._container.get(FILE_ARRAY).attributes
        except FormatError:  # of its shape, which nobody needs here
            return attributes_of(self._container.stack.spans[FILE_ARRAY])

    def shown(self, directory: Directory, name: str, data: bytes) -> bytes:
        """A stored document, with what is otherwise now put in: `patched`, and consolidated metadata."""
        data = self.patched(directory, name, data)
        is_array = name != entries.V2_NAME and (name != entries.V3_NAME or self.zarr(directory) is not None)
        return data if is_array else self._tree.consolidated.shown(directory, name, data)

    def patched(self, directory: Directory, name: str, data: bytes) -> bytes:
        """A stored document, with what the container says otherwise now (the crate changed it) put in."""
        zarr = self.zarr(directory)
        if zarr is None and directory.parent is None and FILE_ARRAY in self._container:
            return self._patched_root(name, data)
        if zarr is None or zarr.gone:
            return data
        spec, attributes, version = zarr.array.spec, zarr.array.attributes, self._oldest_version(zarr.array.span)
        try:
            if isinstance(zarr.chunks, OpaqueChunks):
                return patch_opaque(name, data, zarr.look, attributes, version)
            if name == "zarr.json" and zarr.look == 3:
                return zarr3.patch(data, spec, attributes, version)
            if name == ".zarray" and zarr.look == 2:
                return zarr2.patch_array(data, spec)
            if name == ".zattrs" and zarr.look == 2:
                return zarr2.patch_attributes(data, spec, attributes, version)
        except ValueError:
            return data
        return data

    def _oldest_version(self, span: Span) -> int:
        """The footer version that limits what attributes of an array can be: in one without lists none was removed."""
        newest = self._container.stack.newest.footer.version
        return min((entry.layer.footer.version for entry in span), default=newest)

    def _patched_root(self, name: str, data: bytes) -> bytes:
        """The root group's attributes are the file's, which the crate may have changed."""
        attributes = self._attributes_without(self._tree.root)
        version = self._oldest_version(self._container.stack.spans.get(FILE_ARRAY, ()))
        try:
            if name == "zarr.json" and isinstance(zarr3.parse(data), GroupDocument):
                return zarr3.patch(data, None, attributes, version)
            if name == ".zattrs" and "zarr.json" not in self._tree.root.children:
                return zarr2.patch_attributes(data, None, attributes, version)
        except ValueError:
            return data
        return data

    # --- changes ------------------------------------------------------------------------------------------------------

    def changed(self, directory: Directory, name: str) -> None:
        """A document of this directory was judged, came or went: let the array follow.

        Until the document parses, what held before holds.
        """
        with self._container.pool.whole:
            if name != entries.V2_NAME:
                self._follow_stored(directory)
                self._tree.forget_synthetic(directory)
            self._tree.consolidated.changed(directory, name)

    def _follow_stored(self, directory: Directory) -> None:
        zarr, beside = self.zarr(directory), directory.children.get(".zattrs")
        if isinstance(beside, File) and not beside.checked:
            self._tree.stored_documents.check(beside)  # it says what it shows, looked at or not
        try:
            look, document = self._stored(directory)
        except ValueError:
            if zarr is not None:
                zarr.torn = True
                self._tree.watch(directory)
            return
        if zarr is not None:
            zarr.torn = False
        if isinstance(document, ArrayDocument):
            self._follow(directory, zarr, look, document)
            return
        if zarr is not None and not self._has_any(directory) and not self.synthetic_names(directory):
            self._keep_attributes(directory)
            zarr.gone = True  # rm -r takes the document first; an editor brings it back
            self._tree.watch(directory)
        elif zarr is not None and (document is not None or self._has_any(directory)):
            self.dissolve(directory, zarr)  # a group now, or an array whose grid nobody here knows
        if directory.parent is None:
            self._root_left = document is None and not self.synthetic_names(directory)
            if isinstance(document, GroupDocument):
                self._set_root_attributes(document)

    def _has_any(self, directory: Directory) -> bool:
        return any(name in directory.children for name in ("zarr.json", ".zarray"))

    def _follow(self, directory: Directory, zarr: ZarrArray | None, look: int, document: ArrayDocument) -> None:
        if self._has_any(directory):
            self._uncount(directory)
        spec = document.native or opaque_spec(document)
        if zarr is not None:
            opaque = isinstance(zarr.chunks, OpaqueChunks)
            same = (
                opaque == (document.native is None) and zarr.keys == document.keys and zarr.array.spec.continues(spec)
            )
            if same:
                zarr.gone, zarr.look = False, look
                self._register(zarr)
                if zarr.array.spec != spec:
                    coords, old = zarr.listed_coords(()), zarr.array.spec
                    self._container.respec(zarr.array, spec, self._tree.now())
                    zarr.chunks = OpaqueChunks() if opaque else NativeChunks(spec)
                    for components in follow_spec(self._tree, zarr, coords, old):
                        stay(self._tree, zarr, components)
                    self._tree.adoption.adopt_fitting(directory, zarr)
                self._container.set_attributes(zarr.array, dict(document.typed))
                return
            self.dissolve(directory, zarr)
        self._create(directory, look, document, spec)

    def _register(self, zarr: ZarrArray) -> None:
        """An array that the container had lost comes back with its document."""
        if zarr.array.name not in self._container:
            spec, attributes = zarr.array.spec, zarr.array.attributes
            zarr.array = self._container.define(zarr.array.name, spec, dict(attributes))

    def _create(self, directory: Directory, look: int, document: ArrayDocument, spec: ArraySpec) -> None:
        opaque = document.native is None
        name = opaque_name(directory) if opaque else self.array_name(directory)
        if name in self._container:
            self._container.remove(self._container.get(name))
        array = self._container.define(name, spec, dict(document.typed))
        directory.zarr = self._make(directory, array, document.keys, opaque, look)
        directory.array_name = None if opaque else name
        self._tree.adopt(directory, directory.zarr)

    def dissolve(self, directory: Directory, zarr: ZarrArray) -> None:
        """The array is one no more: its chunk files become plain files, none loses a byte."""
        self._keep_attributes(directory)
        self._tree.release_chunks(zarr)
        if zarr.array.name in self._container:
            self._container.remove(zarr.array)
        directory.zarr = None
        directory.array_name = None

    def _keep_attributes(self, directory: Directory) -> None:
        """What a `.zattrs` says of is about to go: what it shows of the container's attributes is its own now."""
        file = directory.children.get(".zattrs")
        if isinstance(file, File) and not file.writers:
            self._tree.stored_documents.check(file)
            self._tree.stored_documents.keep_as_shown(file)
            self._tree.files.settle(file)

    def _uncount(self, directory: Directory) -> None:
        """A client's document is here now: the array makes no group documents appear above it any more."""
        if directory.zarr is not None and directory.array_name in self._tree.counted:
            self._tree.counted.discard(directory.array_name)
            directory.count_natives(-1)
            self._tree.consolidated.touch(directory.path())

    def drop(self, directory: Directory) -> None:
        """The directory is being removed, and its documents are gone: so is its array."""
        zarr = self.zarr(directory)
        if zarr is None:
            return
        if zarr.array.name in self._container:
            self._container.remove(zarr.array)
        self._uncount(directory)
        directory.zarr = None
        directory.array_name = None

    def _set_root_attributes(self, document: GroupDocument) -> None:
        if FILE_ARRAY in self._container:
            self._container.set_attributes(self._container.get(FILE_ARRAY), dict(document.typed))
        elif document.typed:
            self._container.define(FILE_ARRAY, ArraySpec(DType("UInt8"), (), ()), dict(document.typed))

    def drop_root_attributes(self) -> None:
        """At a commit: a root group whose document is gone has no attributes any more."""
        if self._root_left and FILE_ARRAY in self._container:
            self._keep_attributes(self._tree.root)
            self._container.remove(self._container.get(FILE_ARRAY))
        self._root_left = False
