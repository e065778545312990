"""A draft reads as what was written over its base, whatever is written, cut and grown, and changes nothing below."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from arrayfs.store.scratch import Scratch
from arrayfs.view import draft as draft_module
from arrayfs.view.draft import PIECE_SIZE, Draft
from arrayfs.view.slots import Slots
from tests.profiles import examples

SMALL_PIECE = 16
sizes = st.integers(0, 70)


def over(base: bytes) -> Draft:
    def read(offset: int, size: int) -> memoryview:
        assert offset + size <= len(base), "read behind the base's end"
        return memoryview(base)[offset : offset + size]

    return Draft(read, len(base))


class DraftMachine(RuleBasedStateMachine):
    """`model` is the whole file. shared: drafts that were made of it, and what they have to read as."""

    @initialize(base=st.one_of(st.none(), st.binary(max_size=70)))
    def start(self, base: bytes | None) -> None:
        self.base = base
        self.draft = Draft(None, 0) if base is None else over(base)
        self.model = bytearray(base or b"")
        self.slots = Slots(SMALL_PIECE, Scratch)
        self.shared: list[tuple[Draft, bytes]] = []

    @rule()
    def put_on_disk(self) -> None:
        self.draft.put_on_disk(self.slots)
        assert self.draft.held == 0

    @rule(take=st.booleans())
    def share(self, take: bool) -> None:
        """What is written to one of two the other does not see; the machine goes on with either."""
        other = self.draft.shared(self.slots)
        if take:
            self.draft, other = other, self.draft
        self.shared.append((other, bytes(self.model)))

    @rule()
    def give_one_up(self) -> None:
        """Its slots are used again."""
        if self.shared:
            self.shared.pop(0)
        self.slots.trim()

    @rule(offset=sizes, data=st.binary(max_size=40))
    def write(self, offset: int, data: bytes) -> None:
        self.draft.write(offset, data)
        if data:
            self.model.extend(bytes(max(0, offset - len(self.model))))
            self.model[offset : offset + len(data)] = data

    @rule(size=sizes)
    def truncate(self, size: int) -> None:
        self.draft.truncate(size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    @rule(offset=sizes, size=sizes)
    def read(self, offset: int, size: int) -> None:
        assert bytes(self.draft.read(offset, size)) == self.model[offset : offset + size]

    @rule()
    def read_and_keep(self) -> None:
        """What a reader was given does not change under its hands, nor does it keep the draft from growing."""
        view = self.draft.read(0, 16)
        before = bytes(view)
        self.write(0, b"changed")
        assert bytes(view) == before

    @invariant()
    def same_content(self) -> None:
        if not hasattr(self, "draft"):
            return
        assert self.draft.size == len(self.model)
        assert bytes(self.draft.whole()) == self.model
        assert self.draft.held == sum(map(len, self.draft.pieces.values()))
        assert self.draft.base_size <= self.draft.size
        assert all(bytes(other.whole()) == content for other, content in self.shared)

    @invariant()
    def changed_pieces_over_what_is_left_of_the_base_are_the_file(self) -> None:
        if not hasattr(self, "draft"):
            return
        out = bytearray(self.model)
        left = (self.base or b"")[: self.draft.base_size].ljust(len(out), b"\0")
        for start in range(0, len(out), SMALL_PIECE):
            piece = dict(self.draft.changed()).get(start // SMALL_PIECE, left[start : start + SMALL_PIECE])
            out[start : start + SMALL_PIECE] = bytes(piece).ljust(min(SMALL_PIECE, len(out) - start), b"\0")
        assert out == self.model


def test_draft_does_what_a_bytearray_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft_module, "PIECE_SIZE", SMALL_PIECE)
    run_state_machine_as_test(DraftMachine, settings=examples(60, steps=20))


@given(st.integers(-2, 2), st.integers(-2, 2), st.integers(0, 2))
@examples(20)
def test_writes_around_the_edges_of_pieces(start: int, end: int, pieces: int) -> None:
    first, last = PIECE_SIZE + start, PIECE_SIZE * (1 + pieces) + end
    if last <= first:
        return
    base = bytes(range(256)) * (PIECE_SIZE * 3 // 256)
    draft = over(base)
    draft.write(first, b"x" * (last - first))
    assert draft.size == max(len(base), last)
    assert bytes(draft.whole()) == base[:first] + b"x" * (last - first) + base[last:]
    assert set(draft.pieces) == set(range(first // PIECE_SIZE, (last - 1) // PIECE_SIZE + 1))


def test_file_written_at_once_is_kept_without_a_copy() -> None:
    draft, data = Draft(None, 0), b"x" * 1000
    draft.write(0, data)
    assert draft.whole() is data
    draft.write(1000, b"y")
    assert bytes(draft.whole()) == data + b"y"
    assert data == b"x" * 1000


def test_file_of_zeros_holds_nothing() -> None:
    draft = Draft(None, 0)
    draft.truncate(1 << 40)
    assert draft.held == 0
    assert bytes(draft.read((1 << 40) - 4, 100)) == bytes(4)
    draft.write(1 << 39, b"x")
    assert draft.held <= PIECE_SIZE
    assert bytes(draft.read((1 << 39) - 1, 3)) == b"\0x\0"
    assert [number for number, _ in draft.all_pieces()] == [(1 << 39) // PIECE_SIZE]


def test_of_a_base_with_holes_only_what_is_there_is_gone_through() -> None:
    content = b"x" * PIECE_SIZE
    draft = Draft(lambda offset, size: content[:size], 1 << 50, lambda: [3, 1 << 28])
    draft.write(5 * PIECE_SIZE, b"y")
    draft.write(4 * PIECE_SIZE, bytes(3 * PIECE_SIZE))
    draft.truncate(1 << 40)
    assert [(number, piece[:1]) for number, piece in draft.all_pieces()] == [(3, b"x")]


def test_slots_that_nobody_has_are_used_again_and_given_back() -> None:
    slots, draft = Slots(PIECE_SIZE, Scratch), Draft(None, 0)
    for number in range(4):
        draft.write(number * PIECE_SIZE, bytes([number]) * PIECE_SIZE)
    other = draft.shared(slots)
    assert (draft.held, slots.size) == (0, 4 * PIECE_SIZE)
    draft.write(3, b"changed")
    draft.put_on_disk(slots)
    assert (bytes(draft.read(2, 9)), bytes(other.read(2, 9))) == (b"\0changed\0", bytes(9))
    assert slots.size == 5 * PIECE_SIZE
    draft.write(4, b"x")  # into its own slot, without another
    assert (draft.held, slots.size, bytes(draft.read(3, 3))) == (0, 5 * PIECE_SIZE, b"cxa")
    del other
    assert slots.size == 4 * PIECE_SIZE
    draft.truncate(0)
    slots.trim()
    assert slots.size == 0
