"""Tests for those who write stores and codecs of their own (docs/EXTENDING.md). They need pytest.

A test module subclasses `StoreTests` or `CodecTests` and gives one fixture; arrayfs tests its own with the same.
"""

import pytest

pytest.register_assert_rewrite(
    "arrayfs.testing.blobs", "arrayfs.testing.codecs", "arrayfs.testing.parts", "arrayfs.testing.stores"
)

from arrayfs.testing.codecs import CodecTests  # noqa: E402  pytest has to know of them before they are imported
from arrayfs.testing.stores import StoreTests  # noqa: E402

__all__ = ["CodecTests", "StoreTests"]
