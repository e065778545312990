"""Codecs of other programs: found by name among the entry points of the group `arrayfs.codecs`, when first needed.

A container can name any codec, so the name only chooses among what is installed under this group on this machine, and
nothing else is ever imported for it.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import entry_points
from typing import Protocol

from arrayfs.errors import FormatError

GROUP = "arrayfs.codecs"
# Names that were looked up and are remembered, found or not: a hostile container can have one for each block.
_REMEMBERED = 64


class BlockCodec(Protocol):
    """What compresses blocks. Several threads call it at the same time.

    Contents and blocks are bytes, or views of bytes that may not be kept. What a method returns must not change later.
    """

    def compress(self, data: bytes | memoryview, /) -> bytes | memoryview:
        """The block that holds `data`, from which alone `decompress` gives it back."""

    def decompress(self, data: bytes | memoryview, uncompressed_size: int, /) -> bytes | memoryview:
        """The content of a block, `uncompressed_size` bytes; never allocates much more for what was damaged.

        Raises ValueError if the block does not hold exactly that.
        """


@lru_cache(_REMEMBERED)
def installed(name: str) -> BlockCodec | None:
    """The codec of this name that some installed package has, None if there is none.

    Raises FormatError, naming it, if it is installed and cannot be used.
    """
    for found in entry_points(group=GROUP, name=name):
        try:
            codec = found.load()
        except (ImportError, AttributeError) as error:
            raise FormatError(f"codec {name!r}: {found.value}, as installed, cannot be imported: {error}") from error
        if not callable(getattr(codec, "compress", None)) or not callable(getattr(codec, "decompress", None)):
            raise FormatError(f"codec {name!r}: {found.value} has no compress and decompress")
        loaded: BlockCodec = codec
        return loaded
    return None
