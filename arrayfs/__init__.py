"""Containers of n-dimensional arrays that every program can use as files."""

from __future__ import annotations

from importlib import import_module
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
    SourceError,
    TargetError,
    VersionError,
)

if TYPE_CHECKING:
    from arrayfs.api.zarr_store import ZarrStore
    from arrayfs.copying.export_to import export_to
    from arrayfs.copying.exporting import Exported
    from arrayfs.copying.import_from import import_from
    from arrayfs.copying.importing import Imported

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
    "Exported",
    "FormatError",
    "Group",
    "Imported",
    "LimitError",
    "MissingObjectError",
    "ObjectExistsError",
    "OpaqueArrayError",
    "ReadOnlyError",
    "SourceError",
    "Statistics",
    "TargetError",
    "VersionError",
    "ZarrStore",
    "export_to",
    "import_from",
    "open",
]


_LATER = {
    "Exported": "arrayfs.copying.exporting",
    "Imported": "arrayfs.copying.importing",
    "ZarrStore": "arrayfs.api.zarr_store",
    "export_to": "arrayfs.copying.export_to",
    "import_from": "arrayfs.copying.import_from",
}


def __getattr__(name: str) -> object:
    """What is imported with the first look at it: the store needs zarr, and copying many modules."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_LATER[name]), name)
    return found
