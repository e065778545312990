"""One damaged byte put right by the CRC-32C of what was written.

A CRC is linear: the difference of two checksums depends on the damage alone, not on the content. So the difference is
run backwards, byte by byte from the end; where it becomes what damage of a single byte leaves, that byte is found.
"""

from __future__ import annotations

from arrayfs.format.checksums import crc32c

# Any two of the 2^32 differences are as likely, so damage of more bytes is taken for one byte's with a chance of
# (places × patterns) / 2^32: at most one in a thousand.
_MOST_CANDIDATES = 1 << 22
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bit-reversed


def _table() -> tuple[int, ...]:
    rows = []
    for row in range(256):
        for _ in range(8):
            row = row >> 1 ^ (_POLYNOMIAL if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


_TABLE = _table()
_ROW_OF_TOP = {row >> 24: number for number, row in enumerate(_TABLE)}  # all their highest bytes differ
_BYTES = {row: number for number, row in enumerate(_TABLE) if number}
_BITS = {_TABLE[1 << bit]: 1 << bit for bit in range(8)}


def correct_byte(data: bytes, checksum: int) -> bytes | None:
    """Return `data` with one byte changed so that it has this CRC-32C; None unless there is exactly one such change.

    In up to 16 KiB any byte may be wrong in any way, in up to 512 KiB in one bit; longer data are not tried.
    """
    if len(data) * len(_BYTES) <= _MOST_CANDIDATES:
        patterns = _BYTES
    elif len(data) * 8 <= _MOST_CANDIDATES:
        patterns = _BITS
    else:
        return None
    difference = crc32c(data) ^ checksum
    found = []
    for place in range(len(data) - 1, -1, -1):
        if difference in patterns:
            found.append((place, patterns[difference]))
        row = _ROW_OF_TOP[difference >> 24]
        difference = (difference ^ _TABLE[row]) << 8 & 0xFFFFFFFF | row
    if len(found) != 1:
        return None
    place, pattern = found[0]
    return b"".join((data[:place], bytes([data[place] ^ pattern]), data[place + 1 :]))
