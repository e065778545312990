"""Metadata documents on a real mount: when they take effect, and what becomes of the chunks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from arrayfs.container.container import Container
from tests.mounts import Mounted
from tests.t0_format.golden import VECTORS
from tests.t4_fuse.documents import GROUP3, array3, ints, put, write
from tests.t4_fuse.posix import opened, refused, run
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_chunk_files import files_below, warnings_of


def is_chunk(path: Path, size: int = 16) -> bool:
    """Whether the mount takes a file for a chunk: what lies outside the shape reads as the fill value."""
    content = path.read_bytes()
    path.write_bytes(b"\xee" * size)
    dropped = path.read_bytes() != b"\xee" * size
    path.write_bytes(content)
    return dropped


def vanishes(path: Path) -> None:
    """What went because of a change elsewhere is gone for stat as soon as the kernel has been told."""
    deadline = time.monotonic() + 10
    while os.path.exists(path):
        assert time.monotonic() < deadline
        os.sched_yield()


@keeps(
    "A document takes effect when it is closed or renamed into place and its first JSON value parses; "
    "until then the one before it holds."
)
def test_a_half_written_document(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([6], [4]))
    put(mounted / "a/c/1", 1, 2, 9, 9)
    text = json.dumps(array3([5], [4])).encode()
    with opened(mounted / "a/zarr.json", os.O_WRONLY | os.O_TRUNC) as fd:
        os.write(fd, text[:50])
        os.close(os.dup(fd))
        assert (mounted / "a/c/1").read_bytes() == ints(1, 2, 0, 0)
        os.write(fd, text[50:])
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)
    (mounted / "a/zarr.json").write_bytes(b'{"zarr_format": 3, "node_ty')
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)
    mounted.remount()
    assert (mounted / "a/zarr.json").read_bytes() == b'{"zarr_format": 3, "node_ty'
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)
    (mounted / "a/zarr.json").write_bytes(text)
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)
    assert files_below(mounted / "a") == ["c/1", "zarr.json"]


@keeps("What an in-place writer left behind the first JSON value is kept and not looked at.")
def test_an_old_tail(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([6], [4], attributes={"long": "x" * 100}))
    put(mounted / "a/c/1", 1, 2, 9, 9)
    with opened(mounted / "a/zarr.json", os.O_WRONLY) as fd:
        os.write(fd, json.dumps(array3([5], [4])).encode())
    content = (mounted / "a/zarr.json").read_bytes()
    assert content.endswith(b"}")
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)
    mounted.remount()
    assert (mounted / "a/zarr.json").read_bytes() == content
    assert (mounted / "a/c/1").read_bytes() == ints(1, 0, 0, 0)


@keeps("A document that a client wrote is kept byte for byte.")
@pytest.mark.parametrize("name", ["a/zarr.json", "zarr.json", "a/.zarray", "a/.zattrs", ".zgroup", ".zmetadata"])
def test_documents_are_kept(mounted: Mounted, name: str) -> None:
    document = {
        "zarr_format": 3,
        "node_type": "group",
        "attributes": {"b": 1.0, "a": [1, None, {"x": 1e400}], "é": "☃"},
    }
    text = json.dumps(document, ensure_ascii=False, indent=7) + "\n\n"
    (mounted / name).parent.mkdir(exist_ok=True)
    (mounted / name).write_text(text)
    mounted.remount()
    assert (mounted / name).read_text() == text


@keeps(
    "What lies outside the shape at any time is gone, also after growing again: chunks outside are no "
    "files any more, and the rest of a chunk at the edge reads as the fill value."
)
@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("opaque", [False, True])
def test_resizing(mounted: Mounted, between: bool, opaque: bool) -> None:
    def resize(length: int) -> None:
        members = {"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]} if opaque else {}
        write(mounted / "a/zarr.json", array3([length], [4], fill_value=7, **members))
        if between:
            mounted.remount()

    resize(10)
    for number in range(3):
        put(mounted / f"a/c/{number}", *range(4 * number, 4 * number + 4))
    assert [(mounted / f"a/c/{n}").read_bytes()[-4:] for n in range(3)][:2] == [ints(3), ints(7)]
    resize(6)
    assert os.listdir(mounted / "a/c") in (["0", "1"], ["1", "0"])
    with refused(errno.ENOENT):
        os.open(mounted / "a/c/2", os.O_RDONLY)
    vanishes(mounted / "a/c/2")
    edge = ints(4, 5, 6, 7) if opaque else ints(4, 5, 7, 7)
    assert (mounted / "a/c/1").read_bytes() == edge
    resize(12)
    assert (mounted / "a/c/1").read_bytes() == edge
    assert not os.path.exists(mounted / "a/c/2")
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == edge
    assert (mounted / "a/c/0").read_bytes() == ints(0, 1, 2, 3)
    assert files_below(mounted / "a") == ["c/0", "c/1", "zarr.json"]


@keeps("A file that was written with the name of a chunk outside the shape becomes that chunk when the array grows")
@pytest.mark.parametrize("between", [False, True])
def test_growing_over_a_file(mounted: Mounted, between: bool) -> None:
    write(mounted / "a/zarr.json", array3([4], [4], fill_value=7))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 5, 6, 8, 9)
    (mounted / "a/c/2").write_bytes(b"another length")
    if between:
        mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == ints(5, 6, 8, 9)
    write(mounted / "a/zarr.json", array3([6], [4], fill_value=7))
    for _ in range(2):
        assert (mounted / "a/c/1").read_bytes() == ints(5, 6, 7, 7)
        assert (mounted / "a/c/2").read_bytes() == b"another length"
        mounted.remount()
    with Container.open(str(mounted.container)) as container:
        assert container.get("a").coords().tolist() == [[0], [1]]


@keeps("What lies outside the shape at any time is gone")
def test_a_reader_of_a_chunk_that_was_cut(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/1", 1, 2, 3, 4)
    mounted.remount()
    with opened(mounted / "a/c/1", os.O_RDONLY) as fd:
        assert os.pread(fd, 100, 0) == ints(1, 2, 3, 4)
        write(mounted / "a/zarr.json", array3([4], [4]))
        assert os.pread(fd, 100, 0) in (ints(1, 2, 3, 4), b"")
        vanishes(mounted / "a/c/1")
        write(mounted / "a/zarr.json", array3([8], [4]))
        put(mounted / "a/c/1", 5, 6, 7, 8)
        assert (mounted / "a/c/1").stat().st_ino != os.fstat(fd).st_ino
    assert (mounted / "a/c/1").read_bytes() == ints(5, 6, 7, 8)


@keeps(
    "A new document of another type, chunk shape, codec or rank keeps the bytes of every chunk file, as a "
    "directory would: those that fit become chunks of the new array, others plain files."
)
def test_redefining(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    put(mounted / "a/c/1", 5, 6, 7, 8)
    mounted.remount()
    write(mounted / "a/zarr.json", array3([8], [2], "int64"))
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == ints(5, 6, 7, 8)
    write(mounted / "a/zarr.json", array3([8], [8], "int8"))
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)
    mounted.remount()
    assert [(mounted / f"a/c/{n}").read_bytes() for n in (0, 1)] == [ints(1, 2, 3, 4), ints(5, 6, 7, 8)]
    write(mounted / "a/zarr.json", array3([8, 8], [4, 4], "int8"))
    assert files_below(mounted / "a") == ["c/0", "c/1", "zarr.json"]
    mounted.remount()
    assert [(mounted / f"a/c/{n}").read_bytes() for n in (0, 1)] == [ints(1, 2, 3, 4), ints(5, 6, 7, 8)]
    write(mounted / "a/zarr.json", array3([8], [4]))
    mounted.remount()
    assert [(mounted / f"a/c/{n}").read_bytes() for n in (0, 1)] == [ints(1, 2, 3, 4), ints(5, 6, 7, 8)]
    assert files_below(mounted / "a") == ["c/0", "c/1", "zarr.json"]


@keeps(
    "Chunk files of an array that arrayfs has no words for are kept as the client encoded them, whatever their length."
)
def test_opaque_chunks(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([8], [4], "float16"))
    (mounted / "a/c").mkdir()
    for number, content in enumerate((b"", b"any length" * 1000)):
        (mounted / f"a/c/{number}").write_bytes(content)
    with opened(mounted / "a/c/1", os.O_WRONLY) as fd:
        os.pwrite(fd, b"ANY", 3_000_000)
    mounted.remount()
    assert (mounted / "a/c/0").read_bytes() == b""
    assert (mounted / "a/c/1").read_bytes() == (b"any length" * 1000).ljust(3_000_000, b"\0") + b"ANY"
    with opened(mounted / "a/c/1", os.O_WRONLY) as fd:
        os.ftruncate(fd, 3)
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == b"any"
    assert not warnings_of(mounted)


@keeps(
    "An array whose document is gone stays as it is, unlisted as an array, until its files are gone or a "
    "document comes back; a commit in between stores just that."
)
@pytest.mark.parametrize("opaque", [False, True])
@pytest.mark.parametrize("between", [False, True])
def test_a_document_that_goes_and_comes_back(mounted: Mounted, opaque: bool, between: bool) -> None:
    write(mounted / "a/zarr.json", array3([6], [4], "float16" if opaque else "int32"))
    put(mounted / "a/c/1", 1, 2, 0, 0)
    if between:
        mounted.remount()
    os.rename(mounted / "a/zarr.json", mounted / "a/zarr.json~")
    assert files_below(mounted / "a") == ["c/1", "zarr.json~"]
    if between:
        mounted.remount()
    assert files_below(mounted / "a") == ["c/1", "zarr.json~"]
    assert (mounted / "a/c/1").read_bytes() == ints(1, 2, 0, 0)
    os.rename(mounted / "a/zarr.json~", mounted / "a/zarr.json")
    assert files_below(mounted / "a") == ["c/1", "zarr.json"]
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == ints(1, 2, 0, 0)
    if not opaque:
        assert is_chunk(mounted / "a/c/1")
    os.unlink(mounted / "a/zarr.json")
    os.unlink(mounted / "a/c/1")
    mounted.remount()
    os.rmdir(mounted / "a/c")
    os.rmdir(mounted / "a")
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == []
    assert mounted.status()["arrays"] == 0


@keeps("An empty container shows an empty root: mkdir makes no document.")
def test_an_empty_root(mounted: Mounted) -> None:
    assert os.listdir(mounted.mountpoint) == []
    (mounted / "g").mkdir()
    assert os.listdir(mounted / "g") == []
    write(mounted / "g/a/zarr.json", array3([4], [4]))
    assert (os.listdir(mounted / "g"), os.listdir(mounted.mountpoint)) == (["a"], ["g"])
    mounted.remount()
    assert (os.listdir(mounted / "g"), os.listdir(mounted.mountpoint)) == (["a"], ["g"])


@keeps("A document that is made from the container can be removed; that hides it for good.")
@pytest.mark.parametrize(("look", "name"), [(3, "zarr.json"), (2, ".zgroup")])
def test_hiding_a_made_document(place: Callable[..., Mounted], tmp_path: Path, look: int, name: str) -> None:
    mounted = copy_of("v5/flushed", place, tmp_path)
    mounted.mount(look=look)
    before = sorted(os.listdir(mounted.mountpoint))
    assert name in before
    (mounted / name).unlink()
    assert name not in os.listdir(mounted.mountpoint)
    mounted.remount(look=look)
    assert sorted([*os.listdir(mounted.mountpoint), name]) == before
    (mounted / name).write_text("{}")
    mounted.remount(look=look)
    assert (mounted / name).read_text() == "{}"


@keeps("rm -r removes an array of the crate like any directory.")
@pytest.mark.parametrize("look", [3, 2])
@pytest.mark.parametrize("case", ["v5/flushed", "v4/layers_all", "v5/names", "v5/ranks"])
def test_removing_arrays_of_the_crate(place: Callable[..., Mounted], tmp_path: Path, look: int, case: str) -> None:
    mounted = copy_of(case, place, tmp_path)
    mounted.mount(look=look)
    names = [mounted / name for name in os.listdir(mounted.mountpoint)]
    run("rm", "-r", *names)
    assert os.listdir(mounted.mountpoint) == []
    mounted.remount(look=look)
    assert os.listdir(mounted.mountpoint) == []


@keeps("An array that cannot be shown is an empty directory, which cannot be removed: ENOTEMPTY.")
def test_arrays_that_cannot_be_shown_are_not_removed(place: Callable[..., Mounted], tmp_path: Path) -> None:
    mounted = copy_of("v5/lists", place, tmp_path)
    mounted.mount()
    assert os.listdir(mounted / "fsl_string") == []
    with refused(errno.ENOTEMPTY):
        os.rmdir(mounted / "fsl_string")
    os.rename(mounted / "fsl_string", mounted / "moved")
    mounted.remount()
    assert os.listdir(mounted / "moved") == []
    assert "fsl_string" not in os.listdir(mounted.mountpoint)
    with refused(errno.ENOTEMPTY):
        os.rmdir(mounted / "moved")


@keeps(
    "A document that a client writes in the other Zarr format takes the place of one that is made from the container."
)
def test_the_other_format(place: Callable[..., Mounted], tmp_path: Path) -> None:
    mounted = copy_of("v5/flushed", place, tmp_path)
    mounted.mount(look=2)
    assert sorted(os.listdir(mounted / "grid"))[:2] == [".zarray", ".zattrs"]
    old = json.loads((mounted / "grid/.zarray").read_bytes())
    shape, chunks = old["shape"], old["chunks"]
    content = (mounted / "grid/0.0").read_bytes()
    write(mounted / "grid/zarr.json", array3(shape, chunks, "float32"))
    with refused(errno.ENOENT):
        os.open(mounted / "grid/.zarray", os.O_RDONLY)
    vanishes(mounted / "grid/.zarray")
    listed = sorted(os.listdir(mounted / "grid"))
    assert "zarr.json" in listed
    assert ".zarray" not in listed
    assert (mounted / "grid/0.0").read_bytes() == content
    mounted.remount(look=2)
    assert sorted(os.listdir(mounted / "grid")) == listed
    assert (mounted / "grid/0.0").read_bytes() == content


@keeps(
    "A document of the container changes with it: the attributes and the shape that a client wrote are "
    "what the container has."
)
def test_a_made_document_is_replaced(place: Callable[..., Mounted], tmp_path: Path) -> None:
    mounted = copy_of("v5/flushed", place, tmp_path)
    mounted.mount()
    document = json.loads((mounted / "grid/zarr.json").read_bytes())
    assert document["attributes"] == {"units": "m"}
    document["attributes"] = {"units": "km", "new": 1}
    (mounted / "grid/zarr.json.tmp").write_text(json.dumps(document))
    os.rename(mounted / "grid/zarr.json.tmp", mounted / "grid/zarr.json")
    assert json.loads((mounted / "grid/zarr.json").read_bytes()) == document
    before = (mounted / "grid/c/0/0").read_bytes()
    mounted.remount(look=2)
    assert json.loads((mounted / "grid/zarr.json").read_bytes()) == document
    assert (mounted / "grid/c/0/0").read_bytes() == before


def test_arrays_between_the_chunks_of_another(mounted: Mounted) -> None:
    """An array `a/c` of the container lies where the chunks of its array `a` are shown."""
    write(mounted / "a/zarr.json", array3([8], [4]))
    put(mounted / "a/c/0", 1, 2, 3, 4)
    write(mounted / "a/c/zarr.json", array3([8], [4]))
    put(mounted / "a/c/c/0", 5, 6, 7, 8)
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)
    mounted.remount()
    assert files_below(mounted / "a") == ["c/0", "c/c/0", "c/zarr.json", "zarr.json"]
    assert (mounted / "a/c/0").read_bytes() == ints(1, 2, 3, 4)
    assert (mounted / "a/c/c/0").read_bytes() == ints(5, 6, 7, 8)


@keeps("A document that is made from the container can be written to like any other; from then on it is the client's.")
@pytest.mark.parametrize("look", [3, 2])
def test_writing_to_a_made_document(place: Callable[..., Mounted], tmp_path: Path, look: int) -> None:
    mounted = copy_of("v5/flushed", place, tmp_path)
    mounted.mount(look=look)
    name = "grid/zarr.json" if look == 3 else "grid/.zattrs"
    document = json.loads((mounted / name).read_bytes())
    attributes = document["attributes"] if look == 3 else document
    attributes["units"] = "inches"
    text = json.dumps(document)
    with opened(mounted / name, os.O_WRONLY) as fd:
        os.write(fd, text.encode())
        os.ftruncate(fd, len(text))
    assert (mounted / name).read_text() == text
    assert look == 3 or {".zarray", ".zgroup"} <= {*os.listdir(mounted / "grid"), *os.listdir(mounted.mountpoint)}
    mounted.remount(look=look)
    assert (mounted / name).read_text() == text
    mounted.remount(look=5 - look)
    assert (mounted / name).read_text() == text


def copy_of(case: str, place: Callable[..., Mounted], tmp_path: Path) -> Mounted:
    shutil.copytree(VECTORS / case, tmp_path / "copy")
    return place(tmp_path / "copy" / "t.af")


def test_groups_of_clients_come_and_go(mounted: Mounted) -> None:
    write(mounted / "g/zarr.json", GROUP3)
    write(mounted / "g/h/zarr.json", GROUP3)
    mounted.remount()
    run("rm", "-r", mounted / "g")
    mounted.remount()
    assert os.listdir(mounted.mountpoint) == []
