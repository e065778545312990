"""Whatever happens to the bytes of a container: what repair claims is what was there, and the rest is named."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from arrayfs.container.repair_layers import DOUBTFUL, LOST
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from tests.t2_container.damage import LAYERS, Objects, Repaired, flipped, original, put_objects, repair, state_of
from tests.t2_container.making import State

Damage = Callable[[Objects], None]
FILES = st.sampled_from(LAYERS)


KINDS = ["flip", "cut", "zero", "noise", "insert", "drop", "append", "remove"]


@st.composite
def damages(draw: st.DrawFn, kinds: list[str]) -> Damage:
    """One thing that happens to one file."""
    file = draw(FILES)
    size = len(dict(original())[file])
    start = draw(st.integers(0, size - 1))
    kind = draw(st.sampled_from(kinds))
    length = draw(st.integers(1, 700))
    noise = draw(st.binary(min_size=1, max_size=40))
    mask = draw(st.integers(1, 255))
    other = draw(FILES)

    def happen(objects: Objects) -> None:
        content = objects[file]
        if kind == "remove":
            del objects[file]
        elif kind == "swap":
            objects[file] = objects[other]
        else:
            objects[file] = {
                "flip": flipped(content, start, mask),
                "cut": content[:start],
                "zero": content[:start] + bytes(len(content[start : start + length])) + content[start + length :],
                "noise": content[:start] + noise + content[start + len(noise) :],
                "insert": content[:start] + noise + content[start:],
                "drop": content[:start] + content[start + length :],
                "append": content + noise,
            }[kind]

    return happen


def damaged(happens: list[Damage]) -> Objects:
    objects = dict(original())
    for happen in happens:
        try:
            happen(objects)
        except KeyError:
            continue  # the file was removed before
    return objects


def reference(made: Repaired) -> State:
    """What the layers that counted say where they are whole."""
    out = [LOST, DOUBTFUL]
    return state_of(dict(original()), [file for file in LAYERS if made.states.get(file) not in (*out, None)])


def check(made: Repaired, wanted: State, older_copies: bool) -> None:
    for name, (spec, attributes, chunks) in made.state.items():
        assert (spec, attributes) == wanted[name][:2], name
        taken = {loss.coord for loss in made.lost if loss.array == name and loss.taken}
        for coord, content in chunks.items():
            assert coord in taken or content == wanted[name][2][coord], (name, coord)
        assert older_copies or not taken
    for name, (_, _, chunks) in wanted.items():
        named = made.named(name)
        assert name in made.state or None in named, name
        for coord in chunks:
            there = name in made.state and coord in made.state[name][2]
            assert there or coord in named or name not in made.state, (name, coord)


@settings(max_examples=int(os.environ.get("ARRAYFS_REPAIRS", "150")), deadline=None)
@given(st.lists(damages(KINDS), min_size=1, max_size=2), st.booleans())
def test_what_is_claimed_is_what_was_there_and_the_rest_is_named(happens: list[Damage], older: bool) -> None:
    objects = damaged(happens)
    assume(objects)
    try:
        made = repair(objects, older=older)
    except ArrayFSError:
        return  # no layer can be read: nothing is claimed
    check(made, reference(made), older)


@settings(max_examples=60, deadline=None)
@given(st.lists(damages([*KINDS, "swap"]), min_size=1, max_size=3))
def test_doubtful_indices_raise_nothing_else_and_make_a_container_that_verifies(happens: list[Damage]) -> None:
    objects = damaged(happens)
    assume(objects)
    with suppress(ArrayFSError):
        repair(objects, doubtful=True, older=True)


@settings(max_examples=100, deadline=None)
@given(FILES, st.integers(0, 1 << 20), st.integers(1, 255))
@example("t.af", 0, 1)
def test_verify_finds_any_changed_byte(file: str, place: int, mask: int) -> None:
    objects = dict(original())
    objects[file] = flipped(objects[file], place, mask)
    found = [finding for finding in verify(put_objects(objects)) if finding.severity == "error"]
    assert found
    assert file in {finding.file for finding in found}
