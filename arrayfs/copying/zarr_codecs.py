"""Chunk files and documents of native arrays with a codec: what `--codec` makes of a Zarr target.

Nothing of a document but its codec becomes another, in consolidated metadata too. (Zarr v3 specification, codecs;
numcodecs' names in v2)
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import zstandard

from arrayfs.copying.key_paths import join
from arrayfs.copying.source import ARRAY_DOCUMENTS
from arrayfs.view import entries
from arrayfs.view.metadata import dump_json, first_json, same_json

CODECS: Final = ("none", "zstd", "gzip")
_LEVELS: Final = {"zstd": 3, "gzip": 5}
_GZIP_WINDOW: Final = 16 + zlib.MAX_WBITS
# Of a path: whether the array there is encoded, and whether what is there is exported at all.
Question = Callable[[str], bool]


def encoded(codec: str, parts: Iterable[bytes | memoryview], size: int) -> Iterator[bytes]:
    """A chunk file of `size` bytes, which comes in parts, as the codec has it."""
    if codec == "zstd":
        compress: Any = zstandard.ZstdCompressor(level=_LEVELS[codec]).compressobj(size=size)
    else:
        compress = zlib.compressobj(_LEVELS[codec], zlib.DEFLATED, _GZIP_WINDOW)
    for part in parts:
        yield compress.compress(part)
    yield compress.flush()


def document(name: str, path: str, data: bytes, codec: str, is_encoded: Question, is_exported: Question) -> bytes:
    """A document of this name in the directory `path`, as the target has it; the same bytes if nothing is otherwise."""
    try:
        old: Any = first_json(data)
    except ValueError:
        return data
    if not isinstance(old, dict):
        return data
    new = old
    if name in ARRAY_DOCUMENTS and codec != "none" and is_encoded(path):
        new = _with_codec(old, codec)
    below = entries.entries_of(name, new)
    if below is not None:
        new = _with_entries(name, new, dict(_consolidated(name, path, below, codec, is_encoded, is_exported)))
    return data if same_json(new, old) else dump_json(new)


def _with_codec(members: dict[str, Any], codec: str) -> dict[str, Any]:
    options = {"level": _LEVELS[codec]} | ({"checksum": False} if codec == "zstd" else {})
    if members.get("zarr_format") == 2:
        return members | {"compressor": {"id": codec, **options}}
    return members | {"codecs": [*members["codecs"], {"name": codec, "configuration": options}]}


def _consolidated(
    name: str, path: str, below: dict[str, object], codec: str, is_encoded: Question, is_exported: Question
) -> Iterator[tuple[str, object]]:
    for key, said in below.items():
        inner = key.rpartition("/")[0] if name == entries.V2_NAME else key
        where = join(path, inner)
        if not is_exported(where):
            continue
        if codec != "none" and isinstance(said, dict) and _describes_array(key, said) and is_encoded(where):
            said = _with_codec(said, codec)
        yield key, said


def _describes_array(key: str, entry: dict[str, Any]) -> bool:
    return entry.get("node_type") == "array" or key.rpartition("/")[2] == ".zarray"


def _with_entries(name: str, members: dict[str, Any], below: dict[str, object]) -> dict[str, Any]:
    if name == entries.V2_NAME:
        return members | {"metadata": below}
    return members | {entries.MEMBER: members[entries.MEMBER] | {"metadata": below}}
