"""Containers of n-dimensional arrays that every program can use as files."""

from arrayfs.api.array import Array
from arrayfs.api.container import Container, open
from arrayfs.api.encoded import EncodedChunk
from arrayfs.api.group import Group
from arrayfs.api.stats import Statistics
from arrayfs.container.commit import CommitReport
from arrayfs.errors import (
    ArrayFSError,
    ArrayNotFoundError,
    ChecksumError,
    ConflictError,
    EntryExistsError,
    FormatError,
    LimitError,
    MissingObjectError,
    ObjectExistsError,
    OpaqueArrayError,
    ReadOnlyError,
    VersionError,
)

__all__ = [
    "Array",
    "ArrayFSError",
    "ArrayNotFoundError",
    "ChecksumError",
    "CommitReport",
    "ConflictError",
    "Container",
    "EncodedChunk",
    "EntryExistsError",
    "FormatError",
    "Group",
    "LimitError",
    "MissingObjectError",
    "ObjectExistsError",
    "OpaqueArrayError",
    "ReadOnlyError",
    "Statistics",
    "VersionError",
    "open",
]
