"""Zarr stores imported with `--native`: what a client encoded is decoded on the way in, or named with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import zarr

import arrayfs
from arrayfs.errors import UnconvertibleError
from arrayfs.view import converting
from tests.t3_view.zarr_python import unstable_types
from tests.t4_fuse.promises import keeps
from tests.t5_copying.stores import ARRAYS, dtype_of, same_values


@keeps(
    "With --native an array that can be one is a native array with the same values after it; any other stays as its "
    "client encoded it, and is listed with the reason.",
)
def test_native_decodes_what_can_be_numbers(folder: Path, target: Path, look: int) -> None:
    done = arrayfs.import_from(folder, target, native=True, verify=True)
    assert (done.differing, done.warnings) == ([], [])
    assert list(done.notes) == ["g/half"]
    assert "float16" in done.notes["g/half"] or "<f2" in done.notes["g/half"]
    types = {name: dtype_of(target, name) for name in ARRAYS}
    assert types == {
        "plain": "Float32",
        "g/zstd": "Int32",
        "g/texts": "String",
        "g/half": None,
        "shards": "Float64" if look == 3 else None,
    }
    same_values(target, look)
    with arrayfs.open(target) as container:
        assert not [name for name in container._session.container.names_of_arrays() if "chunks/g/zstd" in name]


def test_native_in_small_regions_and_large_files_gives_the_same(
    folder: Path, target: Path, look: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting, "REGION_SIZE", 300)
    monkeypatch.setattr("arrayfs.copying.native.LARGE", 100)
    arrayfs.import_from(folder, target, native=True, verify=True)
    same_values(target, look)


def test_native_consolidated_metadata_says_what_is_so(folder: Path, target: Path, look: int) -> None:
    arrayfs.import_from(folder, target, native=True)
    with unstable_types():
        root = zarr.open_group(arrayfs.ZarrStore(target, read_only=True), mode="r", use_consolidated=True)
        array = root["g/zstd"]
    assert isinstance(array, zarr.Array)
    assert array.compressors == ()
    assert dict(root.attrs) == {"title": "a store"}


def test_native_of_chunks_that_cannot_be_decoded_imports_nothing(folder: Path, target: Path, look: int) -> None:
    chunk = folder / "g/zstd" / ("c/0/0" if look == 3 else "0.0")
    chunk.write_bytes(b"no zstd")
    with pytest.raises(UnconvertibleError, match=r"g/zstd: chunk .* cannot be decoded"):
        arrayfs.import_from(folder, target, native=True)
    assert not target.exists()
