"""What every store must do, run on each of them.

A test module for a store subclasses `StoreTests` and gives the fixture `open_store`: a callable that opens the same,
at first empty, store once more.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from arrayfs.errors import LockedError, MissingObjectError, ObjectExistsError
from arrayfs.store import Store
from arrayfs.testing.blobs import BlobTests
from arrayfs.testing.parts import PartTests
from arrayfs.testing.store_case import OpenStore, content, publish


class StoreTests(BlobTests, PartTests):
    """The promises of `arrayfs.store.protocol`: those of blobs and parts, and these."""

    # Whole objects

    def test_put_does_not_replace_unless_told(self, store: Store) -> None:
        store.put("a", b"one", replace=False)
        with pytest.raises(ObjectExistsError, match="a: already exists"):
            store.put("a", b"two", replace=False)
        assert content(store, "a") == b"one"
        store.put("a", b"three", replace=True)
        assert content(store, "a") == b"three"
        store.put("b", b"", replace=True)
        assert store.list() == ["a", "b"]

    def test_readers_see_one_put_or_another(self, open_store: OpenStore) -> None:
        open_store().put("a", bytes(5000), replace=False)

        def write(value: int) -> None:
            open_store().put("a", bytes([value]) * (5000 - value), replace=True)

        def whole(_: int) -> bool:
            data = content(open_store(), "a")
            return data == bytes([data[0]]) * (5000 - data[0])

        with ThreadPoolExecutor(6) as pool:
            writes = [pool.submit(write, value) for value in range(40)]
            assert all(pool.map(whole, range(200)))
            for done in writes:
                done.result()
        assert open_store().list() == ["a"]

    def test_delete(self, store: Store) -> None:
        store.put("a", b"one", replace=False)
        store.delete("a")
        assert store.list() == []
        with pytest.raises(MissingObjectError, match="a: no such object"):
            store.delete("a")

    @pytest.mark.parametrize("taken", [False, True])
    def test_rename(self, store: Store, taken: bool) -> None:
        store.put("a", b"one", replace=False)
        if taken:
            store.put("b", b"two", replace=False)
            reader = store.open("b")
        for _ in range(2):  # a second time nothing changes
            if "a" in store.list():
                store.rename("a", "b")
            assert content(store, "b") == b"one"
            assert set(store.list()) - {"a"} == {"b"}
        if taken:
            assert reader.read(0, 3) == b"two"
        store.put("a", b"three", replace=True)
        assert content(store, "b") == b"one"
        with pytest.raises(MissingObjectError, match="c: no such object"):
            store.rename("c", "b")

    def test_one_content_under_many_names(self, store: Store) -> None:
        store.put("b", b"old", replace=False)
        reader = store.open("b")
        store.put_all(["a", "b", "c"], b"same")
        assert [content(store, name) for name in "abc"] == [b"same"] * 3
        assert reader.read(0, 3) == b"old"
        store.put("b", b"other", replace=True)
        assert [content(store, name) for name in "abc"] == [b"same", b"other", b"same"]
        store.delete("c", "a")
        assert store.list() == ["b"]
        with pytest.raises(MissingObjectError, match="d: no such object"):
            store.delete("b", "d", "e")
        assert store.list() == []

    def test_a_mark_is_held_until_all_have_let_go(self, open_store: OpenStore) -> None:
        store, other, mark = open_store(), open_store(), (1 << 62) - 1
        assert not store.is_held(mark)
        first, second = store.hold(mark), other.hold(mark)
        assert store.is_held(mark)
        assert other.is_held(mark)
        assert not store.is_held(mark - 1)
        first.release()
        assert store.is_held(mark)
        second.release()
        second.release()
        assert not store.is_held(mark)
        forgotten = store.hold(0)
        assert other.is_held(0)
        del forgotten
        assert not other.is_held(0)

    def test_list_is_sorted(self, store: Store) -> None:
        for name in ("b", "a.10.af", "a.af", "ü", "a.9.af", "-x"):
            store.put(name, b"", replace=False)
        assert store.list() == ["-x", "a.10.af", "a.9.af", "a.af", "b", "ü"]

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "../a", "a\0b", ".a.put"])
    def test_names_that_cannot_be(self, store: Store, name: str) -> None:
        for call in (store.open, store.create_part, store.adopt_part, store.delete, store.lock):
            with pytest.raises(ValueError, match="name"):
                call(name)
        with pytest.raises(ValueError, match="name"):
            store.put(name, b"", replace=True)
        part = store.create_part("p")
        with pytest.raises(ValueError, match="name"):
            part.publish(name)

    # Locks

    def test_lock_excludes_other_holders(self, open_store: OpenStore) -> None:
        with open_store().lock("x.lock"):
            with pytest.raises(LockedError, match=r"x\.lock"):
                open_store().lock("x.lock").try_lock()
            open_store().lock("y.lock").try_lock()
        again = open_store().lock("x.lock")
        again.try_lock()
        again.release()
        again.release()

    def test_lock_is_given_up_when_its_block_ends_by_an_exception(self, open_store: OpenStore) -> None:
        with pytest.raises(KeyError), open_store().lock("x.lock"):
            raise KeyError("x")
        open_store().lock("x.lock").try_lock()

    def test_lock_is_not_re_entrant(self, store: Store) -> None:
        with store.lock("x.lock") as lock, pytest.raises(RuntimeError, match="already held"):
            lock.acquire()

    def test_lock_leaves_its_object_where_it_is(self, store: Store) -> None:
        with store.lock("x.lock"):
            assert store.list() == ["x.lock"]
        assert store.list() == ["x.lock"]

    def test_lock_keeps_threads_apart(self, open_store: OpenStore) -> None:
        open_store().put("n", b"0", replace=False)

        def add_one(_: int) -> None:
            store = open_store()
            with store.lock("x.lock"):
                store.put("n", b"%d" % (int(content(store, "n")) + 1), replace=True)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(add_one, range(40)))
        assert content(open_store(), "n") == b"40"

    # The store itself

    def test_two_stores_of_one_place_see_the_same(self, open_store: OpenStore) -> None:
        first, second = open_store(), open_store()
        publish(first, "a", b"one")
        assert second.url == first.url
        assert second.list() == ["a"]
        assert content(second, "a") == b"one"

    def test_store_says_what_it_can_do(self, store: Store) -> None:
        known = {"list", "conditional_put", "atomic_rename", "range_reads", "locks", "durable"}
        assert {"list", "conditional_put", "range_reads", "locks"} <= store.supports <= known

    def test_space_of_the_medium_is_true_or_unknown(self, store: Store) -> None:
        space = store.statvfs()
        assert space is None or (isinstance(space, os.statvfs_result) and space.f_blocks >= space.f_bfree)
