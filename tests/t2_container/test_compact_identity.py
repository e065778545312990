"""Which file is which, around a compaction: the crate's, those of a copy made meanwhile, links, and lost replies."""

from __future__ import annotations

import errno
import os
import uuid
from contextlib import suppress
from pathlib import Path

import pytest

from arrayfs.container import container as container_module
from arrayfs.container import opening
from arrayfs.container.commit import SealedPart
from arrayfs.container.compact import Keep, compact
from arrayfs.container.container import Container
from arrayfs.container.layer import Layer
from arrayfs.container.repack import PackOptions
from arrayfs.container.verify import verify
from arrayfs.errors import ConflictError, FormatError, LockedError
from arrayfs.format.model import ArrayMeta
from arrayfs.format.naming import ContainerNames
from arrayfs.store import MemoryStore
from arrayfs.store.localblob import LocalBlob
from arrayfs.store.protocol import Store
from tests.conftest import Tell
from tests.t2_container.faults import Fault, FaultStore, Stop, VisitedFault, use
from tests.t2_container.making import (
    INT32,
    State,
    filled,
    i32,
    int_fill,
    layer_bytes,
    new_container,
    open_container,
    state,
    state_at,
    table,
)
from tests.t2_container.test_compact import history, run  # noqa: F401
from tests.t2_container.test_crash import calls_of, objects_of

# --- layers of the crate ----------------------------------------------------------------------------------------------


def crate_layer(value: int) -> bytes:
    """Chunk (0,) set to a value: the footer is the same for all values."""
    return layer_bytes(
        ArrayMeta("a", INT32, (4,), (2,), (), table(((0,), 0, 0, 8)), int_fill(0)), data=i32(value, value)
    )


def crate_container() -> tuple[MemoryStore, str]:
    store = MemoryStore(uuid.uuid4().hex)
    store.put("t.af", layer_bytes(), replace=False)
    store.put("t.1.af", crate_layer(1), replace=False)
    return store, f"{store.url}/t.af"


def chunk_at(url: str) -> bytes:
    return state_at(url)["a"][2][0,]


@pytest.mark.parametrize("keep", [Keep(), Keep(last=2)])
def test_what_the_crate_writes_after_a_compaction_counts_though_it_has_the_same_footer(keep: Keep) -> None:
    store, url = crate_container()
    with open_container(url) as container:
        container.put(container.get("a"), (0,), i32(2, 2), 5)
    compact(url, keep)
    number = len(objects_of(url)) - 1
    for value in (3, 1, 4):  # 1: all bytes are those of a file that was merged
        store.put(f"t.{number}.af", crate_layer(value), replace=True)
        assert chunk_at(url) == i32(value, value)
        Container.open(url, "a").close()
        assert chunk_at(url) == i32(value, value)
    compact(url)
    assert chunk_at(url) == i32(4, 4)
    assert list(verify(url)) == []


def test_what_a_compaction_left_of_the_crate_s_files_is_told_from_what_the_crate_writes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopped at each call, the crate's files with their times; it had written the same chunk three times."""
    for at in range(1, 60):
        store = FaultStore()
        for name, value in (("t.af", 7), ("t.1.af", 1), ("t.2.af", 2), ("t.3.af", 3)):
            store.inner.put(name, crate_layer(value), replace=False)
        store.fault.at, store.fault.late = at, bool(at % 2)
        url = use(monkeypatch, store)
        with suppress(Stop):
            compact(url)
        stopped = store.fault.calls >= at
        store.fault.at = 0
        assert chunk_at(url) == i32(3, 3)
        Container.open(url, "a").close()
        assert chunk_at(url) == i32(3, 3)
        if not stopped:
            return
    pytest.fail("the compaction did not end")


# --- copies -----------------------------------------------------------------------------------------------------------


def test_a_copy_that_was_made_during_a_compaction_is_right_or_refused(
    monkeypatch: pytest.MonkeyPatch,
    history: tuple[dict[str, bytes], dict[int, State]],  # noqa: F811
    tell: Tell,
) -> None:
    """File by file, in the order in which a shell names them: some before a step, the others after a later one."""
    objects, states = history
    moments = [objects]
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        store.fault.at = at
        with suppress(Stop):
            run(use(monkeypatch, store))
        now = {name: data for name, data in store.left(unsynced=True).items() if name.endswith(".af")}
        if now != moments[-1]:
            moments.append(now)
    seen = {"right": 0, "refused": 0}
    for late, after in enumerate(moments):
        for before in moments[late % 3 : late : 3]:
            names = sorted(before.keys() | after.keys())
            for place in range(1, len(names)):
                mixed = {name: before[name] for name in names[:place] if name in before}
                mixed |= {name: after[name] for name in names[place:] if name in after}
                store = FaultStore(mixed)
                url = use(monkeypatch, store)
                try:
                    copied = Container.open(url)
                    # a file that vanished before it was copied is one that the copying program tells of
                    assert state(copied) == states[copied.version], mixed.keys()
                    assert copied.version == 7 or before.keys() - after.keys()
                    seen["right"] += 1
                except FormatError:
                    seen["refused"] += 1
                    with pytest.raises(FormatError):
                        Container.open(url, "a")
                    assert store.left(unsynced=True).keys() - {"t.lock"} == mixed.keys()
    assert min(seen.values()) > 10
    tell(f"copies made during a compaction: {seen}")


# --- links, and lost replies ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["base", "all"])
def test_layers_may_be_links_to_files_elsewhere(tmp_path: Path, of: str) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "seen").mkdir()
    container = new_container(str(tmp_path / "kept" / "t.af"))
    if of == "all":
        filled(container, "first")
        container.commit()
    container.close()
    for file in (tmp_path / "kept").glob("*.af"):
        (tmp_path / "seen" / file.name).symlink_to(file)
    url = str(tmp_path / "seen" / "t.af")
    with open_container(url) as container:
        filled(container)
    was = state_at(url)
    compact(url)
    assert state_at(url) == was
    assert os.listdir(tmp_path / "seen").count("t.1.af") == 0


def test_a_writer_with_changes_goes_on_in_the_new_files_though_its_descriptors_were_given_back(tmp_path: Path) -> None:
    container = new_container(str(tmp_path / "t.af"))
    array = filled(container)
    container.commit()
    container.put(array, (1,), i32(10, 11), 1)
    container.commit()
    container.put(array, (2,), i32(20, 21), 1)
    expected = state(container)
    with open_container(str(tmp_path / "t.af")) as other:
        other.put(other.get("a"), (3,), i32(30, 31), 1)
    compact(str(tmp_path / "t.af"))
    for layer in container.stack.layers:
        blob = layer.blob
        assert isinstance(blob, LocalBlob)
        blob.lend()
    assert not container.refresh()
    assert state(container) == expected
    assert container.version == 2
    container.commit()
    expected["a"][2][3,] = i32(30, 31)
    assert state_at(str(tmp_path / "t.af")) == state(container) == expected
    container.close()


def test_a_writer_that_looks_for_news_does_not_wait_for_the_lock(tmp_path: Path) -> None:
    """A mount looks every second, and answers nobody meanwhile."""
    container = new_container(str(tmp_path / "t.af"))
    filled(container)
    container.commit()
    with open_container(str(tmp_path / "t.af")) as other:
        filled(other, "b")
    with container.store.lock("t.lock"):
        assert not container.refresh(wait=False)
    assert list(state(container)) == ["a"]
    assert container.refresh()
    assert list(state(container)) == ["a", "b"]
    container.close()


class _LostReply:
    """Publishing succeeds once, and neither that nor what there is then can be seen."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch

    def commit(self, container: Container) -> None:
        def publish(_: Store, names: ContainerNames, sealed: SealedPart, newest: Layer, *__: object) -> None:
            sealed.part.part.publish(names.sidecar(newest.number + 1))
            raise OSError(errno.EIO, "lost")

        def appeared(*_: object) -> None:
            raise OSError(errno.EIO, "not to be seen")

        with self._patch.context() as patch:
            patch.setattr(container_module, "publish", publish)
            patch.setattr(container_module, "appeared", appeared)
            with pytest.raises(OSError, match="lost"):
                container.commit("lost")


@pytest.mark.parametrize(
    ("keep", "options"),
    [(Keep(), PackOptions()), (Keep(), PackOptions("zstd")), (Keep(last=99), PackOptions("zstd"))],
    ids=["moved", "moved and rewritten", "rewritten"],
)
def test_a_commit_whose_reply_was_lost_is_found_where_a_compaction_put_it(
    monkeypatch: pytest.MonkeyPatch, keep: Keep, options: PackOptions
) -> None:
    container = new_container(codec=None, block_size=64)
    array = filled(container, count=6)
    container.commit()
    container.put(array, (1,), i32(10, 11), 1)
    container.commit()
    filled(container, "b", 100)
    container.put(array, (2,), i32(20, 21), 1)
    expected = state(container)
    _LostReply(monkeypatch).commit(container)
    url = f"{container.store.url}/t.af"
    before = objects_of(url)
    compact(url, keep, options)
    assert objects_of(url) != before
    container.put(array, (3,), i32(30, 31), 2)
    expected["a"][2][3,] = i32(30, 31)
    container.cache = type(container.cache)(1 << 20)
    assert state(container) == expected
    report = container.commit()
    assert report is not None
    assert (report.version, report.chunks) == (4, 1)
    assert state_at(url) == expected
    assert list(verify(url)) == []
    container.close()


def test_a_commit_whose_reply_was_lost_and_that_was_merged_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    container = new_container()
    filled(container)
    container.commit()
    filled(container, "b")
    _LostReply(monkeypatch).commit(container)
    url = f"{container.store.url}/t.af"
    with open_container(url) as other:
        filled(other, "c")
    compact(url)
    was = state_at(url)
    for _ in range(2):
        with pytest.raises(ConflictError, match="was merged into a later version"):
            container.commit()
    container.close()
    assert state_at(url) == was
    assert list(was) == ["a", "b", "c"]
    assert not opening.finish_exchange(container.store, container.names)


# --- who goes on from an older version --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["r", "a"])
@pytest.mark.parametrize("keep", [Keep(), Keep(last=2), Keep(last=3), Keep(tags=True)])
def test_a_compaction_that_comes_in_while_newer_layers_are_opened_leads_nobody_astray(
    monkeypatch: pytest.MonkeyPatch,
    history: tuple[dict[str, bytes], dict[int, State]],  # noqa: F811
    keep: Keep,
    mode: str,
) -> None:
    objects, states = history
    url, inside, at = "", True, 0
    while inside:
        at += 1
        store = FaultStore({name: data for name, data in objects.items() if name not in ("t.6.af", "t.7.af")})
        url = use(monkeypatch, store)
        container = Container.open(url, mode)
        for name in ("t.6.af", "t.7.af"):
            store.inner.put(name, objects[name], replace=False)

        def come_in(store: FaultStore = store) -> None:
            lock = store.inner.lock("t.lock")
            try:
                lock.try_lock()  # a compaction would have to wait
            except LockedError:
                return
            lock.release()
            compact(store.url + "/t.af", keep)

        fault = store.fault = VisitedFault(visited=at, visitor=come_in)
        container.refresh()
        inside, fault.visited = fault.inside, 0
        assert state(container) == states[container.version], at
        container.refresh()
        assert container.version == 7
        assert state(container) == states[7], at
        container.close()
    assert at > 5


def test_half_a_compaction_that_comes_in_while_newer_layers_are_opened_leads_nobody_astray(
    monkeypatch: pytest.MonkeyPatch,
    history: tuple[dict[str, bytes], dict[int, State]],  # noqa: F811
) -> None:
    objects, states = history
    for stop in range(len(calls_of(monkeypatch, objects, run)) - 16, 20, -3):
        for at in range(2, 6):
            store = FaultStore({name: data for name, data in objects.items() if name not in ("t.6.af", "t.7.af")})
            container = Container.open(use(monkeypatch, store))
            for name in ("t.6.af", "t.7.af"):
                store.inner.put(name, objects[name], replace=False)

            def come_in(store: FaultStore = store, stop: int = stop) -> None:
                fault, store.fault = store.fault, Fault(at=stop)
                with suppress(Stop):
                    compact(store.url + "/t.af", Keep(last=2))
                store.fault = fault

            store.fault = VisitedFault(visited=at, visitor=come_in)
            container.refresh()
            assert state(container) == states[container.version], (stop, at)
            container.close()
