"""Containers of n-dimensional arrays that every program can use as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arrayfs.api.zarr_store import ZarrStore

__all__ = ["ZarrStore"]


def __getattr__(name: str) -> object:
    """The store needs zarr, which is imported with the first look at it and not before."""
    if name == "ZarrStore":
        from arrayfs.api.zarr_store import ZarrStore

        return ZarrStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
