"""The store does what the tree does: the tree machine, in which some of what is done is done through a ZarrStore."""

from __future__ import annotations

import asyncio

from hypothesis.stateful import run_state_machine_as_test
from zarr.core.buffer import cpu
from zarr.core.sync import _collect_aiterator, sync

from arrayfs import ZarrStore
from arrayfs.view.journaled import JournaledTree
from tests.profiles import examples
from tests.t3_view.test_keys_machine import KeysMachine


class StoreMachine(KeysMachine):
    store: ZarrStore

    def open(self) -> JournaledTree:
        self.store = ZarrStore(self.url, zarr_format=self.look)
        tree = self.store.tree
        assert isinstance(tree, JournaledTree)
        self.reports = [text for text in tree.container.warnings if ".log-" in text]
        return tree

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            self.store.close()

    def get(self, key: str) -> bytes | None:
        found = self.store.get_sync(key)
        again = asyncio.run(self.store.get(key))
        assert (found is None) == (again is None)
        return None if found is None else found.to_bytes()

    def put(self, key: str, content: bytes, *, replace: bool) -> None:
        value = cpu.Buffer.from_bytes(content)
        if replace:
            self.store.set_sync(key, value)
        else:
            asyncio.run(self.store.set_if_not_exists(key, value))

    def remove(self, key: str) -> None:
        self.store.delete_sync(key)

    def remove_below(self, key: str) -> None:
        sync(self.store.delete_dir(key))

    def below(self, prefix: str) -> list[str]:
        return list(sync(_collect_aiterator(self.store.list_prefix(prefix))))

    def list_names(self, path: str) -> list[str]:
        return list(sync(_collect_aiterator(self.store.list_dir(path))))


def test_the_store_does_what_the_tree_does() -> None:
    run_state_machine_as_test(StoreMachine, settings=examples(5, steps=30))
