"""What two writers' changes mean for files: which of them can be there together, and metadata merged by key.

Arrays are merged in `container/merge.py`. Here are the rules for what stands for a file: a document of JSON is merged
member by member, any other file is one thing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable

from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.container.merge import Names
from arrayfs.errors import FormatError
from arrayfs.view import paths, plain
from arrayfs.view.draft import PIECE_SIZE, Draft
from arrayfs.view.nodes import Components

# A document larger than this is a file like any other.
DOCUMENT_LIMIT = 16 << 20
_ABSENT = object()
# Names of chunks in any of the key encodings of Zarr, below the array's directory.
_KEY = re.compile(r"c|(c[/.])?[0-9]+([/.][0-9]+)*")


class _OverlapError(Exception):
    """Both sides changed the same member to different values."""


def merge_documents(base: bytes | None, ours: bytes, theirs: bytes, told: frozenset[str] = frozenset()) -> bytes | None:
    """A document with the changes of both sides; None if they changed the same member, or for what is no JSON object.

    Members are merged by key, however deep; of a `shape` that both made longer, the longer holds. base: what both began
    with, None if both made the document. told: keys of attributes and members that a native array beside it says, and
    that are put in when the document is read: what stands here means nothing.
    """
    try:
        old = {} if base is None else json.loads(base)
        one, other = json.loads(ours), json.loads(theirs)
        if not all(isinstance(value, dict) for value in (old, one, other)):
            return None
        merged = _merge(old, one, other, (), told)
    except (ValueError, RecursionError, _OverlapError):
        return None
    if merged == other:
        return theirs
    return ours if merged == one else json.dumps(merged, indent=2, ensure_ascii=False).encode()


def _merge(base: object, ours: object, theirs: object, path: tuple[str, ...], told: frozenset[str]) -> object:
    if _same(ours, theirs) or _same(theirs, base):
        return ours
    if _same(ours, base):
        return theirs
    if isinstance(ours, dict) and isinstance(theirs, dict):
        below = base if isinstance(base, dict) else {}
        merged = {
            key: _merge(below.get(key, _ABSENT), ours.get(key, _ABSENT), theirs.get(key, _ABSENT), (*path, key), told)
            for key in {**theirs, **ours}
        }
        return {key: value for key, value in merged.items() if value is not _ABSENT}
    lengths = _lengths(base), _lengths(ours), _lengths(theirs)
    if path == ("shape",) and all(one is not None and len(one) == len(lengths[0] or ()) for one in lengths):
        return [_longer(*axis) for axis in zip(*(one or () for one in lengths), strict=True)]
    if path and path[-1] in told and path[:-1] in ((), ("attributes",)):
        return ours
    raise _OverlapError


def _same(one: object, other: object) -> bool:
    """As JSON sees it: 1, 1.0 and true are three things."""
    return one is other or (
        _ABSENT not in (one, other) and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


def _lengths(value: object) -> list[int] | None:
    return value if isinstance(value, list) and all(type(length) is int for length in value) else None


def _longer(base: int, ours: int, theirs: int) -> int:
    if ours in (base, theirs):
        return theirs
    if theirs == base:
        return ours
    if min(ours, theirs) > base:
        return max(ours, theirs)
    raise _OverlapError


def is_file(name: str) -> bool:
    """Whether an array of this name stands for a file, a document, or a directory that is empty."""
    return name.startswith(plain.FILES)


def merge_file(
    container: Container, name: str, base: Array | None, ours: Array, theirs: Array, told: frozenset[str]
) -> Callable[[], None] | None:
    """See `Follower.merge_file`, and for `told`, `merge_documents`."""
    if name.endswith("/"):
        return lambda: None  # a directory is there or not
    try:
        one, other = plain.read_attributes(ours), plain.read_attributes(theirs)
        if one[0] == other[0] and _equal(container, ours, theirs, one[0]):
            content = None
        else:
            if name.rpartition("/")[2] not in paths.DOCUMENT_NAMES or max(one[0], other[0]) > DOCUMENT_LIMIT:
                return None
            below = None if base is None else _content(container, base)
            content = merge_documents(below, _content(container, ours), _content(container, theirs), told)
            if content is None:
                return None
        old_mode = None if base is None else plain.read_attributes(base)[1]
    except FormatError:
        return None
    size = other[0] if content is None else len(content)
    mode = other[1] if one[1] == old_mode else one[1]
    time_ns = max(one[2] or 0, other[2] or 0)

    def store() -> None:
        if content is not None:
            draft = Draft(None, 0)
            draft.write(0, content)
            plain.store(container, ours, draft, time_ns)
        if content is not None or mode != other[1]:
            container.set_attributes(ours, plain.attributes_of(size, mode, time_ns))

    return store


def _content(container: Container, array: Array) -> bytes:
    size = plain.read_attributes(array)[0]
    return bytes(plain.read(container, array, size, 0, size))


def _equal(container: Container, one: Array, other: Array, size: int) -> bool:
    return all(
        plain.read(container, one, size, start, PIECE_SIZE) == plain.read(container, other, size, start, PIECE_SIZE)
        for start in range(0, size, PIECE_SIZE)
    )


def clashes(ours: Names, theirs: Names) -> list[str]:
    """What cannot be there together: something below an array that the other side removed, or below its file."""
    return [
        *(f"{path}: a file here, a chunk of {above} there" for path, above in _chunk_like(ours, theirs)),
        *(f"{path}: a file there, a chunk of {above} here" for path, above in _chunk_like(theirs, ours)),
        *(f"{path}: written here, but {above} was removed there" for path, above in _below(ours, theirs)),
        *(f"{path}: written there, but {above} was removed here" for path, above in _below(theirs, ours)),
        *(f"{path}: written here, but {above} is a file there" for path, above in _below_files(ours, theirs)),
        *(f"{path}: written there, but {above} is a file here" for path, above in _below_files(theirs, ours)),
    ]


def path_of(name: str) -> Components:
    """Where what an array's name stands for is shown."""
    if not name.startswith(plain.RESERVED):
        return tuple(map(paths.show, name.split("/")))
    for prefix in (plain.FILES, plain.CHUNKS, plain.HIDDEN):
        if name.startswith(prefix):
            rest = name[len(prefix) :].removesuffix("/")
            return tuple(rest.split("/")) if rest else ()
    return (name,)


def _below(changing: Names, removing: Names) -> Iterable[tuple[str, str]]:
    removed = {path_of(name) for name in removing.removed if not name.startswith((plain.FILES, plain.HIDDEN))}
    return _ancestors_in(changing.changed, removed)


def _below_files(changing: Names, other: Names) -> Iterable[tuple[str, str]]:
    files = {path_of(name) for name in other.changed if is_file(name) and not name.endswith("/")}
    return _ancestors_in(changing.changed, files)


def _chunk_like(writing: Names, other: Names) -> Iterable[tuple[str, str]]:
    """Files of one side that may be named like a chunk of an array that the other made, or made larger."""
    arrays = {path_of(name) for name in other.changed if not name.startswith((plain.FILES, plain.HIDDEN))}
    files = [name for name in writing.changed if is_file(name) and not name.endswith("/")]
    for path, above in _ancestors_in(files, arrays):
        if _KEY.fullmatch(path[len(above) :].lstrip("/")):
            yield path, above


def _ancestors_in(names: Iterable[str], paths_: set[Components]) -> Iterable[tuple[str, str]]:
    if not paths_:
        return
    for name in names:
        path = path_of(name)
        for length in range(len(path)):
            if path[:length] in paths_:
                yield "/".join(path), "/".join(path[:length])
