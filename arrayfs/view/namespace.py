"""Making, renaming and removing entries, and what that means for the arrays below.

The tree finds names; this changes them. Whatever a directory shows because of its content, it keeps as a directory when
the content goes, until rmdir: nothing vanishes by itself half way through `rm -r`.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

from arrayfs.container.grid import Coord
from arrayfs.errors import (
    EntryExistsError,
    IsDirectoryError,
    NoEntryError,
    NotDirectoryError,
    NotEmptyError,
    RefusedError,
)
from arrayfs.view import documents, markers, plain, removal
from arrayfs.view.arrays import ZarrArray
from arrayfs.view.draft import Draft
from arrayfs.view.listing import OpenDirectory
from arrayfs.view.nodes import LINK_MODE, Binding, Directory, File
from arrayfs.view.opaque_arrays import opaque_name

if TYPE_CHECKING:
    from arrayfs.view.tree import Tree

Found = Directory | File | tuple[ZarrArray, Coord]


class Namespace:
    """The changes of names in one tree. The caller holds the container's lock."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._container = tree.container

    def _must_find(self, directory: Directory, name: str) -> Found:
        found = self._tree.find(directory, name)
        if found is None:
            raise NoEntryError(errno.ENOENT, f"{'/'.join((*directory.path(), name))}: no such entry")
        return found

    def check(self, directory: Directory, name: str) -> None:
        self._tree.control.refuse_names(directory, name)
        if directory.removed:
            raise NoEntryError(errno.ENOENT, f"{'/'.join(directory.path())} was removed")

    # --- making -------------------------------------------------------------------------------------------------------

    def create(self, directory: Directory, name: str, mode: int, *, exclusive: bool) -> File:
        """An empty file, or the one that is there."""
        self.check(directory, name)
        found = self._tree.find(directory, name)
        if found is not None:
            if exclusive:
                raise EntryExistsError(errno.EEXIST, f"{name!r} is there already")
            if isinstance(found, Directory):
                raise IsDirectoryError(errno.EISDIR, f"{name!r} is a directory")
            return self._tree.file(found)
        return self._new_file(directory, name, stat.S_IFREG | mode & 0o7777)

    def _new_file(self, directory: Directory, name: str, mode: int) -> File:
        file = File(self._tree.numbers.take(), self._tree.now(), mode)
        file.draft = Draft(None, 0)
        file.fresh = True
        self._tree.nodes[file.ino] = file
        self._tree.files.give_name(file, directory, name)
        self._touch(directory)
        return file

    def symlink(self, directory: Directory, name: str, target: bytes) -> File:
        """A symbolic link. Raises EntryExistsError if the name is taken."""
        self.check(directory, name)
        if self._tree.find(directory, name) is not None:
            raise EntryExistsError(errno.EEXIST, f"{name!r} is there already")
        if not 0 < len(target) < plain.LINK_LIMIT:
            raise RefusedError(errno.ENAMETOOLONG if target else errno.ENOENT, f"a link to {len(target)} bytes")
        file = self._new_file(directory, name, LINK_MODE)
        self._tree.files.write(file, 0, target)
        self._tree.files.judge(file, final=True)
        return file

    def mkdir(self, directory: Directory, name: str, mode: int) -> Directory:
        """An empty directory."""
        self.check(directory, name)
        if self._tree.find(directory, name) is not None:
            raise EntryExistsError(errno.EEXIST, f"{name!r} is there already")
        parent = self._tree.materialise(directory)
        made = Directory(self._tree.numbers.take(), parent, name, self._tree.now())
        made.mode = stat.S_IFDIR | mode & 0o7777
        made.explicit = made.loaded = True
        self._tree.nodes[made.ino] = parent.children[name] = made
        self._place(made)
        self._touch(parent)
        self._tree.watch(made)
        return made

    def _place(self, directory: Directory) -> None:
        """Where a directory lies between an array's chunks, tell the array."""
        if directory.parent is None:
            return
        for zarr, above in self._tree.arrays_of(directory.parent):
            components = (*above, directory.name)
            if zarr.prefix_of(components) is not None:
                directory.owner, directory.components = zarr, components
                zarr.directories[components] = directory
                return

    def link(self, file: File, directory: Directory, name: str) -> File:
        """One more name of a file."""
        self.check(directory, name)
        if self._tree.control.owns(file):
            raise RefusedError(errno.EPERM, "files of the control directory have one name")
        if self._tree.find(directory, name) is not None:
            raise EntryExistsError(errno.EEXIST, f"{name!r} is there already")
        if not file.bindings:
            raise NoEntryError(errno.ENOENT, "the file was removed")
        self._tree.files.own(file)
        self._attach(file, directory, name)
        self._tree.changed(file)
        return file

    def _attach(self, file: File, directory: Directory, name: str) -> None:
        """Give a file with a draft a name; judge it at once unless somebody still writes."""
        self._tree.files.give_name(file, directory, name)
        self._touch(directory)
        self._tree.files.judge(file, final=not file.writers)

    # --- removing -----------------------------------------------------------------------------------------------------

    def unlink(self, directory: Directory, name: str) -> None:
        """Remove one name of a file."""
        if self._tree.control.lost_found.unlink(directory, name):
            return
        self.check(directory, name)
        found = self._must_find(directory, name)
        if isinstance(found, Directory):
            raise IsDirectoryError(errno.EISDIR, f"{name!r} is a directory")
        self._remove(directory, name, found)

    def _remove(self, directory: Directory, name: str, found: File | tuple[ZarrArray, Coord]) -> None:
        self.stay(directory)
        made = self._made(directory, name)
        if isinstance(found, tuple):
            found[0].remove(found[1], self._tree.now())
        elif found.synthetic:
            self._hide(directory, name)
            self._tree.files.drop(found, found.bindings[0])
        else:
            binding = self._binding(found, directory, name)
            self._tree.materialise(directory).children.pop(name, None)
            self._tree.files.drop(found, binding)
            self._tree.changed(found)
        self._touch(directory)
        self._document_left(directory, name, made)

    def _made(self, directory: Directory, name: str) -> tuple[str, ...]:
        """The documents made from the container that are here before the document `name` goes."""
        return self._tree.documents.synthetic_names(directory) if name in documents.NAMES else ()

    def _document_left(self, directory: Directory, name: str, made: tuple[str, ...]) -> None:
        """A document was removed or has another name now. None appears because of that which was not there before
        (`made`): `rm -r` would find its directory not empty.
        """
        if name in documents.NAMES and name not in directory.children:
            for shown in self._tree.documents.synthetic_names(directory):
                if shown not in made:
                    self._hide(directory, shown)
            self._tree.documents.changed(directory, name)

    def _hide(self, directory: Directory, name: str) -> None:
        """A document that is made from the container was removed: keep that in mind, for good."""
        self._tree.synthetic.pop((directory.ino, name), None)
        directory.hidden.add(name)
        reserved = plain.HIDDEN + "/".join((*directory.path(), name))
        if reserved not in self._container:
            self._container.define(reserved, plain.spec_of(0), {})

    def stay(self, directory: Directory) -> None:
        """Something goes from here: the directory stays, even when nothing implies it any more."""
        directory = self._tree.materialise(directory)
        directory.explicit = True
        self._tree.watch(directory)

    def rmdir(self, directory: Directory, name: str) -> None:
        """Remove an empty directory."""
        self.check(directory, name)
        found = self._must_find(directory, name)
        if not isinstance(found, Directory):
            raise NotDirectoryError(errno.ENOTDIR, f"{name!r} is no directory")
        self._check_empty(found)
        self.detach(found)
        self.stay(directory)
        self._touch(directory)

    def remove_all(self, directory: Directory, name: str) -> None:
        """Remove an entry with all that is below it."""
        self.check(directory, name)
        found = self._must_find(directory, name)
        if not isinstance(found, Directory):
            self._remove(directory, name, found)
            return
        found = self._tree.materialise(found)
        removal.clear(self._tree, found)
        self.detach(found)
        self.stay(directory)
        self._touch(directory)

    def _check_empty(self, directory: Directory) -> None:
        if directory.array_name is not None and self._tree.documents.zarr(directory) is None:
            raise NotEmptyError(errno.ENOTEMPTY, f"{'/'.join(directory.path())} is an array that cannot be shown")
        for entry, _, _ in OpenDirectory(self._tree, directory).entries(0):
            raise NotEmptyError(errno.ENOTEMPTY, f"{'/'.join(directory.path())} has {entry!r}")

    def detach(self, directory: Directory) -> None:
        """Take an empty directory out of the tree."""
        self._tree.documents.drop(directory)
        self.uncover(directory)
        directory.hidden.clear()
        if directory.marker is not None:
            self._container.remove(directory.marker)
            directory.marker = None
        if directory.owner is not None:
            directory.owner.directories.pop(directory.components, None)
        directory.removed = True
        if directory.parent is not None:
            directory.parent.children.pop(directory.name, None)

    # --- renaming -----------------------------------------------------------------------------------------------------

    def rename(self, directory: Directory, name: str, target: Directory, new_name: str, *, no_replace: bool) -> None:
        """Give an entry another name, in this or another directory."""
        self.check(directory, name)
        self.check(target, new_name)
        found = self._must_find(directory, name)
        other = self._tree.find(target, new_name)
        if other is not None and no_replace:
            raise EntryExistsError(errno.EEXIST, f"{new_name!r} is there already")
        if isinstance(found, Directory):
            self._rename_directory(found, target, new_name, other)
        else:
            self._rename_file(directory, name, self._tree.file(found), target, new_name, other)

    def _rename_file(
        self, directory: Directory, name: str, file: File, target: Directory, new_name: str, other: Found | None
    ) -> None:
        if isinstance(other, Directory):
            raise IsDirectoryError(errno.EISDIR, f"{new_name!r} is a directory")
        if other is file:
            return  # two names of one file: POSIX says to do nothing
        old = self._binding(file, directory, name)
        made = self._made(directory, name)
        if self._tree.chunk_place(target, new_name) is None and old.zarr is None and not file.synthetic:
            self._move_plain(file, old, target, new_name, other)
        else:
            self._tree.files.own(file)
            if other is not None:
                self._replace(target, new_name, other)
            self._remove(directory, name, file)
            file.mtime_ns = file.mtime_ns or self._tree.now()
            self._tree.nodes[file.ino] = file
            self._attach(file, target, new_name)
        self._touch(target)
        self._document_left(directory, name, made)
        if new_name in documents.NAMES:
            self._tree.documents.changed(target, new_name)

    def _binding(self, file: File, directory: Directory, name: str) -> Binding:
        directory = self._tree.materialise(directory)
        for binding in file.bindings:
            if binding.name == name and self._tree.materialise(binding.directory) is directory:
                binding.directory = directory
                return binding
        raise NoEntryError(errno.ENOENT, f"{name!r} is no name of this file")

    def _replace(self, target: Directory, new_name: str, other: File | tuple[ZarrArray, Coord]) -> None:
        """What has the name gives way; handles that are open keep its content."""
        if isinstance(other, tuple):
            zarr, coord = other
            if zarr.has(coord):
                zarr.files.pop(coord, None)
            return  # the chunk is overwritten, not removed: no hole in between
        binding = other.bindings[0] if other.synthetic else self._binding(other, target, new_name)
        if other.synthetic:
            self._tree.synthetic.pop((target.ino, new_name), None)
        self._tree.materialise(target).children.pop(new_name, None)
        self._tree.files.drop(other, binding, keep_chunk=True)
        self._tree.changed(other)

    def _move_plain(self, file: File, old: Binding, target: Directory, new_name: str, other: Found | None) -> None:
        """A plain file stays one: its array gets another name, its content is not looked at."""
        if other is not None and not isinstance(other, Directory):
            self._replace(target, new_name, other)
        self.stay(old.directory)
        self._tree.stored_documents.keep_as_shown(file)
        old.directory.children.pop(old.name, None)
        target = self._tree.materialise(target)
        old.directory, old.name = target, new_name
        target.children[new_name] = file
        array = self._tree.files.backing(old)
        if array is not None:
            self._container.rename(array, self._tree.files.array_name(old))

    def _rename_directory(self, found: Directory, target: Directory, new_name: str, other: Found | None) -> None:
        if any(above is found for above in target.ancestors()):
            if other is found:
                return
            raise RefusedError(errno.EINVAL, "a directory cannot be moved below itself")
        if other is found:
            return
        if other is not None:
            if not isinstance(other, Directory):
                raise NotDirectoryError(errno.ENOTDIR, f"{new_name!r} is no directory")
            self._check_empty(other)
            self.detach(other)
        owner, components = found.owner, found.components
        if owner is None:
            self._move_directory(found, target, new_name)
            self._place(found)
            self._tree.adoption.adopt_below(found)
            return
        # chunks below it mean something else at their new place, or are chunks no more
        leaving = self._tree.adoption.take_over(owner, components)
        found = leaving.directories.get(components, found)
        self._move_directory(found, target, new_name)
        self._place(found)
        self._tree.adoption.make_plain(leaving)
        self._tree.adoption.adopt_below(found)

    def _move_directory(self, found: Directory, target: Directory, new_name: str) -> None:
        """A directory that is no chunk directory: arrays below it get new names, nothing else is touched."""
        parent = found.parent
        if parent is None:
            raise RefusedError(errno.EBUSY, "the root cannot be moved")
        self.stay(parent)
        before = found.path()
        self.look_below(found)
        self.uncover(found)
        parent = self._tree.materialise(parent)
        parent.children.pop(found.name, None)
        parent.count_natives(-found.natives) if found.natives else None
        target = self._tree.materialise(target)
        found.parent, found.name = target, new_name
        target.children[new_name] = found
        target.count_natives(found.natives) if found.natives else None
        self._rename_below(found)
        for path in (before, found.path()):
            self._tree.consolidated.touch(path, with_all_below=True)
        self._touch(parent)
        self._touch(target)

    def look_below(self, directory: Directory) -> None:
        """Find the arrays at and below a directory by the names that they have now."""
        self._tree.documents.zarr(directory)
        for child in directory.children.values():
            if isinstance(child, Directory):
                self.look_below(child)

    def uncover(self, directory: Directory) -> None:
        """What says of documents at and below a directory that they are hidden goes with its old name."""
        for document in directory.hidden:
            reserved = plain.HIDDEN + "/".join((*directory.path(), document))
            if reserved in self._container:
                self._container.remove(self._container.get(reserved))
        for child in directory.children.values():
            if isinstance(child, Directory):
                self.uncover(child)

    def _rename_below(self, directory: Directory) -> None:
        """Give the arrays at and below a directory the names that fit where it is now."""
        zarr = self._tree.documents.zarr(directory)
        if zarr is not None or directory.array_name is not None:
            self._rename_array(directory, zarr)
        for document in directory.hidden:
            reserved = plain.HIDDEN + "/".join((*directory.path(), document))
            if reserved not in self._container:
                self._container.define(reserved, plain.spec_of(0), {})
        if directory.marker is not None:
            self._container.rename(directory.marker, markers.name_of(directory))
        for child in list(directory.children.values()):
            if isinstance(child, Directory):
                self._rename_below(child)
                continue
            for binding in child.bindings:
                array = self._tree.files.backing(binding)
                name = self._tree.files.array_name(binding)
                if array is not None and array.name != name:
                    self._container.rename(array, name)

    def _rename_array(self, directory: Directory, zarr: ZarrArray | None) -> None:
        """Rename the container's array. `zarr` None: one that cannot be shown; it moves like the others."""
        old = directory.array_name
        directory.array_name = None
        name = opaque_name(directory) if old is None else self._tree.documents.array_name(directory)
        if old is not None:
            directory.array_name = name
            if old in self._tree.counted:
                self._tree.counted.discard(old)
                self._tree.counted.add(name)
        if zarr is not None and zarr.array.name not in self._container:
            zarr.array.name = name
        elif zarr is not None:
            self._container.rename(zarr.array, name)
        elif old is not None and old in self._container:
            self._container.rename(self._container.get(old), name)

    def _touch(self, directory: Directory) -> None:
        directory.mtime_ns = self._tree.now()
        self._tree.watch(directory)
