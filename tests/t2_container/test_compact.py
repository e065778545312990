"""Compaction: what stays, what goes, and that nothing is lost whoever comes in or whatever ends at any store call."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from arrayfs.container import opening, part
from arrayfs.container.compact import Compaction, Keep, compact
from arrayfs.container.container import Container
from arrayfs.container.repack import KEEP, PackOptions
from arrayfs.container.restore import restore
from arrayfs.container.verify import verify
from arrayfs.errors import ChecksumError, ConflictError, FormatError, VersionError
from arrayfs.format.extension_model import Extension
from arrayfs.store import MemoryStore
from arrayfs.store.local import LocalPart
from arrayfs.store.protocol import Lock
from tests.conftest import Tell
from tests.t2_container.faults import FaultStore, Stop, VisitedFault, is_locked, use
from tests.t2_container.making import (
    State,
    attributes,
    chunks_of,
    filled,
    i32,
    layer_bytes,
    new_container,
    open_container,
    spec,
    state,
    state_at,
)
from tests.t2_container.test_crash import SMALL, calls_of, objects_of
from tests.t2_container.test_model import readable

KEPT = Keep(last=2, tags=True)  # versions 3, 6 and 7: runs of three kinds
HALF_DONE = "left by a compaction that did not end, and said below; the next open for writing removes it"


def make_history(url: str) -> dict[int, State]:
    """Versions 1 to 7, of which 3 has a tag; returns what each holds."""
    container = open_container(url, block_size=16)
    states: dict[int, State] = {0: state(container)}

    def commit() -> None:
        report = container.commit(f"version {len(states)}")
        assert report is not None
        states[report.version] = state(container)

    kept = filled(container, "kept")
    filled(container, "dropped")
    filled(container, "shrunk", 6)
    commit()
    container.put(kept, (0,), i32(10, 11), 5)
    container.remove(container.get("dropped"))
    commit()
    container.respec(container.get("shrunk"), spec((5,), (2,), -1), 6)
    container.put(kept, (3,), None, 7)
    commit()
    container.tag("good", 3)
    filled(container, "dropped", 2)
    container.respec(container.get("shrunk"), spec((12,), (2,), -1), 8)
    commit()
    container.rename(container.get("kept"), "there")
    container.set_attributes(container.get("shrunk"), attributes(units="km", n=3))
    commit()
    container.put(container.get("there"), (1,), i32(20, 21), 9)
    container.remove(container.get("dropped"))
    container.define("dropped", spec((4, 4), (2, 2)))
    container.put(container.get("dropped"), (1, 0), i32(1, 2, 3, 4), 10)
    commit()
    container.put(container.get("there"), (1,), i32(22, 23), 11)
    commit()
    container.close()
    return states


@pytest.fixture(scope="module")
def history() -> tuple[dict[str, bytes], dict[int, State]]:
    """The files of a container of seven versions, and what each holds."""
    container = new_container()
    url = f"{container.store.url}/t.af"
    container.close()
    states = make_history(url)
    return objects_of(url), states


def check(url: str, states: dict[int, State]) -> list[int]:
    """Each version that can be read is what it was; the newest can. Returns the numbers of those."""
    numbers = readable(url)
    assert numbers[-1] == max(states)
    for number in numbers:
        container = Container.open(url, version=number)
        assert state(container) == states[number], number
        container.close()
    return numbers


# --- what stays -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        (Keep(), [7]),
        (Keep(last=3), [5, 6, 7]),
        (Keep(last=99), [0, 1, 2, 3, 4, 5, 6, 7]),
        (Keep(tags=True), [3, 7]),
        (KEPT, [3, 6, 7]),
    ],
)
def test_versions_that_are_kept_are_what_they_were(
    history: tuple[dict[str, bytes], dict[int, State]], keep: Keep, kept: list[int]
) -> None:
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    report = compact(url, keep)
    assert check(url, states) == kept
    assert report.merged == tuple(number for number in states if number not in kept)
    assert (report.layers_before, report.layers_after) == (8, len(kept))
    sizes = {name: len(data) for name, data in objects_of(url).items() if name != "t.lock"}
    assert list(sizes) == [*(f"t.{n}.af" for n in range(1, len(kept))), "t.af"]
    assert report.size_before == sum(len(data) for name, data in objects.items() if name != "t.lock")
    assert report.size_after == sum(sizes.values())
    assert list(verify(url)) == []
    again = compact(url, keep)
    assert (again.merged, again.size_after) == ((), report.size_after)


def test_versions_since_a_time_are_kept_and_the_one_of_then(
    history: tuple[dict[str, bytes], dict[int, State]],
) -> None:
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    container = Container.open(url)
    times = {version.number: version.time_ns for version in container.versions()}
    assert container.versions().begin_of("4", 0) == container.versions().begin_of("good", 0) + times[4] - times[3]
    container.close()
    compact(url, Keep(since_ns=times[4] - 1))
    assert check(url, states) == [3, 4, 5, 6, 7]


def test_what_was_merged_is_listed_and_cannot_be_read(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, _ = history
    url = f"{FaultStore(objects).url}/t.af"
    before = {version.number: version for version in Container.open(url).versions()}
    for keep in (KEPT, Keep()):  # what is merged twice is listed once
        compact(url, keep)
        container = Container.open(url)
        listed = list(container.versions())
        assert [version.number for version in listed] == list(range(8))
        for version in listed:
            was = before[version.number]
            assert (version.id, version.time_ns, version.message) == (was.id, was.time_ns, was.message)
            assert (version.author, version.tags) == (was.author, was.tags)
        with pytest.raises(VersionError, match="version 2 was merged into version"):
            container.versions().resolve(2)
        container.close()
    with pytest.raises(VersionError, match="version 3 was merged into version 7"):
        Container.open(url, version="good")


def test_tags_of_other_versions_outlive_the_version_that_set_them() -> None:
    container = new_container()
    for number in range(1, 5):
        filled(container, f"a{number}")
        container.commit()
    container.tag("second", 2)
    container.tag("third", 3)
    container.commit()
    container.tag("second", None)
    container.tag("third", 4)
    container.commit()
    container.tag("fifth", 5)
    container.commit()
    url = f"{container.store.url}/t.af"
    container.close()
    for keep in (Keep(last=6), Keep(last=2, tags=True), Keep()):
        compact(url, keep)
        container = Container.open(url)
        tags = {tag: version.number for version in container.versions() for tag in version.tags}
        assert tags == {"third": 4, "fifth": 5}
        container.close()


# --- what goes --------------------------------------------------------------------------------------------------------


def size_of(url: str) -> int:
    return sum(len(data) for name, data in objects_of(url).items() if name.endswith(".af"))


def test_what_nobody_can_see_is_gone() -> None:
    container = new_container()
    rng = np.random.default_rng(1)
    array = container.define("a", spec((1 << 14,), (1 << 12,)))
    for step in range(5):
        for number in range(4):
            container.put(array, (number,), rng.bytes(1 << 14), step)
        filled(container, f"removed{step}")
        container.commit()
        container.remove(container.get(f"removed{step}"))
    container.commit()
    url = f"{container.store.url}/t.af"
    content = state(container)
    container.close()
    assert size_of(url) > 5 * (1 << 16)
    compact(url)
    assert state_at(url) == content
    assert size_of(url) < (1 << 16) + 2000
    [layer] = Container.open(url).stack.layers
    assert [meta.name for meta in layer.footer.arrays] == ["a"]
    assert layer.extension is not None
    assert len(layer.extension.holes) == 0


def test_a_container_is_as_small_as_one_that_was_written_at_once() -> None:
    rng = np.random.default_rng(2)
    contents = [rng.bytes(16 << 10) for _ in range(200)]
    sizes = []
    for together in (1, 200):
        container = new_container()
        array = container.define("a", spec((200 << 12,), (1 << 12,)))
        for number, content in enumerate(contents):
            container.put(array, (number,), content, 5)
            if number % together == together - 1:
                container.set_attributes(array, attributes(n=number))
                container.commit()
        container.close()
        compact(f"{container.store.url}/t.af")
        sizes.append(size_of(f"{container.store.url}/t.af"))
    assert sizes[0] < 1.02 * sizes[1]


@pytest.mark.parametrize("size", [20, 3000, 200_000])
@pytest.mark.parametrize("codec", [None, "lz4"])
def test_the_same_content_is_stored_once(size: int, codec: str | None) -> None:
    container = new_container(codec=codec)
    rng = np.random.default_rng(3)
    contents = [rng.bytes(4 * size) for _ in range(3)]
    for name in ("a", "b"):
        array = container.define(name, spec((20 * size,), (size,)))
        for number in range(20):
            container.put(array, (number,), contents[number % 3], number)
        container.commit()
    url = f"{container.store.url}/t.af"
    was = state(container)
    container.close()
    compact(url)
    assert state_at(url) == was
    assert size_of(url) < 1.01 * 3 * 4 * size + 6000
    compact(url, Keep(), PackOptions("zstd", 4096))  # the same addresses again
    assert state_at(url) == was
    assert list(verify(url)) == []


def test_content_of_the_same_checksum_is_not_taken_for_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("arrayfs.container.repack.crc32c", lambda _content: 0)
    container = new_container()
    filled(container, count=9)
    container.commit()
    filled(container, "b", count=9)
    container.commit()
    was = state(container)
    container.close()
    compact(f"{container.store.url}/t.af")
    assert state_at(f"{container.store.url}/t.af") == was


def test_a_single_layer_is_written_anew_only_for_a_reason() -> None:
    container = new_container(dirty_limit=0, block_size=64)
    array = filled(container, count=40)
    container.commit()
    url = f"{container.store.url}/t.af"
    compact(url)
    one = objects_of(url)
    assert compact(url).size_after == compact(url).size_before
    assert objects_of(url) == one
    assert compact(url, Keep(), PackOptions("zstd")).layers_after == 1
    [layer] = Container.open(url).stack.layers
    assert {layer.codec(row) for row in range(len(layer.footer.blocks) - 1)} == {"zstd"}
    # chunks that were packed and written again before the commit
    for value in range(50):
        container.put(array, (0,), i32(value, value), 1)
    container.commit()
    was = state(container)
    container.close()
    before = size_of(url)
    compact(url, Keep(last=2))
    assert size_of(url) < before
    assert state_at(url) == was


@pytest.mark.parametrize("codec", [KEEP, None, "lz4", "zstd"])
def test_blocks_that_need_no_change_are_copied(monkeypatch: pytest.MonkeyPatch, codec: str | None) -> None:
    container = new_container(codec="lz4")
    rng = np.random.default_rng(4)
    array = container.define("a", spec((1 << 16,), (1 << 12,)))
    for number in range(16):
        container.put(array, (number,), rng.bytes(1 << 14), number)
        if number % 8 == 7:
            container.commit()
    was = state(container)
    container.close()
    packed: list[object] = []
    monkeypatch.setattr(
        part, "_pack", lambda codec, *given, pack=part._pack: packed.append(codec) or pack(codec, *given)
    )
    if codec in (KEEP, "lz4"):
        compact(f"{container.store.url}/t.af", Keep(), PackOptions(codec))
        assert packed == []
        assert state_at(f"{container.store.url}/t.af") == was
    else:
        compact(f"{container.store.url}/t.af", Keep(), PackOptions(codec))
        assert set(packed) == {codec}


# --- who else is there ------------------------------------------------------------------------------------------------


def test_a_version_on_which_somebody_builds_is_kept(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    early = open_container(url)
    early.put(early.get("there"), (0,), i32(77, 78), 5)
    for number in range(2):
        with open_container(url) as late:
            late.put(late.get("there"), (2,), i32(30 + number, 31), 6)
    states = states | {8: {}, 9: state_at(url)}
    for dry in (True, False):
        report = compact(url, dry_run=dry)
        assert report.kept == (7,)
        assert report.merged == (0, 1, 2, 3, 4, 5, 6, 8)
    assert readable(url) == [7, 9]
    assert early.commit() is not None
    assert early.version == 10
    assert chunks_of(early, early.get("there"))[0,] == i32(77, 78)
    assert state(early) == state_at(url)
    assert state(early)["there"][2][2,] == i32(31, 31)
    compact(url)
    assert readable(url) == [10]
    early.close()
    assert list(verify(url)) == []


def test_readers_keep_what_they_see_and_go_on_with_the_new_files(
    history: tuple[dict[str, bytes], dict[int, State]],
) -> None:
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    reader, idle, version = Container.open(url), Container.open(url), Container.open(url, version=5)
    with open_container(url) as writer:
        compact(url)
        assert state(reader) == states[7]
        assert state(version) == states[5]
        assert not reader.refresh()  # nothing else is to be seen
        assert len(reader.stack.layers) == 1
        writer.put(writer.get("there"), (0,), i32(5, 6), 12)
    assert reader.refresh()
    assert state(reader) == state_at(url)
    compact(url)
    # the version that it shows is none any more
    assert idle.refresh()
    assert state(idle) == state_at(url)
    for container in (reader, idle, version):
        container.close()


def test_a_reader_is_not_led_into_another_container(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, _ = history
    store = FaultStore(objects)
    url = f"{store.url}/t.af"
    reader = Container.open(url)
    for name in objects:
        store.inner.delete(name)
    Container.create(url)
    with pytest.raises(ConflictError, match="another container has this name"):
        reader.refresh()
    reader.close()


def test_changes_that_cut_an_array_go_on_in_the_new_files() -> None:
    container = new_container()
    array = filled(container, count=6)
    container.commit()
    container.put(array, (0,), i32(9, 9), 1)
    container.commit()
    container.respec(array, spec((5,), (2,), -1), 3)
    container.respec(array, spec((12,), (2,), -1), 4)
    container.rename(array, "b")
    expected = state(container)
    compact(f"{container.store.url}/t.af")
    container.commit()
    assert state(container) == expected == state_at(f"{container.store.url}/t.af")
    container.close()


def test_of_two_compactions_one_wins(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    slow = Container.open(url)
    compaction = Compaction(slow, Keep())
    compact(url, KEPT)
    with pytest.raises(ConflictError, match=r"t\.af: another compaction was faster"):
        compaction.run()
    slow.close()
    assert check(url, states) == [3, 6, 7]
    assert [name for name in objects_of(url) if "part" in name] == []


# --- what is refused --------------------------------------------------------------------------------------------------


def test_damage_stops_it_before_anything_is_changed(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, _ = history
    broken = dict(objects)
    broken["t.7.af"] = bytes([objects["t.7.af"][0] ^ 1]) + objects["t.7.af"][1:]
    store = FaultStore(broken)
    url = f"{store.url}/t.af"
    with pytest.raises(ChecksumError, match=r"t\.7\.af: block 0: checksum"):
        compact(url)
    assert store.left(unsynced=True) | {"t.lock": b""} == broken | {"t.lock": b""}


def test_names_that_it_could_not_move_are_refused(history: tuple[dict[str, bytes], dict[int, State]]) -> None:
    objects, states = history
    odd = dict(objects)
    odd["t.07.af"] = odd.pop("t.7.af")
    url = f"{FaultStore(odd).url}/t.af"
    with pytest.raises(FormatError, match=r"t\.07\.af: rename it to t\.7\.af"):
        compact(url)
    assert state_at(url) == states[7]


def test_files_that_came_beside_a_compacted_base_by_other_ways_are_not_removed(
    history: tuple[dict[str, bytes], dict[int, State]],
) -> None:
    """The sidecars of a backup, though what they say was merged into the base."""
    objects, states = history
    url = f"{FaultStore(objects).url}/t.af"
    compact(url)
    store = FaultStore({"t.af": objects_of(url)["t.af"], **{name: objects[name] for name in ("t.1.af", "t.2.af")}})
    beside = f"{store.url}/t.af"
    before = store.left(unsynced=True)
    assert state_at(beside) == states[7]
    for _ in range(2):
        with pytest.raises(FormatError, match=r"t\.1\.af: repeats what lies below it.*move it away"):
            open_container(beside)
    left = store.left(unsynced=True)
    assert {name: left[name] for name in before} == before
    store.inner.delete("t.1.af", "t.2.af")
    open_container(beside).close()
    assert state_at(beside) == states[7]


def test_a_layer_of_the_crate_is_merged_and_named() -> None:
    store = MemoryStore(new_container().store.url.removeprefix("memory://") + "-crate")
    for name in ("t.af", "t.1.af"):
        store.put(name, layer_bytes(), replace=False)
    url = f"{store.url}/t.af"
    with open_container(url) as container:
        filled(container)
    ids = [layer.id for layer in Container.open(url).stack.layers]
    was = state_at(url)
    compact(url, Keep(last=2))
    layers = Container.open(url).stack.layers
    assert [layer.id for layer in layers] == ids[1:]
    assert isinstance(layers[0].extension, Extension)
    assert [one.layer_id for one in layers[0].extension.merged] == ids[:1]
    assert state_at(url) == was


# --- at any store call ------------------------------------------------------------------------------------------------


def run(url: str) -> None:
    compact(url, KEPT)


def after_next_writer(monkeypatch: pytest.MonkeyPatch, left: dict[str, bytes], states: dict[int, State]) -> list[int]:
    """What a process that ended left is right, and the next open for writing leaves nothing of it."""
    store = FaultStore(left)
    url = use(monkeypatch, store)
    assert state_at(url) == states[7]
    assert {finding.text for finding in verify(url)} <= {HALF_DONE}
    container = Container.open(url, "a", SMALL)
    numbers = check(url, states)
    files = [name for name in store.inner.list() if name != "t.lock"]
    assert files == [*(f"t.{n}.af" for n in range(1, len(numbers))), "t.af"]
    assert list(verify(url)) == []
    container.put(container.get("there"), (1,), i32(50, 51), 12)
    report = container.commit("on top")
    assert report is not None
    assert (report.version, report.sidecar) == (8, f"t.{len(numbers)}.af")
    container.close()
    return numbers


def test_a_process_that_stops_at_any_store_call_leaves_the_same_content(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history
    seen = []
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        store.fault.at, store.fault.late = at, bool(at % 2)  # after this call is before the next
        with pytest.raises(Stop):
            run(use(monkeypatch, store))
        for unsynced in (True, False):
            seen.append(after_next_writer(monkeypatch, store.left(unsynced=unsynced), states))
    assert seen[0] == list(range(8))
    assert seen[-1] == [3, 6, 7]
    assert seen == sorted(seen, key=len, reverse=True)
    tell(f"{len(seen)} states after a compaction was stopped")


def test_a_writer_that_waited_for_one_that_stops_at_any_store_call_goes_on_from_what_it_left(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    """It had opened the files as they were before."""
    objects, states = history
    for at in range(1, (count := len(calls_of(monkeypatch, objects, run))) + 1):
        store = FaultStore(objects)
        store.fault.at, store.fault.late = at, bool(at % 2)
        url, waiting = use(monkeypatch, store), WaitingStore(store.inner)
        waiting.until = partial(_stopped, url)
        names = opening.ContainerNames("t")
        stack, hold = opening.open_for_writing(waiting, names)
        late = Container(waiting, names, stack, SMALL, read_only=False)
        late._hold = hold
        assert waiting.waited
        assert state(late) == states[7]
        late.close()
        assert after_next_writer(monkeypatch, store.left(unsynced=False), states)
    tell(f"{count} writers waited for a compaction that was stopped")


class WaitingStore(MemoryStore):
    """Somebody else has its lock when it is first asked for, until `until` has returned."""

    def __init__(self, inner: MemoryStore) -> None:
        super().__init__(inner.url.removeprefix("memory://"))
        self.until: Callable[[], None] = lambda: None
        self.waited = False

    def lock(self, name: str) -> Lock:
        if not self.waited:
            self.waited = True
            self.until()
        return super().lock(name)


def _stopped(url: str) -> None:
    with pytest.raises(Stop):
        run(url)


def test_a_process_that_stops_within_a_put_leaves_no_file_for_ever(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its file has a name that no list shows, and nobody puts that name again."""
    url = str(tmp_path / "t.af")
    Container.create(url)
    with Container.open(url, "a", SMALL) as container:
        filled(container, "there")
        container.commit()
        container.tag("first", 1)
        container.commit()

    def replace(part: LocalPart, name: str) -> None:
        if name == "t.2.af":
            part.close()
            raise Stop
        whole(part, name)

    whole = LocalPart.replace
    with monkeypatch.context() as patch:
        patch.setattr(LocalPart, "replace", replace)
        patch.setattr(LocalPart, "discard", LocalPart.close)
        with pytest.raises(Stop):
            compact(url, Keep(last=2))  # the tag is moved down, and an empty layer put into its place
    assert (tmp_path / ".t.2.af.put").exists()
    Container.open(url, "a").close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.1.af", "t.af", "t.lock"]


def test_a_process_that_stops_while_it_finishes_what_another_left(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history
    half_done = []
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        store.fault.at = at
        with suppress(Stop):
            run(use(monkeypatch, store))
        left = store.left(unsynced=False)
        if left not in half_done and "rename t.6.af t.1.af" not in store.fault.log[:-1]:
            half_done.append(left)
    tried = 0
    for left in half_done[-6:]:
        for at in range(1, len(calls_of(monkeypatch, left, _open_and_close)) + 1):
            store = FaultStore(left)
            store.fault.at, store.fault.late = at, bool(at % 2)
            with pytest.raises(Stop):
                _open_and_close(use(monkeypatch, store))
            after_next_writer(monkeypatch, store.left(unsynced=False), states)
            tried += 1
    tell(f"{tried} states after the finishing of a compaction was stopped")


def test_what_was_committed_on_top_of_a_half_done_exchange_is_moved_too(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history
    tried = 0
    for at in range(len(calls_of(monkeypatch, objects, run)), 0, -1):
        store = FaultStore(objects)
        with Container.open(use(monkeypatch, store.inner), "a", SMALL) as writer:  # type: ignore[arg-type]
            store.fault.at = at
            with suppress(Stop):
                run(use(monkeypatch, store))
            if not any(call.startswith("rename t.") or call == "put t.2.af" for call in store.fault.log[:-1]):
                break  # nothing was exchanged yet
            writer.put(writer.get("there"), (1,), i32(50, 51), 12)
            writer.commit("on top")
        left = store.left(unsynced=True)
        expected = state_at(use(monkeypatch, store.inner))  # type: ignore[arg-type]
        assert expected != states[7]
        for stop in range(1, len(calls_of(monkeypatch, left, _open_and_close)) + 1):
            again = FaultStore(left)
            again.fault.at, again.fault.late = stop, bool(stop % 2)
            with suppress(Stop):
                _open_and_close(use(monkeypatch, again))
            url = use(monkeypatch, FaultStore(again.left(unsynced=True)))
            assert state_at(url) == expected
            _open_and_close(url)
            assert state_at(url) == expected
            assert list(verify(url)) == []
            tried += 1
    assert tried > 20
    tell(f"{tried} states after the finishing of a compaction with a commit on top was stopped")


def _open_and_close(url: str) -> None:
    Container.open(url, "a", SMALL).close()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_store_that_fails_at_any_call_leaves_the_same_content(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], code: int
) -> None:
    objects, states = history
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        store.fault.at, store.fault.code, store.fault.last = at, code, 1 << 20
        url = use(monkeypatch, store)
        with suppress(OSError):  # what only tidies up may fail unheard
            run(url)
        store.fault.at = 0
        check(url, states)
        run(url)
        assert check(url, states) == [3, 6, 7]
        assert [name for name in store.inner.list() if "part" in name] == []


def test_a_reader_that_comes_in_at_any_call_sees_what_it_should(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history
    tried = 0
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        inner = f"{store.inner.url}/t.af"
        before = opened_aside(store.inner, "r")

        def come_in(store: FaultStore = store) -> None:
            container = opened_aside(store.inner, "r")
            assert state(container) == states[7]
            container.close()

        store.fault = VisitedFault(visited=at, visitor=come_in)
        run(use(monkeypatch, store))
        assert store.fault.inside
        assert state(before) == states[7]
        before.refresh()
        assert state(before) == states[7], inner
        before.close()
        tried += 1
    tell(f"{tried} readers came into a compaction")


def test_a_writer_that_comes_in_at_any_call_loses_nothing(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    """Two of them: one that was there before, and builds on what it saw then, and one that is new."""
    objects, _ = history
    tried = 0
    for at in range(1, len(calls_of(monkeypatch, objects, run)) + 1):
        store = FaultStore(objects)
        early = opened_aside(store.inner, "a")
        early.put(early.get("there"), (0,), i32(60, 61), 20)
        committed: list[int] = []

        def come_in(store: FaultStore = store, early: Container = early, committed: list[int] = committed) -> None:
            if is_locked(store.inner):
                return
            late = opened_aside(store.inner, "a")
            late.put(late.get("there"), (1,), i32(62, 63), 21)
            for container in (late, early):
                report = container.commit()
                assert report is not None
                committed.append(report.version)
                container.close()

        store.fault = VisitedFault(visited=at, visitor=come_in)
        url = use(monkeypatch, store)
        run(url)
        if not committed:
            early.commit()
            early.close()
        container = Container.open(url)
        chunks = chunks_of(container, container.get("there"))
        assert chunks[0,] == i32(60, 61)
        assert (chunks[1,] == i32(62, 63)) == bool(committed)
        assert [version.number for version in container.versions()] == list(range(10 if committed else 9))
        assert committed in ([], [8, 9])
        container.close()
        assert list(verify(url)) == []
        tried += bool(committed)
    assert tried > 20
    tell(f"{tried} pairs of writers came into a compaction")


def test_a_compaction_that_comes_in_at_any_call_of_a_commit_is_in_nobody_s_way(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history

    def change(url: str) -> None:
        container = Container.open(url, "a", SMALL)
        container.put(container.get("there"), (0,), i32(60, 61), 20)
        container.put(container.get("there"), (1,), None, 20)
        report = container.commit("mine")
        assert report is not None
        assert report.version == 8
        container.close()

    tried = 0
    for at in range(1, len(calls_of(monkeypatch, objects, change)) + 1):
        store = FaultStore(objects)
        merged: list[int] = []

        def come_in(store: FaultStore = store, merged: list[int] = merged) -> None:
            if is_locked(store.inner):
                return
            container = opened_aside(store.inner, "a")
            merged.extend(Compaction(container, KEPT).run().merged)
            container.close()

        store.fault = VisitedFault(visited=at, visitor=come_in)
        url = use(monkeypatch, store)
        change(url)
        assert store.fault.inside
        container = Container.open(url)
        chunks = chunks_of(container, container.get("there"))
        container.close()
        assert chunks == {**{c: b for c, b in states[7]["there"][2].items() if c != (1,)}, (0,): i32(60, 61)}
        assert set(merged) <= {0, 1, 2, 4, 5}
        assert readable(url) == [number for number in range(9) if number not in merged]
        assert list(verify(url)) == []
        tried += bool(merged)
    assert tried > 5
    tell(f"{tried} compactions came into a commit")


def test_restore_that_is_stopped_at_any_call_has_happened_or_not(
    monkeypatch: pytest.MonkeyPatch, history: tuple[dict[str, bytes], dict[int, State]], tell: Tell
) -> None:
    objects, states = history

    def bring_back(url: str) -> None:
        container = Container.open(url, "a", SMALL)
        restore(container, container.at(container.versions().resolve("good")))
        container.commit("restore")
        container.close()

    seen = []
    for at in range(1, len(calls_of(monkeypatch, objects, bring_back)) + 1):
        store = FaultStore(objects)
        store.fault.at, store.fault.late = at, bool(at % 2)
        with pytest.raises(Stop):
            bring_back(use(monkeypatch, store))
        for unsynced in (True, False):
            left = FaultStore(store.left(unsynced=unsynced))
            url = use(monkeypatch, left)
            number = readable(url)[-1]
            assert check(url, states | {8: states[3]} if number == 8 else states)[-1] == number
            container = Container.open(url, "a", SMALL)
            kept = [name for name in left.inner.list() if "part" in name]
            # a whole layer without a name may be somebody's only copy
            assert all(any("was never published is kept" in told for told in container.warnings) for _ in kept)
            assert not kept or number == 7
            container.close()
            seen.append(number)
    assert set(seen) == {7, 8}
    assert seen == sorted(seen)
    tell(f"{len(seen)} states after a restore was stopped")


def opened_aside(store: MemoryStore, mode: str) -> Container:
    """The container as another process has it, without the faults."""
    names = opening.ContainerNames("t")
    if mode == "r":
        return Container(store, names, opening.open_stack(store, names), SMALL, read_only=True)
    stack, hold = opening.open_for_writing(store, names)
    container = Container(store, names, stack, SMALL, read_only=False)
    container._hold = hold
    return container
