"""Merged layers take the places of those that they stand for; every step leaves the same content to every reader.

A merged layer has the id of the newest layer of its run and lists the others (`Extension.merged`). What lies above it
and has an id that is accounted for below is a *repetition*, and is left out (`without_repetitions`): a layer of the run
that is still there; a kept layer that was moved down and still has its old place; or an *empty layer*, which has the id
of the one that it was put in place of. The order, under the container's lock:

1. Each merged layer replaces the first file of its run, oldest run first.        what follows of the run repeats it
2. Repetitions become empty layers, oldest first: the crate reads all of them,
   and a removal must not be undone by what was before it.
3. Kept layers are moved down to their places, oldest first; an empty layer takes
   the old place, for the crate overwrites a layer where there is a gap.
4. The empty layers, now behind all others, are removed, newest first.

Who finds repetitions goes on from there: `finish` is steps 2 to 4, whoever did the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from arrayfs.container.layer import Layer
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension import EXTENSION_CODEC, encode_extension, extension_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import BlockTable, Footer
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Store


def ids_of(layers: Iterable[Layer]) -> set[bytes]:
    """The ids of all versions that these layers stand for: their own, and those merged into them."""
    ids = set[bytes]()
    for layer in layers:
        ids.add(layer.id)
        if layer.extension is not None:
            ids.update(one.layer_id for one in layer.extension.merged)
    return ids


def without_repetitions(layers: Sequence[Layer]) -> tuple[list[Layer], list[Layer]]:
    """Layers in order of their numbers: those that count, and those that repeat what lies below them."""
    if not any(layer.extension is not None and layer.extension.merged for layer in layers):
        return list(layers), []  # nothing was ever merged; an id may be costly to know
    counting: list[Layer] = []
    repeating: list[Layer] = []
    ids = set[bytes]()
    for layer in layers:
        if layer.id in ids:
            repeating.append(layer)
        else:
            counting.append(layer)
            ids |= ids_of([layer])
    return counting, repeating


def finish(store: Store, names: ContainerNames, layers: Sequence[Layer]) -> bool:
    """Steps 2 to 4, under the container's lock; whether there was anything to do. Raises OSError.

    layers: all that there are now, in order.
    """
    counting, repeating = without_repetitions(layers)
    if not repeating or odd_names(names, layers):
        return False
    for layer in repeating:
        if layer.footer.arrays:
            store.put(layer.name, empty_in_place_of(layer), replace=True)
    for place, layer in enumerate(counting):
        if layer.number != place:
            store.rename(layer.name, names.sidecar(place))
            store.put(layer.name, empty_in_place_of(layer), replace=True)
    for layer in reversed(layers):
        if layer.number >= len(counting):
            store.delete(layer.name)
    return True


def odd_names(names: ContainerNames, layers: Sequence[Layer]) -> list[str]:
    """Sidecars whose number is not written as arrayfs would (`t.01.af`): these cannot be moved."""
    return [layer.name for layer in layers[1:] if layer.name != names.sidecar(layer.number)]


def empty_in_place_of(layer: Layer) -> bytes:
    """A layer without content that has the id of another."""
    ext = layer.extension
    identity = Extension(
        layer_id=layer.id,
        parent_id=bytes(16) if ext is None else ext.parent_id,
        container_id=bytes(16) if ext is None else ext.container_id,
        version=0 if ext is None else ext.version,
        time_ns=layer.time_ns,
    )
    return without_arrays(identity, layer.footer.version, layer.number, layer.footer.base_file_hint)


def without_arrays(identity: Extension, footer_version: int, number: int = 0, hint: str = "") -> bytes:
    """A whole layer file that says nothing but who it is. identity: ids, version, time."""
    ext = replace(identity, block_crcs=np.zeros(1, np.uint32))
    size = extension_size(ext)
    wide, one = np.array([size], np.uint64), np.zeros(1, np.uint32)
    blocks = BlockTable(one, np.zeros(1, np.uint64), wide, wide, one, (EXTENSION_CODEC,))
    footer = encode_footer(Footer(footer_version, blocks, (), overlay_index=number, base_file_hint=hint))
    ext = replace(ext, footer_crc=crc32c(footer), footer_size=len(footer))
    return b"".join((encode_extension(ext), footer, encode_trailer(len(footer))))
