"""zarr-python 3 with its LocalStore, in both Zarr formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import CHUNKS, SHAPE, equal, fill, final, first

FORMATS = (3, 2)
KINDS = ["bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16", ">i4", ">f8"]
KINDS += ["M8[ns]", "M8[D]", "m8[s]", "S5", "U4", "V3"]


def _both(folder: Path) -> Iterator[tuple[Any, LocalStore]]:
    for zarr_format in FORMATS:
        yield zarr_format, LocalStore(folder / f"v{zarr_format}")


def _of(kind: str) -> np.ndarray[Any, Any]:
    dtype = np.dtype(kind)
    plain = np.arange(35) % 2 if dtype.kind == "b" else np.arange(35)
    if dtype.kind == "V":
        return np.frombuffer(bytes(range(105)), dtype).reshape(7, 5)
    if dtype.kind in "SU":
        return np.array([f"é{n}" if dtype.kind == "U" else f"x{n}" for n in plain], dtype).reshape(7, 5)
    return plain.astype(dtype).reshape(7, 5)


def write_every_type(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        for number, kind in enumerate(KINDS):
            for codec in ("auto", None):
                array = zarr.create_array(
                    store,
                    name=f"{number}-{codec}",
                    shape=(7, 5),
                    chunks=(3, 2),
                    dtype=np.dtype(kind),
                    compressors=codec,
                    zarr_format=zarr_format,
                )
                array[...] = _of(kind)


def check_every_type(folder: Path) -> None:
    for _, store in _both(folder):
        for number, kind in enumerate(KINDS):
            for codec in ("auto", None):
                equal(zarr.open_array(store, path=f"{number}-{codec}", mode="r")[...], _of(kind), f"{kind} {codec}")


def write_strings(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        for codec in ("auto", None):
            array = zarr.create_array(
                store, name=f"s{codec}", shape=(40,), chunks=(7,), dtype=str, compressors=codec, zarr_format=zarr_format
            )
            array[...] = _texts()
            array[3:9] = "changed"


def check_strings(folder: Path) -> None:
    expected = _texts()
    expected[3:9] = "changed"
    for _, store in _both(folder):
        for codec in ("auto", None):
            equal(np.asarray(zarr.open_array(store, path=f"s{codec}", mode="r")[...], object), expected)


def _texts() -> np.ndarray[Any, Any]:
    return np.array(["größe 寒い " * (n % 5) for n in range(40)], object)


STRUCTURED = np.dtype([("x", "<f4"), ("n", "<i8"), ("name", "S4")])


def write_structured(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        zarr.create_array(store, shape=(20,), chunks=(6,), dtype=STRUCTURED, zarr_format=zarr_format)[...] = _records()


def check_structured(folder: Path) -> None:
    for _, store in _both(folder):
        expect(zarr.open_array(store, mode="r")[...].tolist(), _records().tolist())


def _records() -> np.ndarray[Any, Any]:
    return np.array([(n / 4, n * 10**12, f"r{n}".encode()) for n in range(20)], STRUCTURED)


def write_scalars(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        for codec in ("auto", None):
            array = zarr.create_array(
                store, name=f"x{codec}", shape=(), dtype="f8", compressors=codec, zarr_format=zarr_format
            )
            array[...] = 2.5


def check_scalars(folder: Path) -> None:
    for _, store in _both(folder):
        for codec in ("auto", None):
            expect(float(zarr.open_array(store, path=f"x{codec}", mode="r")[()]), 2.5)


def write_sharding(folder: Path) -> None:
    store = LocalStore(folder / "v3")
    for name, compressors in (("default", "auto"), ("raw", None)):
        array = zarr.create_array(
            store, name=name, shape=(64, 60), chunks=(8, 5), shards=(32, 30), dtype="i4", compressors=compressors
        )
        array[...] = _sharded()
        array[10:50, 7:9] = -5
        array.resize((70, 60))
        array[64:] = 9


def check_sharding(folder: Path) -> None:
    expected = np.concatenate((_sharded(), np.full((6, 60), 9, "i4")))
    expected[10:50, 7:9] = -5
    for name in ("default", "raw"):
        equal(zarr.open_array(LocalStore(folder / "v3"), path=name, mode="r")[...], expected, name)


def _sharded() -> np.ndarray[Any, Any]:
    return np.arange(64 * 60, dtype="i4").reshape(64, 60)


def write_resize_and_append(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        for codec in ("auto", None):
            array = zarr.create_array(
                store,
                name=f"a{codec}",
                shape=SHAPE,
                chunks=CHUNKS,
                dtype="i4",
                compressors=codec,
                fill_value=-3,
                zarr_format=zarr_format,
            )
            array[...] = first()
            array.resize((5, 33))
            array.resize((9, 41))
            array.append(np.full((2, 41), 8, "i4"))
            array.append(np.full((11, 3), 4, "i4"), axis=1)


def check_resize_and_append(folder: Path) -> None:
    expected = np.full((11, 44), -3, "i4")
    expected[:5, :33] = first()[:5, :33]
    expected[9:, :41] = 8
    expected[:, 41:] = 4
    # What a chunk at the edge has outside the shape comes back on growing, or not: a store may choose.
    sure = np.ones(expected.shape, bool)
    sure[5:6], sure[:6, 33:40] = False, False
    for zarr_format, store in _both(folder):
        for codec in ("auto", None):
            found = zarr.open_array(store, path=f"a{codec}", mode="r")[...]
            equal(found[sure], expected[sure], f"v{zarr_format} {codec}")


def write_groups_and_attributes(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        root = zarr.create_group(store, zarr_format=zarr_format, attributes=ATTRIBUTES)
        inner = root.create_group("one").create_group("two", attributes={"deep": True})
        inner.create_array("a", shape=(4,), chunks=(2,), dtype="f4", fill_value=float("nan"))[1:] = 3
        root["one"].attrs["added"] = [1, {"x": 2}]
        root.attrs["n"] = 7
        del root.attrs["gone"]


ATTRIBUTES: dict[str, Any] = {"title": "é", "n": [1, 2.5, None], "gone": 1, "nested": {"a": {"b": [True, 1e300]}}}


def check_groups_and_attributes(folder: Path) -> None:
    for _, store in _both(folder):
        root = zarr.open_group(store, mode="r")
        expect(dict(root.attrs), {"title": "é", "n": 7, "nested": ATTRIBUTES["nested"]})
        expect(sorted(name for name, _ in root.members(max_depth=None)), ["one", "one/two", "one/two/a"])
        expect(dict(root["one"].attrs), {"added": [1, {"x": 2}]})
        equal(root["one/two/a"][...], [np.nan, 3, 3, 3])


def write_consolidated_metadata(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        root = zarr.create_group(store, zarr_format=zarr_format)
        for name in ("a", "b"):
            root.create_array(name, shape=(4,), chunks=(2,), dtype="i4")[...] = 1
        zarr.consolidate_metadata(store)
        root["a"].append(np.array([2, 3], "i4"))
        root.create_array("c", shape=(3,), dtype="i4")[...] = 5
        zarr.consolidate_metadata(store)


def check_consolidated_metadata(folder: Path) -> None:
    for _, store in _both(folder):
        root = zarr.open_consolidated(store, mode="r")
        expect(sorted(root.keys()), ["a", "b", "c"])
        equal(root["a"][...], [1, 1, 1, 1, 2, 3])
        equal(root["c"][...], [5, 5, 5])


def write_overwrite_and_delete(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        for kind, shape in (("i4", (6, 4)), ("f8", (3,)), ("u2", (50, 9))):
            data = np.arange(np.prod(shape)).astype(kind).reshape(shape)
            zarr.create_array(store, name="a", data=data, overwrite=True, zarr_format=zarr_format)
        group = zarr.create_group(store, path="g", zarr_format=zarr_format)
        for name in "xyz":
            group.create_array(name, shape=(30,), chunks=(7,), dtype="i2", compressors=None)[...] = 1
        del group["x"]
        group["y"][:14] = 0  # two chunks become all fill and are removed
        zarr.create_group(store, path="g/z", overwrite=True, zarr_format=zarr_format)


def check_overwrite_and_delete(folder: Path) -> None:
    for zarr_format, store in _both(folder):
        equal(zarr.open_array(store, path="a", mode="r")[...], np.arange(450, dtype="u2").reshape(50, 9))
        group = zarr.open_group(store, path="g", mode="r")
        expect(sorted(group.keys()), ["y", "z"])
        equal(group["y"][...], [0] * 14 + [1] * 16)
        expect(list(group["z"].keys()), [])
        chunks = folder / f"v{zarr_format}" / ("g/y/c" if zarr_format == 3 else "g/y")
        expect(sorted(path.name for path in chunks.iterdir() if path.name.isdigit()), ["2", "3", "4"])


def write_key_encodings(folder: Path) -> None:
    for encoding in ("default", "v2"):
        for separator in ("/", "."):
            for codec in ("auto", None):
                array = zarr.create_array(
                    LocalStore(folder / "v3"),
                    name=f"{encoding}{ord(separator)}{codec}",
                    shape=SHAPE,
                    chunks=CHUNKS,
                    dtype="i4",
                    compressors=codec,
                    chunk_key_encoding={"name": encoding, "separator": separator},
                )
                fill(array)


def check_key_encodings(folder: Path) -> None:
    arrays = dict(zarr.open_group(LocalStore(folder / "v3"), mode="r").arrays())
    expect(len(arrays), 8)
    for name, array in arrays.items():
        equal(array[...], final(), name)


def write_exchange(folder: Path) -> None:
    """Arrays for other libraries, named by format and codec."""
    for name, options in EXCHANGED.items():
        array = zarr.create_array(
            LocalStore(folder),
            name=name,
            shape=SHAPE,
            chunks=CHUNKS if "sharded" not in name else (1, 10),
            shards=CHUNKS if "sharded" in name else None,
            dtype="i4",
            zarr_format=int(name[1]),  # type: ignore[arg-type]
            attributes={"units": "mm"},
            **options,
        )
        fill(array)


EXCHANGED: dict[str, dict[str, Any]] = {
    "v3-plain": {"compressors": None},
    "v3-default": {},
    "v3-gzip": {"compressors": zarr.codecs.GzipCodec(level=5)},
    "v3-sharded": {},
    "v2-plain": {"compressors": None},
    "v2-default": {},
    "v2-nested": {"chunk_key_encoding": {"name": "v2", "separator": "/"}, "compressors": None},
}


def check_exchange(folder: Path) -> None:
    """Whatever arrays of the exchange are there, by whichever library."""
    found = sorted(path.name for path in folder.iterdir() if path.name[:2] in ("v2", "v3"))
    if not found:
        raise AssertionError(f"{folder}: no array")
    for name in found:
        array = zarr.open_array(LocalStore(folder), path=name, mode="r")
        equal(array[...], final(), name)
        expect(array.attrs["units"], "mm", name)


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
