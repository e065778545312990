"""Containers of the Rust crate, read whole: every array, attribute and chunk is what a right reader answers."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from arrayfs.container.array import Array
from arrayfs.container.container import Container
from arrayfs.container.grid import Coord
from arrayfs.container.verify import verify
from arrayfs.errors import FormatError
from tests.t0_format.golden import CASES, CORRUPT, VECTORS, described_fill, described_value, expected


def open_case(case: str) -> Container:
    return Container.open(str(VECTORS / case / expected(case)["base"]))


def described(container: Container, array: Array, coord: Coord) -> dict[str, Any]:
    """A chunk in the words of expected.json."""
    try:
        content = container.read(array, coord)
    except FormatError as error:
        return {"coord": list(coord), "error": str(error)}
    if content is None:
        return {"coord": list(coord), "stored": False}
    short = {"hex": bytes(content).hex()} if len(content) <= 128 else {"sha256": hashlib.sha256(content).hexdigest()}
    return {"coord": list(coord), "stored": True, "size": len(content), **short}


@pytest.mark.parametrize("case", CASES)
def test_arrays_are_what_a_right_reader_answers(case: str) -> None:
    arrays = expected(case)["arrays"]
    with open_case(case) as container:
        assert list(container.names_of_arrays()) == [array["name"] for array in arrays]
        for want in arrays:
            array = container.get(want["name"])
            assert list(array.spec.shape) == want["shape"]
            assert list(array.spec.chunk_shape) == want["chunk_shape"]
            assert list(array.spec.dimension_names) == want["dimension_names"]
            assert described_fill(array.spec.fill_value) == want["fill_value"]
            assert {key: described_value(value) for key, value in array.attributes.items()} == want["attributes"]
            assert array.grid.total == want["n_chunks"]


@pytest.mark.parametrize("case", CASES)
def test_every_chunk_is_what_a_right_reader_answers(case: str) -> None:
    with open_case(case) as container:
        for want in expected(case)["arrays"]:
            array = container.get(want["name"])
            listed = [tuple(coord) for coord in array.coords().tolist()]
            for chunk in want["chunks"] or ():
                coord = tuple(chunk["coord"])
                found = described(container, array, coord)
                if "error" in chunk:
                    assert want["name"] in found["error"]
                    assert str(coord) in found["error"]
                    continue
                assert found == chunk
                assert (coord in listed) == chunk["stored"] == array.has(coord)
                assert array.stored_size(coord) == chunk.get("size")


# What verify says of good containers: only what the crate's writer leaves behind, and what was made so on purpose.
GOOD_FINDINGS = {
    "layers_all": ["attribute pairs are out of range", "attribute pairs are out of range"],
    "layers_attrs": ["attribute pairs are out of range", "attribute pairs are out of range"],
    "layers_all_compacted": ["its extent"],
    "layers_grow_clipped": ["its extent"],
    "unknown_codec": ["unknown codec"],
    "unreferenced": ["unknown codec"],
}


@pytest.mark.parametrize("case", CASES)
def test_verify_finds_nothing_that_is_not_there(case: str) -> None:
    findings = [str(finding) for finding in verify(str(VECTORS / case / "t.af"))]
    wanted = GOOD_FINDINGS.get(case.split("/")[1], [])
    assert len(findings) == len(wanted)
    for finding, text in zip(findings, wanted, strict=True):
        assert text in finding


# What is wrong, in the words of the findings; an empty list: nothing that matters.
FINDINGS = {
    "bad_magic": ["magic"],
    "block_offset_overflow": ["block 0: bytes 18446744073709551608"],
    "block_past_eof": ["block 0: bytes 1099511627776"],
    "block_size_little_past_eof": ["block 0: bytes 0 to 5000 "],
    "block_size_little_past_eof_none": ["block 0: bytes 0 to 200000 "],
    "block_size_past_eof": ["block 0: bytes 0 to 1099511627776 "],
    "chunk_offset_past_block": ["array 'grid': chunk (0, 0): bytes 4294967280"],
    "chunk_past_block": ["array 'grid': chunk (0, 0): bytes 0 to 1000 of a block of 48", "its extent (2, 2)"],
    "chunk_unknown_block": ["array 'grid': chunk (0, 0): lies in block 77"],
    "chunk_wrong_size": ["array 'grid': chunk (0, 0): 12 bytes"],
    "duplicate_coord": [],
    "empty_file": ["0 bytes"],
    "footer_size_huge": ["18446744073709551615"],
    "footer_size_small": ["footer: blocks"],
    "footer_size_too_big": ["footer of 638 bytes"],
    "footer_size_zero": ["footer: 0 bytes"],
    "footer_version_4_in_5": ["footer version 4"],
    "footer_version_99": ["version 99"],
    "lz4_bitflip": ["block 0: codec lz4"],
    "lz4_size_prefix": ["4294967295 bytes, 48 expected"],
    "lz4_size_prefix_plus1": ["49 bytes, 48 expected"],
    "none_usize_wrong": ["array 'a': chunk (1,)", "unknown codec", "16 bytes, 3 expected"],
    "rkyv_bad_bool": ["deleted is 2"],
    "rkyv_bad_tag": ["tag is 32"],
    "rkyv_bad_utf8": ["not UTF-8"],
    "rkyv_bitflip_pointer": ["outside the archive"],
    "rkyv_len_huge": ["outside the archive"],
    "rkyv_pointer_forward": ["outside the archive"],
    "rkyv_pointer_unaligned": ["not 8-aligned"],
    "rkyv_shared_subtree": ["archive's order"],
    "rkyv_short_string": ["outside its form"],
    "short_file": ["7 bytes"],
    "stats_bad_magic": ["t.stats: unreadable"],
    "stats_bad_magic_v4": ["t.stats: unreadable"],
    "truncated_data": ["block 0: bytes 0 to 50 "],
    "truncated_footer_head": ["lies in block 0", "lies in block 0", "lies in block 0", "lies in block 0", "block 63"],
    "truncated_footer_middle": ["outside the archive"],
    "truncated_tail": ["magic"],
    "unknown_codec": ["unknown codec 'nosuch'"],
    "v4_block_past_eof": ["block 0: bytes 1099511627776"],
    "vlen_offsets": ["array 'string': chunk (0,)", "array 'string': chunk (1,)"],
    "zstd_bitflip": ["block 0: codec zstd"],
    "zstd_magic": ["block 0: codec zstd"],
    "zstd_usize_small": ["array 'a': chunk (0, 0)", "array 'a': chunk (0, 1)", "2048 bytes, 16 expected"],
}


def test_every_damage_has_its_findings() -> None:
    assert sorted(FINDINGS) == CORRUPT


@pytest.mark.parametrize("case", CORRUPT)
def test_verify_names_the_damage(case: str) -> None:
    want = expected(f"corrupt/{case}")
    findings = list(verify(str(VECTORS / "corrupt" / case / want["base"])))
    assert len(findings) == len(FINDINGS[case])
    for finding, text in zip(findings, FINDINGS[case], strict=True):
        assert text in str(finding)
        assert finding.file == want["file"]
    if want["must_fail_at"] == "stats":
        assert [finding.severity for finding in findings] == ["warning"]
    elif findings:
        assert "error" in {finding.severity for finding in findings}


@pytest.mark.parametrize("case", CORRUPT)
def test_damage_is_a_clean_error_where_it_must_be_and_nowhere_else(case: str) -> None:
    want = expected(f"corrupt/{case}")
    path = str(VECTORS / "corrupt" / case / want["base"])
    if want["must_fail_at"] == "open":
        with pytest.raises(FormatError, match=r"^t\.(1\.)?af: "):
            Container.open(path)
        return
    failed, read = 0, 0
    with Container.open(path) as container:
        for name in container.names_of_arrays():
            array = container.get(name)
            for coord in map(tuple, array.coords().tolist()):
                found = described(container, array, coord)
                if "error" in found:
                    assert name in found["error"]
                    assert str(coord) in found["error"]
                    failed += 1
                else:
                    assert found["stored"]
                    read += 1
    if want["must_fail_at"] == "read":
        assert failed
    if want["must_fail_at"] in ("never", "stats"):
        assert read
        assert not failed
