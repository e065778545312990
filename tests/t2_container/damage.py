"""A container with something of everything in four layers, its files to be damaged, and what repair makes of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from arrayfs.container.array import Array
from arrayfs.container.cache import BlockCache
from arrayfs.container.container import Container
from arrayfs.container.layer import open_layer
from arrayfs.container.repair import Loss, RepairOptions, Salvage, salvage
from arrayfs.container.repair_layers import FoundLayer
from arrayfs.container.stack import LayerStack
from arrayfs.container.verify import verify
from arrayfs.errors import MissingObjectError
from arrayfs.store import MemoryStore
from tests.t2_container.making import STRING, State, attributes, filled, i32, new_container, spec, state_at, texts

Objects = dict[str, bytes]
SMALL = {"block_size": 24, "dirty_limit": 1 << 20}


def objects_at(url: str) -> Objects:
    """All files of the container's store but the locks."""
    store = MemoryStore(url.split("/")[2])
    found = {}
    for name in store.list():
        if not name.endswith(".lock"):
            blob = store.open(name)
            found[name] = blob.read(0, blob.size)
    return found


def put_objects(objects: Objects) -> str:
    """The URL of a container with these files."""
    store = MemoryStore(uuid.uuid4().hex)
    for name, content in objects.items():
        store.put(name, content, replace=False)
    return f"{store.url}/t.af"


@cache
def original() -> tuple[tuple[str, bytes], ...]:
    """Four versions: overwritten, removed and added chunks, changed shapes and attributes, text, groups."""
    container = new_container(**SMALL)
    filled(container, "a", count=8)
    filled(container, "g/b", count=3)
    words = container.define("words", spec((4,), (2,), dtype=STRING), attributes(lang="de"))
    container.put(words, (0,), texts("eins", "zwei"), 11)
    container.put(words, (1,), texts("drei", ""), 12)
    container.commit("first")
    a = container.get("a")
    for number in range(4):
        container.put(a, (number,), i32(70 + number, 71), 2000 + number)
    container.put(container.get("g/b"), (1,), None, 2100)
    container.set_attributes(container.get("words"), attributes(lang="de", checked=1))
    container.commit("second")
    container.put(a, (1,), i32(90, 91), 3000)
    container.put(words, (1,), texts("drei", "vier"), 3001)
    container.respec(container.get("g/b"), spec((5,), (2,), -1), 3002)
    container.define("empty", spec((2, 2), (1, 1)), attributes(why="no chunk"))
    container.commit("third")
    container.close()
    return tuple(objects_at(f"{container.store.url}/t.af").items())


LAYERS = ("t.af", "t.1.af", "t.2.af", "t.3.af")


@dataclass(frozen=True)
class Repaired:
    """What repair made: the new container's state, what it named, and the layers as it found them."""

    state: State
    lost: list[Loss]
    layers: list[FoundLayer]
    whole: bool
    url: str

    @property
    def states(self) -> dict[str, str]:
        return {one.file: one.state for one in self.layers}

    def named(self, array: str) -> set[tuple[int, ...] | None]:
        """The coordinates of an array that were named as lost; None: the array as a whole."""
        return {loss.coord for loss in self.lost if loss.array == array}


def repair(objects: Objects, **options: bool) -> Repaired:
    """Repair a container of these files; the new one is checked, and the damaged one is as it was."""
    url, target = put_objects(objects), f"memory://{uuid.uuid4().hex}/new.af"
    with salvage(url, RepairOptions(**options)) as found:
        lost = list(found.into(target))
    assert objects_at(url) == objects
    assert [str(finding) for finding in verify(target)] == []
    check_counts(found, state_at(target), lost)
    return Repaired(state_at(target), lost, found.layers, found.whole, target)


def check_counts(found: Salvage, made: State, lost: list[Loss]) -> None:
    counts = found.counts
    assert (counts.arrays, counts.chunks) == (len(made), sum(len(chunks) for _, _, chunks in made.values()))
    assert (counts.lost, counts.taken) == (len(lost), sum(loss.taken for loss in lost))


def state_of(objects: Objects, files: Iterable[str]) -> State:
    """What these layers of a whole container say together, whatever lies between them."""
    store = MemoryStore(put_objects(objects).split("/")[2])
    layers = [open_layer(number, store.open(file)) for number, file in enumerate(LAYERS) if file in files]
    cache, out = BlockCache(1 << 20), {}
    for name, span in LayerStack.of(layers).spans.items():
        array = Array.committed(name, span)
        coords = [tuple(coord) for coord in array.coords().tolist()]
        out[name] = array.spec, dict(array.attributes), {c: bytes(array.read(c, cache) or b"") for c in coords}
    return out


def no_container_at(url: str) -> bool:
    """Whether nobody would take what is there for a container."""
    try:
        Container.open(url).close()
    except MissingObjectError:
        return True
    return False


def flipped(content: bytes, place: int, mask: int = 1) -> bytes:
    """The bytes with one of them changed; place: as in an index, from either end."""
    place %= len(content)
    return content[:place] + bytes([content[place] ^ mask]) + content[place + 1 :]
