"""Scratch files: what is written is read, and nothing is left in the folder at any moment."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from arrayfs.errors import ShortReadError
from arrayfs.store import LocalStore, MemoryStore
from arrayfs.store.scratch import Scratch


def test_reads_what_was_written_at_any_place(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    scratch.write(10, b"abc")
    scratch.write(4, memoryview(b"xy"))
    scratch.write(20, b"")
    assert scratch.read(4, 9) == b"xy\0\0\0\0abc"
    with pytest.raises(ShortReadError, match="5 bytes wanted at offset 10, 3 are there"):
        scratch.read(10, 5)
    scratch.truncate(6)
    assert scratch.read(0, 6) == b"\0\0\0\0xy"


def test_lies_beside_the_container_without_a_name(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path))
    scratch = Scratch.beside(store)
    scratch.write(0, b"x" * 5000)
    assert os.listdir(tmp_path) == store.list() == []
    held = [
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    ]
    assert any(target.startswith(f"{tmp_path}/") and target.endswith("(deleted)") for target in held)


def test_lies_with_temporary_files_where_the_container_has_no_folder() -> None:
    scratch = Scratch.beside(MemoryStore("scratch-test"))
    scratch.write(0, b"x")
    assert scratch.read(0, 1) == b"x"
