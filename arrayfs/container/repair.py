"""What is intact in a damaged container, as a new container; what is not, by name. The damaged files are only read.

What the new container holds is proved as far as there are checksums: a chunk's block, and the index that names it. What
cannot be proved is left out and said, unless it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from arrayfs.container.array import Array
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.figures import are_kept
from arrayfs.container.findings import without
from arrayfs.container.grid import Coord
from arrayfs.container.layer import extension_row
from arrayfs.container.opening import version_of
from arrayfs.container.pool import PoolOptions
from arrayfs.container.repair_chunks import ChunkReader, Copy, Damage
from arrayfs.container.repair_layers import DOUBTFUL, LOST, WHOLE, FoundLayer, find_layers, used
from arrayfs.container.repair_target import new_container
from arrayfs.container.stack import LayerStack, Span
from arrayfs.errors import ArrayFSError, FormatError, LimitError, MissingObjectError
from arrayfs.format.codecs import is_known
from arrayfs.format.model import ArrayMeta
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store


@dataclass(frozen=True, slots=True)
class RepairOptions:
    """older: where the newest copy of a chunk is lost, take the newest intact one below it. doubtful: believe indices
    that can be read, but do not have their checksum. needs_chunks: tells of an array's name whether the array means
    nothing without chunks, and is to be left out when all of them are lost.
    """

    older: bool = False
    doubtful: bool = False
    needs_chunks: Callable[[str], bool] = lambda _name: False


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that was there and cannot be had, or not as it was. coord None: all of the array.

    file: the layer that it was lost with; older, older_file: version and file of the newest intact copy below, if any;
    taken: that copy is in the new container.
    """

    array: str
    coord: Coord | None
    file: str
    why: str
    older: int | None = None
    older_file: str = ""
    taken: bool = False


@dataclass(slots=True)
class Counts:
    """What is in the new container, and how many losses were named."""

    arrays: int = 0
    chunks: int = 0
    lost: int = 0
    taken: int = 0


@dataclass(slots=True)
class Salvage:
    """A damaged container, opened: its layers, and what they say together.

    layers: all that there should be, oldest first; stack: those that count.
    """

    layers: list[FoundLayer]
    stack: LayerStack
    options: RepairOptions
    counts: Counts = field(default_factory=Counts)
    _versions: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        layers = self.stack.layers
        self._versions = {layer.serial: version_of(self.stack, n) for n, layer in enumerate(layers)}

    @property
    def version(self) -> int:
        """The number of the newest version that counts."""
        return self._versions[self.stack.newest.serial]

    @property
    def whole(self) -> bool:
        """Whether nothing was lost (as far as was looked)."""
        return not self.counts.lost and all(one.state == WHOLE and not one.text for one in self.layers)

    def into(self, url: str) -> Iterator[Loss]:
        """Make the new container, naming what is lost on the way; it is there when the iterator ends.

        Raises ObjectExistsError if anything of that name is there; whatever is raised, there is no new container then.
        """
        message = f"repaired from {self.layers[0].file}, version {self.version}"
        pool = PoolOptions(codec=_codec(self.stack), chunk_stats=are_kept(self.stack.layers))
        with new_container(url, ContainerOptions(pool), message) as target:
            for loss in self._copy(target):
                self.counts.lost += 1
                self.counts.taken += loss.taken
                yield loss

    def _copy(self, target: Container) -> Iterator[Loss]:
        reader = ChunkReader()
        doubtful = [] if self.options.doubtful else [one for one in self.layers if one.state == DOUBTFUL]
        for name, span in self.stack.spans.items():
            yield from self._copy_array(target, reader, name, span, doubtful)
        for one in doubtful:
            for meta in one.layer.footer.arrays if one.layer is not None else ():
                if not meta.deleted and meta.name not in self.stack.spans:
                    yield from _lost_with(one, meta)

    def _copy_array(
        self, target: Container, reader: ChunkReader, name: str, span: Span, doubtful: list[FoundLayer]
    ) -> Iterator[Loss]:
        file = span[-1].layer.name
        try:
            array = Array.committed(name, span)
            len(array.index)  # made when it is first asked for, and may be impossible
        except (FormatError, LimitError) as error:
            yield Loss(name, None, file, without(file, error))
            return
        yield from _doubts(array, doubtful)
        copy, lost = _ArrayCopy(target, array), 0
        for coord, found in reader.chunks(array, doubtful):
            if isinstance(found, Copy):
                copy.put(coord, found)
                continue
            loss = self._loss(name, coord, found)
            lost += 1
            if found.older is not None and loss.taken:
                copy.put(coord, found.older)
            yield loss
        if copy.chunks or not (lost and self.options.needs_chunks(name)):
            copy.define()
            self.counts.arrays += 1
            self.counts.chunks += copy.chunks
        else:
            yield Loss(name, None, file, "nothing of it is left: it is left out")

    def _loss(self, name: str, coord: Coord, damage: Damage) -> Loss:
        older = damage.older
        if older is None:
            return Loss(name, coord, damage.file, damage.why)
        version = self._versions[older.layer.serial]
        return Loss(name, coord, damage.file, damage.why, version, older.layer.name, self.options.older)


@dataclass(slots=True)
class _ArrayCopy:
    """An array on its way into the new container, defined there with its first chunk."""

    target: Container
    source: Array
    chunks: int = 0
    made: Array | None = None

    def define(self) -> Array:
        if self.made is None:
            self.made = self.target.define(self.source.name, self.source.spec, dict(self.source.attributes))
        return self.made

    def put(self, coord: Coord, copy: Copy) -> None:
        self.target.put(self.define(), coord, copy.content, copy.mtime_ns)
        self.chunks += 1


def _doubts(array: Array, doubtful: Sequence[FoundLayer]) -> Iterator[Loss]:
    """What doubtful layers above an array say of it as a whole: its shape and attributes may have been others."""
    newest = array.span[-1].layer.number
    for one in doubtful:
        for meta in one.layer.footer.arrays if one.layer is not None and one.number > newest else ():
            if meta.name == array.name:
                verb = "removes it" if meta.deleted else "tells of its shape and attributes"
                why = f"this layer {verb}, but its index is doubtful: kept as below it"
                yield Loss(array.name, None, one.file, why)


def _lost_with(one: FoundLayer, meta: ArrayMeta) -> Iterator[Loss]:
    why = "only this layer has it, and its index is doubtful"
    yield Loss(meta.name, None, one.file, why)
    for coord in meta.chunks.coords.tolist():
        yield Loss(meta.name, tuple(coord), one.file, why)


def _codec(stack: LayerStack) -> str | None:
    """The codec that the newest block has which a client wrote."""
    for layer in reversed(stack.layers):
        ours = extension_row(layer.footer)
        for row in range(len(layer.footer.blocks)):
            if row != ours and is_known(layer.codec(row)):
                return layer.codec(row)
    return PoolOptions().codec


@contextmanager
def salvage(url: str, options: RepairOptions | None = None) -> Iterator[Salvage]:
    """Open a damaged container.

    Raises MissingObjectError if nothing of it is there, FormatError if no layer can be read.
    """
    options = options or RepairOptions()
    store, base = open_store(url)
    found = find_layers(store, ContainerNames.from_base(base))
    try:
        if all(one.state == LOST for one in found):
            raise _nothing(base, found)
        layers = list(used(found, doubtful=options.doubtful))
        if not layers:
            raise FormatError(f"{base}: {_doubtful_only(found)}")
        yield Salvage(found, LayerStack.of(layers), options)
    finally:
        for one in found:
            if one.layer is not None:
                one.layer.close()


def _doubtful_only(found: list[FoundLayer]) -> str:
    said = "; ".join(f"{one.file}: {one.text}" for one in found if one.state == DOUBTFUL)
    return f"no layer has an index that can be proved, only doubtful ones ({said})"


def _nothing(base: str, found: list[FoundLayer]) -> ArrayFSError:
    if not found or all("is not there" in one.text for one in found):
        return MissingObjectError(f"{base}: no such container")
    return FormatError("; ".join(f"{one.file}: {one.text}" for one in found))
