"""What a mount shows, compared with what it has to show; whether its container is sound."""

from __future__ import annotations

import copy
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from arrayfs.container.opening import sidecars
from arrayfs.container.verify import verify
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store
from arrayfs.store.protocol import is_own_name
from torturelib.grid import DOCUMENT, Grid
from torturelib.model import Expected, Model, ModelFile, Operation, written

PAGE = 4096


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as the mount shows it."""

    content: bytes
    mode: int
    mtime_ns: int
    inode: int


Observed = dict[str, Seen | None]  # None: a directory


def observe(mountpoint: Path, root: str) -> Observed:
    """Everything at and below a directory of the mount."""
    found: Observed = {root: None}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        for name in sorted(os.listdir(mountpoint / path)):
            below = f"{path}/{name}"
            status = os.lstat(mountpoint / below)
            if stat.S_ISDIR(status.st_mode):
                found[below] = None
                waiting.append(below)
            else:
                content = (mountpoint / below).read_bytes()
                found[below] = Seen(content, stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_ino)
    return found


def candidates(model: Model, later: list[Operation], *, client_died: bool) -> Iterator[dict[str, Expected | None]]:
    """All states that are right. model: what must be there; later: what may be there too, in this order."""
    model = copy.deepcopy(model)
    for operation in (None, *later):
        if operation is not None:
            for part in _parts(operation):
                half = copy.deepcopy(model)
                half.apply(part)
                yield half.expected(client_died=client_died)
            model.apply(operation)
        yield model.expected(client_died=client_died)


def _parts(operation: Operation) -> Iterator[Operation]:
    """A large write is several requests of the kernel, cut at its pages."""
    if operation[0] != "write":
        return
    _, handle, offset, what = operation
    data = written(what)  # type: ignore[arg-type]
    assert isinstance(offset, int)
    for end in range(offset - offset % PAGE + PAGE, offset + len(data), PAGE):
        yield ["write", handle, offset, data[: end - offset].decode("latin-1")]


def differences(expected: dict[str, Expected | None], observed: Observed) -> list[str]:
    """What is wrong, a line each."""
    return [*_wrong(expected, observed), *(f"{path}: there, but nobody made it" for path in observed.keys() - expected)]


def _wrong(expected: dict[str, Expected | None], observed: Observed) -> Iterator[str]:
    for path, wanted in expected.items():
        found = observed.get(path)
        if path not in observed:
            if wanted is None or None not in wanted.contents:
                yield f"{path}: missing"
        elif wanted is None or found is None:
            if (wanted is None) is not (found is None):
                yield f"{path}: {'a file' if wanted is None else 'a directory'}, and should not be"
        elif found.content not in wanted.contents:
            shown = " or ".join("none" if data is None else _short(data) for data in wanted.contents)
            yield f"{path}: has {_short(found.content)}, not {shown}"
        elif wanted.mode not in (None, found.mode):
            yield f"{path}: mode {found.mode:o}, not {wanted.mode:o}"
        elif wanted.mtime_ns not in (None, found.mtime_ns):
            yield f"{path}: mtime {found.mtime_ns}, not {wanted.mtime_ns}"


def _short(data: bytes) -> str:
    return f"{len(data)} bytes (CRC-32 {zlib.crc32(data):08x}, {data[:8].hex()}…)"


def model_of(observed: Observed) -> Model:
    """What is there now is what has to be there from now on."""
    model, inodes = Model(), dict[int, ModelFile]()
    for path, seen in observed.items():
        if seen is None:
            document = observed.get(f"{path}/{DOCUMENT}")
            model.directories[path] = Grid.parse(document.content) if document else None
            continue
        if seen.inode not in inodes:
            inodes[seen.inode] = ModelFile(seen.content, closed=seen.content, mode=seen.mode, mtime_ns=seen.mtime_ns)
        model.files[path] = inodes[seen.inode]
    for path, file in model.files.items():
        if model.is_special(path):
            file.mode = file.mtime_ns = None
    return model


# --- the container ----------------------------------------------------------------------------------------------------


def check_container(container: Path) -> list[str]:
    """Everything that `arrayfs verify` finds, gaps between sidecars, and what nobody writes or needs any more.

    The container was opened for writing, and nobody compacts it.
    """
    store, base = open_store(str(container))
    names = ContainerNames.from_base(base)
    numbers = [number for number, _ in sidecars(store, names)]
    gaps = [] if numbers == list(range(1, len(numbers) + 1)) else [f"sidecars are numbered {numbers}"]
    parts = [name for name in store.list() if names.parse_part(name) is not None and store.is_part_abandoned(name)]
    puts = [name for name in os.listdir(container.parent) if is_own_name(name)]
    return [*map(str, verify(str(container))), *gaps, *(f"{name}: left behind" for name in (*parts, *puts))]


def left_behind(container: Path) -> list[str]:
    """Files of writers, of which there are none any more."""
    left = [name for name in os.listdir(container.parent) if ".log-" in name or ".part-" in name]
    return [f"{name}: left behind" for name in left]
