"""The bytes of a journal, both ways, and every way in which they can be torn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arrayfs.container.journal import LogReader
from arrayfs.errors import FormatError
from arrayfs.format import log
from arrayfs.format.log import LogHeader, Op, Operation
from tests.profiles import examples

HEADER = LogHeader(bytes(range(16)), b"p" * 16, b"l" * 16, 1_700_000_000_000_000_000, 3)
u64 = st.integers(0, 2**64 - 1)
times = st.integers(0, 2**63 - 2**32)
paths = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1)).map("/".join)
operations = st.one_of(
    st.builds(Operation, st.just(Op.WRITE), times, handle=u64, number=u64, data=st.binary()),
    st.builds(
        Operation, st.sampled_from(Op), times, paths, paths, u64, st.integers(0, 2**63 - 1), st.booleans(), st.just(b"")
    ),
)


def encoded(done: list[Operation]) -> bytes:
    head = log.encode_header(HEADER)
    pieces, checksum = [head], log.checksum_of_header(head)
    for operation in done:
        record, data, checksum = log.encode_operation(operation, checksum)
        pieces += [record, bytes(data)]
    return b"".join(pieces)


def reader_of(data: bytes) -> LogReader:
    return LogReader(lambda offset, size: data[offset : offset + size], len(data))


@given(st.lists(operations, max_size=5))
@examples(200)
def test_what_was_recorded_is_read(done: list[Operation]) -> None:
    data = encoded(done)
    reader = reader_of(data)
    assert reader.header == HEADER
    assert list(reader.operations()) == done
    assert reader.end == len(data)
    assert b"".join(reader_of(data).pieces()) == data


@given(st.lists(operations, min_size=1, max_size=4), st.data())
@examples(300)
def test_a_journal_ends_where_it_was_torn_or_damaged(done: list[Operation], data: st.DataObject) -> None:
    whole = encoded(done)
    ends = [len(encoded(done[:count])) for count in range(len(done) + 1)]
    at = data.draw(st.integers(log.HEADER_SIZE, len(whole) - 1), "position")
    damage = data.draw(st.sampled_from(("cut", "zeros", "flip", "gone")), "damage")
    torn = {
        "cut": whole[:at],
        "zeros": whole[:at] + bytes(len(whole) - at),
        "flip": whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :],
        "gone": whole[:at] + whole[at + 1 :],
    }[damage]
    intact = sum(end <= at for end in ends) - 1
    reader = reader_of(torn)
    found = list(reader.operations())
    # zeros in the place of zeros damage nothing
    assert found == done[: len(found)]
    assert len(found) >= intact
    assert reader.end == ends[len(found)]
    assert torn == whole or len(found) == intact or torn[: ends[intact + 1]] == whole[: ends[intact + 1]]


@pytest.mark.parametrize("at", range(log.HEADER_SIZE))
def test_a_damaged_header_is_refused(at: int) -> None:
    head = bytearray(log.encode_header(HEADER))
    head[at] ^= 0x10
    with pytest.raises(FormatError):
        log.decode_header(bytes(head))
    with pytest.raises(FormatError, match="torn"):
        log.decode_header(bytes(head)[:at])


def test_records_of_another_journal_are_not_taken() -> None:
    other = encoded([Operation(Op.UNLINK, 1, "a"), Operation(Op.UNLINK, 2, "b")])
    first = len(encoded([Operation(Op.UNLINK, 1, "a")]))
    mixed = encoded([Operation(Op.MKDIR, 1, "a", number=0o755)]) + other[first:]
    assert [operation.op for operation in reader_of(mixed).operations()] == [Op.MKDIR]


def test_an_absurd_size_allocates_nothing() -> None:
    asked: list[int] = []
    data = log.encode_header(HEADER) + b"\xff\xff\xff\x7f" + bytes(100)

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    assert list(LogReader(read, 1 << 40).operations()) == []
    assert max(asked) <= log.HEADER_SIZE


@pytest.mark.parametrize("time_ns", [-1, -(1 << 63), (1 << 63) - 1])
def test_times_before_1970_are_numbers_too(time_ns: int) -> None:
    operation = Operation(Op.MTIME, 1, "f", number=time_ns)
    assert list(reader_of(encoded([operation])).operations()) == [operation]


def test_a_time_that_no_clock_says_ends_the_journal() -> None:
    assert list(reader_of(encoded([Operation(Op.UNLINK, 1 << 63, "a")])).operations()) == []
