"""What is kept of a directory itself: that it is there though nothing else implies it, its mode, a time that was set.

It is an array without chunks, the marker, of a name that ends in "/" (docs/FORMAT.md, "Stored files"). A directory that
is implied and is as directories are has none. Nor has one between the chunks of an array, of which there may be many.
"""

from __future__ import annotations

from collections.abc import Iterable

from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.format.model import AttributeValue
from arrayfs.view import plain
from arrayfs.view.nodes import DIRECTORY_MODE, Directory, File


def name_of(directory: Directory) -> str:
    """The container's name of a directory's marker."""
    return plain.FILES + "".join(f"{name}/" for name in directory.path())


def read(directory: Directory, marker: Array) -> None:
    """A directory's marker was found."""
    directory.explicit, directory.marker = True, marker
    mode, mtime_ns = plain.number_of(marker.attributes.get("mode")), plain.read_time(marker)
    if mode is not None:
        directory.mode = (DIRECTORY_MODE & ~0o7777) | (mode & 0o7777)
    if mtime_ns is not None:
        directory.mtime_ns = directory.told_ns = mtime_ns


def write(container: Container, directories: Iterable[Directory]) -> None:
    """Have a marker for each of these directories that needs one, and for no other."""
    for directory in directories:
        attributes = _attributes(directory)
        if directory.removed or not (attributes or _is_needed(directory)):
            if directory.marker is not None:
                container.remove(directory.marker)
                directory.marker = None
        elif directory.marker is None:
            directory.marker = container.define(name_of(directory), plain.spec_of(0), attributes)
        elif directory.marker.attributes != attributes:
            container.set_attributes(directory.marker, attributes)


def _attributes(directory: Directory) -> dict[str, AttributeValue]:
    if directory.owner is not None:
        return {}
    own = {"mode": directory.mode != DIRECTORY_MODE, "mtime_ns": directory.told_ns == directory.mtime_ns}
    written = plain.attributes_of(0, directory.mode, directory.mtime_ns)
    return {name: written[name] for name, wanted in own.items() if wanted}


def _is_needed(directory: Directory) -> bool:
    return directory.explicit and directory.parent is not None and not _is_implied(directory)


def _is_implied(directory: Directory) -> bool:
    if directory.zarr is not None or any(map(_is_kept, directory.children.values())):
        return True
    owner = directory.owner
    return owner is not None and owner.has_chunks(owner.prefix_of(directory.components) or ())


def _is_kept(entry: Directory | File) -> bool:
    """Whether a commit keeps an entry, and with it the directory: not a file that nobody has closed yet."""
    if isinstance(entry, Directory):
        return True
    return any(binding.array is not None or binding.array_name is not None for binding in entry.bindings)
