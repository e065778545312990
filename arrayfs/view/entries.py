"""The entries of consolidated metadata as JSON: where they stand, what their keys are, when two say the same.

Nothing here knows a tree. (Zarr v3, "Consolidated metadata"; v2 as zarr-python writes it, `.zmetadata`.)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

V2_NAME = ".zmetadata"
V3_NAME = "zarr.json"
# The member of a group's zarr.json, and of the groups that are entries themselves.
MEMBER = "consolidated_metadata"
V2_DOCUMENTS = (".zgroup", ".zarray", ".zattrs")
DIGEST_SIZE = 8  # bytes; each guards one comparison with one other content
_canonical = json.JSONEncoder(sort_keys=True).encode

# What there is in the place of a document's content: no such document; one that nobody can read now; no `.zattrs`
# beside a document of v2, which means the same as an empty one.
NO_DOCUMENT, UNKNOWN, NO_ATTRIBUTES = object(), object(), object()


def entries_of(name: str, document: Any) -> dict[str, object] | None:
    """The entries of a document of this name; None if it consolidates nothing."""
    holder = document.get(MEMBER) if name == V3_NAME and isinstance(document, dict) else document
    entries = holder.get("metadata") if isinstance(holder, dict) else None
    return entries if isinstance(entries, dict) else None


def keys_of(name: str, path: tuple[str, ...]) -> Iterator[str]:
    """The keys of the entries of the node at a path below the group."""
    if name == V2_NAME:
        yield from ("/".join((*path, document)) for document in V2_DOCUMENTS)
    elif path:
        yield "/".join(path)


def says_the_same(entry: object, document: object) -> bool:
    """Whether an entry says what a document says; in which order makes no difference."""
    if entry is NO_DOCUMENT or document is NO_DOCUMENT:
        return entry is document
    return _canonical(without_member(entry)) == _canonical(document)


def put(entries: dict[str, object], key: str, document: object) -> None:
    """Have the entry say what the document says, or take it out where there is none."""
    if document is NO_DOCUMENT:
        entries.pop(key, None)
        return
    old = entries.get(key)
    if isinstance(old, dict) and MEMBER in old and isinstance(document, dict) and document.get("node_type") != "array":
        document = {**document, MEMBER: old[MEMBER]}
    entries[key] = document


def without_member(document: object) -> object:
    """A group among the entries says of its own consolidated metadata only that the outer one has it."""
    return {k: value for k, value in document.items() if k != MEMBER} if isinstance(document, dict) else document


def digest(value: object) -> bytes:
    """Of a key, or of what a document says."""
    if value is NO_DOCUMENT:
        return bytes(DIGEST_SIZE)
    return hashlib.sha256(_canonical(value).encode()).digest()[:DIGEST_SIZE]


def digests_to_bytes(digests: Mapping[bytes, bytes]) -> bytes:
    """Pairs of digests as an attribute keeps them."""
    return b"".join(key + value for key, value in digests.items())


def digests_from_bytes(payload: bytes | tuple[bytes, ...]) -> dict[bytes, bytes]:
    """The inverse of `digests_to_bytes`; what is no pair is left out: a container may come from anyone."""
    data = payload if isinstance(payload, bytes) else b""
    whole = range(0, len(data) - 2 * DIGEST_SIZE + 1, 2 * DIGEST_SIZE)
    return {data[n : n + DIGEST_SIZE]: data[n + DIGEST_SIZE : n + 2 * DIGEST_SIZE] for n in whole}
