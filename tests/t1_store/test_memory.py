"""The store in memory: the suite, and that its name is what makes it one."""

from __future__ import annotations

import uuid
from functools import partial

import pytest

from arrayfs.store import MemoryStore
from arrayfs.testing import StoreTests
from arrayfs.testing.store_case import OpenStore, content


class TestMemoryStore(StoreTests):
    @pytest.fixture
    def open_store(self) -> OpenStore:
        return partial(MemoryStore, uuid.uuid4().hex)

    def test_stores_of_other_names_are_others(self, open_store: OpenStore) -> None:
        open_store().put("a", b"one", replace=False)
        assert MemoryStore(uuid.uuid4().hex).list() == []

    def test_store_outlives_its_objects_in_python(self, open_store: OpenStore) -> None:
        open_store().put("a", b"one", replace=False)
        assert content(open_store(), "a") == b"one"

    def test_lock_of_a_forgotten_holder_is_free(self, open_store: OpenStore) -> None:
        open_store().lock("x.lock").try_lock()
        open_store().lock("x.lock").try_lock()
