"""Block compression by name: contents come back, sizes are believed by nobody, damage and bombs are refused."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable

import pytest
import zstandard

from arrayfs.errors import FormatError, LimitError
from arrayfs.format.checksums import crc32c
from arrayfs.format.codecs import CODECS, MAX_BLOCK_SIZE, compress, decompress, decompress_into
from arrayfs.format.foreign_codecs import BlockCodec
from arrayfs.testing import CodecTests
from tests.t0_format.golden import VECTORS, expected

UNPACKED = bytes(range(48))


@pytest.mark.parametrize("name", CODECS)
class TestBuiltIn(CodecTests):
    @pytest.fixture
    def codec(self, name: str | None) -> BlockCodec:
        return CODECS[name]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("content", [b"a", bytes(1000), bytes(range(256)) * 400])
def test_a_content_is_unpacked_where_it_is_wanted(codec: str | None, content: bytes) -> None:
    room = bytearray(len(content) + 2)
    decompress_into(codec, compress(codec, content), memoryview(room)[1:-1])
    assert room == b"\0" + content + b"\0"
    for wrong in (room[:-1], room[:-3]):
        with pytest.raises((FormatError, ValueError)):
            decompress_into(codec, compress(codec, content), memoryview(wrong))


def test_the_lz4_block_is_length_and_raw_block() -> None:
    stored = (VECTORS / "v5/flushed/t.1.af").read_bytes()[:50]
    content = struct.pack("<12f", 0, 0.5, 2, 2.5, 1, 1.5, 3, 3.5, 4, 4.5, 5, 5.5)
    assert decompress("lz4", stored, 48) == content
    assert compress("lz4", b"abcd") == b"\4\0\0\0" + b"\x40abcd"


def test_zstd_without_a_content_size_is_read() -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(5000))
    assert decompress("zstd", frame, 5000) == bytes(5000)


@pytest.mark.parametrize("size", [0, 47, 49, 100])
def test_zstd_without_a_content_size_is_held_to_the_table(size: int) -> None:
    frame = zstandard.ZstdCompressor(write_content_size=False).compress(UNPACKED)
    with pytest.raises(FormatError, match="codec zstd: "):
        decompress("zstd", frame, size)


@pytest.mark.parametrize(
    ("codec", "block", "size"),
    [
        ("lz4", struct.pack("<I", 2**32 - 1) + bytes(1000), 2**32 - 1),
        ("zstd", compress("zstd", b"x"), 2**32),
        ("lz4", b"", 1),
        ("zstd", b"", 1),
    ],
)
def test_few_bytes_cannot_ask_for_much_memory(codec: str, block: bytes, size: int) -> None:
    with pytest.raises(FormatError, match=r"cannot hold|has no length"):
        decompress(codec, block, size)


@pytest.mark.parametrize("codec", CODECS)
def test_no_block_is_longer_than_chunks_can_reach(codec: str | None) -> None:
    with pytest.raises(FormatError, match="no chunk lies beyond"):
        decompress(codec, b"", MAX_BLOCK_SIZE + 1)


@pytest.mark.parametrize("name", ["lz4_size_prefix", "lz4_size_prefix_plus1", "zstd_magic", "zstd_usize_small"])
def test_damaged_golden_blocks_are_refused(name: str) -> None:
    case = expected(f"corrupt/{name}")
    good = expected(case["made_from"])
    layer = next(layer for layer in good["layers"] if layer["file"] == case["file"])
    data = (VECTORS / "corrupt" / name / case["file"]).read_bytes()
    block = layer["blocks"][0]
    stored = data[block["file_offset"] :][: block["compressed_size"]]
    size = block["uncompressed_size"] - (name == "zstd_usize_small")
    with pytest.raises(FormatError, match=f"codec {block['codec']}: "):
        decompress(block["codec"], stored, size)


def test_an_unknown_codec_is_named() -> None:
    message = "unknown codec 'nosuch'; known are none, lz4, zstd; no installed package adds it"
    with pytest.raises(FormatError, match=message):
        compress("nosuch", b"")
    with pytest.raises(FormatError, match=message):
        decompress("nosuch", b"", 0)


def test_lz4_refuses_more_than_its_blocks_hold() -> None:
    message = "codec lz4: 2113929217 bytes are too many"
    with (
        mmap.mmap(-1, 0x7E000001) as never_touched,
        memoryview(never_touched) as content,
        pytest.raises(LimitError, match=message),
    ):
        compress("lz4", content)


def test_crc32c_of_the_check_string() -> None:
    # RFC 3720, B.4, and the usual check value.
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"") == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda raw: memoryview(bytearray(raw))[:]])
def test_crc32c_of_any_buffer_in_parts(kind: Callable[[bytes], bytes | memoryview]) -> None:
    assert crc32c(kind(b"6789"), crc32c(kind(b"12345"))) == 0xE3069283
    assert crc32c(kind(b""), 5) == 5
