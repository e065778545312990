"""Opaque arrays: what the container has beside their chunks is their attributes, for whoever reads it without Zarr."""

from __future__ import annotations

from collections.abc import Mapping

from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.errors import ArrayNotFoundError, FormatError
from arrayfs.format.model import AttributeValue
from arrayfs.view import plain, zarr2, zarr3
from arrayfs.view.nodes import Directory


def opaque_name(directory: Directory) -> str:
    """The container's name of an opaque array in this directory."""
    return plain.CHUNKS + "/".join(directory.path())


def opaque_array(container: Container, directory: Directory) -> Array | None:
    """The opaque array that is in this directory now; None if there is none, or a damaged one."""
    try:
        return container.get(opaque_name(directory))
    except (ArrayNotFoundError, FormatError):
        return None


def patch_opaque(name: str, data: bytes, look: int, attributes: Mapping[str, AttributeValue], version: int) -> bytes:
    """A client's document with the attributes put in that the container has otherwise now.

    The crate sets attributes and removes none; so one that the container does not have is kept: the document was
    written when opaque arrays had none. Raises ValueError if the document does not parse.
    """
    if name == "zarr.json" and look == 3:
        return zarr3.patch(data, None, attributes, version, missing_are_gone=False)
    if name == ".zattrs" and look == 2:
        return zarr2.patch_attributes(data, None, attributes, version, missing_are_gone=False)
    return data
