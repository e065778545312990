"""What `expected.json` says of an array, and what a mount shows of it, in the same terms."""

from __future__ import annotations

import base64
import hashlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from arrayfs.view.paths import show
from tests.t3_view.zarr_python import unstable_types

# Written down here once more, not taken from the code under test.
NUMPY_TYPES = {
    "Bool": "|b1",
    **{f"Int{8 * size}": f"<i{size}" for size in (1, 2, 4, 8)},
    **{f"UInt{8 * size}": f"<u{size}" for size in (1, 2, 4, 8)},
    "Float32": "<f4",
    "Float64": "<f8",
    "TimestampNs": "<M8[ns]",
}
FILE_ARRAY = "__file__"


def folder_of(mount: Path, name: str) -> Path:
    """The directory that shows the container's array of this name."""
    return mount.joinpath(*map(show, name.split("/")))


def unwrapped(dtype: Any) -> tuple[str, tuple[int, ...]]:
    """Element type and inner dimensions; `List` and `` (no such look) for what is no plain type below."""
    if isinstance(dtype, str):
        return dtype, ()
    if "List" in dtype:
        return ("List" if unwrapped(dtype["List"]["child"])[0] in NUMPY_TYPES else ""), ()
    inner = dtype["FixedSizeList"]
    base, dimensions = unwrapped(inner["child"])
    return (base if base in NUMPY_TYPES else ""), (inner["size"], *dimensions)


def is_shown(array: dict[str, Any]) -> bool:
    """Whether Zarr has words for the array's type."""
    return array["name"] != FILE_ARRAY and unwrapped(array["dtype"])[0] != ""


def open_array(folder: Path) -> zarr.Array[Any]:
    """The array as zarr-python sees it."""
    with unstable_types():
        return zarr.open_array(LocalStore(folder, read_only=True), mode="r")


def attributes_as_json(attributes: dict[str, Any]) -> dict[str, Any]:
    """The JSON values that the mount must show."""
    return {key: _json_of(value) for key, value in attributes.items()}


def _json_of(value: dict[str, Any]) -> Any:
    if "hex" in value:
        many = isinstance(value["hex"], list)
        texts = [base64.b64encode(bytes.fromhex(one)).decode() for one in (value["hex"] if many else [value["hex"]])]
        return texts if many else texts[0]
    if value["type"].startswith("Float"):
        bits = value["bits"] if isinstance(value["bits"], list) else [value["bits"]]
        numbers = [_float_of(value["type"], one) for one in bits]
        return numbers if isinstance(value["bits"], list) else numbers[0]
    return value["value"]


def _float_of(kind: str, bits: str) -> float:
    raw = bytes.fromhex(bits)
    if kind.startswith("Float32"):
        number = np.frombuffer(raw, ">f4")[0]
        return float(str(number)) if np.isfinite(number) else float(number)
    return float(np.frombuffer(raw, ">f8")[0])


def same_json(one: Any, other: Any) -> bool:
    """Equal, with NaN equal to itself and 1 not equal to 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return type(one) is type(other) and bool(one == other)


# --- chunks -----------------------------------------------------------------------------------------------------------


def chunk_path(folder: Path, coord: Sequence[int], inner: int, look: int) -> Path:
    """Where the chunk file of this coordinate has to be."""
    whole = [*map(str, coord), *("0" for _ in range(inner))]
    if look == 3:
        return folder.joinpath("c", *whole)
    return folder / (".".join(whole) or "0")


def extent_of(array: dict[str, Any], coord: Sequence[int]) -> tuple[int, ...]:
    """Elements of a chunk, clipped to the shape, without inner dimensions."""
    sizes = zip(coord, array["chunk_shape"], array["shape"], strict=True)
    return tuple(min(chunk, length - place * chunk) for place, chunk, length in sizes)


def stored_and_padding(array: dict[str, Any], coord: Sequence[int], file: bytes) -> tuple[bytes, set[bytes]]:
    """A chunk file taken apart: the bytes that the container stores, and the different elements of the padding."""
    base, inner = unwrapped(array["dtype"])
    here = tuple(slice(0, n) for n in extent_of(array, coord))
    if base in NUMPY_TYPES:
        size = np.dtype(NUMPY_TYPES[base]).itemsize * math.prod(inner)
        elements: NDArray[Any] = np.frombuffer(file, f"V{size}" if size else "V1").reshape(array["chunk_shape"])
        real = np.zeros(elements.shape, bool)
        real[here] = True
        return elements[here].tobytes(), {one.tobytes() for one in elements[~real]}
    values = elements_of_file(file)
    shaped = np.empty(len(values), object)
    shaped[:] = values
    shaped = shaped.reshape(array["chunk_shape"])
    real = np.zeros(shaped.shape, bool)
    real[here] = True
    return stored_elements(shaped[real].tolist(), unit_of(array["dtype"])), set(shaped[~real].tolist())


def unit_of(dtype: Any) -> int:
    """Bytes that one step of an offset stands for."""
    if not isinstance(dtype, dict):
        return 1
    base, inner = unwrapped(dtype["List"]["child"])
    return np.dtype(NUMPY_TYPES[base]).itemsize * math.prod(inner)


def described(dtype: Any) -> str:
    """A type in words."""
    if isinstance(dtype, str):
        return dtype
    ((kind, inner),) = dtype.items()
    return f"{kind}<{described(inner['child'])}" + (f", {inner['size']}>" if "size" in inner else ">")


def elements_of_file(file: bytes) -> list[bytes]:
    """numcodecs' vlen layout: u32 count, then u32 length and bytes of each."""
    count, place, values = int.from_bytes(file[:4], "little"), 4, []
    for _ in range(count):
        end = place + 4 + int.from_bytes(file[place : place + 4], "little")
        values.append(file[place + 4 : end])
        place = end
    assert place == len(file)
    return values


def stored_elements(values: list[bytes], unit: int) -> bytes:
    """The format's layout: n + 1 u32 offsets, then the bytes."""
    offsets = np.cumsum([0, *(len(value) // unit for value in values)]).astype("<u4")
    return offsets.tobytes() + b"".join(values)


def matches(content: bytes, said: dict[str, Any], key: str = "") -> bool:
    """Whether these are the bytes that `size` and `hex` or `sha256` of `said` tell."""
    if len(content) != said[f"{key}size"]:
        return False
    if f"{key}hex" in said:
        return content.hex() == str(said[f"{key}hex"])
    return hashlib.sha256(content).hexdigest() == said[f"{key}sha256"]


def digests(folder: Path) -> dict[str, str]:
    """sha256 of all files of a folder, but for locks."""
    names = (name for name in sorted(os.listdir(folder)) if not name.endswith(".lock"))
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
