"""What all parts of the suite share: the store under test, opened as often as a test likes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from arrayfs.store import Store

OpenStore = Callable[[], Store]


def publish(store: Store, name: str, data: bytes) -> None:
    """Make an object the long way."""
    part = store.create_part(f"{name}.part")
    part.append(data)
    part.publish(name)
    part.close()


def content(store: Store, name: str) -> bytes:
    """Return a whole object."""
    blob = store.open(name)
    data = blob.read(0, blob.size)
    blob.close()
    return data


class StoreCase:
    """Tests of one store, which is empty at first."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        raise NotImplementedError("given by the subclass")

    @pytest.fixture
    def store(self, open_store: OpenStore) -> Store:
        return open_store()
