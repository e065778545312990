"""One wrong byte is found by the checksum of what was written; more are not taken for one."""

from __future__ import annotations

import random

import pytest

from arrayfs.format.checksums import crc32c
from arrayfs.format.correction import correct_byte


@pytest.mark.parametrize("size", [1, 2, 7, 300, 16448])
def test_any_byte_wrong_in_any_way_is_put_right(size: int) -> None:
    chance = random.Random(size)
    data = chance.randbytes(size)
    for _ in range(20):
        place, mask = chance.randrange(size), chance.randrange(1, 256)
        damaged = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        assert correct_byte(damaged, crc32c(data)) == data


def test_in_long_data_one_bit_is_put_right_and_no_more() -> None:
    data = random.Random(1).randbytes(400_000)
    for place, mask, wanted in ((5, 4, data), (399_999, 128, data), (70_000, 3, None)):
        damaged = data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
        assert correct_byte(damaged, crc32c(data)) == wanted


def test_longer_data_are_not_tried() -> None:
    data = bytes(600_000)
    assert correct_byte(b"\1" + data[1:], crc32c(data)) is None


def test_two_wrong_bytes_are_not_taken_for_one() -> None:
    chance = random.Random(2)
    for _ in range(50):
        data = chance.randbytes(500)
        damaged = bytearray(data)
        for place in chance.sample(range(500), 2):
            damaged[place] ^= chance.randrange(1, 256)
        assert correct_byte(bytes(damaged), crc32c(data)) is None
