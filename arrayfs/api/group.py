"""A group: arrays and groups by name, and how they are made, renamed and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import DTypeLike

from arrayfs.api import documents
from arrayfs.api.array import Array
from arrayfs.api.attributes import plain_items
from arrayfs.api.node import Node
from arrayfs.api.session import Session
from arrayfs.api.values import element_type, fill_as_json
from arrayfs.errors import ArrayNotFoundError, EntryExistsError, FormatError
from arrayfs.format.codecs import check_codec
from arrayfs.view import removal
from arrayfs.view.nodes import Directory
from arrayfs.view.opaque_arrays import opaque_name

# What `create` does about an array that is there or not: the file modes of xtensor-io, and the one that refuses.
Existing = Literal["refuse", "load", "init", "init_on_fail"]
_EXISTING = ("refuse", "load", "init", "init_on_fail")
# "no codec" is a choice, None among them
_UNSAID = "unsaid"


class Group(Node):
    """A group of a container. A name may lead through groups below: `g["a/b"]`; iterating gives the names in it."""

    __slots__ = ()

    # --- looking ------------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Array | Group:
        with self._session.lock:
            self._session.check_open()
            found = self._must_find(name)
            return Array(self._life, found) if self._is_array(found) else Group(self._life, found)

    def array(self, name: str) -> Array:
        """The array of this name. Raises ArrayNotFoundError, also for a group."""
        found = self[name]
        if not isinstance(found, Array):
            raise ArrayNotFoundError(f"{self._session.container.names.base}: {self._full(name)!r} is a group, no array")
        return found

    def group(self, name: str) -> Group:
        """The group of this name. Raises ArrayNotFoundError, also for an array."""
        found = self[name]
        if not isinstance(found, Group):
            raise ArrayNotFoundError(f"{self._session.container.names.base}: {self._full(name)!r} is no group")
        return found

    def __contains__(self, name: object) -> bool:
        with self._session.lock:
            self._session.check_open()
            return isinstance(name, str) and self._find(name) is not None

    def __iter__(self) -> Iterator[str]:
        with self._session.lock:
            self._session.check_open()
            found = sorted(
                name
                for name, child in self._directory().children.items()
                if isinstance(child, Directory) and (self._is_array(child) or self._is_group(child))
            )
        return iter(found)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def walk(self) -> Iterator[Array | Group]:
        """All arrays and groups below, each before what is in it: an array of the crate may have others below it."""
        for name in self:
            found = self[name]
            yield found
            yield from (found if isinstance(found, Group) else Group(found._life, found._directory())).walk()

    def arrays(self) -> Iterator[Array]:
        """All arrays below."""
        return (found for found in self.walk() if isinstance(found, Array))

    def __repr__(self) -> str:
        return f"<arrayfs.Group {self.path!r}>"

    def _full(self, name: str) -> str:
        return "/".join(filter(None, (self.path, name.strip("/"))))

    def _find(self, name: str) -> Directory | None:
        """The array or group of a name; of the empty one, the array in this very directory."""
        found = self._session.find(self._full(name))
        if not isinstance(found, Directory):
            return None
        return found if self._is_array(found) or (found is not self._directory() and self._is_group(found)) else None

    def _must_find(self, name: str) -> Directory:
        found = self._find(name)
        if found is None:
            raise ArrayNotFoundError(f"{self._session.container.names.base}: no array or group {self._full(name)!r}")
        return found

    def _is_array(self, directory: Directory) -> bool:
        if directory.loaded:
            return directory.zarr is not None and not directory.zarr.gone
        container = self._session.container
        native = directory.array_name is not None and directory.array_name in container
        return native or opaque_name(directory) in container

    def _is_group(self, directory: Directory) -> bool:
        return documents.is_group(self._session, directory)

    # --- making -------------------------------------------------------------------------------------------------------

    def create_group(self, name: str, attributes: Mapping[str, Any] | None = None) -> Group:
        """The group of this name, made if it is not there, with those above it. attributes: added to those it has."""
        with self._session.lock:
            self._session.check_writable()
            made = Group(self._life, documents.make_group(self._session, _parts(self._full(name))))
            if attributes:
                made.attrs.update(attributes)
            return made

    def create(
        self,
        name: str,
        *,
        shape: Sequence[int] | int | None = None,
        chunks: Sequence[int] | int | None = None,
        dtype: DTypeLike | None = None,
        fill_value: Any = None,
        dimension_names: Sequence[str | None] | None = None,
        attributes: Mapping[str, Any] | None = None,
        codec: str | None = _UNSAID,
        existing: Existing = "refuse",
    ) -> Array:
        """An array of this name, with the groups above it.

        shape, chunks: elements; chunks None: the whole array is one chunk. dtype: numpy's; `str` and `bytes` are texts
        and byte strings of any length. fill_value: what elements read as that nobody wrote; None: zero, empty.
        codec: None, "lz4" or "zstd", for this array's chunks; unsaid: the container's.
        existing: what to do if the array is there already. "refuse": EntryExistsError. "load": give it as it is; it has
        to be there, and to be of the shape, chunks, type and fill value that are said (ValueError). "init": make it
        anew, whatever was there. "init_on_fail": load it if it is there, else make it.
        """
        with self._session.lock:
            self._session.check_open()
            if existing not in _EXISTING:
                raise ValueError(f"existing={existing!r}: one of {', '.join(_EXISTING)} is wanted")
            if codec != _UNSAID:
                check_codec(codec)
            found = self._find(name)
            if (found is not None and not self._is_array(found)) or (not self._full(name) and len(self)):
                raise EntryExistsError(17, f"{self._full(name)!r} is a group, and no array takes its place")
            if existing == "load" and found is None:
                raise ArrayNotFoundError(f"{self._session.container.names.base}: no array {self._full(name)!r} to load")
            if found is not None and existing in ("load", "init_on_fail"):
                return _checked(Array(self._life, found), shape, chunks, dtype, fill_value)
            if found is not None and existing == "refuse":
                raise EntryExistsError(17, f"there is an array {self._full(name)!r} already")
            members = _document(shape, chunks, dtype, fill_value, dimension_names, attributes)
            self._session.check_writable()
            if found is not None:
                self._remove(found)
            made = self._make(_parts(self._full(name)), members)
            if codec != _UNSAID:
                made.set_codec(codec)
            return made

    def _make(self, path: list[str], members: documents.Members) -> Array:
        session = self._session
        directory = session.root
        if path:
            directory = documents.make_directory(session, documents.make_group(session, path[:-1]), path[-1])
        documents.store(session, directory, "zarr.json", members)
        if session.tree.documents.zarr(directory) is None:
            raise FormatError(f"array {'/'.join(path)!r} cannot be made: {session.tree.warnings[-1:]}")
        return Array(self._life, directory)

    # --- changing names -----------------------------------------------------------------------------------------------

    def __delitem__(self, name: str) -> None:
        """Remove an array, or a group with all that is below it."""
        with self._session.lock:
            self._session.check_writable()
            self._remove(self._must_find(name))

    def _remove(self, directory: Directory) -> None:
        session = self._session
        keeper = session.check_writable()
        if directory.parent is not None:
            path = "/".join(directory.path())
            session.tree.remove_all(directory.parent.ino, directory.name)
            keeper.removed(path)
        else:
            clear_root(self._session)
        session.changes += 1

    def rename(self, name: str, new_name: str) -> None:
        """Give an array or group another name, in this or another group. Raises EntryExistsError if it is taken."""
        with self._session.lock:
            session = self._session
            keeper = session.check_writable()
            found = self._must_find(name)
            if found.parent is None:
                raise ValueError("the root has no name that could change")
            *above, last = _parts(self._full(new_name))
            if session.find(self._full(new_name)) is not None:
                raise EntryExistsError(17, f"there is something called {self._full(new_name)!r} already")
            target = documents.make_group(session, above)
            path = "/".join(found.path())
            session.tree.rename(found.parent.ino, found.name, target.ino, last, no_replace=True)
            keeper.renamed(path, self._full(new_name))
            session.changes += 1


def clear_root(session: Session) -> None:
    """Remove all that a container has."""
    keeper = session.check_writable()
    removal.clear(session.tree, session.root)
    keeper.removed("")
    session.changes += 1


def _parts(path: str) -> list[str]:
    """The names that a path is made of. Raises ValueError for what can be no name."""
    parts = path.split("/") if path else []
    if any(part in ("", ".", "..") or "\0" in part for part in parts):
        raise ValueError(f"{path!r}: an empty part, `.`, `..` and NUL can be in no name")
    return parts


def _document(
    shape: Sequence[int] | int | None,
    chunks: Sequence[int] | int | None,
    dtype: DTypeLike | None,
    fill_value: Any,
    dimension_names: Sequence[str | None] | None,
    attributes: Mapping[str, Any] | None,
) -> documents.Members:
    if shape is None or dtype is None:
        raise TypeError("a new array needs a shape and a dtype")
    lengths = _lengths(shape)
    if dimension_names is not None and len(dimension_names) != len(lengths):
        raise ValueError(f"{len(dimension_names)} dimension names for {len(lengths)} axes")
    element = element_type(dtype)
    cut = tuple(length or 1 for length in lengths) if chunks is None else _lengths(chunks)
    spec = documents.new_spec(element, lengths, cut)
    return documents.array_document(
        spec, dimension_names, fill_as_json(element, fill_value), plain_items(attributes or {})
    )


def _lengths(value: Sequence[int] | int) -> tuple[int, ...]:
    return tuple(map(int, value)) if isinstance(value, Sequence) else (int(value),)


def _checked(array: Array, shape: Any, chunks: Any, dtype: DTypeLike | None, fill_value: Any) -> Array:
    """The array, if it is what was said. Raises ValueError."""
    said: dict[str, tuple[object, object]] = {
        "shape": (None if shape is None else _lengths(shape), array.shape),
        "chunks": (None if chunks is None else _lengths(chunks), array.chunks),
    }
    if not array.is_opaque and dtype is not None:
        spec = array.element_type
        said["dtype"] = (element_type(dtype).name, spec.name)
        if fill_value is not None:
            said["fill value"] = (repr(fill_as_json(spec, fill_value)), repr(fill_as_json(spec, array.fill_value)))
    for what, (wanted, found) in said.items():
        if wanted is not None and wanted != found:
            raise ValueError(f"array {array.name!r} has the {what} {found}, not {wanted}")
    return array
