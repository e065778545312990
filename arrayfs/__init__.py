"""Containers of n-dimensional arrays that every program can use as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from arrayfs.api.zarr_store import ZarrStore

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
    "ZarrStore",
    "open",
]


def __getattr__(name: str) -> object:
    """The store needs zarr, which is imported with the first look at it and not before."""
    if name == "ZarrStore":
        from arrayfs.api.zarr_store import ZarrStore

        return ZarrStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
