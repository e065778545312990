"""What versions are called, which one is meant, and what one sees that is opened; layers of the crate too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from arrayfs.container.versions import TAG_LIMIT, VersionTable, check_tag, read_time
from arrayfs.errors import ReadOnlyError, VersionError
from arrayfs.format.extension_model import MergedVersion
from arrayfs.format.model import DType
from arrayfs.store import open_store
from tests.t2_container.making import filled, i32, layer_bytes, new_container, new_url, open_container, state, state_at
from tests.t4_fuse.promises import keeps

HOUR = 3600 * 10**9
VECTORS = Path(__file__).parents[1] / "golden" / "vectors"


@pytest.fixture
def url() -> str:
    """Versions 0 to 3: empty, four chunks, one changed, the array gone."""
    url = new_url()
    with new_container(url) as container:
        array = filled(container)
        container.commit("four")
        container.put(array, (1,), i32(7, 7), 5)
        container.commit("one changed")
        container.remove(array)
        container.commit("none")
    return url


def table_of(url: str) -> VersionTable:
    container = Container.open(url)
    try:
        return container.versions()
    finally:
        container.close()


def set_tags(url: str, **tags: int | None) -> None:
    with open_container(url) as container:
        for name, number in tags.items():
            container.tag(name, number)


def test_the_table_says_what_each_commit_made(url: str) -> None:
    versions = table_of(url).versions
    assert [(one.number, one.message, one.arrays, one.removed, one.chunks) for one in versions] == [
        (0, "", 0, 0, 0),
        (1, "four", 1, 0, 4),
        (2, "one changed", 1, 0, 1),
        (3, "none", 0, 1, 0),
    ]
    assert [one.file for one in versions] == ["t.af", "t.1.af", "t.2.af", "t.3.af"]
    assert [one.time_ns for one in versions] == sorted({one.time_ns for one in versions})
    assert len({one.id for one in versions}) == 4
    assert all(one.size > 0 and one.by_arrayfs for one in versions)


def test_a_version_is_what_it_was_when_it_was_committed(url: str) -> None:
    seen = []
    for number in range(4):
        container = Container.open(url, version=number)
        seen.append(state(container))
        assert container.version == number
        with pytest.raises(ReadOnlyError):
            container.commit()
        container.close()
    assert [list(one) for one in seen] == [[], ["a"], ["a"], []]
    assert [one["a"][2][(1,)] for one in seen[1:3]] == [i32(1, 1), i32(7, 7)]
    assert state_at(url) == seen[3]


def test_a_version_cannot_be_opened_to_change_it(url: str) -> None:
    with pytest.raises(ReadOnlyError, match="version 1 can be read, not changed"):
        Container.open(url, "a", version=1)
    open_container(url).close()  # and no lock is left


def test_a_version_is_found_by_number_tag_and_time(url: str) -> None:
    set_tags(url, paper=1, **{"v1.0": 2})
    table = table_of(url)
    times = [one.time_ns for one in table]
    for wanted, number in [("2", 2), (2, 2), ("002", 2), ("paper", 1), ("v1.0", 2), ("0s ago", 4)]:
        assert table.resolve(wanted, times[-1]).number == number, wanted
    assert table.at_time(times[2], "then").number == 2
    assert table.at_time(times[2] - 1, "then").number == 1
    day = datetime.fromtimestamp(times[-1] / 1e9).astimezone()
    assert table.resolve(day.strftime("%Y-%m-%d")).number == 4  # the end of the day
    assert table.resolve(day.isoformat(timespec="seconds")).number == 4
    assert table.resolve("2h ago", times[-1] + 2 * HOUR).number == 4


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        ("9", "there is no version 9; versions are 0 to 3"),
        ("9" * 5000, "there is no version"),
        ("-1", "'-1' is no number, tag or time of a version; versions are 0 to 3"),
        ("paper", "'paper' is no number, tag or time"),
        ("2026-13-01", "is no number, tag or time"),
        ("1999-12-31", "'1999-12-31' is before the first version, which was made at 20"),
    ],
)
def test_what_is_no_version_is_refused_with_a_reason(url: str, wanted: str, why: str) -> None:
    with pytest.raises(VersionError, match=why):
        Container.open(url, version=wanted)


@keeps("A time stands for the end of what it names", "and means the newest version that was there then")
@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2026-03-01", "2026-03-02T00:00:00"),
        ("20260301T12", "2026-03-01T13:00:00"),
        ("2026-03-01 12:30", "2026-03-01T12:31:00"),
        ("2026-03-01T12:30:15", "2026-03-01T12:30:16"),
        ("2026-03-01T12:30:15.5", "2026-03-01T12:30:15.6"),
        ("2026-03-01T12:30:15.000123", "2026-03-01T12:30:15.000124"),
        ("2026-03-01T12:30:15Z", "2026-03-01T12:30:16Z"),
        ("2026-03-01T12:30+05:30", "2026-03-01T12:31+05:30"),
    ],
)
def test_a_time_stands_for_the_end_of_what_it_names(text: str, end: str) -> None:
    assert read_time(text, 0) == round(datetime.fromisoformat(end).timestamp() * 10**6) * 1000 - 1


@pytest.mark.parametrize("text", ["", "yesterday", "12:30", "h ago", "1 year ago", "9999-12-31", "0001-01-01"])
def test_what_is_no_time_is_none(text: str) -> None:
    assert read_time(text, 0) is None or text.startswith("0001")


def test_tags_move_and_go_and_are_versions_themselves(url: str) -> None:
    set_tags(url, a=1, b=1)
    set_tags(url, a=2)
    set_tags(url, b=None)
    table = table_of(url)
    assert [(one.number, one.tags, one.tag_changes, one.tags_removed) for one in table.versions[1:]] == [
        (1, (), (), ()),
        (2, ("a",), (), ()),
        (3, (), (), ()),
        (4, (), ("a", "b"), ()),
        (5, (), ("a",), ()),
        (6, (), (), ("b",)),
    ]
    assert [one.only_tags for one in table] == [False] * 4 + [True] * 3
    assert table.newest_change().number == 3
    assert all(one.size < 1024 for one in table.versions[4:])
    with pytest.raises(VersionError, match="no version has the tag 'b'; tags: a"):
        table.tagged("b")


def test_a_tag_needs_a_version_and_a_name_that_means_nothing_else(url: str) -> None:
    with open_container(url) as container:
        for number, name in [(9, "x"), (None, "x"), (1, "7"), (1, "2026-01-01"), (1, "2h ago"), (1, "a/b")]:
            with pytest.raises(VersionError):
                container.tag(name, number)
        assert not container.dirty
    for name in ["", ".", "..", " a", "a\n", "-a", "é" * (TAG_LIMIT // 2 + 1), "\ud800"]:
        with pytest.raises(VersionError):
            check_tag(name)
    check_tag("v1.0 final")


def test_a_discarded_tag_is_none(url: str) -> None:
    container = open_container(url)
    container.tag("x", 1)
    assert container.dirty
    container.discard()
    assert container.commit() is None
    container.close()


@keeps("a version that was merged by a compaction are errors that say so")
def test_merged_versions_are_listed_with_their_tags_and_cannot_be_read(url: str) -> None:
    container = Container.open(url)
    layers = container.stack.layers[2:]
    assert layers[0].extension is not None
    merged = (MergedVersion(0, bytes(16), 5), MergedVersion(1, b"1" * 16, 6, "four", "Ada", ("paper",)))
    layers[0].extension = replace(layers[0].extension, merged=merged, tags=("kept", "3", "../x", ""))
    table = VersionTable.of(layers)
    assert [(one.number, one.merged_into, one.tags) for one in table] == [
        (0, 2, ()),
        (1, 2, ("paper",)),
        (2, None, ("kept",)),
        (3, None, ()),
    ]
    assert table.resolve("kept").place == 0
    for wanted in ("1", "paper"):
        with pytest.raises(VersionError, match="version 1 was merged into version 2 by a compaction"):
            table.resolve(wanted)
    container.close()


def test_layers_of_the_crate_are_versions_too(url: str) -> None:
    store, _ = open_store(url)
    store.put("t.4.af", layer_bytes(), replace=False)
    store.put("t.5.af", layer_bytes(), replace=False)
    with open_container(url) as container:
        container.define("late", filled(container, "x").spec)
    versions = table_of(url).versions
    assert [one.number for one in versions] == list(range(7))
    assert [one.by_arrayfs for one in versions] == [True] * 4 + [False] * 2 + [True]
    assert [one.time_ns for one in versions[3:]] == sorted(one.time_ns for one in versions[3:])
    container = Container.open(url, version=5)
    assert (container.version, [*container.names_of_arrays()]) == (5, [])
    container.close()


def test_a_copied_layer_of_the_crate_is_no_later_than_the_one_above_it() -> None:
    url = new_url()
    store, base = open_store(url)
    store.put(base, layer_bytes(), replace=False)
    with open_container(url) as container:
        container.define("a", filled(container, "x").spec)
    content = store.open(base)
    store.put(base, content.read(0, content.size), replace=True)  # its time is now
    first, second = table_of(url)
    assert first.time_ns == second.time_ns - 1


@pytest.mark.parametrize("path", sorted(VECTORS.glob("v*/*/*.af")), ids=lambda path: path.stem)
def test_containers_of_the_crate_have_versions(path: Path) -> None:
    if path.stem.rpartition(".")[2].isdigit():
        return  # a sidecar, seen with its base
    container = Container.open(str(path))
    layers = len(container.stack.layers)
    assert [one.number for one in container.versions()] == list(range(layers))
    container.close()
    for number in range(layers):
        older = Container.open(str(path), version=number)
        assert len(older.stack.layers) == number + 1
        older.close()


def test_an_array_defined_again_is_what_it_was_below() -> None:
    url = new_url()
    with new_container(url) as container:
        filled(container)
        container.commit("first")
        before = state(container)
        container.remove(container.get("a"))
        container.define("a", filled(container, "b").spec)
        container.rename(container.get("b"), "c")
        container.set_attributes(container.get("a"), {})
        container.commit("second")
        after = state(container)
    older, newest = Container.open(url, version=1), Container.open(url, version=2)
    assert (state(older), state(newest)) == (before, after)
    assert DType("Int32") == older.get("a").spec.dtype
    older.close()
    newest.close()
