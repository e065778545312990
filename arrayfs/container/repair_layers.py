"""The layers of a damaged container, opened leniently: what each file still says, and how far it can be believed.

Belief comes from checksums. A footer that has the checksum its extension block names is what was written; a layer of
the crate has none, so there a footer that can be read has to do. Nothing is ever written to these files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from arrayfs.container.findings import without
from arrayfs.container.layer import Layer, extension_row, open_layer
from arrayfs.container.opening import check_whose_base, sidecars
from arrayfs.container.repair_scan import extension_before, last_extension, last_footer
from arrayfs.errors import ConflictError, FormatError, MissingObjectError
from arrayfs.format.checksums import crc32c
from arrayfs.format.correction import correct_byte
from arrayfs.format.extension import corrected_extension, decode_extension
from arrayfs.format.extension_model import Extension
from arrayfs.format.footer import TRAILER, decode_footer, decode_trailer
from arrayfs.format.model import Footer
from arrayfs.format.naming import ContainerNames
from arrayfs.store.protocol import Blob, Store

WHOLE = "whole"
CORRECTED = "corrected"  # its index was damaged and is known all the same
DOUBTFUL = "doubtful"  # its index can be read, but is not, or not known to be, what was written
LOST = "lost"
# How often the files are opened anew because a compaction has exchanged some of them meanwhile.
_ATTEMPTS = 10


@dataclass(frozen=True, slots=True)
class FoundLayer:
    """One layer file. layer: None if lost; text: what is wrong with it; size: bytes of the file."""

    number: int
    file: str
    state: str
    text: str = ""
    layer: Layer | None = None
    size: int = 0


def find_layers(store: Store, names: ContainerNames) -> list[FoundLayer]:
    """Open what is there of a container, oldest first; a number that is missing below another is a lost layer.

    All of it was there at one moment. Raises ConflictError if a compaction exchanges the files again and again.
    """
    check_whose_base(store, names)
    for _ in range(_ATTEMPTS):
        numbered = _numbered(store, names)
        found = [_open(store, number, name) for number, name in numbered]
        # Steps of an exchange build on each other: if the file that changes first is as it was, the others are, too.
        if numbered == _numbered(store, names)[: len(numbered)] and all(map(_is_current, found)):
            return _judge_chain(sorted([*found, *_gaps(names, numbered)], key=lambda one: one.number))
        for one in found:
            if one.layer is not None:
                one.layer.close()
    raise ConflictError(f"{names.base}: its files are exchanged for others all the time; repair it when that has ended")


def _numbered(store: Store, names: ContainerNames) -> list[tuple[int, str]]:
    base = [(0, names.base)] if names.base in store.list() else []
    return base + sidecars(store, names)


def _is_current(found: FoundLayer) -> bool:
    return found.layer is None or found.layer.blob.is_current()


def _gaps(names: ContainerNames, numbered: list[tuple[int, str]]) -> Iterator[FoundLayer]:
    # numbers may be wide apart by the format's rules: one gap is one line
    for below, above in pairwise(sorted({-1, *(number for number, _ in numbered)})):
        if above > below + 1:
            yield _missing(names, below + 1, above - 1)


def _missing(names: ContainerNames, first: int, last: int) -> FoundLayer:
    file = names.sidecar(first) if first else names.base
    to = f"; nor are those up to {names.sidecar(last)}" if last > first else ""
    return FoundLayer(first, file, LOST, f"is not there{to}")


def _open(store: Store, number: int, name: str) -> FoundLayer:
    try:
        blob = store.open(name)
    except (MissingObjectError, OSError) as error:
        return FoundLayer(number, name, LOST, str(error))
    try:
        found = open_damaged(number, blob)
    except OSError as error:
        found = FoundLayer(number, name, LOST, f"cannot be read: {error}", size=blob.size)
    if found.layer is None:
        blob.close()
    return found


def open_damaged(number: int, blob: Blob) -> FoundLayer:
    """What one file still says as a layer. Raises OSError if the medium fails."""
    try:
        layer = open_layer(number, blob)
    except FormatError as error:
        return _salvage(number, blob, without(blob.name, error))
    if layer.extension is None and _hides_extension(layer):
        return _salvage(number, blob, "its footer does not name the extension block that lies before it")
    return FoundLayer(number, blob.name, WHOLE, layer=layer, size=blob.size)


def _hides_extension(layer: Layer) -> bool:
    """Whether there is an extension block, perhaps a damaged one, before the footer or where no chunk lies."""
    if extension_before(layer.blob, layer.footer_start, layer.blob.size) is not None:
        return True
    found = last_extension(layer.blob)
    if found is None:
        return False
    start, end, _ = found
    # a client may keep a layer file as a plain file: then it lies in a chunk
    return not any(low <= start and end <= high for low, high in _used_blocks(layer))


def _salvage(number: int, blob: Blob, text: str) -> FoundLayer:
    lost = FoundLayer(number, blob.name, LOST, text, size=blob.size)
    for attempt in (_by_trailer, _by_extension, _by_footer):
        found = attempt(blob, lost)
        if found is not None and found.layer is not None:
            return found
        lost = found or lost
    return replace(lost, text=f"{lost.text}; {blob.size} bytes are without an index")


def _by_trailer(blob: Blob, lost: FoundLayer) -> FoundLayer | None:
    """The trailer is there: its footer or the extension block before it is damaged."""
    if blob.size < TRAILER.size:
        return None
    try:
        place = decode_trailer(blob.read(blob.size - TRAILER.size, TRAILER.size), blob.size)
    except FormatError:
        return None
    start = extension_before(blob, place.start, blob.size)
    if start is not None:
        try:
            ext = decode_extension(blob.read(start, place.start - start))
        except FormatError:
            pass
        else:
            return _with_extension(lost, blob, ext, place.start, blob.read(place.start, len(place)))
    return _without_extension(lost, blob, place.start, blob.read(place.start, len(place)))


def _by_extension(blob: Blob, lost: FoundLayer) -> FoundLayer | None:
    """The trailer is not there: a whole extension block tells of the footer behind it."""
    found = last_extension(blob)
    if found is None:
        return None
    _, start, ext = found
    there = min(ext.footer_size, blob.size - start)
    if there < ext.footer_size:
        return replace(lost, text=f"{lost.text}; {there} of {ext.footer_size} bytes of its footer are there")
    salvaged = _with_extension(lost, blob, ext, start, blob.read(start, there))
    return _unless_something_follows(salvaged, blob, start + there)


def _by_footer(blob: Blob, lost: FoundLayer) -> FoundLayer | None:
    """Neither is there: a footer that can be read, as the crate's layers have."""
    found = last_footer(blob)
    if found is None:
        return None
    start, end, footer = found
    if extension_row(footer) is not None:
        salvaged = _without_extension(lost, blob, start, blob.read(start, end - start))
    else:
        text = f"{lost.text}; its footer was found all the same"
        salvaged = replace(lost, state=CORRECTED, text=text, layer=Layer(lost.number, blob, footer, None, start))
    return None if salvaged is None else _unless_something_follows(salvaged, blob, end)


def _with_extension(lost: FoundLayer, blob: Blob, ext: Extension, start: int, data: bytes) -> FoundLayer:
    """A whole extension block and the bytes that should be its footer."""
    state, text = CORRECTED, lost.text
    if crc32c(data) != ext.footer_crc:
        corrected = correct_byte(data, ext.footer_crc)
        state = CORRECTED if corrected is not None else DOUBTFUL
        data = corrected or data
        text += "; one byte of its footer is put right" if corrected is not None else "; its footer can be read"
    else:
        text += "; its footer was found and is whole"
    try:
        footer = decode_footer(data)
    except FormatError as error:
        return replace(lost, text=f"{lost.text}; {error}" if str(error) not in lost.text else lost.text)
    return replace(lost, state=state, text=text, layer=Layer(lost.number, blob, footer, ext, start))


def _without_extension(lost: FoundLayer, blob: Blob, start: int, data: bytes) -> FoundLayer | None:
    """A footer whose extension block is damaged."""
    try:
        footer = decode_footer(data)
    except FormatError:
        return None
    ext = _corrected_extension(blob, footer, start, data)
    if ext is not None:
        text = f"{lost.text}; one byte of it is put right"
        return replace(lost, state=CORRECTED, text=text, layer=Layer(lost.number, blob, footer, ext, start))
    text = f"{lost.text}; its footer can be read, but not proved, and what was removed in it is not known"
    return replace(lost, state=DOUBTFUL, text=text, layer=Layer(lost.number, blob, footer, None, start))


def _corrected_extension(blob: Blob, footer: Footer, start: int, data: bytes) -> Extension | None:
    """The block that the footer names, put right; the footer's own checksum in it is the proof."""
    row = extension_row(footer)
    if row is None:
        return None
    offset, size = int(footer.blocks.file_offsets[row]), int(footer.blocks.compressed_sizes[row])
    if offset + size > start:
        return None
    corrected = corrected_extension(blob.read(offset, size))
    if corrected is None:
        return None
    try:
        ext = decode_extension(corrected)
    except FormatError:
        return None
    # the start is not known where the trailer is not: there the footer proves nothing
    return ext if ext.footer_crc == crc32c(data[-ext.footer_size :]) and ext.footer_size <= len(data) else None


def _unless_something_follows(found: FoundLayer, blob: Blob, end: int) -> FoundLayer:
    """What stands in the middle of a file may be left of a commit that was tried again; zeros are no content."""
    rest_start = end + TRAILER.size
    while found.layer is not None and found.state != DOUBTFUL and rest_start < blob.size:
        rest = blob.read(rest_start, min(1 << 20, blob.size - rest_start))
        if any(rest):
            text = f"{found.text}; but {blob.size - end} bytes follow it, which may be the end of a later index"
            return replace(found, state=DOUBTFUL, text=text)
        rest_start += len(rest)
    return found


def _judge_chain(found: list[FoundLayer]) -> list[FoundLayer]:
    """The same, with what layers say of each other."""
    named = [one.layer.extension.container_id for one in found if one.layer is not None and one.layer.extension]
    container = max(named, key=named.count) if named else None
    version = next((one.layer.footer.version for one in found if one.layer is not None), None)
    judged = [_judge(one, container, version) for one in found]
    for place, one in enumerate(judged):
        if one.layer is None:
            continue
        if one.layer.extension is not None:
            judged[place] = _judge_parent(one, one.layer.extension, judged[place - 1] if place else None)
        elif container is not None:
            judged[place] = _judge_bare(one, one.layer, judged[place + 1] if place + 1 < len(judged) else None)
    return judged


def _judge(one: FoundLayer, container: bytes | None, version: int | None) -> FoundLayer:
    layer = one.layer
    if layer is None:
        return one
    ext = layer.extension
    if ext is not None and ext.container_id != container:
        layer.close()
        return replace(one, state=LOST, layer=None, text="belongs to another container")
    if layer.footer.version != version:
        text = f"footer version {layer.footer.version}, but that of the layers below is {version}"
        return replace(one, state=DOUBTFUL, text=_joined(one.text, text))
    return one


def _judge_parent(one: FoundLayer, ext: Extension, below: FoundLayer | None) -> FoundLayer:
    """An extension block names the layer that its own was made on top of."""
    if below is None or below.layer is None or below.layer.extension is None:
        return one
    if ext.parent_id == below.layer.extension.layer_id:
        return one
    text = f"was not made on top of {below.file}: a layer between them is missing"
    return replace(one, text=_joined(one.text, text))


def _judge_bare(one: FoundLayer, layer: Layer, above: FoundLayer | None) -> FoundLayer:
    """A layer without extension block, in a container where others have one: it is the crate's, or has lost it.

    Its id is a digest of its footer, which is proved if the layer above names it. If none does, there must be no room
    for an extension block: the crate puts the footer right behind the last block.
    """
    ext = above.layer.extension if above is not None and above.layer is not None else None
    if one.state == WHOLE and ext is not None and above is not None:
        if ext.parent_id == layer.id:
            return one
        text = f"its footer is not the one that {above.file} was made on top of"
        return replace(one, state=DOUBTFUL, text=text)
    used = _used_blocks(layer)
    room = layer.footer_start - max((end for _, end in used), default=0)
    if one.state == WHOLE and room == 0 and _has_all_blocks(layer):
        return one
    text = "its footer cannot be proved: there may have been an extension block before it"
    return replace(one, state=DOUBTFUL, text=_joined(one.text, text))


def _used_blocks(layer: Layer) -> list[tuple[int, int]]:
    """Where the blocks that chunks lie in begin and end."""
    blocks, used = layer.footer.blocks, np.zeros(len(layer.footer.blocks) + 1, np.bool_)
    for meta in layer.footer.arrays:
        used[layer.block_rows(meta.chunks.block_ids)] = True  # -1, no such block, is the last one
    rows = np.flatnonzero(used[:-1])
    starts, sizes = blocks.file_offsets[rows].tolist(), blocks.compressed_sizes[rows].tolist()
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _has_all_blocks(layer: Layer) -> bool:
    return all((layer.block_rows(meta.chunks.block_ids) >= 0).all() for meta in layer.footer.arrays)


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def used(found: list[FoundLayer], *, doubtful: bool) -> Iterator[Layer]:
    """The layers that count."""
    for one in found:
        if one.layer is not None and (doubtful or one.state != DOUBTFUL):
            yield one.layer
