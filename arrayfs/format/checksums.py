"""CRC-32C, the checksum of blocks, footers, extension blocks and journal records."""

from __future__ import annotations

import google_crc32c
import numpy as np


def crc32c(data: bytes | bytearray | memoryview, value: int = 0) -> int:
    """Return the CRC-32C of `data`, or of what gave `value` followed by `data`."""
    # The library takes no memoryview; a numpy array over the same memory costs no copy.
    readable = data if isinstance(data, bytes) else np.frombuffer(data, np.uint8)
    return int(google_crc32c.extend(value, readable))
