"""Containers of n-dimensional arrays that every program can use as files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

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
    from arrayfs.api.array import Array
    from arrayfs.api.container import Container, open
    from arrayfs.api.encoded import EncodedChunk
    from arrayfs.api.group import Group
    from arrayfs.api.stats import Statistics
    from arrayfs.api.zarr_store import ZarrStore
    from arrayfs.container.commit import CommitReport
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
    "Array": "arrayfs.api.array",
    "CommitReport": "arrayfs.container.commit",
    "Container": "arrayfs.api.container",
    "EncodedChunk": "arrayfs.api.encoded",
    "Exported": "arrayfs.copying.exporting",
    "Group": "arrayfs.api.group",
    "Imported": "arrayfs.copying.importing",
    "Statistics": "arrayfs.api.stats",
    "ZarrStore": "arrayfs.api.zarr_store",
    "export_to": "arrayfs.copying.export_to",
    "import_from": "arrayfs.copying.import_from",
    "open": "arrayfs.api.container",
}


def __getattr__(name: str) -> object:
    """What is imported with the first look at it: the command line uses little of it, and the store needs zarr."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
