"""Which opaque arrays could be native ones with the same values, and what their documents say then.

Only documents are read here. Nothing of an array but how its chunks are encoded, and where it was sharded the chunk
shape, becomes another: its type, shape, fill value, names and all other members stay as the client wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from arrayfs.container.array import ArraySpec
from arrayfs.container.grid import Grid
from arrayfs.errors import UnconvertibleError
from arrayfs.format.dtypes import element_size
from arrayfs.view import plain, zarr2, zarr3
from arrayfs.view.chunks import OpaqueChunks
from arrayfs.view.metadata import ArrayDocument, dump_json, first_json, grid_fits, lengths
from arrayfs.view.nodes import Directory, File
from arrayfs.view.numbers import LARGE_RANGE

if TYPE_CHECKING:
    from arrayfs.view.arrays import ZarrArray
    from arrayfs.view.tree import Tree

# Codecs that only compute. Pickle would run what a container says; JSON and MessagePack make objects of any kind. In v3
# those of numcodecs have its name before theirs.
_NUMCODECS: Final = frozenset(
    {"blosc", "zstd", "lz4", "zlib", "gzip", "bz2", "lzma", "shuffle", "delta", "fixedscaleoffset", "quantize"}
    | {"bitround", "packbits", "astype", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "pcodec"}
    | {"zfpy", "vlen-utf8", "vlen-bytes"}
)
_ZARR3: Final = frozenset(
    {"bytes", "transpose", "sharding_indexed", "blosc", "gzip", "zstd", "crc32c", "vlen-utf8", "vlen-bytes"}
)
# What says how chunks are decoded; the rest of a document (attributes, names, extensions) is no codec's affair.
_DECODING: Final = frozenset(
    {"zarr_format", "node_type", "shape", "data_type", "chunk_grid", "chunk_key_encoding", "fill_value", "codecs"}
    | {"chunks", "dtype", "compressor", "order", "filters", "dimension_separator"}
)


@dataclass(frozen=True, slots=True)
class NativeForm:
    """What the document of an array would say if its chunks were numbers.

    path: of its directory, for people. was: what the old document says. document_name, document: the document to be
    replaced, and its new content. now: what that says; spec: of the native array. decoding: the old document's members
    by which chunks are decoded, as a document. codecs: their names, for people.
    """

    path: str
    was: ArrayDocument
    document_name: str
    document: bytes
    now: ArrayDocument
    spec: ArraySpec
    decoding: dict[str, bytes]
    codecs: str

    @property
    def outer(self) -> tuple[int, ...]:
        """Shape of its chunk files as they are, elements."""
        return self.was.chunk_shape


@dataclass(frozen=True, slots=True)
class Conversion:
    """One opaque array of a container, and what it is to be. zarr: as it is; name: the native array's."""

    form: NativeForm
    zarr: ZarrArray
    name: str


def arrays_of(tree: Tree) -> Iterator[tuple[str, Directory]]:
    """Path and directory of every array that a client's document describes, in the order of their paths."""
    waiting = [tree.root]
    while waiting:
        directory = waiting.pop()
        below = [node for node in directory.children.values() if isinstance(node, Directory)]
        waiting += sorted(below, key=lambda node: node.name, reverse=True)
        if _array_document(tree, directory) is not None:
            yield "/".join(directory.path()), directory


def is_native(tree: Tree, directory: Directory) -> bool:
    """Whether the array in this directory is a native one already."""
    zarr = tree.documents.zarr(directory)
    return zarr is not None and not isinstance(zarr.chunks, OpaqueChunks)


def plan(tree: Tree, directory: Directory) -> Conversion:
    """What becomes of the array in this directory. Raises UnconvertibleError with the reason if nothing can."""
    zarr, found = tree.documents.zarr(directory), _array_document(tree, directory)
    if zarr is None or found is None:
        raise UnconvertibleError("its chunk grid, or how its chunks are named, is not known")
    name, old = found
    if name == "zarr.json" and ".zarray" in directory.children:
        raise UnconvertibleError("it has documents of both Zarr formats, which may share their chunks")
    zattrs = directory.children.get(".zattrs")
    attributes = bytes(tree.content(zattrs)) if isinstance(zattrs, File) else None
    path = "/".join(directory.path())
    form = native_form(path, name, old, attributes, tree.container.stack.newest.footer.version)
    conversion = Conversion(form, zarr, tree.documents.array_name(directory))
    _check_names(tree, conversion)
    return conversion


def native_form(path: str, name: str, old: dict[str, Any], attributes: bytes | None, version: int) -> NativeForm:
    """What an array's document would say for chunks of numbers.

    name, old: of the document; attributes: the `.zattrs` beside it; version: of the container's footers.
    Raises UnconvertibleError with the reason if the container cannot keep exactly the same.
    """
    look = 2 if name == ".zarray" else 3
    try:
        codecs = _codecs(look, old)
        was = _parse(look, dump_json(old), attributes, version)
        for new in _candidates(look, old, was):
            data = dump_json(new)
            now = _parse(look, data, attributes, version)
            if now.native is not None:
                break
        else:
            raise ValueError("its shape or its chunks are beyond the container's limits")
        if not now.shape and element_size(now.native.dtype) is None:
            raise ValueError("zarr-python reads a single text, or bytes, without the zeros at its end")
    except ValueError as error:
        raise UnconvertibleError(str(error)) from None
    decoding = {name: dump_json({key: value for key, value in old.items() if key in _DECODING})}
    return NativeForm(path, was, name, data, now, now.native, decoding, ", ".join(codecs))


def _array_document(tree: Tree, directory: Directory) -> tuple[str, dict[str, Any]] | None:
    """Name and content of the document here that describes an array, in either format."""
    for name in ("zarr.json", ".zarray"):
        file = directory.children.get(name)
        if not isinstance(file, File):
            continue
        try:
            document = first_json(bytes(tree.content(file)))
        except ValueError:
            return None
        is_array = isinstance(document, dict) and (name == ".zarray" or document.get("node_type") == "array")
        return (name, document) if is_array and isinstance(document, dict) else None
    return None


def _parse(look: int, data: bytes, attributes: bytes | None, version: int) -> ArrayDocument:
    document = zarr2.parse(data, attributes, version) if look == 2 else zarr3.parse(data, version)
    if not isinstance(document, ArrayDocument):
        raise ValueError("its document describes no array whose chunk grid is known")
    return document


def _codecs(look: int, document: Mapping[str, Any]) -> list[str]:
    """The names of all codecs. Raises ValueError that names one that is not known."""
    if look == 2:
        filters = document.get("filters")
        steps = [*(filters if isinstance(filters, list) else ()), document.get("compressor")]
        names = [str(step.get("id")) for step in steps if isinstance(step, dict)]
        known = _NUMCODECS
    else:
        names = list(_codec_names(document.get("codecs")))
        known = _ZARR3 | {f"numcodecs.{name}" for name in _NUMCODECS}
    strange = [name for name in names if name not in known]
    if strange:
        raise ValueError(f"codec {strange[0]!r} is not known, or may do more than decode")
    if look == 3 and not names:
        raise ValueError("it names no codec, so only its client knows what its chunks are")
    return names


def _codec_names(codecs: object) -> Iterator[str]:
    for codec in codecs if isinstance(codecs, list) else ():
        name = codec.get("name") if isinstance(codec, dict) else codec
        yield str(name)
        configuration = codec.get("configuration") if isinstance(codec, dict) else None
        if isinstance(configuration, dict):
            yield from _codec_names(configuration.get("codecs"))
            yield from _codec_names(configuration.get("index_codecs"))


def _candidates(look: int, document: dict[str, Any], was: ArrayDocument) -> Iterator[dict[str, object]]:
    """New documents, the best first: with the chunks in a shard as chunks, then with whole shards."""
    if look == 2:
        yield zarr2.raw_document(document)
        return
    for chunk_shape in (_inner_chunk_shape(document.get("codecs"), was.chunk_shape), was.chunk_shape):
        if grid_fits(was.shape, chunk_shape) and _is_small(Grid(was.shape, chunk_shape)):
            yield zarr3.raw_document(document, chunk_shape)


def _is_small(grid: Grid) -> bool:
    """Whether a mount has inode numbers for many arrays of such a grid."""
    total = 1
    for count in grid.counts:
        total *= max(count, 1)
    return total < LARGE_RANGE


def _inner_chunk_shape(codecs: object, outer: tuple[int, ...]) -> tuple[int, ...]:
    """The chunk shape within shards, the innermost where shards are in shards; `outer` where there are none.

    Where axes were exchanged before, an inner chunk is none of the array's: whole shards then.
    """
    first = codecs[0] if isinstance(codecs, list) and codecs else None
    if not isinstance(first, dict) or first.get("name") != "sharding_indexed":
        return outer
    configuration = first.get("configuration")
    if not isinstance(configuration, dict):
        return outer
    inner = lengths(configuration.get("chunk_shape"))
    if inner is None or len(inner) != len(outer) or not all(inner):
        return outer
    if any(whole % part for whole, part in zip(outer, inner, strict=True)):
        return outer
    return _inner_chunk_shape(configuration.get("codecs"), inner)


def _check_names(tree: Tree, conversion: Conversion) -> None:
    """Raise UnconvertibleError if something else has the array's name, or that of one of its chunks."""
    container, now = tree.container, conversion.form.now
    if conversion.name in container:
        raise UnconvertibleError(f"the container has another array {conversion.name!r}")
    below = plain.FILES + (f"{conversion.form.path}/" if conversion.form.path else "")
    counts = Grid(now.shape, now.chunk_shape).counts
    for name in container.names_of_arrays():
        if not name.startswith(below):
            continue
        components: Sequence[str] = name.removeprefix(below).split("/")
        coord = now.keys.parse(components, len(counts))
        if coord is not None and all(c < count for c, count in zip(coord, counts, strict=True)):
            raise UnconvertibleError(f"the plain file {'/'.join(components)} has the name of a chunk")
