"""A directory tree as dicts and bytes, with the little that Zarr documents change in one.

A file whose name spells a chunk of a native array in the same tree, and that has a chunk's length, loses what it holds
outside the array's shape; changing a shape takes away chunks and cuts those at the edge. All else is a directory tree.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from arrayfs.errors import (
    EntryExistsError,
    IsDirectoryError,
    NoEntryError,
    NotDirectoryError,
    NotEmptyError,
    RefusedError,
)

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What one document means. shape, chunk: elements of uint8, a group has no chunk; slashes: how keys are spelled."""

    name: str
    content: bytes
    shape: tuple[int, ...] = ()
    chunk: tuple[int, ...] | None = None
    native: bool = True
    prefix: str = ""
    slashes: bool = True

    @property
    def kind(self) -> object:
        return self.chunk, self.native, self.prefix, self.slashes

    def coord(self, path: Path) -> tuple[int, ...] | None:
        """The chunk inside the grid that a path below the array's directory spells."""
        assert self.chunk is not None
        if self.prefix:
            if not path or path[0] != self.prefix:
                return None
            path = path[1:]
        parts = path if self.slashes else tuple(path[0].split(".")) if len(path) == 1 else ()
        if len(parts) != len(self.shape) or not all(part.isdigit() and str(int(part)) == part for part in parts):
            return None
        coord = tuple(map(int, parts))
        return coord if all(c * n < s for c, n, s in zip(coord, self.chunk, self.shape, strict=True)) else None

    def takes(self, size: int) -> bool:
        """Whether a file of this size can be a chunk."""
        return not self.native or size == math.prod(self.chunk or ())

    def clip(self, coord: tuple[int, ...], data: bytes) -> bytes:
        """A chunk file with fill (0) outside the shape."""
        assert self.chunk is not None
        if not self.native:
            return data
        out = np.zeros(self.chunk, np.uint8)
        inside = tuple(slice(min(n, s - c * n)) for c, n, s in zip(coord, self.chunk, self.shape, strict=True))
        out[inside] = np.frombuffer(data, np.uint8).reshape(self.chunk)[inside]
        return out.tobytes()


def v3(shape: tuple[int, ...], chunk: tuple[int, ...], *, native: bool = True) -> Document:
    codecs: list[dict[str, object]] = [{"name": "bytes"}]
    if not native:
        codecs.append({"name": "gzip", "configuration": {"level": 1}})
    document = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {"shape was": str(shape)},
    }
    return Document("zarr.json", json.dumps(document).encode(), shape, chunk, native, "c")


def v2(shape: tuple[int, ...], chunk: tuple[int, ...], separator: str) -> Document:
    document = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": chunk,
        "dtype": "|u1",
        "compressor": None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
        "dimension_separator": separator,
    }
    return Document(".zarray", json.dumps(document).encode(), shape, chunk, slashes=separator == "/")


GROUP = Document("zarr.json", b'{"zarr_format": 3, "node_type": "group", "attributes": {"n": 1}}')
DOCUMENTS = [
    v3((4,), (2,)),
    v3((3,), (2,)),
    v3((1,), (2,)),
    v3((4,), (2,), native=False),
    v3((2,), (2,), native=False),
    v3((2, 3), (1, 2)),
    v3((2, 1), (1, 2)),
    v3((4,), (4,)),
    v2((3,), (2,), "."),
    v2((3, 2), (2, 2), "."),
    v2((2, 3), (2, 2), "/"),
    GROUP,
    Document("zarr.json", b'{"zarr_format": 3, "node_type": "arr'),
]
KNOWN = {(document.name, document.content): document for document in DOCUMENTS[:-1]}
DOCUMENT_NAMES = ("zarr.json", ".zarray")


@dataclass(eq=False)
class ModelFile:
    """One inode. cut: a document took something of it away, so that handles on it may see either.

    link: a symbolic link, to `data`; it is neither chunk nor document.
    """

    data: bytes = b""
    cut: bool = False
    link: bool = False


@dataclass(eq=False)
class ModelDirectory:
    """array: the document that says what chunk files mean here; it holds until another takes its place."""

    entries: dict[str, ModelDirectory | ModelFile] = field(default_factory=dict)
    array: Document | None = None


class ModelTree:
    """The operations; each raises what the real tree raises, before it has changed anything."""

    def __init__(self) -> None:
        self.root = ModelDirectory()

    # --- looking ------------------------------------------------------------------------------------------------------

    def find(self, path: Path) -> ModelDirectory | ModelFile | None:
        node: ModelDirectory | ModelFile | None = self.root
        for name in path:
            node = node.entries.get(name) if isinstance(node, ModelDirectory) else None
        return node

    def directory(self, path: Path) -> ModelDirectory:
        node = self.find(path)
        assert isinstance(node, ModelDirectory), path
        return node

    def walk(self) -> Iterator[tuple[Path, ModelDirectory | ModelFile]]:
        """Everything, directories before what is in them."""
        waiting: list[tuple[Path, ModelDirectory]] = [((), self.root)]
        while waiting:
            path, directory = waiting.pop()
            yield path, directory
            for name, node in directory.entries.items():
                if isinstance(node, ModelDirectory):
                    waiting.append(((*path, name), node))
                else:
                    yield (*path, name), node

    def directories(self) -> list[Path]:
        return sorted(path for path, node in self.walk() if isinstance(node, ModelDirectory))

    def files(self) -> list[Path]:
        """All but links."""
        return sorted(path for path, node in self.walk() if isinstance(node, ModelFile) and not node.link)

    def names_of(self, file: ModelFile) -> int:
        return sum(node is file for _, node in self.walk())

    def array_above(self, path: Path) -> tuple[int, Document] | None:
        """The nearest array at or above a directory: how long its path is, and its document."""
        for length in range(len(path), -1, -1):
            array = self.directory(path[:length]).array
            if array is not None and array.chunk is not None:
                return length, array
        return None

    def has_array_below(self, path: Path) -> bool:
        node = self.find(path)
        if not isinstance(node, ModelDirectory):
            return False
        return node.array is not None or any(self.has_array_below((*path, name)) for name in node.entries)

    # --- changing -----------------------------------------------------------------------------------------------------

    def create(self, path: Path, *, exclusive: bool) -> ModelFile:
        found = self.find(path)
        if found is not None and exclusive:
            raise EntryExistsError(str(path))
        if isinstance(found, ModelDirectory):
            raise IsDirectoryError(str(path))
        if found is None:
            found = self.directory(path[:-1]).entries[path[-1]] = ModelFile()
        return found

    def judge(self, path: Path) -> None:
        """The file of this name was written and closed, or came here under another name."""
        file = self.find(path)
        assert isinstance(file, ModelFile)
        if path[-1] in DOCUMENT_NAMES:
            self.follow(path[:-1])
        above = self.array_above(path[:-1])
        if above is not None and not file.link:
            length, array = above
            coord = array.coord(path[length:])
            if coord is not None and array.takes(len(file.data)):
                file.data = array.clip(coord, file.data)

    def symlink(self, path: Path, target: bytes) -> None:
        self.create(path, exclusive=True)
        self.directory(path[:-1]).entries[path[-1]] = ModelFile(target, link=True)
        self.judge(path)

    def mkdir(self, path: Path) -> None:
        if self.find(path) is not None:
            raise EntryExistsError(str(path))
        self.directory(path[:-1]).entries[path[-1]] = ModelDirectory()

    def unlink(self, path: Path) -> None:
        found = self.find(path)
        if found is None:
            raise NoEntryError(str(path))
        if isinstance(found, ModelDirectory):
            raise IsDirectoryError(str(path))
        del self.directory(path[:-1]).entries[path[-1]]
        if path[-1] in DOCUMENT_NAMES:
            self.follow(path[:-1])

    def rmdir(self, path: Path) -> None:
        found = self.find(path)
        if found is None:
            raise NoEntryError(str(path))
        if isinstance(found, ModelFile):
            raise NotDirectoryError(str(path))
        if found.entries:
            raise NotEmptyError(str(path))
        del self.directory(path[:-1]).entries[path[-1]]

    def link(self, old: Path, new: Path) -> None:
        if self.find(new) is not None:
            raise EntryExistsError(str(new))
        file = self.find(old)
        assert isinstance(file, ModelFile)
        self.directory(new[:-1]).entries[new[-1]] = file
        self.judge(new)

    def rename(self, old: Path, new: Path, *, no_replace: bool) -> None:
        found, other = self.find(old), self.find(new)
        if found is None:
            raise NoEntryError(str(old))
        if other is not None and no_replace:
            raise EntryExistsError(str(new))
        if isinstance(found, ModelFile):
            if isinstance(other, ModelDirectory):
                raise IsDirectoryError(str(new))
        else:
            if new[: len(old)] == old and new != old:
                raise RefusedError(22, str(new))
            if isinstance(other, ModelFile):
                raise NotDirectoryError(str(new))
            if other is not None and other is not found and other.entries:
                raise NotEmptyError(str(new))
        if other is found:
            return
        del self.directory(old[:-1]).entries[old[-1]]
        self.directory(new[:-1]).entries[new[-1]] = found
        if isinstance(found, ModelFile):
            if old[-1] in DOCUMENT_NAMES:
                self.follow(old[:-1])
            self.judge(new)
            return
        for path, node in self.walk():
            if isinstance(node, ModelFile) and path[: len(new)] == new:
                self.judge(path)

    def exchange(self, one: Path, other: Path) -> None:
        if one != other and (one[: len(other)] == other or other[: len(one)] == one):
            raise RefusedError(22, str((one, other)))
        if one != other:
            between = (*one[:-1], "between")
            for old, new in ((one, between), (other, one), (between, other)):
                self.rename(old, new, no_replace=True)

    # --- documents ----------------------------------------------------------------------------------------------------

    def follow(self, path: Path) -> None:
        """The documents of a directory changed: what its files mean may have, too."""
        directory = self.directory(path)
        old, new = directory.array, self.meant(directory)
        if new is None or new is old:
            return
        directory.array = new if new.chunk is not None else None
        if new.chunk is None:
            return
        for below, file in list(self.walk()):
            if not isinstance(file, ModelFile) or file.link or below[: len(path)] != path:
                continue
            rest = below[len(path) :]
            if old is not None and old.kind == new.kind:
                was = old.coord(rest)
                if was is not None and old.takes(len(file.data)) and new.coord(rest) is None:
                    del self.directory(below[:-1]).entries[below[-1]]
                    file.cut = True
                    continue
            coord = new.coord(rest)
            if coord is not None and new.takes(len(file.data)):
                clipped = new.clip(coord, file.data)
                file.cut |= clipped != file.data
                file.data = clipped

    def committed(self) -> None:
        """A version holds no array that nothing describes: what was chunks of one is files, until a document comes."""
        for path, node in self.walk():
            if not isinstance(node, ModelDirectory) or node.array is None or self.meant(node) is not None:
                continue
            here = [name for name in DOCUMENT_NAMES if name in node.entries]
            keys = (node.array.prefix, node.array.slashes)
            usual = ("c", True) if "zarr.json" in here else ("", False)
            if not here or not path or not node.array.native or keys != usual:
                node.array = None

    @staticmethod
    def meant(directory: ModelDirectory) -> Document | None:
        """What the documents say; None: nothing that parses, so what held before holds."""
        found = [directory.entries.get(name) for name in DOCUMENT_NAMES]
        for name, file in zip(DOCUMENT_NAMES, found, strict=True):
            if isinstance(file, ModelFile) and not file.link:
                return KNOWN.get((name, file.data)) or (GROUP if is_json(file.data) else None)
        return GROUP if any(isinstance(file, ModelFile) for file in found) else None


def is_json(data: bytes) -> bool:
    """Whether the bytes begin with a JSON value: a document that means something, though perhaps nothing known."""
    try:
        json.JSONDecoder().raw_decode(data.decode("utf-8", "surrogateescape").lstrip(" \t\r\n"))
    except ValueError:
        return False
    return True
