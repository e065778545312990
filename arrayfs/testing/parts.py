"""What every store must do with objects in the making: appended to, published or discarded, and owned."""

from __future__ import annotations

import threading
from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from arrayfs.errors import LockedError, MissingObjectError, ObjectExistsError, ShortReadError
from arrayfs.store import Store
from arrayfs.testing.store_case import OpenStore, StoreCase, content


class PartTests(StoreCase):
    """The promises of `Part`."""

    def test_append_returns_where_its_bytes_begin(self, store: Store) -> None:
        part = store.create_part("p")
        assert part.append(b"abc", bytearray(b"de")) == 0
        assert part.append(memoryview(b"f"), array("H", (0, 1)), b"") == 5
        assert part.append() == 10
        assert part.size == 10
        assert part.read(0, 10) == b"abcdef\0\0\1\0"
        assert part.read(2, 3) == b"cde"

    def test_append_of_more_buffers_than_one_call_takes(self, store: Store) -> None:
        part = store.create_part("p")
        pieces = [bytes([i % 251]) * (i % 5) for i in range(5000)]
        part.append(*pieces)
        assert part.read(0, part.size) == b"".join(pieces)

    def test_appends_of_threads_do_not_mix(self, store: Store) -> None:
        part = store.create_part("p")

        def append(value: int) -> tuple[int, int]:
            return part.append(bytes([value]) * 600, bytes([value]) * 400), value

        with ThreadPoolExecutor(8) as pool:
            places = list(pool.map(append, range(200)))
        assert sorted(offset for offset, _ in places) == list(range(0, 200_000, 1000))
        assert all(part.read(offset, 1000) == bytes([value]) * 1000 for offset, value in places)

    def test_part_read_past_its_end(self, store: Store) -> None:
        part = store.create_part("p")
        part.append(b"abc")
        with pytest.raises(ShortReadError, match="p: 2 bytes wanted at offset 2, 1 are there"):
            part.read(2, 2)

    def test_part_is_cut_back(self, store: Store) -> None:
        part = store.create_part("p")
        part.append(b"whole torn")
        part.truncate(5)
        assert part.append(b"again") == 5
        assert part.read(0, part.size) == b"wholeagain"
        with pytest.raises(ValueError, match="cannot cut 10 bytes to 11"):
            part.truncate(11)

    def test_published_part_is_an_object_and_its_own_name_is_gone(self, store: Store) -> None:
        part = store.create_part("a.part")
        part.append(b"content")
        part.sync()
        assert store.list() == ["a.part"]
        part.publish("a")
        assert store.list() == ["a"]
        assert content(store, "a") == b"content"

    def test_published_part_is_still_read_but_not_written(self, store: Store) -> None:
        part = store.create_part("a.part")
        part.append(b"content")
        part.publish("a")
        assert part.read(3, 4) == b"tent"
        for change in (lambda: part.append(b"x"), part.sync, part.discard, lambda: part.publish("b")):
            with pytest.raises(ValueError, match="already published"):
                change()
        part.close()
        with pytest.raises(ValueError, match="after close"):
            part.read(0, 1)
        assert store.list() == ["a"]

    def test_publish_never_replaces(self, store: Store) -> None:
        store.put("a", b"first", replace=False)
        part = store.create_part("a.part")
        part.append(b"second")
        with pytest.raises(ObjectExistsError, match="a: already exists"):
            part.publish("a")
        assert content(store, "a") == b"first"
        part.append(b" try")
        part.publish("b")
        assert content(store, "b") == b"second try"
        assert store.list() == ["a", "b"]

    def test_part_that_replaces_takes_the_name_from_what_has_it(self, store: Store) -> None:
        store.put("a", b"old", replace=False)
        reader = store.open("a")
        for name in ("a", "b"):
            part = store.create_part("p")
            part.append(b"new")
            part.replace(name)
            assert part.read(0, 3) == b"new"
            with pytest.raises(ValueError, match="already published"):
                part.append(b"more")
            part.close()
        assert store.list() == ["a", "b"]
        assert content(store, "a") == content(store, "b") == b"new"
        assert reader.read(0, 3) == b"old"

    def test_of_many_publishers_of_one_name_one_wins(self, open_store: OpenStore) -> None:
        def win(number: int) -> int | None:
            part = open_store().create_part(f"{number}.part")
            part.append(b"%d" % number)
            try:
                part.publish("a")
            except ObjectExistsError:
                part.discard()
                return None
            return number

        with ThreadPoolExecutor(8) as pool:
            winners = [number for number in pool.map(win, range(24)) if number is not None]
        assert [content(open_store(), "a")] == [b"%d" % number for number in winners]
        assert open_store().list() == ["a"]

    def test_discarded_part_leaves_nothing(self, store: Store) -> None:
        part = store.create_part("a.part")
        part.append(b"content")
        part.discard()
        assert store.list() == []
        with pytest.raises(ValueError, match="after close"):
            part.append(b"x")

    def test_part_name_must_be_free(self, store: Store) -> None:
        part = store.create_part("p")
        with pytest.raises(ObjectExistsError):
            store.create_part("p")
        part.discard()
        store.create_part("p")

    # Owners

    def test_part_has_an_owner_until_it_is_closed(self, open_store: OpenStore) -> None:
        part = open_store().create_part("p")
        part.append(b"kept")
        other = open_store()
        assert not other.is_part_abandoned("p")
        with pytest.raises(LockedError):
            other.remove_abandoned("p")
        with pytest.raises(LockedError):
            other.adopt_part("p")
        part.close()
        part.close()
        assert other.is_part_abandoned("p")
        assert content(other, "p") == b"kept"
        other.remove_abandoned("p")
        assert other.list() == []

    def test_part_whose_owner_is_forgotten_is_abandoned(self, open_store: OpenStore) -> None:
        part = open_store().create_part("p")
        part.append(b"kept")
        del part
        assert open_store().is_part_abandoned("p")

    def test_adopted_part_goes_on_where_it_ended(self, open_store: OpenStore) -> None:
        part = open_store().create_part("p")
        part.append(b"one ")
        part.close()
        store = open_store()
        adopted = store.adopt_part("p")
        assert not store.is_part_abandoned("p")
        assert adopted.append(b"two") == 4
        adopted.publish("a")
        assert content(store, "a") == b"one two"
        assert store.list() == ["a"]

    @pytest.mark.parametrize("call", ["is_part_abandoned", "adopt_part", "remove_abandoned"])
    def test_part_that_is_not_there(self, store: Store, call: str) -> None:
        with pytest.raises(MissingObjectError):
            getattr(store, call)("p")

    def test_new_part_is_not_lost_to_one_who_cleans_up(self, open_store: OpenStore) -> None:
        done = threading.Event()

        def clean() -> None:
            store = open_store()
            while not done.is_set():
                try:
                    store.remove_abandoned("p")
                except (LockedError, MissingObjectError):
                    continue

        with ThreadPoolExecutor(1) as pool:
            cleaner = pool.submit(clean)
            try:
                for number in range(60):
                    part = open_store().create_part("p")
                    part.append(b"%d" % number)
                    part.publish(f"{number}")
                    part.close()
            finally:
                done.set()
            cleaner.result()
        assert [content(open_store(), f"{number}") for number in range(60)] == [b"%d" % n for n in range(60)]
