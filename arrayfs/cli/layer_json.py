"""A layer's footer and extension block as JSON: every field as it stands, nothing interpreted.

Floats come with their bits, since JSON has no NaN. A list longer than the limit is null; its length stands in `n_…`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from arrayfs.cli import text
from arrayfs.container.layer import Layer
from arrayfs.errors import FormatError
from arrayfs.format.attributes import attribute_to_python
from arrayfs.format.extension_model import Extension
from arrayfs.format.figures import Figures
from arrayfs.format.model import ArrayMeta, AttributeValue, BlockTable, DType, FillValue

_FILLS = {"Int": "<i8", "UInt": "<u8", "TimestampNs": "<i8", "Float": "<f8", "Bool": "?"}
_WIDTHS = {2: "U16", 4: "U32", 8: "U64"}

Limit = int | None


def layer_json(layer: Layer, limit: Limit) -> dict[str, Any]:
    """Everything that a layer file says of itself. limit: entries of the longest list that is given."""
    footer = layer.footer
    return {
        "file": layer.name,
        "file_size": layer.blob.size,
        "footer_start": layer.footer_start,
        "version": footer.version,
        "overlay_index": footer.overlay_index,
        "base_file_hint": footer.base_file_hint,
        "n_blocks": len(footer.blocks),
        "blocks": _blocks(footer.blocks, limit),
        "arrays": [_array(meta, limit) for meta in footer.arrays],
        "attr_keys": _cut(list(footer.attr_keys), limit),
        "n_attr_values": len(footer.attr_values),
        "attr_values": _cut([attribute_json(value) for value in footer.attr_values], limit),
        "extension": None if layer.extension is None else _extension(layer, layer.extension, limit),
    }


def dtype_json(dtype: DType) -> Any:
    """An element type: its name, or for lists `{"List": {"child": …}}`."""
    if dtype.child is None:
        return dtype.name
    inner = {"child": dtype_json(dtype.child)}
    return {dtype.name: inner | {"size": dtype.size} if dtype.name == "FixedSizeList" else inner}


def attribute_json(value: AttributeValue) -> dict[str, Any]:
    """An attribute's type and value; raw bytes as "hex"."""
    plain: Any = attribute_to_python(value)
    if value.kind.startswith("Binary"):
        return {"type": value.kind, "hex": [one.hex() for one in plain] if isinstance(plain, list) else plain.hex()}
    if not value.kind.startswith("Float") or isinstance(value.payload, tuple):
        return {"type": value.kind, "value": plain}
    size = 4 if value.kind.startswith("Float32") else 8
    raw = [value.payload[start : start + size] for start in range(0, len(value.payload), size)]
    shown = [float_json(float(np.frombuffer(one, f"<f{size}")[0])) for one in raw]
    bits = [one[::-1].hex() for one in raw]
    is_list = isinstance(plain, list)
    return {"type": value.kind, "value": shown if is_list else shown[0], "bits": bits if is_list else bits[0]}


def fill_json(fill: FillValue | None) -> dict[str, Any] | None:
    """A fill value's type and value."""
    if fill is None:
        return None
    if fill.kind == "String":
        return {"type": fill.kind, "value": fill.payload.decode()}
    number = np.frombuffer(fill.payload, _FILLS[fill.kind])[0].item()
    if fill.kind == "Float":
        return {"type": fill.kind, "value": float_json(number), "bits": fill.payload[::-1].hex()}
    return {"type": fill.kind, "value": number}


def _blocks(blocks: BlockTable, limit: Limit) -> list[dict[str, Any]] | None:
    columns = {
        "id": blocks.ids.tolist(),
        "file_offset": blocks.file_offsets.tolist(),
        "compressed_size": blocks.compressed_sizes.tolist(),
        "uncompressed_size": blocks.uncompressed_sizes.tolist(),
        "codec": [blocks.codec_names[index] for index in blocks.codecs],
    }
    return _cut([dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], limit)


def _array(meta: ArrayMeta, limit: Limit) -> dict[str, Any]:
    table, pairs = meta.chunks, meta.attribute_pairs
    columns = (table.coords.tolist(), table.block_ids.tolist(), table.offsets.tolist(), table.sizes.tolist())
    return {
        "name": meta.name,
        "dtype": dtype_json(meta.dtype),
        "shape": list(meta.shape),
        "chunk_shape": list(meta.chunk_shape),
        "dimension_names": list(meta.dimension_names),
        "fill_value": fill_json(meta.fill_value),
        "deleted": meta.deleted,
        "attr_width": _WIDTHS[pairs.dtype.itemsize],
        "n_attrs": len(pairs),
        "attr_pairs": _cut(pairs.tolist(), limit),
        "n_chunks": len(table),
        "chunks": _cut([list(row) for row in zip(*columns, strict=True)], limit),
    }


def _figures(layer: Layer, said: bytes | int | None, limit: Limit) -> dict[str, Any] | str | None:
    """By array, of each chunk the bits of its lowest and its highest, and its nulls; null if nothing is known of it.

    Those in a block of their own are not read.
    """
    if said is None or isinstance(said, int):
        return None if said is None else {"block": said}
    try:
        return {str(place): _cut(_rows(one), limit) for place, one in layer.figures.items()}
    except FormatError as error:
        return str(error)


def _rows(figures: Figures) -> list[list[Any] | None]:
    columns = (column.tolist() for column in (figures.known, figures.lows, figures.highs, figures.nulls))
    rows = zip(*columns, strict=True)
    return [[f"{low:016x}", f"{high:016x}", nulls] if known else None for known, low, high, nulls in rows]


def _extension(layer: Layer, ext: Extension, limit: Limit) -> dict[str, Any]:
    return {
        "layer_id": ext.layer_id.hex(),
        "parent_id": ext.parent_id.hex(),
        "container_id": ext.container_id.hex(),
        "version": ext.version,
        "time_ns": ext.time_ns,
        "time": text.time(ext.time_ns),
        "message": ext.message,
        "author": ext.author,
        "tags": list(ext.tags),
        "tag_changes": [{"tag": one.name, "version": one.version} for one in ext.tag_changes],
        "merged": [
            {
                "number": one.number,
                "layer_id": one.layer_id.hex(),
                "time_ns": one.time_ns,
                "message": one.message,
                "author": one.author,
                "tags": list(one.tags),
            }
            for one in ext.merged
        ],
        "block_crcs": _cut([f"{crc:08x}" for crc in ext.block_crcs.tolist()], limit),
        "footer_crc": f"{ext.footer_crc:08x}",
        "footer_size": ext.footer_size,
        "n_holes": len(ext.holes),
        "holes": _cut(ext.holes.tolist(), limit),
        "renamed_from": {str(place): name for place, name in ext.renamed_from.items()},
        "piece_crcs": {
            str(place): _cut([f"{crc:08x}" for crc in crcs.tolist()], limit) for place, crcs in ext.piece_crcs.items()
        },
        "chunk_mtimes": {str(place): _cut(times.tolist(), limit) for place, times in ext.chunk_mtimes.items()},
        "chunk_figures": _figures(layer, ext.chunk_figures, limit),
        "array_marks": {str(place): marks for place, marks in ext.array_marks.items()},
        "unknown": [{"tag": tag, "size": len(data)} for tag, data in ext.unknown],
    }


def _cut(rows: list[Any], limit: Limit) -> list[Any] | None:
    return rows if limit is None or len(rows) <= limit else None


def float_json(number: float) -> float | str:
    """A float that JSON has, or its name."""
    if number != number:
        return "NaN"
    return {float("inf"): "Infinity", float("-inf"): "-Infinity"}.get(number, number)
