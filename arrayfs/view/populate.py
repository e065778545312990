"""The first look at a container: which directories and files its array names make.

Names are read, nothing else: sizes, documents and chunks are looked up when they are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.view import markers, paths, plain
from arrayfs.view.documents import FILE_ARRAY
from arrayfs.view.nodes import Binding, Components, Directory, File

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

UNKNOWN_SIZE = -1


def populate(tree: Tree) -> None:
    """Make the nodes of all arrays of the container."""
    natives = []
    for name in tree.container.names_of_arrays():
        if not name.startswith(plain.RESERVED):
            natives.append(name)
        elif name.startswith(plain.FILES):
            add_file(tree, name)
        elif name.startswith(plain.CHUNKS):
            _reserved_directory(tree, _components(name, plain.CHUNKS))
        elif name.startswith(plain.HIDDEN):
            *above, last = _components(name, plain.HIDDEN) or ("",)
            directory = _reserved_directory(tree, tuple(above))
            if directory is not None:
                directory.hidden.add(last)
    for name in natives:
        if name != FILE_ARRAY:
            add_native(tree, name)


def _components(name: str, prefix: str) -> Components:
    rest = name[len(prefix) :]
    return tuple(rest.split("/")) if rest else ()


def _is_shown(components: Components) -> bool:
    """Whether these can be names in a file system: a container may come from anyone."""
    return components[:1] != (paths.CONTROL_NAME,) and all(
        part and part not in (".", "..") and "\0" not in part and len(part.encode()) <= 255 for part in components
    )


def _reserved_directory(tree: Tree, components: Components) -> Directory | None:
    """`_directory` of a path that stands in a reserved name; None too where it cannot be shown."""
    if not _is_shown(components):
        tree.warn(f"reserved name {'/'.join(components)!r} cannot be shown")
        return None
    return directory_at(tree, components)


def directory_at(tree: Tree, components: Components) -> Directory | None:
    """The directory of this path, made where it is missing; None if a file is in the way."""
    directory = tree.root
    for name in components:
        child = directory.children.get(name)
        if child is None and directory.loaded:
            child = _between_chunks(tree, directory, name)
        if child is None:
            child = Directory(tree.numbers.take(), directory, name, directory.mtime_ns)
            tree.nodes[child.ino] = directory.children[name] = child
        if not isinstance(child, Directory):
            tree.warn(f"{'/'.join(components)}: {name!r} is a file and a directory; the file is shown")
            return None
        directory = child
    return directory


def _between_chunks(tree: Tree, directory: Directory, name: str) -> Directory | None:
    """The directory of this name as an object, if chunks of an array that was looked at already can lie below it."""
    for zarr, above in tree.arrays_of(directory):
        if zarr.prefix_of((*above, name)) is not None:
            return tree.materialise(tree.chunk_directory(zarr, (*above, name)))
    return None


def add_file(tree: Tree, name: str) -> None:
    """Make the node of a stored file, or of a directory that nothing else implies."""
    *above, last = _components(name, plain.FILES) or ("",)
    directory = _reserved_directory(tree, tuple(above))
    if directory is None:
        return
    if not last:  # a name that ends in "/" is a directory's marker
        markers.read(directory, tree.container.get(name))
        return
    if not plain.is_file(tree.container.stack.spans[name][-1].meta):
        tree.warn(f"{name!r} cannot be shown: it is no stored file")
        return
    if last in directory.children or not _is_shown((*above, last)):
        tree.warn(f"{name!r} cannot be shown: its name is taken, or none that a file can have")
        return
    file = File(tree.numbers.take(), 0)
    binding = Binding(directory, last)
    binding.array_name = name
    file.bindings.append(binding)
    file.size = UNKNOWN_SIZE
    tree.nodes[file.ino] = directory.children[last] = file


def add_native(tree: Tree, name: str) -> None:
    """Make the directory of an array of the container that is no stored file."""
    components = tuple(map(paths.show, name.split("/")))
    if name == "" and tree.documents.describes_array(tree.root):
        components = ()  # the root array is ours if its document is
    directory = directory_at(tree, components)
    if directory is None:
        return
    if directory.array_name is not None:
        tree.warn(f"arrays {name!r} and {directory.array_name!r} have the same shown name; the first is shown")
        return
    directory.array_name = name
    if not any(document in directory.children for document in ("zarr.json", ".zarray")):
        tree.counted.add(name)
        directory.count_natives(1)
