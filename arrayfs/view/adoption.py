"""Files that become chunks because an array's document came, and chunks that become files because it went.

Whatever a name means afterwards, its file keeps its bytes and its inode number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arrayfs.container.grid import Coord
from arrayfs.errors import FormatError
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.nodes import Components, Directory

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree


@dataclass(frozen=True, slots=True)
class Leaving:
    """Chunks of an array that are about to be plain files, and the directories that they lie in by components."""

    zarr: ZarrArray
    coords: list[Coord]
    directories: dict[Components, Directory]


class Adoption:
    """The changes of meaning in one tree. The caller holds the container's lock."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree

    # --- files become chunks ------------------------------------------------------------------------------------------

    def adopt(self, directory: Directory, zarr: ZarrArray, components: Components) -> None:
        """Plain files at and below a directory of an array's that are chunks by name and length become chunks."""
        self.place_below(directory, zarr, components)
        for name, child in list(directory.children.items()):
            path = (*components, name)
            if isinstance(child, Directory):
                if child.owner is zarr:
                    self.adopt(child, zarr, path)
            elif zarr.coord_of(path) is not None and not child.writers:
                self._tree.files.own(child)
                self._tree.files.judge(child, final=True)

    def adopt_fitting(self, directory: Directory, zarr: ZarrArray, components: Components = ()) -> None:
        """The array has grown: plain files with the name and the length of a chunk become it; others are not read."""
        for name, child in list(directory.children.items()):
            path = (*components, name)
            if isinstance(child, Directory):
                if child.owner is zarr:
                    self.adopt_fitting(child, zarr, path)
            elif (
                zarr.coord_of(path) is not None
                and not child.writers
                and zarr.chunks.accepts(self._tree.files.size(child)) is not False
            ):
                self._tree.files.own(child)
                self._tree.files.judge(child, final=True)

    def adopt_below(self, directory: Directory) -> None:
        """The same for a directory that has just come to where it is."""
        if directory.owner is not None:
            self.adopt(directory, directory.owner, directory.components)

    def place_below(self, directory: Directory, zarr: ZarrArray, components: Components) -> None:
        """Directories that are there already and lie between the array's chunks learn of it."""
        for name, child in directory.children.items():
            path = (*components, name)
            if not isinstance(child, Directory) or child.owner is not None or zarr.prefix_of(path) is None:
                continue
            child.owner, child.components = zarr, path
            zarr.directories[path] = child
            zarr.left.pop(path, None)
            self.place_below(child, zarr, path)

    # --- chunks become files ------------------------------------------------------------------------------------------

    def take_over(self, zarr: ZarrArray, components: Components) -> Leaving:
        """Directories between an array's chunks, from `components` down, become plain ones; the chunks are named."""
        prefix = zarr.prefix_of(components) if components else ()
        inner = (0,) * len(zarr.inner)
        coords = [(*stored, *inner) for stored in zarr.listed_coords(prefix or ()).tolist()]
        directories: dict[Components, Directory] = {}
        for coord in coords:
            path = zarr.keys.components(coord)[:-1]
            if path not in directories:
                directories[path] = self._tree.materialise(self._tree.chunk_directory(zarr, path))
        for path, directory in list(zarr.directories.items()):
            if path[: len(components)] == components:
                directories[path] = zarr.directories.pop(path)
                directory.owner, directory.components = None, ()
                self._tree.nodes[directory.ino] = directory
        zarr.passing.clear()
        zarr.left |= directories
        return Leaving(zarr, coords, directories)

    def make_plain(self, leaving: Leaving) -> None:
        """The chunks become files where their directories now are, and are judged by what their names mean there."""
        for coord in leaving.coords:
            *path, name = leaving.zarr.keys.components(coord)
            self._make_plain(leaving.zarr, coord, leaving.directories[tuple(path)], name)

    def _make_plain(self, zarr: ZarrArray, coord: Coord, directory: Directory, name: str) -> None:
        if name in directory.children and directory.children[name] is not zarr.files.get(coord):
            return  # a file that was renamed over the chunk, and is being written, has the name
        file = zarr.files.get(coord) or self._tree.chunk_file(zarr, coord, directory, name)
        unread = False
        try:
            self._tree.files.own(file)
        except FormatError as error:
            self._tree.warn(f"{'/'.join((*directory.path(), name))}: not kept, it cannot be read: {error}")
            self._tree.files.drop(file, file.bindings[0])
            return
        except OSError:
            self._tree.files.own_later(file, zarr.content_later(coord))
            unread = True
        for binding in file.bindings:
            if binding.zarr is zarr and binding.coord == coord:
                binding.directory = directory
                self._tree.files.bind_plain(file, binding, zarr, coord)
        file.judged = False
        if unread:
            self._tree.files.take_unread(file)
        elif not file.writers:
            self._tree.files.judge(file, final=True)

    def release_chunks(self, zarr: ZarrArray) -> None:
        """All chunk files of an array become plain files; the array is one no more."""
        leaving = self.take_over(zarr, ())
        zarr.root.zarr = None
        self.make_plain(leaving)

    def drop_gone(self) -> None:
        """Arrays whose document is gone are removed; chunks that are left become plain files.

        Without its document nothing says in a later mount how the keys of an array's chunks are spelled, nor of the
        root array that it is ours. When a document comes back, the files become chunks again.
        """
        self._tree.documents.drop_root_attributes()
        for directory in list(self._tree.watched()):
            zarr = directory.zarr
            if zarr is None:
                continue
            if zarr.gone and not len(zarr.listed_coords(())):
                self._tree.documents.drop(directory)
            elif zarr.gone or (zarr.torn and not self._tree.documents.is_found_without(directory, zarr)):
                self._tree.documents.dissolve(directory, zarr)
                self._tree.files.settle_all()
