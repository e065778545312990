"""Every container that the crate wrote, on a real mount: what zarr-python and plain file reads see is what it wrote."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from tests.mounts import ROOT, Mounted
from tests.t0_format.golden import CASES, VECTORS, expected
from tests.t3_view.zarr_python import unstable_types
from tests.t7_interop.reading import (
    FILE_ARRAY,
    NUMPY_TYPES,
    attributes_as_json,
    chunk_path,
    described,
    digests,
    folder_of,
    is_shown,
    matches,
    open_array,
    same_json,
    stored_and_padding,
    stored_elements,
    unit_of,
    unwrapped,
)

# Too large for the repository; read where they lie beside it.
SHARED = ROOT.parent / "shared" / "vectors"
LARGE = [f"v{n}/{name}" for n in (4, 5) for name in ("big_chunk",) if (SHARED / f"v{n}" / name).is_dir()]

Place = Callable[..., Mounted]


@pytest.mark.parametrize("look", [3, 2])
@pytest.mark.parametrize("case", [*CASES, *LARGE])
def test_a_container_of_the_crate_is_read_right_and_left_alone(
    case: str, look: int, place: Place, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree((SHARED if case in LARGE else VECTORS) / case, folder)
    folder.chmod(0o755)
    arrays = (expected(case) if case not in LARGE else _expected_of_large(case))["arrays"]
    before = digests(folder)
    mounted = place(folder / "t.af")
    mounted.mount("r", look)
    for array in arrays:
        if array["name"] == FILE_ARRAY:
            with unstable_types():
                group = zarr.open_group(LocalStore(mounted.mountpoint, read_only=True), mode="r")
            assert same_json(dict(group.attrs), attributes_as_json(array["attributes"]))
        elif is_shown(array):
            check_array(array, folder_of(mounted.mountpoint, array["name"]), look)
        else:
            assert not os.path.exists(folder_of(mounted.mountpoint, array["name"]) / "zarr.json")
    hidden = [array["name"] for array in arrays if array["name"] != FILE_ARRAY and not is_shown(array)]
    warnings = [str(warning) for warning in mounted.status()["warnings"]]  # type: ignore[attr-defined]
    assert len(warnings) == len(hidden)
    assert all(any(repr(name) in warning for warning in warnings) for name in hidden)
    assert set(walk(mounted.mountpoint)) == expected_files(arrays, mounted.mountpoint, look)
    assert mounted.umount().sidecar == ""
    assert digests(folder) == before


def _expected_of_large(case: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SHARED / case / "expected.json").read_text())
    return loaded


def check_array(array: dict[str, Any], folder: Path, look: int) -> None:
    base, inner = unwrapped(array["dtype"])
    z = open_array(folder)
    assert z.shape == (*array["shape"], *inner)
    assert z.chunks == tuple(n or 1 for n in (*array["chunk_shape"], *inner))
    assert z.metadata.zarr_format == look
    _check_dtype(z, base)
    _check_attributes(array, z, look, len(inner))
    # v2 says null without a fill value, and has no words for the payload of a NaN: missing chunks then read otherwise
    exact_fill = look == 3 or (array["fill_value"] and (array["fill_value"] or {}).get("value") != "NaN")
    if "data_size" in array and (exact_fill or array["n_stored"] == array["n_chunks"]):
        _check_data(array, z)
    for chunk in array["chunks"]:
        _check_chunk(array, chunk, chunk_path(folder, chunk["coord"], len(inner), look), z, look)


def _check_dtype(z: zarr.Array[Any], base: str) -> None:
    if base in NUMPY_TYPES:
        assert z.dtype == np.dtype(NUMPY_TYPES[base])
    elif base == "String":
        assert "String" in type(z.metadata.dtype).__name__ or z.dtype.kind in "TO"
    else:
        assert "Bytes" in type(z.metadata.dtype).__name__


def _check_attributes(array: dict[str, Any], z: zarr.Array[Any], look: int, inner: int) -> None:
    shown = dict(z.attrs)
    names: Any = z.metadata.dimension_names if look == 3 else tuple(shown.pop("_ARRAY_DIMENSIONS"))  # type: ignore[union-attr]
    assert names[: len(names) - inner] == tuple(array["dimension_names"])
    assert len(names) == len(z.shape)
    wanted = attributes_as_json(array["attributes"])
    if isinstance(array["dtype"], dict) and "List" in array["dtype"]:
        assert shown.pop("arrayfs_element_type") == described(array["dtype"])
    assert same_json(shown, wanted)


def _check_data(array: dict[str, Any], z: zarr.Array[Any]) -> None:
    values = np.asarray(z[...])
    if array["dtype"] in NUMPY_TYPES:
        content = np.ascontiguousarray(values).astype(NUMPY_TYPES[array["dtype"]]).tobytes()
    else:
        elements = [one.encode() if isinstance(one, str) else bytes(one) for one in values.ravel().tolist()]
        if (array["fill_value"] or {}).get("type") == "String":
            # the crate reads missing strings as empty whatever the fill value is: a known difference
            fill = array["fill_value"]["value"].encode()
            missing = _missing(array).ravel().tolist()
            assert {one for one, gone in zip(elements, missing, strict=True) if gone} <= {fill}
            elements = [b"" if gone else one for one, gone in zip(elements, missing, strict=True)]
        content = stored_elements(elements, 1)
    assert matches(content, array, "data_")


def _missing(array: dict[str, Any]) -> NDArray[np.bool_]:
    """Which elements lie in chunks that nobody wrote."""
    missing = np.ones(array["shape"], bool)
    for chunk in array["chunks"]:
        if chunk.get("stored"):
            places = zip(chunk["coord"], array["chunk_shape"], strict=True)
            missing[tuple(slice(c * n, (c + 1) * n) for c, n in places)] = False
    return missing


def _check_chunk(array: dict[str, Any], chunk: dict[str, Any], path: Path, z: zarr.Array[Any], look: int) -> None:
    if not chunk.get("stored") and "error" not in chunk:
        for operation in (os.stat, os.open):
            with pytest.raises(FileNotFoundError):
                operation(path, *((os.O_RDONLY,) if operation is os.open else ()))
        return
    said = os.stat(path)
    if "error" in chunk:
        with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is looked at
            path.read_bytes()
        assert caught.value.errno == errno.EIO
        return
    file = path.read_bytes()
    assert len(file) == said.st_size
    stored, padding = stored_and_padding(array, chunk["coord"], file)
    assert matches(stored, chunk)
    assert len(padding) <= 1
    base, inner = unwrapped(array["dtype"])
    if padding and base in NUMPY_TYPES and look == 3:
        fill = np.full(inner or (1,), z.fill_value, z.dtype).astype(NUMPY_TYPES[base]).tobytes()
        assert padding == {fill}


def walk(mount: Path) -> list[str]:
    """All files, as `ls -R` finds them."""
    found = []
    for folder, _, names in os.walk(mount, onerror=_raise):
        found += [os.path.relpath(os.path.join(folder, name), mount) for name in names]
    return found


def _raise(error: OSError) -> None:
    raise error


def expected_files(arrays: list[dict[str, Any]], mount: Path, look: int) -> set[str]:
    """Documents of arrays and groups, and the stored chunks: nothing else may be listed."""
    files: set[Path] = set()
    group = ["zarr.json"] if look == 3 else [".zgroup", ".zattrs"]
    folders = {folder_of(mount, array["name"]) for array in arrays if is_shown(array)}
    for array in arrays:
        # a type that cannot be shown still is an array: the groups above it are there
        folder = folder_of(mount, array["name"])
        if array["name"] != FILE_ARRAY:
            files.update(above / name for above in folder.parents if above.is_relative_to(mount) for name in group)
        if not is_shown(array):
            continue
        files.update(folder / name for name in (["zarr.json"] if look == 3 else [".zarray", ".zattrs"]))
        inner = len(unwrapped(array["dtype"])[1])
        for chunk in array["chunks"]:
            if chunk.get("stored") or "error" in chunk:
                files.add(chunk_path(folder, chunk["coord"], inner, look))
    overruled = {folder / name for folder in folders for name in (".zgroup",)}
    return {str(path.relative_to(mount)) for path in files - overruled}


def test_unit_of_lists_is_the_size_of_their_elements() -> None:
    assert unit_of({"List": {"child": "Int32"}}) == 4
    assert unit_of("Binary") == 1
