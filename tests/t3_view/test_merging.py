"""Two writers' documents as one, and what of two writers' files cannot be there together."""

from __future__ import annotations

import json

import pytest

from arrayfs.container.merge import Side
from arrayfs.view.merging import clashes, merge_documents

BASE = {"shape": [4, 4], "attributes": {"units": "m", "deep": {"a": 1}}, "extra": None}


def merged(ours: object, theirs: object, base: object = BASE, told: frozenset[str] = frozenset()) -> object:
    found = merge_documents(
        None if base is None else json.dumps(base).encode(),
        json.dumps(ours).encode(),
        json.dumps(theirs).encode(),
        told,
    )
    return None if found is None else json.loads(found)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (BASE, BASE, BASE),
        (BASE | {"new": 1}, BASE, BASE | {"new": 1}),
        (BASE, BASE | {"new": 1}, BASE | {"new": 1}),
        (BASE | {"one": 1}, BASE | {"two": 2}, BASE | {"one": 1, "two": 2}),
        ({"shape": [4, 4]}, BASE, {"shape": [4, 4]}),
        (BASE | {"shape": [6, 4]}, BASE | {"shape": [8, 4]}, BASE | {"shape": [8, 4]}),
        (BASE | {"shape": [6, 4]}, BASE | {"shape": [4, 8]}, BASE | {"shape": [6, 8]}),
        (BASE | {"shape": [2, 4]}, BASE | {"shape": [4, 8]}, BASE | {"shape": [2, 8]}),
        (
            BASE | {"attributes": {"units": "km", "deep": {"a": 1}}},
            BASE | {"attributes": {"units": "m", "deep": {"a": 1, "b": 2}}},
            BASE | {"attributes": {"units": "km", "deep": {"a": 1, "b": 2}}},
        ),
        (BASE | {"same": [1]}, BASE | {"same": [1]}, BASE | {"same": [1]}),
    ],
)
def test_members_are_merged_by_key(ours: object, theirs: object, expected: object) -> None:
    assert merged(ours, theirs) == expected


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (BASE | {"new": 1}, BASE | {"new": 2}),
        (BASE | {"new": 1}, BASE | {"new": True}),
        (BASE | {"new": 1}, BASE | {"new": 1.0}),
        (BASE | {"shape": [2, 4]}, BASE | {"shape": [8, 4]}),
        (BASE | {"shape": [2, 4]}, BASE | {"shape": [3, 4]}),
        (BASE | {"shape": [4]}, BASE | {"shape": [4, 4, 4]}),
        ({"shape": [4, 4]}, BASE | {"attributes": {"units": "km"}}),
        ([1], BASE),
        (BASE, "text"),
    ],
)
def test_what_overlaps_is_not_merged(ours: object, theirs: object) -> None:
    assert merged(ours, theirs) is None


def test_documents_that_both_made_and_what_is_no_json() -> None:
    assert merged({"a": 1}, {"a": 1, "b": 2}, None) == {"a": 1, "b": 2}
    assert merged({"a": 1}, {"a": 2}, None) is None
    assert merge_documents(b"{}", b"{", b"{}") is None
    assert merge_documents(b"{}", b"[" * 100_000, b"{}") is None
    assert merge_documents(b'{"a": 1}', b'{ "a":1,  "b":2 }', b'{"a": 1}') == b'{ "a":1,  "b":2 }'


def test_what_a_native_array_says_does_not_overlap_in_its_document() -> None:
    ours, theirs = BASE | {"attributes": {"units": "km"}}, BASE | {"attributes": {"units": "cm", "deep": {"a": 1}}}
    assert merged(ours, theirs) is None
    assert merged(ours, theirs, BASE, frozenset({"units"})) == BASE | {"attributes": {"units": "km"}}
    deep = BASE | {"attributes": {"deep": {"units": 1}}}, BASE | {"attributes": {"deep": {"units": 2}}}
    assert merged(*deep, BASE, frozenset({"units"})) is None


FILES = ".arrayfs/files/"


@pytest.mark.parametrize(
    ("ours", "theirs", "named"),
    [
        (Side([f"{FILES}x/note"], []), Side([], ["x"]), "x/note: written here, but x was removed there"),
        (Side([], ["x"]), Side(["x/y"], []), "x/y: written there, but x was removed here"),
        (Side([f"{FILES}x/note"], []), Side([f"{FILES}x"], []), "x/note: written here, but x is a file there"),
        (Side([f"{FILES}x"], []), Side(["x/y"], []), "x/y: written there, but x is a file here"),
        (Side([f"{FILES}x/c/3"], []), Side(["x"], []), "x/c/3: a file here, a chunk of x there"),
        (Side([".arrayfs/chunks/x"], []), Side([f"{FILES}x/0.1"], []), "x/0.1: a file there, a chunk of x here"),
    ],
)
def test_what_cannot_be_there_together(ours: Side, theirs: Side, named: str) -> None:
    assert clashes(ours, theirs) == [named]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Side([f"{FILES}x/note"], []), Side(["x"], [])),
        (Side([f"{FILES}x/zarr.json"], []), Side([f"{FILES}y", "x"], [])),
        (Side([f"{FILES}d/one"], []), Side([f"{FILES}d/two", f"{FILES}d/"], [f"{FILES}d/"])),
        (Side([f"{FILES}xy"], []), Side([f"{FILES}x"], ["x"])),
    ],
)
def test_what_can(ours: Side, theirs: Side) -> None:
    assert clashes(ours, theirs) == []
