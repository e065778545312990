"""Merged layers take the places of those that they stand for; every step leaves the same content to every reader.

A merged layer has the id of the newest layer of its run and lists the others (`Extension.merged`). What lies above it
and is accounted for below, by id and time, is a *repetition*, and is left out (`without_repetitions`): a layer of the
run that is still there; a kept layer that was moved down and still has its old place; or an *empty layer*, which has
the id and the time of the one that says what it said. The order, under the container's lock:

0. `{stem}.exchange` says which files are to be replaced or moved.                 as before
1. Each merged layer replaces the first file of its run, oldest run first.        what follows of the run repeats it
2. Repetitions become empty layers, oldest first: the crate reads all of them,
   and a removal must not be undone by what was before it.
3. Kept layers are moved down to their places, oldest first; an empty layer takes
   the old place, for the crate overwrites a layer where there is a gap.
4. The empty layers, now behind all others, are removed, newest first; then what was said in step 0.

Who finds repetitions goes on from there: `finish` is steps 2 to 4, whoever did the first. It destroys only what step 0
names: files that came together by other ways (a backup of old sidecars beside a newer base) are not its business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from arrayfs.container.layer import Layer
from arrayfs.errors import FormatError, MissingObjectError
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension import EXTENSION_CODEC, encode_extension, extension_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import BlockTable, Footer
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Store


def ids_of(layers: Iterable[Layer]) -> set[bytes]:
    """The ids of all versions that these layers stand for: their own, and those merged into them."""
    return {layer_id for layer in layers for layer_id, _ in _stamps_of(layer)}


def _stamps_of(layer: Layer) -> set[tuple[bytes, int]]:
    """Ids and times of all versions that a layer stands for."""
    merged = () if layer.extension is None else layer.extension.merged
    return {layer.stamp, *((one.layer_id, one.time_ns) for one in merged)}


def without_repetitions(layers: Sequence[Layer]) -> tuple[list[Layer], list[Layer]]:
    """Layers in order of their numbers: those that count, and those that repeat what lies below them.

    An id says too little: writing the same chunk again after a compaction, the crate makes the same footer again.
    """
    if not any(layer.extension is not None and layer.extension.merged for layer in layers):
        return list(layers), []  # nothing was ever merged; an id may be costly to know
    counting: list[Layer] = []
    repeating: list[Layer] = []
    stamps = set[tuple[bytes, int]]()
    for layer in layers:
        if layer.stamp in stamps:
            repeating.append(layer)
        else:
            counting.append(layer)
            stamps |= _stamps_of(layer)
    return counting, repeating


def announce(store: Store, names: ContainerNames, layers: Iterable[Layer]) -> None:
    """Step 0. layers: all that there are. Raises OSError."""
    files = [[layer.name, layer.id.hex(), layer.time_ns] for layer in layers]
    store.put(names.exchange, json.dumps({"files": files}, indent=0).encode(), replace=True)


def _announced(store: Store, names: ContainerNames) -> set[tuple[bytes, int]] | None:
    """Ids and times of the layers that may be replaced; None if nothing is said."""
    try:
        blob = store.open(names.exchange)
    except MissingObjectError:
        return None
    try:
        files = json.loads(blob.read(0, blob.size))["files"]
        return {(bytes.fromhex(layer_id), int(time_ns)) for _, layer_id, time_ns in files}
    except (ValueError, TypeError, KeyError, UnicodeDecodeError):
        return set()
    finally:
        blob.close()


def finish(store: Store, names: ContainerNames, layers: Sequence[Layer]) -> bool:
    """Steps 2 to 4, under the container's lock; whether there was anything to do.

    layers: all that there are now, in order. Raises FormatError if some only repeat others, but no compaction said that
    it would leave them; OSError.
    """
    counting, repeating = without_repetitions(layers)
    announced = _announced(store, names)
    if repeating:
        announced = announced or set()
        _check_announced(names, layers, repeating, announced)
        moved = [(place, layer) for place, layer in enumerate(counting) if layer.number != place]
        if any(layer.stamp not in announced for _, layer in moved):
            announce(store, names, layers)  # some came since: who finds one of them half moved must know of it
        _empty(store, counting, [layer for layer in repeating if layer.footer.arrays])
        for place, layer in moved:
            store.rename(layer.name, names.sidecar(place))
            store.put(layer.name, empty_in_place_of(layer), replace=True)
        store.delete(*(layer.name for layer in reversed(layers) if layer.number >= len(counting)))
    if announced is not None:
        store.delete(names.exchange)
    return bool(repeating)


def _check_announced(
    names: ContainerNames, layers: Sequence[Layer], repeating: Sequence[Layer], announced: set[tuple[bytes, int]]
) -> None:
    odd = odd_names(names, layers)
    if odd:
        raise FormatError(f"{odd[0]}: cannot be moved, as a compaction that did not end would have; rename it")
    for layer in repeating:
        if layer.footer.arrays and layer.stamp not in announced:
            raise FormatError(
                f"{layer.name}: repeats what lies below it, and no compaction left it there: move it away to write"
            )


def _empty(store: Store, counting: Sequence[Layer], repeating: Sequence[Layer]) -> None:
    """Put empty layers in the place of these, in order: one for all that repeat the same layer."""
    owners = {stamp: layer for layer in counting for stamp in _stamps_of(layer)}
    for owner, group in groupby(repeating, key=lambda layer: owners[layer.stamp]):
        store.put_all([layer.name for layer in group], empty_in_place_of(owner))


def odd_names(names: ContainerNames, layers: Sequence[Layer]) -> list[str]:
    """Sidecars whose number is not written as arrayfs would (`t.01.af`): these cannot be moved."""
    return [layer.name for layer in layers[1:] if layer.name != names.sidecar(layer.number)]


def empty_in_place_of(layer: Layer) -> bytes:
    """A layer without content that has the id and the time of another, which says what was in its place.

    It is made on top of itself: where it does not repeat what is below it, as in a copy whose files are from before and
    from after the exchange, it must not be taken for a version.
    """
    ext = layer.extension
    identity = Extension(
        layer_id=layer.id,
        parent_id=layer.id,
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
