"""The containers in tests/golden/vectors, and a decoded footer in the words of their expected.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from arrayfs.format.attributes import attribute_to_python
from arrayfs.format.footer import TRAILER, decode_trailer
from arrayfs.format.model import ArrayMeta, AttributeValue, DType, FillValue, Footer

VECTORS = Path(__file__).parents[1] / "golden" / "vectors"
CASES = sorted(path.relative_to(VECTORS).as_posix() for path in VECTORS.glob("v[45]/*"))
CORRUPT = sorted(path.name for path in (VECTORS / "corrupt").iterdir())
LONGEST_LIST = 300  # expected.json leaves longer lists out

_NUMBERS = {"Int": "<i8", "UInt": "<u8", "TimestampNs": "<i8", "Float": "<f8", "Bool": "?"}


def expected(case: str) -> dict[str, Any]:
    """Return expected.json of a folder like `v5/dtypes`."""
    loaded: dict[str, Any] = json.loads((VECTORS / case / "expected.json").read_text())
    return loaded


def footer_bytes(layer: bytes) -> bytes:
    """Cut the footer out of a layer file."""
    place = decode_trailer(layer[-TRAILER.size :], len(layer))
    return layer[place.start : place.stop]


def all_footers() -> dict[str, bytes]:
    """Return `v5/dtypes/t.af` -> footer, of all good containers."""
    paths = sorted(VECTORS.glob("v[45]/*/*.af"))
    return {path.relative_to(VECTORS).as_posix(): footer_bytes(path.read_bytes()) for path in paths}


def described(footer: Footer) -> dict[str, Any]:
    """Return the footer as expected.json writes it, without the keys that tell of the file."""
    blocks = footer.blocks
    columns = {
        "id": blocks.ids.tolist(),
        "file_offset": blocks.file_offsets.tolist(),
        "compressed_size": blocks.compressed_sizes.tolist(),
        "uncompressed_size": blocks.uncompressed_sizes.tolist(),
        "codec": [blocks.codec_names[index] for index in blocks.codecs],
    }
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return {
        "version": footer.version,
        "overlay_index": footer.overlay_index,
        "base_file_hint": footer.base_file_hint,
        "n_blocks": len(blocks),
        "blocks": shortened(rows),
        "arrays": [_array(array) for array in footer.arrays],
        "attr_keys": shortened(list(footer.attr_keys)),
        "n_attr_values": len(footer.attr_values),
        "attr_values": shortened([described_value(value) for value in footer.attr_values]),
    }


def described_value(value: AttributeValue) -> dict[str, Any]:
    """Return an attribute as {"type", "value"} with "bits" for floats, "hex" for raw bytes."""
    plain: Any = attribute_to_python(value)
    if value.kind.startswith("Binary"):
        return {"type": value.kind, "hex": [one.hex() for one in plain] if isinstance(plain, list) else plain.hex()}
    if not value.kind.startswith("Float"):
        return {"type": value.kind, "value": plain}
    assert isinstance(value.payload, bytes)
    floats = np.frombuffer(value.payload, f"<f{4 if value.kind.startswith('Float32') else 8}")
    bits = [number[::-1].tobytes().hex() for number in floats.reshape(-1, 1).view(np.uint8)]
    shown = [_float(float(number)) for number in floats]
    many = isinstance(plain, list)
    return {"type": value.kind, "value": shown if many else shown[0], "bits": bits if many else bits[0]}


def described_fill(fill: FillValue | None) -> dict[str, Any] | None:
    """Return a fill value, or a statistics value that is no Bytes, as expected.json writes it."""
    if fill is None:
        return None
    if fill.kind == "String":
        return {"type": fill.kind, "value": fill.payload.decode()}
    number = np.frombuffer(fill.payload, _NUMBERS[fill.kind])[0].item()
    if fill.kind == "Float":
        return {"type": fill.kind, "value": _float(number), "bits": fill.payload[::-1].hex()}
    return {"type": fill.kind, "value": number}


def shortened(rows: list[Any]) -> list[Any] | None:
    return rows if len(rows) <= LONGEST_LIST else None


def _array(array: ArrayMeta) -> dict[str, Any]:
    table, pairs = array.chunks, array.attribute_pairs
    columns = (table.coords.tolist(), table.block_ids.tolist(), table.offsets.tolist(), table.sizes.tolist())
    return {
        "name": array.name,
        "dtype": _dtype(array.dtype),
        "shape": list(array.shape),
        "chunk_shape": list(array.chunk_shape),
        "dimension_names": list(array.dimension_names),
        "fill_value": described_fill(array.fill_value),
        "deleted": array.deleted,
        "attr_width": {2: "U16", 4: "U32", 8: "U64"}[pairs.dtype.itemsize],
        "attr_pairs": shortened(pairs.tolist()),
        "n_attrs": len(pairs),
        "n_chunks": len(table),
        "chunks": shortened([list(row) for row in zip(*columns, strict=True)]),
    }


def _dtype(dtype: DType) -> Any:
    if dtype.child is None:
        return dtype.name
    inner = {"child": _dtype(dtype.child)}
    return {dtype.name: inner | {"size": dtype.size} if dtype.name == "FixedSizeList" else inner}


def _float(number: float) -> float | str:
    if number != number:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(number, number)
