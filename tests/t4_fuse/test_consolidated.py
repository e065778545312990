"""Consolidated metadata, and other words of one document about others, on a real mount."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from arrayfs.container.container import Container
from arrayfs.format.attributes import attribute_from_python
from tests.mounts import Mounted
from tests.t3_view.zarr_python import unstable_types
from tests.t4_fuse.documents import GROUP3, array2, array3, ints, put, write
from tests.t4_fuse.posix import opened, run
from tests.t4_fuse.promises import keeps
from tests.t4_fuse.test_documents import is_chunk

DOCUMENT = {2: ".zmetadata", 3: "zarr.json"}


def make(folder: Path, zarr_format: int) -> None:
    """A root with an array `a`, and `b` in a group, consolidated."""
    with unstable_types():
        root = zarr.open_group(str(folder), mode="a", zarr_format=zarr_format)
        for name in ("a", "g/b"):
            root.create_array(name, shape=(4,), chunks=(2,), dtype="i4", compressors=None)[:] = 7
        zarr.consolidate_metadata(str(folder))


def members(folder: Path, zarr_format: int) -> dict[str, tuple[int, ...]]:
    """What zarr-python believes to be there: arrays with their shapes."""
    with unstable_types():
        root = zarr.open_consolidated(str(folder), zarr_format=zarr_format)
        return {name: node.shape for name, node in root.members(max_depth=None) if isinstance(node, zarr.Array)}


@keeps(
    "stays as its client wrote it. When it is read, an entry whose document changed, came or went after that is "
    "shown as it is now, added or left out; nothing is rewritten."
)
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("between", [False, True], ids=["at once", "remounted"])
def test_entries_follow_the_tree(mounted: Mounted, zarr_format: int, between: bool) -> None:
    make(mounted.mountpoint, zarr_format)
    document = mounted / DOCUMENT[zarr_format]
    before = document.stat()
    if between:
        mounted.remount()
    with unstable_types():
        zarr.open_array(str(mounted / "a"), mode="r+").resize((6,))
    assert members(mounted.mountpoint, zarr_format) == {"a": (6,), "g/b": (4,)}
    assert document.stat().st_size == len(document.read_bytes())
    assert document.stat().st_mtime_ns > before.st_mtime_ns
    run("rm", "-r", mounted / "g/b")
    assert members(mounted.mountpoint, zarr_format) == {"a": (6,)}
    os.rename(mounted / "a", mounted / "g/c")
    assert members(mounted.mountpoint, zarr_format) == {"g/c": (6,)}
    mounted.remount()
    assert members(mounted.mountpoint, zarr_format) == {"g/c": (6,)}
    with Container.open(str(mounted.container)) as container:
        stored = container.read(container.get(f".arrayfs/files/{DOCUMENT[zarr_format]}"), (0,))
        assert stored is not None
        assert b'"g/c' not in bytes(stored)


@keeps("While none did, its bytes are the client's.")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_copy_is_the_same_to_the_bit(mounted: Mounted, tmp_path: Path, zarr_format: int) -> None:
    make(tmp_path / "disk", zarr_format)
    run("cp", "-r", f"{tmp_path / 'disk'}/.", mounted.mountpoint)
    (mounted / "g/README").write_text("no metadata")
    for _ in range(2):
        name = DOCUMENT[zarr_format]
        assert (mounted / name).read_bytes() == (tmp_path / "disk" / name).read_bytes()
        with unstable_types():
            zarr.open_array(str(mounted / "a"), mode="r+")[:] = 8
        mounted.remount()


@keeps("What its client wrote otherwise than the documents say stays until these change.")
def test_a_clients_own_words(mounted: Mounted) -> None:
    write(mounted / "a/zarr.json", array3([4], [4]))
    mine = {"kind": "inline", "must_understand": False, "metadata": {"a": array3([40], [4]), "z": array3([1], [1])}}
    text = json.dumps({**GROUP3, "consolidated_metadata": mine})
    (mounted / "zarr.json").write_text(text)
    for _ in range(2):
        assert (mounted / "zarr.json").read_text() == text
        mounted.remount()
    write(mounted / "a/zarr.json", array3([5], [4]))
    shown = json.loads((mounted / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    assert (shown["a"]["shape"], shown["z"]) == ([5], mine["metadata"]["z"])


@keeps("Who has it open keeps what it showed.")
def test_who_has_it_open(mounted: Mounted) -> None:
    make(mounted.mountpoint, 3)
    mounted.remount()
    with opened(mounted / "zarr.json", os.O_RDONLY) as fd:
        before = os.pread(fd, 1 << 16, 0)
        run("rm", "-r", mounted / "a")
        assert members(mounted.mountpoint, 3) == {"g/b": (4,)}
        assert os.pread(fd, 1 << 16, 0) == before
        assert os.fstat(fd).st_size == len(before)


@keeps("The attributes of the root group are those of the file in the Rust crate (__file__), both ways.")
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_of_the_file(mounted: Mounted, zarr_format: int) -> None:
    with unstable_types():
        zarr.open_group(str(mounted.mountpoint), mode="a", zarr_format=zarr_format).attrs.update({"n": 1, "none": None})
    mounted.umount()
    with Container.open(str(mounted.container), "a") as container:
        array = container.get("__file__")
        assert array.attributes == {"n": attribute_from_python("Int64", 1)}
        container.set_attributes(array, {"n": attribute_from_python("Int16", 2)})
    mounted.mount()
    with unstable_types():
        assert dict(zarr.open_group(str(mounted.mountpoint), mode="r").attrs) == {"none": None, "n": 2}


@keeps("Of documents of both Zarr formats in one directory those of v3 count; the others are kept.")
def test_both_formats_in_one_directory(mounted: Mounted) -> None:
    """As `zarr migrate v3` leaves an array of v2, before and after it removes the old documents."""
    write(mounted / "a/.zarray", array2([6], [4]))
    put(mounted / "a/1", 1, 2, 9, 9)
    old = (mounted / "a/.zarray").read_bytes()
    write(mounted / "a/zarr.json", array3([5], [4], chunk_key_encoding={"name": "v2"}))
    for _ in range(2):
        assert (mounted / "a/1").read_bytes() == ints(1, 0, 0, 0)
        assert (mounted / "a/.zarray").read_bytes() == old
        mounted.remount(look=2)
    (mounted / "a/.zarray").unlink()
    mounted.remount()
    assert sorted(os.listdir(mounted / "a")) == ["1", "zarr.json"]
    assert is_chunk(mounted / "a/1")
    write(mounted / "a/.zarray", array2([6], [4]))
    (mounted / "a/zarr.json").unlink()
    mounted.remount()
    assert sorted(os.listdir(mounted / "a")) == [".zarray", "1"]
    with unstable_types():
        assert zarr.open_array(str(mounted / "a"), mode="r")[4:].tolist() == [1, 0]


@keeps("A file of a document's name of more than 64 MiB is kept like any other and says nothing")
@pytest.mark.parametrize("name", ["a/zarr.json", "a/.zarray"])
def test_a_document_that_is_too_large(mounted: Mounted, name: str) -> None:
    document = array3([6], [4]) if name.endswith("json") else array2([6], [4])
    write(mounted / name, document)
    text = (mounted / name).read_bytes()
    os.truncate(mounted / name, (64 << 20) + 1)
    key = "a/c/1" if name.endswith("json") else "a/1"
    put(mounted / key, 1, 2, 9, 9)
    mounted.remount()
    with opened(mounted / name, os.O_RDONLY) as fd:
        assert os.pread(fd, len(text) + 1, 0) == text + b"\0"
        assert os.fstat(fd).st_size == (64 << 20) + 1
    (mounted / "b").mkdir()
    (mounted / "b/zarr.json").write_bytes(json.dumps(array3([6], [4])).encode() + bytes(64 << 20))
    put(mounted / "b/c/1", 1, 2, 9, 9)
    assert (mounted / "b/c/1").read_bytes() == ints(1, 2, 9, 9)
    os.truncate(mounted / "b/zarr.json", 1 << 20)
    assert (mounted / "b/c/1").read_bytes() == ints(1, 2, 0, 0)


@keeps(
    "uncompressed little-endian chunks in C order on a regular grid, in any key encoding, and a fill value that the "
    "container gives back exactly.",
    "Any other array on a regular grid is kept chunk file by chunk file, as its client encoded it.",
)
@pytest.mark.parametrize(
    ("members", "native"),
    [
        ({}, True),
        ({"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}}, True),
        ({"fill_value": None, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}]}, True),
        ({"fill_value": 0.5}, False),
        ({"codecs": []}, False),
        ({"codecs": [{"name": "bytes", "configuration": {"endian": "big"}}]}, False),
        ({"data_type": "r32", "fill_value": [0, 0, 0, 0]}, False),
        ({"storage_transformers": [{"name": "x"}]}, False),
    ],
    ids=str,
)
def test_numbers_or_chunk_files(mounted: Mounted, members: dict[str, object], native: bool) -> None:
    write(mounted / "a/zarr.json", array3([6], [4], **members))
    text = (mounted / "a/zarr.json").read_bytes()
    key = "1" if "chunk_key_encoding" in members else "c/1"
    put(mounted / f"a/{key}", 1, 2, 9, 9)
    mounted.remount()
    assert (mounted / "a/zarr.json").read_bytes() == text
    assert (mounted / f"a/{key}").read_bytes() == (ints(1, 2, 0, 0) if native else ints(1, 2, 9, 9))
    with Container.open(str(mounted.container)) as container:
        assert ("a" in container, ".arrayfs/chunks/a" in container) == (native, not native)


@keeps("Where nobody here knows the chunk grid or the key encoding, chunk files are plain files.")
@pytest.mark.parametrize(
    "members",
    [
        {"chunk_grid": {"name": "rectilinear", "configuration": {"kind": "inline", "chunk_shapes": [[2, 4]]}}},
        {"chunk_key_encoding": {"name": "hilbert"}},
    ],
    ids=str,
)
def test_unknown_grids(mounted: Mounted, members: dict[str, object]) -> None:
    write(mounted / "a/zarr.json", array3([6], [4], **members))
    put(mounted / "a/c/1", *range(1, 3))
    mounted.remount()
    assert (mounted / "a/c/1").read_bytes() == np.arange(1, 3, dtype="<i4").tobytes()
    with Container.open(str(mounted.container)) as container:
        assert ".arrayfs/files/a/c/1" in container
