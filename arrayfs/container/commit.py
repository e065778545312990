"""Pool -> sidecar -> durable -> visible.

The order, and what is left if the process or the power ends after a step:

1. Everything raw is packed into the part; holes and copied blocks are appended.      a part without footer: dead bytes
2. Extension block, footer and trailer are appended.                                  a whole layer without a name
3. Under the lock: the newest layer must still be the one this commit was built on;
   if not, the part is cut back and the changes go on from the newer one (`merge.py`). as before
4. `{stem}.stats` is removed, durably: it would be wrong from the next step on.       as before, without statistics
5. The part is synced, gets its name, which must not exist, and the folder is synced. the new version
6. The stack is replaced: one assignment, readers see the old or the new one.
"""

from __future__ import annotations

import getpass
import os
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from arrayfs.container import opening
from arrayfs.container.builder import LayerBuilder
from arrayfs.container.exchange import ids_of
from arrayfs.container.layer import Layer, mark_of, open_layer
from arrayfs.container.newest import Lookout
from arrayfs.container.part import LayerPart
from arrayfs.container.stack import LayerStack
from arrayfs.errors import ConflictError, FormatError, MissingObjectError, ObjectExistsError
from arrayfs.format.checksums import crc32c
from arrayfs.format.extension import EXTENSION_CODEC, encode_extension, extension_size
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import BlockTable, Footer
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Blob, Hold, Store


@dataclass(frozen=True, slots=True)
class CommitReport:
    """What a commit made: the sidecar's file name, its version number, size in bytes, arrays and chunks written."""

    sidecar: str
    version: int
    size: int
    arrays: int
    chunks: int


@dataclass(frozen=True, slots=True)
class SealedPart:
    """A part with its footer on, not yet published."""

    part: LayerPart
    footer: Footer
    extension: Extension
    footer_start: int


def seal(
    part: LayerPart, builder: LayerBuilder, identity: Extension, footer_version: int, hint: str, number: int
) -> SealedPart:
    """Append extension block, footer and trailer (step 2). identity: ids, version, time, message."""
    figures = builder.said_figures()
    codec_count = len(part)
    ext = replace(
        identity,
        block_crcs=np.zeros(codec_count + 1, np.uint32),
        holes=np.array(builder.holes, np.uint32).reshape(-1, 3),
        chunk_mtimes=builder.mtimes,
        renamed_from=builder.renamed,
        piece_crcs=part.piece_crcs,
        chunk_figures=figures,
    )
    size = extension_size(ext)
    blocks, crcs = part.block_table(EXTENSION_CODEC, size)
    footer = _footer(footer_version, blocks, builder, number, hint)
    encoded = encode_footer(footer)
    ext = replace(ext, block_crcs=crcs, footer_crc=crc32c(encoded), footer_size=len(encoded))
    start = part.part.append(encode_extension(ext), encoded, encode_trailer(len(encoded)))
    return SealedPart(part, footer, ext, start + size)


def _footer(version: int, blocks: BlockTable, builder: LayerBuilder, number: int, hint: str) -> Footer:
    keys, values = tuple(builder.dictionary.keys), tuple(builder.dictionary.values)
    return Footer(version, blocks, tuple(builder.metas), keys, values, number, hint)


def publish(
    store: Store, names: ContainerNames, sealed: SealedPart, newest: Layer, lookout: Lookout
) -> tuple[Layer, Hold] | None:
    """Steps 3 to 5: give the sealed part its place above `newest`, and hold it.

    None, and nothing has happened, if another was first. After an OSError the layer may be there all the same (a lost
    reply): `appeared` tells.
    """
    number = newest.number + 1
    sealed.part.part.sync()  # the long part of publishing, done without the lock
    # The lock is for what is more than one step elsewhere (a compaction's exchange of files). Of two writers the
    # second is refused by the link itself, and the crate takes no lock.
    with store.lock(names.lock):
        if not lookout.is_newest(newest):
            listed = store.list()
            if not newest.blob.is_current() or any((names.parse_sidecar(name) or 0) >= number for name in listed):
                return None
        with suppress(MissingObjectError):  # no statistics are always right
            store.delete(names.stats)
        try:
            sealed.part.part.publish(names.sidecar(number))
        except ObjectExistsError:
            return None
        return _adopted(store.open(names.sidecar(number)), sealed, number), store.hold(mark_of(sealed.part.id))


def appeared(
    store: Store, names: ContainerNames, sealed: SealedPart, stack: LayerStack, lookout: Lookout
) -> tuple[LayerStack, Layer, Hold] | None:
    """The layer of a publication that failed, if it happened all the same, and the stack below it.

    That is `stack`, on which it was published, unless a compaction has exchanged the files since. Raises ConflictError
    if it has merged the layer into a later one.
    """
    with store.lock(names.lock):
        below: LayerStack | None = stack
        if stack.newest.blob.is_current():
            try:
                number = stack.newest.number + 1
                layers = [open_layer(number, store.open(names.sidecar(number)))]
            except (MissingObjectError, FormatError):
                return None
        else:
            below, layers = opening.newer_layers(store, names, stack, lookout)
        if below is not None and layers and layers[0].id == sealed.part.id:
            opening.close_all(layers[1:])
            sealed.part.retire()
            sealed.part.become(layers[0])
            return below, layers[0], store.hold(mark_of(layers[0].id))
        opening.close_all(layers)
        if sealed.part.id in ids_of(layers):
            raise ConflictError(f"{names.base}: what was committed last was merged into a later version; open it again")
        return None


def _adopted(blob: Blob, sealed: SealedPart, number: int) -> Layer:
    """The sealed part as a layer; what the cache has of its blocks stays right."""
    part = sealed.part
    part.retire()
    layer = Layer(number, blob, sealed.footer, sealed.extension, sealed.footer_start, part.serial)
    part.become(layer)
    return layer


def author() -> str:
    """Who commits: the user's name as the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def next_time_ns(stack: LayerStack) -> int:
    """The later of the clock and the parent's time + 1 ns, so that times grow with the versions."""
    return max(time.time_ns(), stack.newest.time_ns + 1)
