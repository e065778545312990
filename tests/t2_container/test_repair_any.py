"""Whatever happens to the bytes of a container: what repair claims is what was there, and the rest is named."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from arrayfs.container.repair_layers import DOUBTFUL, LOST
from arrayfs.container.verify import verify
from arrayfs.errors import ArrayFSError
from tests.t2_container.damage import LAYERS, Objects, Repaired, flipped, original, put_objects, repair, state_of
from tests.t2_container.making import State
from tests.t4_fuse.promises import keeps

FILES = st.sampled_from(LAYERS)
KINDS = ["flip", "cut", "zero", "noise", "insert", "drop", "append", "remove"]


@dataclass(frozen=True)
class Damage:
    """One thing that happens to one file, at byte `start`; the other fields are for those kinds that need them."""

    kind: str
    file: str
    start: int
    length: int
    mask: int
    noise: bytes
    other: str

    def happen(self, objects: Objects) -> None:
        content, start, end = objects[self.file], self.start, self.start + self.length
        if self.kind == "remove":
            del objects[self.file]
            return
        objects[self.file] = {
            "flip": flipped(content, start, self.mask),
            "cut": content[:start],
            "zero": content[:start] + bytes(len(content[start:end])) + content[end:],
            "noise": content[:start] + self.noise + content[start + len(self.noise) :],
            "insert": content[:start] + self.noise + content[start:],
            "drop": content[:start] + content[end:],
            "append": content + self.noise,
            "swap": objects.get(self.other, b""),
        }[self.kind]


@st.composite
def damages(draw: st.DrawFn, kinds: list[str]) -> Damage:
    file = draw(FILES)
    return Damage(
        draw(st.sampled_from(kinds)),
        file,
        draw(st.integers(0, len(dict(original())[file]) - 1)),
        draw(st.integers(1, 700)),
        draw(st.integers(1, 255)),
        draw(st.binary(min_size=1, max_size=40)),
        draw(FILES),
    )


def damaged(happens: list[Damage]) -> Objects:
    objects = dict(original())
    for damage in happens:
        if objects.get(damage.file):
            damage.happen(objects)
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


@keeps("What it puts into the new container is what was there")
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
