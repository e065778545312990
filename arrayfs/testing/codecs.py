"""What every codec must do: contents come back, sizes are believed by nobody, damage is refused."""

from __future__ import annotations

import threading

import pytest

from arrayfs.errors import FormatError
from arrayfs.format.codecs import unpack
from arrayfs.format.foreign_codecs import BlockCodec

CONTENTS = [b"", b"a", bytes(1000), bytes(range(256)) * 40, b"abc" * 100_000]
SMALL = bytes(range(48))


class CodecTests:
    """The promises of `arrayfs.format.foreign_codecs.BlockCodec`.

    A test module for a codec subclasses this and gives the fixture `codec`: the object that the entry point names.
    """

    @pytest.fixture
    def codec(self) -> BlockCodec:
        raise NotImplementedError("given by the subclass")

    @pytest.mark.parametrize("content", CONTENTS, ids=len)
    def test_a_content_comes_back_from_bytes_and_from_a_view(self, codec: BlockCodec, content: bytes) -> None:
        for given in (content, memoryview(content), memoryview(bytearray(content))):
            block = codec.compress(given)
            assert unpack("tested", codec, block, len(content)) == content
            assert unpack("tested", codec, memoryview(block), len(content)) == content

    def test_blocks_and_contents_do_not_change_with_the_next(self, codec: BlockCodec) -> None:
        first, other = b"first" * 1000, b"other" * 1000
        block = codec.compress(first)
        unpacked = unpack("tested", codec, block, len(first))
        assert unpack("tested", codec, codec.compress(other), len(other)) == other
        assert unpack("tested", codec, block, len(first)) == unpacked == first

    @pytest.mark.parametrize("size", [0, 47, 49, 100])
    def test_a_content_of_another_size_is_refused(self, codec: BlockCodec, size: int) -> None:
        with pytest.raises(FormatError, match="codec "):
            unpack("tested", codec, codec.compress(SMALL), size)

    def test_a_large_content_is_refused_where_a_small_one_is_expected(self, codec: BlockCodec) -> None:
        block = codec.compress(bytes(50_000_000))
        with pytest.raises(FormatError):
            unpack("tested", codec, block, 4)
        assert unpack("tested", codec, block, 50_000_000) == bytes(50_000_000)

    def test_every_truncation_is_refused(self, codec: BlockCodec) -> None:
        block = codec.compress(SMALL)
        for size in range(len(block)):
            with pytest.raises(FormatError):
                unpack("tested", codec, block[:size], len(SMALL))

    def test_bytes_behind_the_content_are_refused(self, codec: BlockCodec) -> None:
        with pytest.raises(FormatError):
            unpack("tested", codec, bytes(codec.compress(SMALL)) + b"x", len(SMALL))

    def test_every_flipped_byte_is_refused_or_gives_the_size_asked_for(self, codec: BlockCodec) -> None:
        content = SMALL * 5
        block = bytes(codec.compress(content))
        for place in range(len(block)):
            damaged = block[:place] + bytes((block[place] ^ 0x11,)) + block[place + 1 :]
            try:
                assert len(unpack("tested", codec, damaged, len(content))) == len(content)
            except FormatError:
                continue

    def test_threads_use_it_at_the_same_time(self, codec: BlockCodec) -> None:
        contents = [bytes((number,)) * 100_000 + bytes(range(256)) for number in range(8)]
        results: dict[int, bytes] = {}

        def work(number: int) -> None:
            for _ in range(20):
                block = codec.compress(contents[number])
                results[number] = bytes(unpack("tested", codec, block, len(contents[number])))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [results[number] for number in range(8)] == contents
