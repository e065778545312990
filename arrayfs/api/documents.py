"""The metadata documents of one directory as JSON values, read and written through the tree.

Whoever wrote a document, what is changed here shows in it, and what is not stays: order, nesting, unknown members.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from arrayfs.api.session import Session
from arrayfs.container.array import ArraySpec
from arrayfs.errors import FormatError, LimitError, NotDirectoryError
from arrayfs.format.model import DType
from arrayfs.view import zarr2, zarr3
from arrayfs.view.metadata import ArrayDocument, dump_json, first_json, same_json
from arrayfs.view.nodes import Directory, File

Members = dict[str, Any]
_V2 = (".zarray", ".zgroup")


def plain_json(value: Any) -> Any:
    """A value as JSON has it: numpy's numbers and arrays as Python's, tuples as lists. Raises TypeError."""
    if isinstance(value, np.ndarray | np.generic):
        return plain_json(value.tolist())
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"the keys of {value!r} are not all text, as JSON has them")
        return {key: plain_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} has no JSON form")


def main_name(session: Session, directory: Directory) -> str | None:
    """The document that says what a directory is, None if it has none that can be read."""
    return next((name for name in ("zarr.json", *_V2) if load(session, directory, name) is not None), None)


def load(session: Session, directory: Directory, name: str) -> Members | None:
    """A document as a mount would show it now; None if it is not there, or no JSON object."""
    tree = session.tree
    file = tree.find(directory, name)
    if not isinstance(file, File):
        return None
    tree.attr(file)  # puts in what the container says otherwise
    try:
        members = first_json(bytes(tree.content(file)))
    except ValueError:
        return None
    return members if isinstance(members, dict) else None


def store(session: Session, directory: Directory, name: str, members: Members) -> None:
    """Write a document; what it says takes effect at once."""
    keeper, tree = session.check_writable(), session.tree
    if directory.array_name in tree.counted:
        _keep_groups_above(session, directory)
    before = load(session, directory, name) or {}
    content = dump_json(members)
    _, handle = tree.make(directory.ino, name, 0o644, exclusive=False, write=True, truncate=True)
    try:
        handle.write(0, content)
    finally:
        handle.release()
    same = all(same_json(before.get(key), members.get(key)) for key in {*before, *members} - {"attributes"})
    keeper.wrote_document("/".join((*directory.path(), name)), content, same_chunks=same)
    session.changes += 1


def _keep_groups_above(session: Session, directory: Directory) -> None:
    """Groups above an array that nobody wrote a document for are there because of it: write theirs down before its."""
    for above in reversed(list(directory.ancestors())[1:]):
        name = main_name(session, above)
        if name is not None and name not in above.children:
            store(session, above, name, load(session, above, name) or {})


def is_group(session: Session, directory: Directory) -> bool:
    """Whether a document says that a directory is a group, or would if anybody looked; arrays are asked before."""
    shown = (*directory.children, *session.tree.documents.synthetic_names(directory))
    return any(name in shown for name in ("zarr.json", ".zgroup"))


def attributes(session: Session, directory: Directory) -> Members:
    """The attributes of an array or group."""
    name = main_name(session, directory)
    if name in _V2:
        members = load(session, directory, ".zattrs") or {}
        return {key: value for key, value in members.items() if name == ".zgroup" or key != zarr2.DIMENSIONS_ATTRIBUTE}
    found = (load(session, directory, "zarr.json") or {}).get("attributes")
    return found if isinstance(found, dict) else {}


def set_attributes(session: Session, directory: Directory, change: Callable[[Members], Members]) -> None:
    """Replace the attributes by what `change` makes of them; nothing is written if that is the same."""
    with session.lock:
        old = attributes(session, directory)
        new = plain_json(change(dict(old)))
        if same_json(old, new):
            return
        name = main_name(session, directory)
        if name in _V2:
            stored = load(session, directory, ".zattrs") or {}
            kept = (zarr2.DIMENSIONS_ATTRIBUTE,) if name == ".zarray" else ()
            names = {key: value for key, value in stored.items() if key in kept}
            store(session, directory, ".zattrs", names | new)
            return
        members = load(session, directory, "zarr.json") or {"zarr_format": 3, "node_type": "group"}
        store(session, directory, "zarr.json", members | {"attributes": new})


def set_shape(session: Session, directory: Directory, shape: Sequence[int]) -> None:
    """Give an array another shape. Raises FormatError if no document describes it, LimitError if it cannot be had."""
    name = main_name(session, directory)
    members = None if name is None else load(session, directory, name)
    if name is None or members is None:
        raise FormatError(f"{'/'.join(directory.path())!r} has no document to say its shape in")
    old, new = (_parsed(name, one) for one in (members, members | {"shape": list(shape)}))
    if old is None or new is None or (old.native is None) != (new.native is None):
        raise LimitError(
            f"array {'/'.join(directory.path())!r}: the shape {tuple(shape)} is beyond the format's limits"
        )
    store(session, directory, name, members | {"shape": list(shape)})


def _parsed(name: str, members: Members) -> ArrayDocument | None:
    data = dump_json(members)
    said = zarr3.parse(data) if name == "zarr.json" else zarr2.parse(data, None)
    return said if isinstance(said, ArrayDocument) else None


def array_document(spec: ArraySpec, names: Sequence[str | None] | None, fill: object, attributes_: Members) -> Members:
    """The document of a new array. fill: as JSON.

    Raises FormatError if the container cannot hold such an array as numbers.
    """
    members = first_json(zarr3.render_array(spec, {}))
    assert isinstance(members, dict)
    members["fill_value"] = fill
    if names is None:
        del members["dimension_names"]
    else:
        members["dimension_names"] = list(names)
    members["attributes"] = attributes_
    said = _parsed("zarr.json", members)
    if said is None or said.native is None:
        raise FormatError(
            f"an array of {spec.dtype.name} {spec.shape} in chunks of {spec.chunk_shape} with fill value {fill!r} is "
            "beyond the format's limits (extents below 2^32, chunks below 4 GiB, a fill value of its type)"
        )
    return members


def check_array(name: str, members: Members) -> None:
    """Raise ValueError unless a document of this name describes an array."""
    if _parsed(name, members) is None:
        raise ValueError(f"{name}: {str(members)[:200]} describes no array")


def new_spec(dtype: DType, shape: tuple[int, ...], chunk_shape: tuple[int, ...]) -> ArraySpec:
    """What `array_document` is made of. Raises ValueError for shapes that do not belong together."""
    if len(shape) != len(chunk_shape):
        raise ValueError(f"chunks {chunk_shape} for an array of shape {shape}: {len(shape)} numbers are wanted")
    if any(length < 0 for length in shape) or any(chunk < 1 for chunk in chunk_shape):
        raise ValueError(f"shape {shape} in chunks of {chunk_shape}: lengths from 0, chunks from 1")
    return ArraySpec(dtype, shape, chunk_shape)


def make_group(session: Session, path: Sequence[str]) -> Directory:
    """The directory at a path, with a group document there and in all above it. Raises NotDirectoryError."""
    tree = session.tree
    directory = session.root
    for length in range(len(path) + 1):
        if length:
            directory = make_directory(session, directory, path[length - 1])
        if tree.documents.zarr(directory) is not None:
            raise NotDirectoryError(20, f"{'/'.join(path[:length])!r} is an array, no group")
        if main_name(session, directory) is None:
            store(session, directory, "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": {}})
    return directory


def make_directory(session: Session, parent: Directory, name: str) -> Directory:
    """The directory of this name, made if it is not there. Raises NotDirectoryError if a file is."""
    found = session.tree.find(parent, name)
    if found is None:
        keeper = session.check_writable()
        made = session.tree.mkdir(parent.ino, name, 0o755)
        found = session.tree.node(made.ino)
        keeper.made_directory("/".join((*parent.path(), name)))
    if not isinstance(found, Directory):
        raise NotDirectoryError(20, f"{'/'.join((*parent.path(), name))!r} is a file")
    return found
