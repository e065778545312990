"""Containers as stores of zarr-python; the only part of the package that imports it."""

from arrayfs.api.zarr_store.store import SessionStore, ZarrStore

__all__ = ["SessionStore", "ZarrStore"]
