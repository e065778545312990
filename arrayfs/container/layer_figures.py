"""The figures of a layer's chunks, from its extension block or the block that this names; decoded when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arrayfs.errors import FormatError
from arrayfs.format.figures import Figures, decode_figures

if TYPE_CHECKING:
    from arrayfs.container.layer import Layer


def read_figures(layer: Layer) -> dict[int, Figures]:
    """What a layer says of its chunks, by the places of their arrays. Raises FormatError, naming the file, if it is
    damaged, or tells of arrays or chunks that the layer does not have.
    """
    said = None if layer.extension is None else layer.extension.chunk_figures
    if said is None:
        return {}
    if isinstance(said, int):
        row = layer.block_row(said)
        if row < 0:
            raise FormatError(f"{layer.name}: figures of chunks: block {said} is not there")
        said = bytes(layer.unpack_block(row))
    try:
        found = decode_figures(said)
    except FormatError as error:
        raise FormatError(f"{layer.name}: {error}") from None
    arrays = layer.footer.arrays
    for place, figures in found.items():
        chunks = len(arrays[place].chunks) if place < len(arrays) else 0
        if len(figures) != chunks:
            raise FormatError(f"{layer.name}: figures of chunks: {len(figures)} for {chunks} chunks of array {place}")
    return found
