"""Zarr stores imported bit for bit: from a folder, an archive, a store of zarr-python and an Icechunk repository."""

from __future__ import annotations

import json
import os
import shutil
import socket
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

import arrayfs
from arrayfs.copying import flow, importing, source
from arrayfs.errors import EntryExistsError, SourceError
from tests.t3_view.zarr_python import unstable_types
from tests.t4_fuse.promises import keeps
from tests.t5_copying.stores import dtype_of, files_of, keys_of, same_values, write_store

# --- bit for bit ------------------------------------------------------------------------------------------------------


@keeps(
    "Files of a Zarr store are imported bit for bit.",
)
def test_a_folder_is_there_bit_for_bit(folder: Path, target: Path, look: int) -> None:
    done = arrayfs.import_from(folder, target, verify=True, message="why")
    assert keys_of(target) == files_of(folder)
    assert (done.values, done.differing, done.warnings) == (len(files_of(folder)), [], [])
    assert done.bytes == sum(map(len, files_of(folder).values()))
    assert [commit.version for commit in done.commits] == [1]
    with arrayfs.open(target) as container:
        assert container.versions()[-1].message == "why"
    assert dtype_of(target, "plain") == "Float32"
    assert dtype_of(target, "g/zstd") is None
    same_values(target, look)


def test_a_zip_archive_gives_the_same(folder: Path, target: Path) -> None:
    archive = shutil.make_archive(str(folder), "zip", folder)
    arrayfs.import_from(archive, target, verify=True)
    assert keys_of(target) == files_of(folder)


def test_of_entries_with_one_name_the_last_counts(tmp_path: Path, target: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for content in ("old", "new"):
            archive.writestr("README", content)
    arrayfs.import_from(tmp_path / "a.zip", target)
    assert keys_of(target) == {"README": b"new"}


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a//b", "a/./b", ".."])
def test_an_archive_with_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, target: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("fine", "")
        archive.writestr(name, "")
    with pytest.raises(SourceError, match="leads elsewhere"):
        arrayfs.import_from(tmp_path / "a.zip", target)
    assert not target.exists()


def test_a_damaged_archive_imports_nothing(tmp_path: Path, target: Path) -> None:
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("first", "1" * 50)
        opened.writestr("second", "2" * 50)
    archive.write_bytes(archive.read_bytes().replace(b"2" * 50, b"2" * 49 + b"3"))
    with pytest.raises(SourceError, match=r"a\.zip: second: Bad CRC-32"):
        arrayfs.import_from(archive, target)
    assert not target.exists()


def test_stores_groups_and_arrays_of_zarr_python(folder: Path, target: Path, tmp_path: Path) -> None:
    with unstable_types():
        store = zarr.open_group(folder, mode="r").store
        arrayfs.import_from(store, target)
        assert keys_of(target) == files_of(folder)
        arrayfs.import_from(zarr.open_group(folder, path="g", mode="r"), tmp_path / "g.af")
        assert keys_of(tmp_path / "g.af") == files_of(folder / "g")
        arrayfs.import_from(zarr.open_array(folder, path="plain", mode="r"), tmp_path / "p.af")
        assert keys_of(tmp_path / "p.af") == files_of(folder / "plain")
    with pytest.raises(SourceError, match="int is no path"):
        arrayfs.import_from(5, target)


def test_urls(folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrayfs.import_from(f"file://{folder}", target)
    assert keys_of(target) == files_of(folder)
    opened, asked = zarr.open, []

    def open_url(url: str, mode: str) -> object:  # without fsspec, which zarr-python resolves URLs with
        asked.append(url)
        return opened(folder, mode=mode)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, unstable_types():
        patch.setattr(zarr, "open", open_url)
        arrayfs.import_from("s3://bucket/x", target, into="url", verify=True)
    assert (keys_of(target, "url"), asked) == (files_of(folder), ["s3://bucket/x"])
    with pytest.raises(SourceError, match="zarr-python cannot open it"):
        arrayfs.import_from("nosuch://bucket/x", target)


def test_an_icechunk_repository(tmp_path: Path, target: Path) -> None:
    icechunk = pytest.importorskip("icechunk")
    repository = icechunk.Repository.create(icechunk.local_filesystem_storage(str(tmp_path / "repo")))
    session = repository.writable_session("main")
    root = zarr.create_group(session.store)
    root.create_array("a", shape=(8,), chunks=(4,), dtype="i4", compressors=None)[...] = np.arange(8)
    session.commit("first")
    repository.create_tag("v1", repository.lookup_branch("main"))
    session = repository.writable_session("main")
    array = zarr.open_group(session.store)["a"]
    assert isinstance(array, zarr.Array)
    array[0] = 99
    session.commit("second")
    for given, first in (({}, 99), ({"branch": "main"}, 99), ({"tag": "v1"}, 0)):
        arrayfs.import_from(tmp_path / "repo", target, native=True, verify=True, update=True, **given)
        with arrayfs.open(target) as container:
            assert container.array("a")[...].tolist() == [first, *range(1, 8)]
    with pytest.raises(SourceError, match="Icechunk cannot open it"):
        arrayfs.import_from(tmp_path / "repo", target, tag="nosuch")
    with pytest.raises(SourceError, match="`chunks` means nothing"):
        arrayfs.import_from(tmp_path / "repo", target, chunks=(2,))


# --- updating ---------------------------------------------------------------------------------------------------------


@keeps(
    "With it, what the source has is made equal, chunks that it does not have are removed from the arrays that it has, "
    "and nothing else is touched.",
)
@pytest.mark.parametrize("native", [False, True])
def test_update_writes_what_changed_and_removes_what_is_gone(
    folder: Path, target: Path, look: int, native: bool
) -> None:
    arrayfs.import_from(folder, target, native=native)
    again = arrayfs.import_from(folder, target, native=native, update=True)
    assert (again.commits, again.unchanged) == ([], again.values)
    chunk = folder / "plain" / ("c/0/0" if look == 3 else "0/0")
    chunk.write_bytes(b"\1" * 1600)
    (folder / "g/zstd" / ("c/1/1" if look == 3 else "1.1")).unlink()
    (folder / "README").write_text("another\n")
    done = arrayfs.import_from(folder, target, native=native, update=True, verify=True)
    assert (done.values - done.unchanged, done.removed, done.differing) == (2, 1, [])
    found = keys_of(target)
    if not native:
        assert found == files_of(folder)
    assert found["README"] == b"another\n"
    assert ("g/zstd/" + ("c/1/1" if look == 3 else "1.1")) not in found


def test_update_takes_no_file_for_an_arrays_document_whose_name_ends_like_one(tmp_path: Path, target: Path) -> None:
    with arrayfs.open(target, "w") as container:
        for name in ("a", "b"):
            container.create(name, shape=(4,), dtype="i4")[:] = 7
            (tmp_path / "s" / name).mkdir(parents=True)
    (tmp_path / "s/a/notes-zarr.json").write_text('{"codecs": 1}')
    (tmp_path / "s/b/old.zarray").write_text('{"dtype": "<i4"}')
    done = arrayfs.import_from(tmp_path / "s", target, update=True)
    (tmp_path / "s/b/old.zarray").write_text('{"dtype": "<i8"}')
    again = arrayfs.import_from(tmp_path / "s", target, update=True)
    with arrayfs.open(target) as container:
        assert [container.array(name)[...].tolist() for name in ("a", "b")] == [[7] * 4] * 2
    assert (done.removed, again.removed) == (0, 0)


@pytest.mark.parametrize(("first", "second"), [(False, True), (True, False)])
def test_update_to_another_encoding_leaves_nothing_of_the_old_one(
    folder: Path, target: Path, look: int, first: bool, second: bool
) -> None:
    arrayfs.import_from(folder, target, native=first)
    done = arrayfs.import_from(folder, target, native=second, update=True, verify=True)
    assert (done.differing, done.warnings) == ([], [])
    assert keys_of(target).keys() == keys_of_new(folder, target.with_name("new.af"), second).keys()
    same_values(target, look)


def keys_of_new(folder: Path, container: Path, native: bool) -> dict[str, bytes]:
    arrayfs.import_from(folder, container, native=native)
    return keys_of(container)


@keeps(
    "An import replaces nothing without --update: a path that is there already is refused by name before anything is "
    "written.",
)
def test_what_is_there_is_refused_before_anything_is_written(folder: Path, target: Path, tmp_path: Path) -> None:
    arrayfs.import_from(folder, target, into="g")
    before = files_of(tmp_path)
    with pytest.raises(EntryExistsError, match=r"t\.af has g/"):
        arrayfs.import_from(folder, target, into="/g/", commit_every=1)
    assert files_of(tmp_path) == before
    arrayfs.import_from(folder, target, into="h/deep", verify=True)
    assert keys_of(target, "h/deep") == keys_of(target, "g") == files_of(folder)
    same_values(target, 2 if (folder / ".zgroup").exists() else 3, "h/deep")
    for into in ("h/deep/plain/below", "h/deep/plain"):
        with pytest.raises((SourceError, EntryExistsError), match=r"is an array|already"):
            arrayfs.import_from(folder, target, into=into)
    with pytest.raises(SourceError, match="no name of a group"):
        arrayfs.import_from(folder, target, into="a/../b")


# --- no files, large files, early ends --------------------------------------------------------------------------------


@keeps(
    "What a container cannot keep is refused by name, or with --skip-refused left out and listed.",
)
def test_links_are_followed_and_what_is_no_file_is_refused_by_name(tmp_path: Path, target: Path) -> None:
    folder = tmp_path / "s"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "outside").write_text("content")
    (folder / "link").symlink_to(tmp_path / "outside")
    (folder / "again").symlink_to("a")
    (folder / "a" / "file").write_text("1")
    arrayfs.import_from(folder, target, verify=True)
    assert keys_of(target) == {"link": b"content", "again/file": b"1", "a/file": b"1"}
    (folder / "a" / "up").symlink_to("..")
    (folder / "nowhere").symlink_to("absent")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket"))
        (folder / os.fsdecode(b"\xff")).write_text("")
        with pytest.raises(SourceError, match="cannot keep") as refused:
            arrayfs.import_from(folder, target, update=True)
    names = ["a/up", "again/up", "nowhere", "pipe", "socket", "\\udcff"]
    assert sum(name in str(refused.value) for name in names) == importing.NAMED
    done = arrayfs.import_from(folder, target, update=True, skip_refused=True)
    assert (len(done.left_out), done.commits) == (len(names), [])


@pytest.mark.parametrize("native", [False, True])
def test_a_name_that_no_container_has_is_refused_or_left_out(tmp_path: Path, target: Path, native: bool) -> None:
    folder = write_store(tmp_path / "s")
    rest = files_of(folder)
    write_store(folder / ".arrayfs" / "a")
    (folder / ".arrayfs" / "x").write_text("")
    with pytest.raises(SourceError, match=r"s: a container cannot keep \.arrayfs: a name that a container keeps"):
        arrayfs.import_from(folder, target, native=native, commit_every=1)
    assert not target.exists()
    for update in (False, True):
        done = arrayfs.import_from(folder, target, native=native, skip_refused=True, update=update, verify=True)
        assert (list(done.left_out), done.differing, done.removed) == ([".arrayfs"], [], 0)
    assert keys_of(target).keys() >= {name for name in rest if name.endswith("zarr.json")}
    assert native or keys_of(target) == rest
    shutil.rmtree(folder / ".arrayfs" / "a")
    done = arrayfs.import_from(folder, target, into="h", verify=True)  # only the root has one of its own
    assert (done.left_out, done.differing, keys_of(target, "h")) == ({}, [], files_of(folder))
    with pytest.raises(SourceError, match=r"'\.arrayfs/g' is no name of a group: a name that a container keeps"):
        arrayfs.import_from(folder, target, into=".arrayfs/g")
    with pytest.raises(SourceError, match="would import itself"):
        arrayfs.import_from(tmp_path, target)


def test_names_that_only_archives_and_stores_can_have(tmp_path: Path, target: Path) -> None:
    long = "n" * 256
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        for name in ("kept", f"g/{long}/x", f"g/{long}/y", "g/kept", ".arrayfs", "g/" + "ü" * 128):
            archive.writestr(name, name)
    done = arrayfs.import_from(tmp_path / "s.zip", target, skip_refused=True, verify=True)
    assert done.left_out == {
        ".arrayfs": "a name that a container keeps for itself, with all that lies below",
        f"g/{long}": "a name of 256 bytes; 255 is the limit",
        "g/" + "ü" * 128: "a name of 256 bytes; 255 is the limit",
    }
    assert (keys_of(target), done.differing) == ({"kept": b"kept", "g/kept": b"g/kept"}, [])


def test_a_file_larger_than_memory_should_hold_goes_by_parts(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "LARGE", 1000)
    folder = write_store(tmp_path / "s")
    (folder / "large").write_bytes(os.urandom(9 << 20))
    done = arrayfs.import_from(folder, target, verify=True)
    assert keys_of(target) == files_of(folder)
    again = arrayfs.import_from(folder, target, update=True)
    assert (done.differing, again.commits) == ([], [])
    (folder / "large").write_bytes(bytes(9 << 20))
    arrayfs.import_from(folder, target, update=True, verify=True)
    assert keys_of(target) == files_of(folder)


def test_no_more_is_read_ahead_than_is_allowed() -> None:
    held, most = 0, 0

    class Loads:
        threads = 3

        def loads(self) -> object:
            return (source.Load(10, lambda n=n: self.read(n), alone=n == 50) for n in range(100))

        def read(self, number: int) -> list[source.Entry]:
            nonlocal held, most
            held += 10
            most = max(most, held)
            return [(str(number), b"")]

    taken = []

    def take(key: str, _value: object) -> None:
        nonlocal held
        held -= 10
        taken.append(int(key))

    flow.flow(Loads(), take, 40)  # type: ignore[arg-type]
    assert (taken, most <= 40) == (list(range(100)), True)


def test_versions_in_between_stay_and_the_next_import_goes_on(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_store(tmp_path / "s")
    put, count = importing._Import._put, 0

    def failing(self: object, path: str, value: object) -> int:
        nonlocal count
        count += 1
        if count == 15:
            raise OSError(5, "the disk is gone")
        return put(self, path, value)  # type: ignore[arg-type]

    monkeypatch.setattr(importing._Import, "_put", failing)
    with pytest.raises(OSError, match="the disk is gone"):
        arrayfs.import_from(folder, target, commit_every=1)
    monkeypatch.undo()
    kept = keys_of(target)
    assert 0 < len(kept) < len(files_of(folder))
    done = arrayfs.import_from(folder, target, commit_every=1 << 30, update=True, verify=True)
    assert (done.unchanged, len(done.commits)) == (len(kept), 1)
    assert keys_of(target) == files_of(folder)


def test_verify_names_what_differs(tmp_path: Path, target: Path) -> None:
    folder = write_store(tmp_path / "s")
    run = importing.flow

    def changed_meanwhile(*arguments: object) -> None:
        run(*arguments)  # type: ignore[arg-type]
        (folder / "README").write_text("changed")
        (folder / "plain/c/0/0").write_bytes(bytes(1600))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "flow", changed_meanwhile)
        arrayfs.import_from(folder, target, into="x")
    found = importing.differing(
        arrayfs.copying.opening.open_source(folder, arrayfs.copying.opening.SourceOptions()), str(target), "x"
    )
    assert sorted(found) == ["x/README", "x/plain/c/0/0"]


@keeps(
    "What is written outside an array's shape is dropped, as in a mount.",
)
def test_what_lies_outside_the_shape_is_no_difference(tmp_path: Path, target: Path) -> None:
    folder = tmp_path / "s"
    zarr.create_array(folder, shape=(5,), chunks=(4,), dtype="i1", compressors=None)[...] = 1
    (folder / "c/1").write_bytes(b"\1\7\7\7")
    done = arrayfs.import_from(folder, target, verify=True)
    assert (done.differing, keys_of(target)["c/1"]) == ([], b"\1\0\0\0")
    assert arrayfs.import_from(folder, target, update=True).commits == []


def test_a_store_in_memory_with_consolidated_metadata(target: Path) -> None:
    store = MemoryStore()
    with unstable_types():
        zarr.create_group(store).create_array("a", shape=(4,), dtype="u1", compressors=None)[...] = 3
        zarr.consolidate_metadata(store)
    seen: list[tuple[int, int]] = []
    done = arrayfs.import_from(store, target, codec="zstd", progress=lambda *told: seen.append(told))
    assert (json.loads(keys_of(target)["zarr.json"])["consolidated_metadata"]["metadata"].keys()) == {"a"}
    assert (done.values, seen) == (3, [])  # a store does not say how large its values are


def test_progress_is_told_in_bytes(tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "PROGRESS_STEP", 1000)
    seen: list[tuple[int, int]] = []
    done = arrayfs.import_from(write_store(tmp_path / "s"), target, progress=lambda *told: seen.append(told))
    assert seen == sorted(seen)
    assert (len(seen) > 5, seen[-1]) == (True, (done.bytes, done.bytes))
