"""Finding the layers of a container and checking that they belong together; making a new container.

Readers open sidecars newest first and the base last: while a compaction swaps files, that order never sees a mixture
that the check of parents would not find.
"""

from __future__ import annotations

import gc
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise

import numpy as np

from arrayfs.container.layer import Layer, open_by_checksum, open_layer
from arrayfs.container.newest import Lookout
from arrayfs.container.stack import LayerStack
from arrayfs.container.versions import VersionTable
from arrayfs.errors import ConflictError, FormatError, LockedError, MissingObjectError
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension import EXTENSION_CODEC, encode_extension, extension_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import BlockTable, Footer
from arrayfs.format.naming import ContainerNames, sidecar_of_other
from arrayfs.store.protocol import Shared, Store

NEW_FOOTER_VERSION = 5
# How often the files are listed again when they changed while they were opened.
OPEN_TRIES = 5


def open_stack(store: Store, names: ContainerNames, version: str | int | None = None) -> LayerStack:
    """Open all layers, or those up to a version (of the others the end is read, which says what they are called).

    Raises MissingObjectError without a base, FormatError if a layer is damaged or foreign, VersionError.
    """
    for last in (False,) * (OPEN_TRIES - 1) + (True,):
        found = sidecars(store, names)
        try:
            return LayerStack.of(_up_to(version, _open_layers(store, names, found)))
        except (MissingObjectError, FormatError):
            # a compaction may have renamed files meanwhile: only what holds still is believed
            if last or found == sidecars(store, names):
                raise
    raise FormatError(f"{names.base}: its files do not hold still")


def _up_to(version: str | int | None, layers: list[Layer]) -> list[Layer]:
    if version is None:
        return layers
    kept = 0
    try:
        kept = VersionTable.of(layers).resolve(version).place + 1
    finally:
        for layer in layers[kept:]:
            layer.close()
    return layers[:kept]


def sidecars(store: Store, names: ContainerNames) -> list[tuple[int, str]]:
    """Numbers and names of all sidecars, in order."""
    numbered = ((names.parse_sidecar(name), name) for name in store.list())
    return sorted((number, name) for number, name in numbered if number is not None)


def _open_layers(store: Store, names: ContainerNames, found: list[tuple[int, str]]) -> list[Layer]:
    layers: list[Layer] = []
    try:
        with nothing_collected():
            for number, name in [*reversed(found), (0, names.base)]:
                layers.append(open_by_checksum(number, store.open(name)))
        layers.reverse()
        check_chain(layers)
    except BaseException:
        for layer in layers:
            layer.close()
        raise
    return layers


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Without looking for garbage: with ten thousand layers a quarter of the time goes there, and nothing is found."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def newer_layers(store: Store, names: ContainerNames, stack: LayerStack, lookout: Lookout) -> list[Layer]:
    """Open what was committed on top of a stack since it was opened, oldest first.

    Raises FormatError if it is damaged or foreign, ConflictError if the stack's own newest layer is not there any more.
    """
    newest = stack.newest
    if lookout.is_newest(newest):
        return []
    listed = store.list()
    if newest.name not in listed:
        raise ConflictError(f"{newest.name} was removed by another writer since this container was opened")
    known = {layer.name for layer in stack.layers}  # asked every second, also of ten thousand layers
    numbered = sorted((names.parse_sidecar(name) or 0, name) for name in listed if name not in known)
    layers: list[Layer] = []
    try:
        for number, name in numbered:
            if number > newest.number:
                layers.append(open_by_checksum(number, store.open(name)))
        check_chain([newest, *layers])
    except BaseException:
        for layer in layers:
            layer.close()
        raise
    if not layers:
        lookout.nothing_new()
    return layers


def check_chain(layers: list[Layer]) -> None:
    """Raise FormatError, naming the file, where a layer was not made on top of the one below it."""
    for below, layer in pairwise(layers):
        if layer.number == below.number:  # "t.01.af" and "t.1.af": nothing says which was meant
            raise FormatError(f"{below.name} and {layer.name} are both sidecar {layer.number}: move one of them away")
        if layer.footer.version != below.footer.version:
            raise FormatError(
                f"{layer.name}: footer version {layer.footer.version}, but {below.name} has {below.footer.version}"
            )
        if layer.extension is not None and layer.extension.parent_id != below.id:
            raise FormatError(
                f"{layer.name}: was made on top of layer {layer.extension.parent_id.hex()}, "
                f"but below it lies {below.name}, which is {below.id.hex()}: a layer is missing or foreign"
            )


def container_id(stack: LayerStack) -> bytes:
    """The container's id: that of the newest layer that has one, else the base's own id."""
    for layer in reversed(stack.layers):
        if layer.extension is not None:
            return layer.extension.container_id
    return stack.layers[0].id


def version_of(stack: LayerStack, position: int) -> int:
    """The version number of a layer of the stack; one of the crate's counts one more than the layer below."""
    above = 0
    for place in range(position, -1, -1):
        layer = stack.layers[place]
        if layer.extension is not None:
            return layer.extension.version + above
        if not layer.number:
            break
        above += 1
    return above


def create(store: Store, names: ContainerNames) -> None:
    """Make an empty container: a base without arrays. Raises ObjectExistsError, FormatError."""
    other = sidecar_of_other(names.base)
    if other is not None:
        raise FormatError(f"{names.base} would be sidecar {other[1]} of {other[0]}.af: choose another name")
    left = [name for name in store.list() if names.parse_sidecar(name) is not None]
    if left:
        raise FormatError(
            f"{left[0]} is there already and would belong to {names.base}: move it away or choose another name"
        )
    layer_id = secrets.token_bytes(16)
    ext = Extension(
        layer_id=layer_id,
        parent_id=bytes(16),
        container_id=layer_id,
        version=0,
        time_ns=time.time_ns(),
        block_crcs=np.zeros(1, np.uint32),
    )
    size = extension_size(ext)
    wide, one = np.array([size], np.uint64), np.zeros(1, np.uint32)
    blocks = BlockTable(one, np.zeros(1, np.uint64), wide, wide, one, (EXTENSION_CODEC,))
    footer = encode_footer(Footer(NEW_FOOTER_VERSION, blocks, ()))
    ext = Extension(
        **{**{f: getattr(ext, f) for f in ext.__slots__}, "footer_crc": crc32c(footer), "footer_size": len(footer)}
    )
    store.put(names.base, b"".join((encode_extension(ext), footer, encode_trailer(len(footer)))), replace=False)


def prepare_writing(store: Store, names: ContainerNames) -> None:
    """What is made from now on gets the base's permissions. Raises MissingObjectError if there is no base.

    The lock is tried: who could not commit in the end is told before there is anything to commit.
    """
    if names.base not in store.list():
        raise MissingObjectError(f"{names.base}: no such container in {store.url}")
    if isinstance(store, Shared):
        store.take_after(names.base)
    lock = store.lock(names.lock)
    with suppress(LockedError):  # somebody is publishing at this moment
        lock.try_lock()
    lock.release()


def clear_abandoned(store: Store, names: ContainerNames, stack: LayerStack) -> list[str]:
    """Remove parts that a dead writer left; those that are whole layers of no version are kept and named.

    Nothing here keeps the container from being opened: what cannot be removed is named.
    """
    warnings = []
    committed = {layer.id for layer in stack.layers}
    for name in store.list():
        if names.parse_part(name) is None:
            continue
        try:
            if not store.is_part_abandoned(name):
                continue
            left = _finished_layer(store, name)
            if left is not None and left not in committed:
                warnings.append(f"{name}: a finished layer that was never published is kept; it was not taken in")
                continue
            store.remove_abandoned(name)
        except (LockedError, MissingObjectError):
            continue  # its writer is at work, or someone else was faster
        except OSError as error:
            warnings.append(f"{name}: left behind by a commit that never finished, cannot be removed: {error}")
            continue
        if left is None:
            warnings.append(f"{name}: removed, a commit that never finished (process {os.getpid()} found it)")
    return warnings


def _finished_layer(store: Store, name: str) -> bytes | None:
    """The id of the layer that a part is, None if it has no footer (yet)."""
    blob = store.open(name)
    try:
        return open_layer(0, blob).id
    except FormatError:
        return None
    finally:
        blob.close()
