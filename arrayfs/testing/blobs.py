"""What every store must do with objects that are there: exact reads, and content that stays."""

from __future__ import annotations

from array import array
from concurrent.futures import ThreadPoolExecutor

import pytest

from arrayfs.errors import MissingObjectError, ShortReadError
from arrayfs.store import Store
from arrayfs.testing.store_case import StoreCase, content


class BlobTests(StoreCase):
    """The promises of `Blob`."""

    def test_blob_gives_exactly_the_range_that_was_asked_for(self, store: Store) -> None:
        store.put("a", b"0123456789", replace=False)
        blob = store.open("a")
        assert (blob.name, blob.size) == ("a", 10)
        assert blob.read(0, 10) == b"0123456789"
        assert blob.read(3, 4) == b"3456"
        assert blob.read(10, 0) == b""

    def test_blob_fills_a_buffer(self, store: Store) -> None:
        store.put("a", b"0123456789", replace=False)
        buffer = bytearray(b"______")
        store.open("a").read_into(4, memoryview(buffer)[1:5])
        assert buffer == b"_4567_"

    def test_blob_fills_an_array_of_any_type(self, store: Store) -> None:
        store.put("a", b"\0\0\1\0\2\0\3\0", replace=False)
        numbers = array("H", (0, 0, 0))
        store.open("a").read_into(2, memoryview(numbers))
        assert numbers.tolist() == [1, 2, 3]

    def test_blob_fills_an_empty_buffer(self, store: Store) -> None:
        store.put("a", b"012", replace=False)
        store.open("a").read_into(3, memoryview(bytearray()))

    @pytest.mark.parametrize(
        ("offset", "size", "got"), [(0, 11, 10), (8, 3, 2), (10, 1, 0), (50, 1, 0), (0, 2**62, 10)]
    )
    def test_read_past_the_end_names_object_offset_wanted_and_got(
        self, store: Store, offset: int, size: int, got: int
    ) -> None:
        store.put("name.af", b"0123456789", replace=False)
        with pytest.raises(ShortReadError, match=rf"name\.af: {size} bytes wanted at offset {offset}, {got} are there"):
            store.open("name.af").read(offset, size)

    def test_read_into_past_the_end_is_refused(self, store: Store) -> None:
        store.put("a", b"0123456789", replace=False)
        with pytest.raises(ShortReadError, match="4 bytes wanted at offset 8, 2 are there"):
            store.open("a").read_into(8, memoryview(bytearray(4)))

    @pytest.mark.parametrize(("offset", "size"), [(-1, 1), (0, -1)])
    def test_negative_ranges_are_no_ranges(self, store: Store, offset: int, size: int) -> None:
        store.put("a", b"0123456789", replace=False)
        with pytest.raises(ValueError, match="must not be negative"):
            store.open("a").read(offset, size)

    def test_blob_keeps_its_content_when_the_name_is_replaced(self, store: Store) -> None:
        store.put("a", b"old", replace=False)
        blob = store.open("a")
        store.put("a", b"newer", replace=True)
        assert blob.read(0, blob.size) == b"old"
        assert content(store, "a") == b"newer"

    def test_blob_keeps_its_content_when_the_name_is_deleted(self, store: Store) -> None:
        store.put("a", b"old", replace=False)
        blob = store.open("a")
        store.delete("a")
        assert blob.read(0, blob.size) == b"old"

    def test_blob_knows_whether_its_name_still_stands_for_it(self, store: Store) -> None:
        store.put("a", b"one", replace=False)
        blob = store.open("a")
        assert blob.is_current()
        store.put("a", b"one", replace=True)
        assert not blob.is_current()
        again = store.open("a")
        assert again.is_current()
        store.delete("a")
        assert not again.is_current()

    def test_closed_blob_gives_nothing_and_closes_again(self, store: Store) -> None:
        store.put("a", b"old", replace=False)
        blob = store.open("a")
        blob.close()
        blob.close()
        with pytest.raises(ValueError, match="after close"):
            blob.read(0, 1)

    def test_many_threads_read_one_blob(self, store: Store) -> None:
        data = bytes(range(256)) * 64
        store.put("a", data, replace=False)
        blob = store.open("a")

        def reads_right(offset: int) -> bool:
            buffer = bytearray(100)
            blob.read_into(offset, memoryview(buffer))
            return blob.read(offset, 100) == data[offset : offset + 100] == buffer

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(reads_right, range(0, len(data) - 100, 7)))

    def test_blob_knows_when_it_was_written_and_what_it_takes(self, store: Store) -> None:
        store.put("a", bytes(100_000), replace=False)
        first = store.open("a")
        store.put("b", bytes(100_000), replace=False)
        assert 0 < first.mtime_ns <= store.open("b").mtime_ns
        assert first.stored_bytes >= 0

    def test_opening_what_is_not_there(self, store: Store) -> None:
        with pytest.raises(MissingObjectError, match="nothing"):
            store.open("nothing")
