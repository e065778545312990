"""Containers with one defect each: a clean error that names the file where one is due, and all the rest still reads."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from arrayfs.errors import MountError
from tests.mounts import ROOT, Mounted
from tests.t0_format.golden import CORRUPT, VECTORS, expected
from tests.t7_interop.reading import digests, folder_of, stored_and_padding

MEMORY_LIMIT = 500 << 20
# The crate reads the chunk as it is; its extent needs more, which a right reader says.
MORE_ERRORS = {"chunk_wrong_size": {("grid", (0, 0))}}

CASES = {case: expected(f"corrupt/{case}") for case in CORRUPT}


def cases(*kinds: str) -> list[str]:
    return [case for case, said in CASES.items() if said["must_fail_at"] in kinds]


@pytest.fixture(scope="module")
def readings() -> dict[str, dict[str, Any]]:
    """What reading all of each container gave."""
    paths = "".join(f"{VECTORS / 'corrupt' / case / 't.af'}\n" for case in CORRUPT)
    command = [sys.executable, "-m", "tests.t7_interop.read_everything"]
    done = subprocess.run(command, input=paths, capture_output=True, text=True, check=True, cwd=ROOT, timeout=600)
    assert "Traceback" not in done.stderr, done.stderr
    return dict(zip(CORRUPT, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("case", CORRUPT)
def test_nothing_hangs_crashes_or_takes_much_memory(case: str, readings: dict[str, dict[str, Any]]) -> None:
    assert readings[case]["status"] == 0
    assert readings[case]["peak"] < MEMORY_LIMIT


@pytest.mark.parametrize("case", cases("open"))
def test_opening_fails_with_an_error_that_names_the_file(case: str, readings: dict[str, dict[str, Any]]) -> None:
    assert readings[case]["open"] is not None
    kind, text = readings[case]["open"]
    assert kind in ("FormatError", "ChecksumError")
    assert CASES[case]["file"] in text
    assert any(severity == "error" and file == CASES[case]["file"] for severity, file, _ in readings[case]["findings"])


@pytest.mark.parametrize("case", cases("open"))
def test_such_a_container_is_not_mounted(case: str, place: Callable[..., Mounted]) -> None:
    mounted = place(VECTORS / "corrupt" / case / "t.af")
    with pytest.raises(MountError, match=CASES[case]["file"].replace(".", r"\.")):
        mounted.mount("r")


@pytest.mark.parametrize("case", cases("read"))
def test_damage_is_found_by_verify(case: str, readings: dict[str, dict[str, Any]]) -> None:
    assert any(severity == "error" and file == CASES[case]["file"] for severity, file, _ in readings[case]["findings"])


@pytest.mark.parametrize("case", cases("read", "may", "never", "stats"))
def test_what_is_damaged_is_named_and_the_rest_reads(case: str, readings: dict[str, dict[str, Any]]) -> None:
    said = readings[case]
    assert said["open"] is None
    bad = {path: answer for path, answer in said["files"].items() if isinstance(answer, list)}
    for kind, text in bad.values():
        assert kind in ("FormatError", "ChecksumError", "ChunkFileError")
        assert CASES[case]["file"] in text
    must, may = failing(case)
    assert {path_of(*chunk) for chunk in must} <= bad.keys() <= {path_of(*chunk) for chunk in must | may}


@pytest.mark.parametrize("case", cases("read", "may", "never", "stats"))
def test_a_mount_answers_eio_for_what_is_damaged_only(
    case: str, readings: dict[str, dict[str, Any]], place: Callable[..., Mounted], tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(VECTORS / "corrupt" / case, folder)
    before = digests(folder)
    mounted = place(folder / "t.af")
    mounted.mount("r")
    for path, answer in readings[case]["files"].items():
        assert os.stat(mounted / path).st_size >= 0
        if isinstance(answer, list):
            with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is looked at
                (mounted / path).read_bytes()
            assert caught.value.errno == errno.EIO
        else:
            assert hashlib.sha256((mounted / path).read_bytes()).hexdigest() == answer
    must, may = failing(case)
    for array in expected(CASES[case]["made_from"])["arrays"]:
        for chunk in array["chunks"]:
            place_of = (array["name"], tuple(chunk["coord"]))
            if place_of in must | may or not chunk["stored"] or case == "duplicate_coord":
                continue
            file = folder_of(mounted.mountpoint, array["name"]).joinpath("c", *map(str, chunk["coord"])).read_bytes()
            stored, _ = stored_and_padding(array, chunk["coord"], file)
            told = chunk.get("sha256", hashlib.sha256(bytes.fromhex(chunk.get("hex", ""))).hexdigest())
            assert hashlib.sha256(stored).hexdigest() == told
    damaged = any(isinstance(answer, list) for answer in readings[case]["files"].values())
    assert damaged == any(CASES[case]["file"] in line for line in mounted.errors())
    mounted.umount()
    assert digests(folder) == before


def failing(case: str) -> tuple[set[tuple[str, tuple[int, ...]]], set[tuple[str, tuple[int, ...]]]]:
    """Chunks that must not read, and those that may be refused or may give bytes."""
    said = CASES[case]
    arrays = said["crate_says"].get("arrays", {}) if isinstance(said["crate_says"], dict) else {}
    crate = {(name, tuple(coord)) for name, array in arrays.items() for coord, _ in array["chunk_errors"]}
    if said["must_fail_at"] == "read":
        return crate | MORE_ERRORS.get(case, set()), set()
    if said["must_fail_at"] == "may":
        return set(), {chunk for chunk in all_chunks(said["made_from"]) if chunk in crate or chunk in DOUBTFUL[case]}
    return set(), set()


def all_chunks(case: str) -> set[tuple[str, tuple[int, ...]]]:
    arrays = expected(case)["arrays"]
    return {(array["name"], tuple(chunk["coord"])) for array in arrays for chunk in array["chunks"]}


def path_of(name: str, coord: tuple[int, ...]) -> str:
    return "/".join((name, "c", *map(str, coord)))


_GRID = {("grid", (row, column)) for row in (0, 1) for column in (0, 1)}
# Chunks in the damaged block, where a reader is free to refuse.
DOUBTFUL: dict[str, set[tuple[str, tuple[int, ...]]]] = {
    "block_size_little_past_eof_none": {(name, coord) for name, coord in all_chunks("v5/codec_none")},
    "lz4_bitflip": _GRID,
    "lz4_size_prefix": _GRID,
    "lz4_size_prefix_plus1": _GRID,
    "none_usize_wrong": {(name, coord) for name, coord in all_chunks("v5/unreferenced")},
    "vlen_offsets": {("string", coord) for name, coord in all_chunks("v5/dtypes") if name == "string"},
    "zstd_bitflip": {("a", (0, 0)), ("a", (0, 1))},
}


def test_two_entries_for_one_chunk_mean_the_first(place: Callable[..., Mounted]) -> None:
    mounted = place(VECTORS / "corrupt" / "duplicate_coord" / "t.af")
    mounted.mount("r")
    (grid,) = expected("v5/flushed")["arrays"]
    file = (mounted / "grid/c/0/0").read_bytes()
    assert stored_and_padding(grid, (0, 0), file)[0].hex() == grid["chunks"][0]["hex"]
    assert not (mounted / "grid/c/0/1").exists()
    assert sorted(os.listdir(mounted / "grid/c/0")) == ["0"]


def test_broken_statistics_are_reported_and_harm_nothing(readings: dict[str, dict[str, Any]]) -> None:
    for case in cases("stats"):
        assert [finding[:2] for finding in readings[case]["findings"]] == [["warning", "t.stats"]]
