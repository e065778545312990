"""Names that a file system cannot carry: which change, and that both directions are inverses."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arrayfs.view.paths import DOCUMENT_NAMES, NAME_MAX, show, unshow

SHOWN = [
    ("temp", "temp"),
    ("", "%"),
    ("%", "%25"),
    (".", "%2E"),
    ("..", "%2E%2E"),
    ("...", "..."),
    ("a/b", "a%2Fb"),
    ("nul\0", "nul%00"),
    (".arrayfs", "%2Earrayfs"),
    ("zarr.json", "%7Aarr.json"),
    (".zattrs", "%2Ezattrs"),
    # what is no escape of another name means itself
    ("100%", "100%"),
    ("a%20b", "a%20b"),
    ("%41", "%41"),
    ("%2e", "%2e"),
    ("%%", "%%"),
    # what would read as one is escaped once more
    ("%2E", "%252E"),
    ("%252E", "%25252E"),
    ("%7Aarr.json", "%257Aarr.json"),
    ("a%2Fb", "a%252Fb"),
    ("%\0", "%25%00"),
    ("%25%00", "%2525%2500"),
]
# Pieces that the grammar is made of, so that random names come near its corners.
PIECES = st.sampled_from(
    ["%", "%%", "25", "2E", "2F", "00", "7A", ".", "/", "\0", "arrayfs", "zarr.json", "é", "x", "2e"]
)
COMPONENTS = st.one_of(st.lists(PIECES, max_size=8).map("".join), st.text(st.characters(codec="utf-8"), max_size=40))


@pytest.mark.parametrize(("component", "shown"), SHOWN)
def test_shown_names(component: str, shown: str) -> None:
    assert show(component) == shown
    assert unshow(shown) == component


@settings(deadline=None)
@given(COMPONENTS)
def test_every_component_has_a_legal_name_that_leads_back(component: str) -> None:
    shown = show(component)
    assert shown not in ("", ".", "..", ".arrayfs", *DOCUMENT_NAMES)
    assert "/" not in shown
    assert "\0" not in shown
    assert unshow(shown) == component


@settings(deadline=None)
@given(COMPONENTS.map(lambda text: text.replace("/", "").replace("\0", "")))
def test_every_legal_file_name_is_shown_as_itself(name: str) -> None:
    """So a client finds the directory that it made under the name that it gave."""
    if name not in ("", ".", "..", ".arrayfs", *DOCUMENT_NAMES):
        assert show(unshow(name)) == name


@pytest.mark.parametrize("letter", ["a", "é", "日", "%25"])
def test_long_names_are_cut_at_a_character_and_told_apart(letter: str) -> None:
    one, other = show(letter * 300), show(letter * 300 + "!")
    assert one != other
    for shown in (one, other):
        assert NAME_MAX - 3 <= len(shown.encode()) <= NAME_MAX
        prefix, _, digits = shown.rpartition("%")
        assert len(digits) == 16
        assert int(digits, 16) >= 0
        assert "�" not in prefix


def test_the_longest_name_stays() -> None:
    assert show("a" * NAME_MAX) == "a" * NAME_MAX


def test_a_hostile_name_costs_no_more_than_its_length() -> None:
    name = "%" + "25" * 500_000 + "2E"
    assert len(show(name)) <= NAME_MAX
