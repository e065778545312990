"""The tree does what a dict of files and directories does, whatever is done to it, over commits and remounts."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from arrayfs.view.attr import Attr
from arrayfs.view.handles import OpenFile
from arrayfs.view.numbers import ROOT
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t3_view.tree_model import DOCUMENT_NAMES, DOCUMENTS, Document, ModelDirectory, ModelFile, ModelTree, Path

NAMES = ("d", "e", "c", "0", "1", "1.0", "zarr.json", ".zarray", "x")
MAX_DEPTH = 4
names = st.sampled_from(NAMES)
contents = st.one_of(
    st.sampled_from((b"", b"ab", b"abcd", b"\0\0")),
    st.binary(max_size=5),
    st.sampled_from(DOCUMENTS).map(lambda d: d.content),
)


class TreeMachine(RuleBasedStateMachine):
    """`model` is what the tree shows; `readers` are open files and the inode that each shows."""

    @initialize(look=st.sampled_from((2, 3)), limit=st.sampled_from((0, 10, 1 << 20)))
    def start(self, look: int, limit: int) -> None:
        self.url = f"memory://{uuid.uuid4().hex}/t.af"
        self.options = ContainerOptions(PoolOptions(dirty_limit=limit))
        Container.create(self.url)
        self.look = look
        self.tree = self.open()
        self.model = ModelTree()
        self.readers: list[tuple[OpenFile, ModelFile]] = []

    def open(self) -> Tree:
        return open_tree(self.url, mode="a", look=self.look, options=self.options)

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            self.tree.container.close()

    # --- by path ------------------------------------------------------------------------------------------------------

    def ino(self, path: Path) -> int:
        ino = ROOT
        for name in path:
            attr = self.tree.lookup(ino, name)
            assert attr is not None, path
            ino = attr.ino
        return ino

    def both(self, real: Callable[[], object], model: Callable[[], object]) -> bool:
        """Do it to both; whether it was done, or the same error came from both."""
        errors: list[type | None] = []
        for action in (real, model):
            try:
                action()
            except ArrayFSError as error:
                errors.append(type(error))
            else:
                errors.append(None)
        assert errors[0] == errors[1]
        return errors[0] is None

    def some_directory(self, data: st.DataObject) -> Path:
        paths = [path for path in self.model.directories() if len(path) < MAX_DEPTH]
        return data.draw(st.sampled_from(paths), "directory")

    def some_file(self, data: st.DataObject) -> Path:
        return data.draw(st.sampled_from(self.model.files()), "file")

    def is_settled(self, path: Path) -> bool:
        """Whether a document here would stand neither below nor above another array, nor above files of several names.

        One inode whose names show different bytes, clipped in an array and not elsewhere, is not modelled.
        """
        above = self.model.array_above(path)
        below = [(other[len(path) :], node) for other, node in self.model.walk() if other[: len(path)] == path]
        return (above is None or above[0] == len(path)) and not any(
            self.model.names_of(node) > 1 if isinstance(node, ModelFile) else bool(rest) and node.array is not None
            for rest, node in below
        )

    # --- files --------------------------------------------------------------------------------------------------------

    def write_file(self, path: Path, offset: int, content: bytes, *, truncate: bool, exclusive: bool = False) -> None:
        """Create or open, write, close."""
        found = self.model.find(path)
        if path[-1] in DOCUMENT_NAMES and not self.is_settled(path[:-1]):
            return
        if isinstance(found, ModelFile) and found.link and not exclusive:
            return  # the kernel goes where it leads to
        file: list[ModelFile] = []
        parent = self.ino(path[:-1])
        done = self.both(
            lambda: self.tree.create(parent, path[-1], 0o644, exclusive),
            lambda: file.append(self.model.create(path, exclusive=exclusive)),
        )
        if not done:
            return
        handle = self.tree.open(self.ino(path), write=True, truncate=truncate)
        if content:
            assert handle.write(offset, content) == len(content)
        handle.flush()
        handle.release()
        old = b"" if truncate else file[0].data
        if content:
            old = old.ljust(offset, b"\0")
            old = old[:offset] + content + old[offset + len(content) :]
        file[0].data = old
        for other, node in self.model.walk():
            if node is file[0]:
                self.model.judge(other)

    @rule(data=st.data(), name=names, content=contents, exclusive=st.booleans())
    def create(self, data: st.DataObject, name: str, content: bytes, exclusive: bool) -> None:
        self.write_file((*self.some_directory(data), name), 0, content, truncate=True, exclusive=exclusive)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), offset=st.integers(0, 6), content=st.binary(max_size=4))
    def write_at(self, data: st.DataObject, offset: int, content: bytes) -> None:
        self.write_file(self.some_file(data), offset, content, truncate=False)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), size=st.integers(0, 6))
    def truncate(self, data: st.DataObject, size: int) -> None:
        path = self.some_file(data)
        if path[-1] in DOCUMENT_NAMES and not self.is_settled(path[:-1]):
            return
        file = self.model.find(path)
        assert isinstance(file, ModelFile)
        self.tree.setattr(self.ino(path), size=size)
        file.data = file.data[:size].ljust(size, b"\0")
        for other, node in self.model.walk():
            if node is file:
                self.model.judge(other)

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), mtime_ns=st.integers(1, 1 << 60), mode=st.sampled_from((0o600, 0o444, None)))
    def set_time(self, data: st.DataObject, mtime_ns: int, mode: int | None) -> None:
        path = self.some_file(data)
        if self.model.array_above(path[:-1]):
            mode = None  # chunks have no modes of their own
        attr = self.tree.setattr(self.ino(path), mtime_ns=mtime_ns, mode=mode)
        assert attr.mtime_ns == mtime_ns

    @precondition(lambda self: self.model.files())
    @rule(data=st.data())
    def unlink(self, data: st.DataObject) -> None:
        path = self.some_file(data)
        parent = self.ino(path[:-1])
        self.both(lambda: self.tree.unlink(parent, path[-1]), lambda: self.model.unlink(path))

    @rule(data=st.data(), name=names)
    def unlink_any(self, data: st.DataObject, name: str) -> None:
        path = (*self.some_directory(data), name)
        parent = self.ino(path[:-1])
        self.both(lambda: self.tree.unlink(parent, name), lambda: self.model.unlink(path))

    @precondition(lambda self: self.model.files())
    @rule(data=st.data(), name=names)
    def link(self, data: st.DataObject, name: str) -> None:
        old, new = self.some_file(data), (*self.some_directory(data), name)
        if self.model.array_above(old[:-1]) or self.model.array_above(new[:-1]) or name in DOCUMENT_NAMES:
            return
        ino, parent = self.ino(old), self.ino(new[:-1])
        self.both(lambda: self.tree.link(ino, parent, name), lambda: self.model.link(old, new))

    @rule(data=st.data(), name=names, leads_to=contents.filter(bool))
    def symlink(self, data: st.DataObject, name: str, leads_to: bytes) -> None:
        path = (*self.some_directory(data), name)
        if name in DOCUMENT_NAMES and not self.is_settled(path[:-1]):
            return
        parent = self.ino(path[:-1])
        self.both(lambda: self.tree.symlink(parent, name, leads_to), lambda: self.model.symlink(path, leads_to))

    # --- directories --------------------------------------------------------------------------------------------------

    # a directory with a document's name: arrays below it could not keep theirs in a container
    @rule(data=st.data(), name=names.filter(lambda name: name not in DOCUMENT_NAMES))
    def mkdir(self, data: st.DataObject, name: str) -> None:
        path = (*self.some_directory(data), name)
        parent = self.ino(path[:-1])
        self.both(lambda: self.tree.mkdir(parent, name, 0o755), lambda: self.model.mkdir(path))

    @rule(data=st.data(), name=names)
    def rmdir(self, data: st.DataObject, name: str) -> None:
        path = (*self.some_directory(data), name)
        parent = self.ino(path[:-1])
        self.both(lambda: self.tree.rmdir(parent, name), lambda: self.model.rmdir(path))

    def is_in_array(self, path: Path) -> bool:
        """Also in one whose document is gone or half written, as long as the tree knows of it."""
        above = (self.tree.directory(self.ino(path[:length])) for length in range(len(path) + 1))
        known = any(self.tree.documents.zarr(directory) is not None for directory in above)
        return known or self.model.array_above(path) is not None

    @rule(data=st.data())
    def exchange(self, data: st.DataObject) -> None:
        """What is neither in an array nor a document changes names only."""
        able = sorted(
            path
            for path, node in self.model.walk()
            if path
            and not self.is_in_array(path[:-1])
            and (isinstance(node, ModelDirectory) or path[-1] not in DOCUMENT_NAMES)
        )
        if len(able) < 2:
            return
        one, other = (data.draw(st.sampled_from(able), name) for name in ("one", "other"))
        places = (self.ino(one[:-1]), one[-1], self.ino(other[:-1]), other[-1])
        self.both(lambda: self.tree.exchange(*places), lambda: self.model.exchange(one, other))

    @rule(data=st.data(), new_name=names, no_replace=st.booleans())
    def rename(self, data: st.DataObject, new_name: str, no_replace: bool) -> None:
        everything = sorted(path for path, _ in self.model.walk() if path)
        if not everything:
            return
        old = data.draw(st.sampled_from(everything), "old")
        new = (*self.some_directory(data), new_name)
        node = self.model.find(old)
        if isinstance(node, ModelDirectory):
            if new[: len(old)] != old and (
                (self.model.array_above(new[:-1]) and self.model.has_array_below(old))
                or len(new) + max(len(path) - len(old) for path in everything if path[: len(old)] == old)
                > MAX_DEPTH + 1
            ):
                return
            if new_name in DOCUMENT_NAMES or any(
                self.model.names_of(file) > 1 for path, file in self.model.walk() if isinstance(file, ModelFile)
            ):
                return
        elif isinstance(node, ModelFile):
            if new_name in DOCUMENT_NAMES and not self.is_settled(new[:-1]):
                return
            if self.model.names_of(node) > 1 and (self.model.array_above(new[:-1]) or new_name in DOCUMENT_NAMES):
                return
        source, target = self.ino(old[:-1]), self.ino(new[:-1])
        self.both(
            lambda: self.tree.rename(source, old[-1], target, new_name, no_replace=no_replace),
            lambda: self.model.rename(old, new, no_replace=no_replace),
        )

    # --- arrays: what random names would seldom make ------------------------------------------------------------------

    @rule(data=st.data(), document=st.sampled_from(DOCUMENTS))
    def put_document(self, data: st.DataObject, document: Document) -> None:
        path = (*self.some_directory(data), document.name)
        if not isinstance(self.model.find(path), ModelDirectory):
            self.write_file(path, 0, document.content, truncate=True)

    @precondition(lambda self: any(isinstance(node, ModelDirectory) and node.array for _, node in self.model.walk()))
    @rule(
        data=st.data(),
        step=st.lists(st.integers(0, 2), min_size=2, max_size=2),
        content=st.binary(max_size=4),
        fit=st.booleans(),
    )
    def put_chunk(self, data: st.DataObject, step: list[int], content: bytes, fit: bool) -> None:
        arrays = [path for path, node in self.model.walk() if isinstance(node, ModelDirectory) and node.array]
        path = data.draw(st.sampled_from(sorted(arrays)), "array")
        array = self.model.directory(path).array
        assert array is not None
        assert array.chunk is not None
        key = tuple(map(str, step[: len(array.shape)]))
        key = key if array.slashes else (".".join(key),)
        below = ((array.prefix,) if array.prefix else ()) + key
        for length in range(1, len(below)):
            above = (*path, *below[:length])
            if isinstance(self.model.find(above), ModelFile):
                return
            if self.model.find(above) is None:
                self.tree.mkdir(self.ino(above[:-1]), above[-1], 0o755)
                self.model.mkdir(above)
        if isinstance(self.model.find((*path, *below)), ModelDirectory):
            return
        size = array.chunk[0] * (array.chunk[1] if len(array.chunk) > 1 else 1)
        self.write_file((*path, *below), 0, content[:size].ljust(size, b"x") if fit else content, truncate=True)

    # --- handles ------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.files())
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        path = self.some_file(data)
        file = self.model.find(path)
        assert isinstance(file, ModelFile)
        file.cut = False
        self.readers.append((self.tree.open(self.ino(path), write=False, truncate=False), file))

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def let_go(self, data: st.DataObject) -> None:
        handle, _ = self.readers.pop(data.draw(st.integers(0, len(self.readers) - 1), "handle"))
        handle.release()

    # --- versions -----------------------------------------------------------------------------------------------------

    def shown(self) -> dict[Path, Attr]:
        out: dict[Path, Attr] = {}
        waiting: list[tuple[Path, int]] = [((), ROOT)]
        while waiting:
            path, ino = waiting.pop()
            for name, attr, _ in self.tree.opendir(ino).entries(0):
                assert (*path, name) not in out, "listed twice"
                out[*path, name] = attr
                if stat.S_ISDIR(attr.mode):
                    waiting.append(((*path, name), attr.ino))
        return out

    @rule()
    def commit(self) -> None:
        before, numbers = self.lasting(), {path: attr.ino for path, attr in self.shown().items()}
        self.tree.commit("message")
        assert self.lasting() == before
        assert {path: attr.ino for path, attr in self.shown().items()} == numbers
        self.model.committed()
        assert not self.tree.container.dirty

    @rule(look=st.sampled_from((2, 3)))
    def remount(self, look: int) -> None:
        for handle, _ in self.readers:
            handle.release()
        self.readers.clear()
        before = self.lasting()
        self.tree.close()
        assert [str(finding) for finding in verify(self.url)] == []
        self.look = look
        self.tree = self.open()
        assert self.tree.commit() is None
        assert self.lasting() == before
        self.model.committed()
        self.separate()

    @rule(last=st.integers(1, 3))
    def compact(self, last: int) -> None:
        """By another process: nothing is to be seen of it here, whatever is open or not committed."""
        before, numbers = self.lasting(), {path: attr.ino for path, attr in self.shown().items()}
        compact(self.url, Keep(last))
        for _ in range(2):
            assert self.lasting() == before
            assert {path: attr.ino for path, attr in self.shown().items()} == numbers
            self.tree.refresh()

    def lasting(self) -> dict[Path, Attr]:
        """What stat says of files, as far as it has to be the same in the next mount."""
        found = {}
        for path, attr in self.shown().items():
            if not stat.S_ISDIR(attr.mode):
                found[path] = attr._replace(ino=0, blocks=0, nlink=1, ctime_ns=0)
                # a chunk that was written anew with the content that it had is no change, its time neither, and its
                # mode lasts as long as the mount
                if self.model.array_above(path[:-1]):
                    found[path] = found[path]._replace(mtime_ns=0, mode=0)
        return found

    def separate(self) -> None:
        """Names of one inode are files of their own after a remount."""
        for path, node in list(self.model.walk()):
            if isinstance(node, ModelFile):
                self.model.directory(path[:-1]).entries[path[-1]] = ModelFile(node.data, link=node.link)

    # --- what holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def same_tree(self) -> None:
        if not hasattr(self, "tree"):
            return
        shown = self.shown()
        assert set(shown) == {path for path, _ in self.model.walk() if path}
        for path, node in self.model.walk():
            if not path:
                continue
            attr = shown[path]
            assert stat.S_ISDIR(attr.mode) == isinstance(node, ModelDirectory), path
            assert self.tree.lookup(self.ino(path[:-1]), path[-1]) == attr
            assert self.tree.getattr(attr.ino) == attr
            assert stat.S_ISLNK(attr.mode) == (isinstance(node, ModelFile) and node.link)
            if stat.S_ISLNK(attr.mode):
                assert self.tree.readlink(attr.ino) == node.data
            elif isinstance(node, ModelFile):
                handle = self.tree.open(attr.ino, write=False, truncate=False)
                assert bytes(handle.read(0, 4096)) == node.data, path
                assert bytes(handle.read(1, 2)) == node.data[1:3], path
                handle.release()
                assert attr.size == len(node.data), path
                assert attr.nlink == self.model.names_of(node), path
        for path in self.model.directories():
            for name in NAMES:
                if name not in self.model.directory(path).entries:
                    assert self.tree.lookup(self.ino(path), name) is None, (path, name)
        for handle, file in self.readers:
            if not file.cut:
                assert bytes(handle.read(0, 4096)) == file.data


def test_tree_does_what_a_dict_of_files_does() -> None:
    run_state_machine_as_test(TreeMachine, settings=examples(100, steps=40))
