"""What the log is told of errors in requests: enough to find the cause, and never a flood."""

from __future__ import annotations

import pytest

from arrayfs.errors import ChecksumError
from arrayfs.fuse.incidents import DEPTH, INTERVAL, LIMIT, Incidents


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(incidents: Incidents, text: str) -> None:
    try:
        raise KeyError(text)
    except KeyError as error:
        incidents.tell("read", error)


def test_damage_is_one_line_for_each_thing_that_is_damaged(caplog: pytest.LogCaptureFixture) -> None:
    incidents = Incidents(Clock())
    for _ in range(100):
        incidents.tell("read", ChecksumError("v.af: block 3"))
        incidents.tell("read", ChecksumError("v.af: block 4"))
    assert [record.getMessage() for record in caplog.records] == [
        "read: ChecksumError: v.af: block 3",
        "read: ChecksumError: v.af: block 4",
    ]


def test_a_bug_is_known_by_its_place_and_told_again_later_with_how_often_it_came(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    incidents = Incidents(clock)
    for number in range(100):
        fail(incidents, f"inode {number}")
    clock.now = INTERVAL
    fail(incidents, "inode 100")
    first, second = (record.getMessage() for record in caplog.records)
    assert "KeyError: 'inode 0'" in first
    assert "99 times more" in second
    assert "KeyError: 'inode 100'" in second


def test_more_different_things_than_can_be_told_apart_are_one_thing(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    incidents = Incidents(clock)
    for number in range(3 * LIMIT):
        incidents.tell("read", ChecksumError(f"v.af: block {number}"))
    assert len(caplog.records) == LIMIT + 1
    clock.now = INTERVAL
    incidents.tell("read", ChecksumError("v.af: another block"))
    assert len(caplog.records) == LIMIT + 2


def test_endless_recursion_is_shown_by_its_end(caplog: pytest.LogCaptureFixture) -> None:
    def one() -> None:
        other()

    def other() -> None:
        one()

    try:
        one()
    except RecursionError as error:
        Incidents().tell("lookup", error)
    assert len(caplog.records[0].getMessage().splitlines()) < 4 * DEPTH
