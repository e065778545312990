"""Files of numbers imported: every type of docs/COPYING.md, `.npy`, `.npz`, raw and gzip."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

import arrayfs
from arrayfs.copying import numeric
from arrayfs.errors import EntryExistsError, MissingObjectError, SourceError
from tests.t3_view.zarr_python import unstable_types
from tests.t5_copying.stores import dtype_of, files_of, keys_of

COPYING = Path(__file__).parents[2] / "docs" / "COPYING.md"
LOOKS = (2, 3)


def table(head: str) -> dict[str, str]:
    """The rows of a table of docs/COPYING.md, by their first cell."""
    lines = COPYING.read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"| {head}"))
    rows: dict[str, str] = {}
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        name, became = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = became
    return rows


TYPES = table("NumPy type")


def values_of(dtype: str, shape: tuple[int, ...] = (5, 7)) -> NDArray[Any]:
    numbers = np.arange(np.prod(shape)).reshape(shape)
    if dtype == "O":
        return numbers.astype(object)
    if np.dtype(dtype).kind in "SU":
        return np.char.mod("%d", numbers).astype(dtype)
    return numbers.astype(np.int64).astype(dtype) if dtype[0] != "V" else numbers.astype("i4").view(dtype)


def read(container: Path, name: str) -> NDArray[Any]:
    """An array's values as zarr-python gives them."""
    with unstable_types():
        found = zarr.open_group(arrayfs.ZarrStore(container, read_only=True), mode="r")[name]
        assert isinstance(found, zarr.Array)
        return np.asarray(found[...])


def test_each_numpy_type_becomes_what_the_table_says(tmp_path: Path) -> None:
    refused = {dtype for dtype, became in TYPES.items() if became.startswith("refused: ")}
    kept = {f"g/{re.sub(r'[^a-z0-9]', '_', dtype)}": dtype for dtype in TYPES if dtype not in refused}
    np.savez(tmp_path / "all.npz", **{name: values_of(dtype) for name, dtype in kept.items()})
    for look in LOOKS:
        target = tmp_path / f"v{look}.af"
        arrayfs.import_from(tmp_path / "all.npz", target, zarr_format=look, verify=True)
        for name, dtype in kept.items():
            said, values = TYPES[dtype], values_of(dtype)
            native = dtype_of(target, name)
            if said.startswith("native, "):
                assert said == f"native, {native}"
            else:
                documents = keys_of(target, name)
                assert native is None
                if look == 3:
                    data_type = json.loads(documents["zarr.json"])["data_type"]
                    data_type = data_type["name"] if isinstance(data_type, dict) else data_type
                    assert said == f"as Zarr's {data_type}"
            found = read(target, name)
            assert (found.dtype, found.tolist()) == (values.dtype.newbyteorder("="), values.tolist()), name


@pytest.mark.parametrize("dtype", [dtype for dtype, became in TYPES.items() if became.startswith("refused: ")])
def test_other_types_are_refused_by_name(tmp_path: Path, target: Path, dtype: str) -> None:
    np.save(tmp_path / "a.npy", values_of(dtype), allow_pickle=True)
    with pytest.raises(SourceError, match=r"a\.npy: .*(Zarr has no type|objects|structure)"):
        arrayfs.import_from(tmp_path / "a.npy", target)
    assert not target.exists()


CASES: dict[str, tuple[NDArray[Any], dict[str, Any]]] = {
    "plain": (values_of("f4"), {}),
    "scalar": (np.array(2.5), {}),
    "empty": (np.zeros((0, 3)), {}),
    "big": (values_of(">i8", (40, 9)), {"chunks": (7, 4)}),
    "fortran": (np.asfortranarray(values_of("f8", (6, 5, 4))), {}),
    "fortran in chunks": (np.asfortranarray(values_of("i2", (6, 5, 4))), {"chunks": (4, 5, 3)}),
    "five axes": (values_of("u1", (2, 3, 4, 5, 2)), {}),
}


@pytest.mark.parametrize("name", CASES)
def test_npy_in_every_shape_and_order(tmp_path: Path, target: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numeric, "CHUNK", 64)
    values, options = CASES[name]
    np.save(tmp_path / "field.npy", values)
    arrayfs.import_from(tmp_path / "field.npy", target, into="g/h", verify=True, **options)
    found = read(target, "g/h/field")
    assert (found.dtype, found.tolist()) == (values.dtype.newbyteorder("="), values.tolist())
    with arrayfs.open(target) as container:
        assert container.array("g/h/field").chunks == options.get("chunks", container.array("g/h/field").chunks)
        assert list(container) == ["g"]
    again = arrayfs.import_from(tmp_path / "field.npy", target, into="g/h", update=True, **options)
    assert (again.commits, again.removed) == ([], 0)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_raw_numbers_also_out_of_gzip(
    tmp_path: Path, target: Path, order: Any, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numeric, "CHUNK", 64)
    values = values_of(">i2", (6, 5, 4))
    path = tmp_path / ("land.bin.gz" if packed else "land.bin")
    content = b"head" + values.tobytes(order)
    path.write_bytes(gzip.compress(content) if packed else content)
    said = {"dtype": ">i2", "shape": (6, 5, 4), "order": order, "offset": 4}
    arrayfs.import_from(path, target, verify=True, **said)  # type: ignore[arg-type]
    assert read(target, "land").tolist() == values.tolist()
    arrayfs.import_from(path, target, name="a/b", **said)  # type: ignore[arg-type]
    assert read(target, "a/b").tolist() == values.tolist()
    with pytest.raises(EntryExistsError, match=r"has land/zarr\.json already"):
        arrayfs.import_from(path, target, **said)  # type: ignore[arg-type]


def test_an_array_of_npz_that_others_lie_in_is_no_group(tmp_path: Path, target: Path) -> None:
    np.savez(tmp_path / "f.npz", **{"a": np.arange(3), "a/b": np.arange(4), "g/c": np.arange(5)})
    done = arrayfs.import_from(tmp_path / "f.npz", target, verify=True)
    assert done.differing == []
    assert [read(target, name).tolist() for name in ("a", "a/b", "g/c")] == [[*range(n)] for n in (3, 4, 5)]


def wrong(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any], str]]:
    """Files and options, and what is said of them."""
    path, packed, cut = tmp_path / "r.bin", tmp_path / "r.bin.gz", tmp_path / "cut.gz"
    path.write_bytes(bytes(64))
    packed.write_bytes(gzip.compress(bytes(64)))
    cut.write_bytes(gzip.compress(np.random.default_rng(1).bytes(640))[:200])
    for file in (path, packed):
        yield file, {"dtype": "f4", "shape": (17,)}, "64 bytes.* needs 68|ends after 64 bytes of 68"
        yield file, {"dtype": "f4", "shape": (15,)}, "needs 60|more than the 60 bytes"
        yield file, {"dtype": "f4"}, "both a dtype and a shape"
        yield file, {"dtype": "nosuch", "shape": (4,)}, "no dtype of numpy"
        yield file, {"dtype": "O", "shape": (4,)}, "no type of raw numbers"
        yield file, {"dtype": "f4", "shape": (16,), "chunks": (4, 4)}, "1 lengths are wanted"
        yield file, {"dtype": "f4", "shape": (16,), "offset": -4}, "offset -4: bytes from the start"
        yield file, {"dtype": "f4", "shape": (-4, -4)}, r"shape \(-4, -4\) has a negative length"
        yield file, {"dtype": "f4", "shape": (16,), "order": "A"}, "order 'A' is neither C nor F"
        yield file, {}, "no directory, zip archive"
    yield path, {"dtype": "f4", "shape": (16,), "tag": "x"}, "`tag` means nothing"
    yield packed, {"dtype": "f4", "shape": (4, 4), "chunks": (2, 2)}, "no stretches of a stream"
    yield packed, {"dtype": "f4", "shape": (4,), "offset": 65}, "ends 1 bytes before its first element"
    yield cut, {"dtype": "u1", "shape": (640,)}, "end-of-stream marker|ends after"
    yield cut, {"dtype": "u1", "shape": (40,), "offset": 600}, "byte 0: .*end-of-stream marker"
    members = tmp_path / "members.npz"
    np.savez_compressed(members, x=np.arange(1000))
    members.write_bytes(members.read_bytes()[:50] + b"\xff" * 10 + members.read_bytes()[60:])
    yield members, {}, r"x\.npy: no .npy file that can be read: .*decompressing"
    np.save(tmp_path / "c.npy", np.zeros(64))
    short = tmp_path / "short.npy"
    short.write_bytes((tmp_path / "c.npy").read_bytes()[:-1])
    yield short, {}, "511 bytes of elements"
    for option, value in {"order": "F", "offset": 3, "dtype": "f8", "tag": "x"}.items():
        wanted = "both a dtype and a shape" if option == "dtype" else f"`{option}` means nothing for such a source"
        yield tmp_path / "c.npy", {option: value}, wanted
    short = tmp_path / "head.npy"
    short.write_bytes((tmp_path / "c.npy").read_bytes()[:40])
    yield short, {}, "no .npy file that can be read"
    yield path, {"dtype": "u1", "shape": (1 << 40, 1 << 40)}, "64 bytes from 0 on"
    yield packed, {"dtype": "u1", "shape": (1 << 40, 1 << 40)}, "chunks has more than"
    (tmp_path / "classic.nc").write_bytes(b"CDF\x01" + bytes(60))
    yield tmp_path / "classic.nc", {}, "nccopy -4"


def test_what_is_wrong_with_a_file_is_said_and_nothing_imported(tmp_path: Path, target: Path) -> None:
    for path, options, said in wrong(tmp_path):
        before = files_of(tmp_path)
        with pytest.raises(SourceError, match=said) as refused:
            arrayfs.import_from(path, target, **options)
        assert path.name in str(refused.value)
        after = files_of(tmp_path)
        assert {**after, "t.lock": b""} == {**before, "t.lock": b""}  # nobody may ever remove the lock's file
    with pytest.raises(MissingObjectError):
        arrayfs.import_from(tmp_path / "absent", target)
