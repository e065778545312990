"""What zarr-python asks of every store: its own test classes, on a container."""

from __future__ import annotations

import uuid
import warnings
from pathlib import Path
from typing import Any

import pytest
import zarr
from hypothesis.stateful import run_state_machine_as_test
from zarr.core.buffer import Buffer, cpu
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests

from arrayfs import ZarrStore
from arrayfs.container.container import Container
from arrayfs.view.keys import Keys
from tests.profiles import examples


class TestZarrStore(StoreTests[ZarrStore, cpu.Buffer]):
    store_cls = ZarrStore
    buffer_cls = cpu.Buffer

    async def set(self, store: ZarrStore, key: str, value: Buffer) -> None:
        Keys(store.tree).put(key, value.to_bytes())

    async def get(self, store: ZarrStore, key: str) -> Buffer:
        reading = Keys(store.tree).plan(key)
        assert reading is not None
        return self.buffer_cls.from_bytes(bytes(reading.fetch()))

    @pytest.fixture
    def store_kwargs(self, tmp_path: Path) -> dict[str, Any]:
        path = str(tmp_path / "s.af")
        Container.create(path)
        return {"container": path}

    def test_store_repr(self, store: ZarrStore, store_kwargs: dict[str, Any]) -> None:
        assert repr(store) == f"ZarrStore({store_kwargs['container']!r})"
        assert str(store) == store_kwargs["container"]

    def test_store_supports_writes(self, store: ZarrStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: ZarrStore) -> None:
        assert store.supports_listing


def new_store() -> ZarrStore:
    return ZarrStore(f"memory://{uuid.uuid4().hex}/s.af")


def test_any_sequence_of_store_operations() -> None:
    run_state_machine_as_test(lambda: ZarrStoreStateMachine(new_store()), settings=examples(20, steps=30))


def test_any_sequence_of_changes_to_a_hierarchy() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.config.set({"async.timeout": 60})
        run_state_machine_as_test(lambda: ZarrHierarchyStateMachine(new_store()), settings=examples(10, steps=20))
