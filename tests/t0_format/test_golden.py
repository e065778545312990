"""Every layer that the other implementation wrote decodes to what it says, and encodes to the same bytes."""

from __future__ import annotations

import hashlib
import json

import pytest

from arrayfs.format.codecs import decompress
from arrayfs.format.footer import decode_footer, encode_footer
from tests.t0_format.golden import CASES, VECTORS, all_footers, described, expected, footer_bytes

_OF_THE_FILE = ("file", "file_size", "footer_start")
FOOTERS = all_footers()


def test_the_vectors_are_there() -> None:
    assert len(CASES) > 70
    assert len(FOOTERS) > 120


@pytest.mark.parametrize("case", CASES)
def test_files_are_those_that_were_written(case: str) -> None:
    for name, digest in expected(case)["files"].items():
        assert hashlib.sha256((VECTORS / case / name).read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("case", CASES)
def test_layers_decode_to_what_the_writer_meant(case: str) -> None:
    for layer in expected(case)["layers"]:
        data = (VECTORS / case / layer["file"]).read_bytes()
        footer = footer_bytes(data)
        assert (len(data), len(data) - 12 - len(footer)) == (layer["file_size"], layer["footer_start"])
        wanted = {key: value for key, value in layer.items() if key not in _OF_THE_FILE}
        # As JSON text: there -0.0 is not 0.0 and true is not 1.
        assert json.dumps(described(decode_footer(footer)), sort_keys=True) == json.dumps(wanted, sort_keys=True)


@pytest.mark.parametrize("name", FOOTERS)
def test_a_decoded_footer_encodes_to_the_same_bytes(name: str) -> None:
    assert encode_footer(decode_footer(FOOTERS[name])) == FOOTERS[name]


@pytest.mark.parametrize("name", FOOTERS)
def test_a_footer_is_decoded_from_any_buffer_and_keeps_none(name: str) -> None:
    buffer = bytearray(FOOTERS[name])
    footer = decode_footer(memoryview(buffer))
    buffer.clear()  # fails while something still looks into it
    assert encode_footer(footer) == FOOTERS[name]


@pytest.mark.parametrize("case", [case for case in CASES if "codec" in case])
def test_blocks_unpack_to_the_size_in_the_table(case: str) -> None:
    for layer in expected(case)["layers"]:
        data = (VECTORS / case / layer["file"]).read_bytes()
        for block in layer["blocks"]:
            if block["codec"] in (None, "lz4", "zstd"):
                stored = data[block["file_offset"] :][: block["compressed_size"]]
                size = block["uncompressed_size"]
                assert len(decompress(block["codec"], stored, size)) == size
