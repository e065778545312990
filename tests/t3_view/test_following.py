"""A tree that follows another writer's commits shows what a fresh one shows, and the kernel knows nothing else."""

from __future__ import annotations

import stat
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from arrayfs.container.container import Container
from arrayfs.errors import ArrayFSError, StaleError
from arrayfs.view.attr import Attr
from arrayfs.view.documents import NAMES
from arrayfs.view.handles import OpenFile
from arrayfs.view.numbers import ROOT
from arrayfs.view.readers import ChunkReader
from arrayfs.view.tree import Tree, open_tree
from tests.profiles import examples
from tests.t3_view.test_documents_over_mounts import ino as inode_of
from tests.t3_view.test_documents_over_mounts import listed, unlink, write
from tests.t3_view.test_tree_machine import TreeMachine
from tests.t3_view.tree_model import Path, v3

LIMIT = 1 << 16


@dataclass(slots=True)
class Kernel:
    """What a kernel believes of a tree without asking: names, attributes and pages, until it is told to forget."""

    tree: Tree
    entries: dict[tuple[int, str], int] = field(default_factory=dict)
    attrs: dict[int, Attr] = field(default_factory=dict)
    pages: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tree.on_invalidate = self.forget

    def forget(self, inodes: Iterable[int], entries: Iterable[tuple[int, str]]) -> None:
        for ino in inodes:
            self.attrs.pop(ino, None)
            self.pages.pop(ino, None)
        for entry in entries:
            self.drop(entry)

    def drop(self, entry: tuple[int, str]) -> None:
        """A name goes, and with it all names below it."""
        ino = self.entries.pop(entry, None)
        for below in [key for key in self.entries if key[0] == ino]:
            self.drop(below)

    def look(self) -> dict[Path, tuple[int, Attr, bytes | None]]:
        """Walk and read everything, as `grep -r` does; what is known is not asked for again."""
        found: dict[Path, tuple[int, Attr, bytes | None]] = {}
        waiting: list[tuple[Path, int]] = [((), ROOT)]
        while waiting:
            path, ino = waiting.pop()
            for name, attr, _ in self.tree.opendir(ino).entries(0):
                known = self.entries.setdefault((ino, name), attr.ino)
                attr = self.attrs.setdefault(known, attr)
                if stat.S_ISDIR(attr.mode):
                    found[*path, name] = known, attr, None
                    waiting.append(((*path, name), known))
                else:
                    found[*path, name] = known, attr, self.read(known)
        return found

    def read(self, ino: int) -> bytes:
        try:
            handle = self.tree.open(ino, write=False, truncate=False)
        except StaleError:
            return b"ESTALE"  # on which the kernel looks the name up again
        if not handle.cacheable:
            self.pages.pop(ino, None)
        content = self.pages.setdefault(ino, bytes(handle.read(0, LIMIT)))
        handle.release()
        return content


class FollowingMachine(TreeMachine):
    """A second tree of the same container, read all over, goes on after each of the first one's commits."""

    @initialize(look=st.sampled_from((2, 3)), limit=st.sampled_from((0, 10, 1 << 20)))
    def start(self, look: int, limit: int) -> None:
        super().start(look, limit)
        self.follow_with = look
        self.kernel = Kernel(open_tree(self.url, mode="a", look=look))
        self.held: list[tuple[OpenFile | ChunkReader, bytes, int]] = []

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "kernel"):
            self.kernel.tree.container.close()

    @rule(data=st.data())
    def hold_in_reader(self, data: st.DataObject) -> None:
        files = [(ino, content) for ino, _, content in self.kernel.look().values() if content is not None]
        if files:
            ino, content = data.draw(st.sampled_from(files), "file")
            handle = self.kernel.tree.open(ino, write=False, truncate=False)
            assert bytes(handle.read(0, LIMIT)) == content
            self.held.append((handle, content, ino))

    @rule(data=st.data())
    def let_go_in_reader(self, data: st.DataObject) -> None:
        if self.held:
            handle, _, _ = self.held.pop(data.draw(st.integers(0, len(self.held) - 1), "held"))
            handle.release()

    @rule()
    def follow(self) -> None:
        before = self.kernel.look()
        try:
            self.tree.commit()
        except ArrayFSError:
            raise AssertionError("the only writer met another") from None
        self.model.committed()
        self.kernel.tree.refresh()
        assert not self.kernel.tree.refresh()
        fresh = open_tree(self.url, look=self.follow_with)
        expected, found = Kernel(fresh).look(), self.kernel.look()
        assert sorted(found) == sorted(expected)
        for path, (ino, attr, content) in expected.items():
            mine = found[path]
            assert mine[2] == content, path
            if content is not None:
                # a document that nobody wrote has the time at which it was made from the container
                told = {"ino": 0, "nlink": 1} | ({"mtime_ns": 0} if path[-1] in NAMES else {})
                assert mine[1]._replace(**told) == attr._replace(**told), path
            node = self.kernel.tree.lookup(found[path[:-1]][0] if len(path) > 1 else ROOT, path[-1])
            assert node is not None
            assert node.ino == mine[0], path
            assert self.kernel.tree.getattr(mine[0]) == node, path
            del ino
        assert self.kernel.tree.commit() is None  # it has changed nothing
        for handle, content, ino in self.held:
            assert bytes(handle.read(0, LIMIT)) == content
            assert self.kernel.tree.getattr(ino).size == len(content)
            # whoever has it open may have its pages: another content has another number
            assert all(entry[2] == content for entry in found.values() if entry[0] == ino)
        for (parent, name), ino in self.kernel.entries.items():
            now = self.kernel.tree.lookup(parent, name)
            assert now is not None, (parent, name, before)
            assert now.ino == ino, (parent, name)
        fresh.container.close()

    @invariant()
    def same_tree(self) -> None:
        """Looked at by `TreeMachine` itself."""


@pytest.mark.parametrize("emptied_by", ["a smaller shape", "removal", "removal at once"])
def test_directories_that_another_writer_emptied_and_removed_do_not_come_back(emptied_by: str) -> None:
    url = f"memory://{uuid.uuid4().hex}/t.af"
    Container.create(url)
    writer, follower = (open_tree(url, mode="a") for _ in range(2))
    large, small = v3((4, 4), (2, 2)), v3((2, 4), (2, 2))
    write(writer, "a/zarr.json", large.content)
    for chunk in ("0/0", "1/0"):
        write(writer, f"a/c/{chunk}", b"abcd")
    writer.commit()
    follower.refresh()
    write(follower, "a/c/1/1", b"mine")  # so all directories above it are objects there
    follower.commit()
    writer.refresh()
    if emptied_by != "a smaller shape":
        for chunk in ("1/0", "1/1"):
            unlink(writer, f"a/c/{chunk}")
    else:
        write(writer, "a/zarr.json", small.content)
    for remove_directory in (True,) if emptied_by == "removal at once" else (False, True):
        if remove_directory:
            writer.rmdir(inode_of(writer, "a/c"), "1")
        writer.commit()
        follower.refresh()
        assert follower.commit() is None
        assert listed(follower, "a/c") == listed(writer, "a/c") == ["0"] + ["1"] * (not remove_directory)
    unlink(writer, "a/zarr.json")
    unlink(writer, "a/c/0/0")
    for directory, name in (("a/c", "0"), ("a", "c"), ("", "a")):
        writer.rmdir(inode_of(writer, directory), name)
    writer.commit()
    follower.refresh()
    assert listed(follower) == listed(writer)
    assert follower.commit() is None
    for tree in (writer, follower):
        tree.close()


def test_a_tree_that_follows_shows_what_a_fresh_one_shows() -> None:
    run_state_machine_as_test(FollowingMachine, settings=examples(100, steps=30))
