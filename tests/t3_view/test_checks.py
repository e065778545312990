"""What verify says of stored files whose array does not have the form or the size that it should."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from arrayfs.container.array import Array, ArraySpec
from arrayfs.container.container import Container
from arrayfs.format.dtypes import BINARY
from arrayfs.format.model import DType
from arrayfs.view import plain
from arrayfs.view.checks import check_files, is_file
from arrayfs.view.draft import PIECE_SIZE
from tests.t2_container.making import new_container

SIZE = PIECE_SIZE + 10


def stored(container: Container, name: str = ".arrayfs/files/d/note", size: int = SIZE) -> Array:
    """A file of two pieces."""
    array = container.define(name, plain.spec_of(SIZE), plain.attributes_of(size, 0o644, 7))
    container.put(array, (0,), plain.element(b"x" * PIECE_SIZE), 7)
    container.put(array, (1,), plain.element(b"y" * 10), 7)
    return array


def findings(change: Callable[[Container], object]) -> list[str]:
    container = new_container()
    change(container)
    container.commit()
    return [str(finding) for finding in check_files(container.stack)]


def test_a_file_as_it_is_written_has_no_findings() -> None:
    assert findings(stored) == []


def test_other_arrays_are_not_judged_as_files() -> None:
    for name in ("a", ".arrayfs/files/d/", ".arrayfs/hidden/a", ".arrayfs/chunks/a"):
        assert not is_file(name)
        assert findings(lambda c, name=name: c.define(name, ArraySpec(DType("Int8"), (4,), (2,)))) == []  # type: ignore[misc]


@pytest.mark.parametrize("size", [0, PIECE_SIZE, 2 * PIECE_SIZE + 1])
def test_a_size_that_its_pieces_do_not_have(size: int) -> None:
    (text,) = findings(lambda c: stored(c, size=size))
    assert text == (
        f"warning: t.1.af: file 'd/note': its size is {size}, but its pieces have room for {2 * PIECE_SIZE}"
    )


def test_a_size_that_is_not_kept() -> None:
    (text,) = findings(lambda c: c.set_attributes(stored(c), {}))
    assert "its size is not kept" in text


def test_a_piece_that_is_longer_than_its_part_of_the_file() -> None:
    (text,) = findings(lambda c: c.put(stored(c), (1,), plain.element(b"z" * 11), 7))
    assert text == "warning: t.1.af: file 'd/note': piece 1: 11 bytes, 10 are its part of the file"


@pytest.mark.parametrize("spec", [ArraySpec(DType("UInt8"), (4,), (1,)), ArraySpec(BINARY, (4,), (2,))])
def test_an_array_that_is_no_file(spec: ArraySpec) -> None:
    (text,) = findings(lambda c: c.define(".arrayfs/files/note", spec))
    assert text.startswith(f"error: t.1.af: file 'note': is an array of {spec.dtype.name} in chunks of ")
