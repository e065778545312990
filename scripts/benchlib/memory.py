"""How much memory the daemon needs while much is written through a mount: as small chunks, a plain file, large shards.

Each part has a new container, and the peak of each step is taken by itself (`VmHWM`, set back before the step). All
that was written is read back, also after a remount.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from arrayfs.cli.control import commit
from arrayfs.container.container import Container
from arrayfs.fuse.unmount import find_mount, umount
from benchlib.writing import mount

MIB = 1 << 20
SMALL = 16 << 10
# What is read at a time at random places of a shard, and how often.
READ, READS = 64 << 10, 200
NOISE = random.Random(1).randbytes(MIB)


@dataclass(slots=True)
class Mounted:
    """A container of its own and its mount. peaks: MiB that the daemon took, by step."""

    container: Path
    mountpoint: Path
    peaks: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def mounted(self) -> Iterator[Path]:
        """Mounted for writing; unmounted, and so committed, at the end."""
        mount(self.container, self.mountpoint)
        try:
            yield self.mountpoint
        finally:
            umount(str(self.mountpoint))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Note the peak of what is done inside."""
        pid = self._daemon()
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start
        self.peaks[name] = peak(pid)

    def _daemon(self) -> int:
        state = find_mount(str(self.mountpoint))
        if state is None:
            raise RuntimeError(f"{self.mountpoint} is not mounted")
        return state.info.pid


def peak(pid: int) -> int:
    """MiB of the most that a process had in memory, as the kernel counts it."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) >> 10


def memory(folder: Path, mebibytes: int = 4096, only: str = "") -> str:
    """A table: the peak of each step in MiB. mebibytes: how much each part writes in all."""
    parts: dict[str, Callable[[Mounted, int], None]] = {
        "small chunks": small_chunks, "plain file": plain_file, "shards": shards, "shards, renamed": renamed_shards,
    }  # fmt: skip
    lines = [f"{f'{mebibytes} MiB each':48}{'MiB':>8}{'seconds':>10}"]
    for name, part in parts.items():
        if only and name not in only.split("+"):
            continue
        place = folder / "memory"
        place.mkdir()
        made = Mounted(place / "t.af", folder / "m")
        Container.create(str(made.container))
        part(made, mebibytes)
        for path in place.iterdir():
            path.unlink()
        place.rmdir()
        lines += [f"{f'{name}: {step}':48}{most:>8}{made.seconds[step]:>10.1f}" for step, most in made.peaks.items()]
        print(*lines[-len(made.peaks) :], sep="\n", flush=True)
    return "\n".join(["", *lines])


# --- the parts --------------------------------------------------------------------------------------------------------


def small_chunks(made: Mounted, mebibytes: int) -> None:
    """Chunks of 16 KiB, each opened, written and closed."""
    count = mebibytes * MIB // SMALL

    def content(number: int) -> bytes:
        return number.to_bytes(8, "little") + NOISE[number % 1000 : number % 1000 + SMALL - 8]

    with made.mounted() as root:
        array = root / "a"
        write_array(array, "float32", count, SMALL // 4)
        with made.step("writing"):
            for number in range(count):
                _put(array / "c" / str(number), content(number))
        with made.step("committing"):
            commit(str(root), "written")
    with made.mounted() as root, made.step("reading"):
        for number in range(count):
            check((root / "a" / "c" / str(number)).read_bytes(), content(number))


def plain_file(made: Mounted, mebibytes: int) -> None:
    """One file, written from its start to its end, and in some places once more."""
    with made.mounted() as root:
        path = root / "file"
        with made.step("writing"), path.open("wb", buffering=0) as file:
            for number in range(mebibytes):
                file.write(piece(number))
        with made.step("overwriting"), path.open("r+b", buffering=0) as file:
            for number in range(0, mebibytes, 64):
                os.pwrite(file.fileno(), piece(mebibytes + number), number * MIB)
        with made.step("committing"):
            commit(str(root), "written")
    with made.mounted() as root, made.step("reading"), (root / "file").open("rb", buffering=0) as file:
        for number in range(mebibytes):
            check(file.read(MIB), piece(number if number % 64 else mebibytes + number))


def shards(made: Mounted, mebibytes: int) -> None:
    """Two opaque chunks of half the size each: one written from start to end, one at random places."""
    count = mebibytes // 2
    places = list(range(count))
    with made.mounted() as root:
        write_array(root / "a", "float16", 2, count * MIB // 2)
        with made.step("writing in order"):
            _write_pieces(root / "a/c/0", places)
        random.Random(2).shuffle(places)
        with made.step("writing at random"):
            _write_pieces(root / "a/c/1", places)
        with made.step("reading back"):
            _read_both(root, count)
        with made.step("changing 8 bytes"):
            _overwrite(root / "a/c/0", count * MIB // 3, b"changed!")
        with made.step("committing"):
            commit(str(root), "written")
        with made.step("reading what is committed"):
            _read_both(root, count, changed=count * MIB // 3)
    with made.mounted() as root:
        with made.step("64 KiB at random after a remount"):
            _read_at_random(root / "a/c/1", count)
        with made.step("all of it after a remount"):
            _read_both(root, count, changed=count * MIB // 3)
        with made.step("changing 8 bytes after a remount"):
            _overwrite(root / "a/c/0", count * MIB // 3, piece(count // 3)[:8])
        with made.step("removing one that is open"), (root / "a/c/1").open("rb", buffering=0) as file:
            (root / "a/c/1").unlink()
            check(os.pread(file.fileno(), READ, count * MIB // 2), expected(count * MIB // 2, READ))
        with made.step("committing a change"):
            commit(str(root), "changed")


def renamed_shards(made: Mounted, mebibytes: int) -> None:
    """The same as temporary files that are renamed, as most libraries write."""
    count = mebibytes // 2
    with made.mounted() as root:
        write_array(root / "a", "float16", 2, count * MIB // 2)
        with made.step("writing"):
            for number in range(2):
                _write_pieces(root / "a/c/.temporary", range(count))
                (root / "a/c/.temporary").rename(root / f"a/c/{number}")
        with made.step("committing"):
            commit(str(root), "written")
        with made.step("reading"):
            _read_both(root, count)


# --- what they do -----------------------------------------------------------------------------------------------------


def write_array(path: Path, data_type: str, chunks: int, length: int) -> None:
    """The document of a one-dimensional array of so many chunks of so many elements."""
    (path / "c").mkdir(parents=True)
    document = {
        "zarr_format": 3, "node_type": "array", "shape": [chunks * length], "data_type": data_type,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0, "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    }  # fmt: skip
    (path / "zarr.json").write_text(json.dumps(document))


def piece(number: int) -> bytes:
    """A MiB that is like no other."""
    return number.to_bytes(8, "little") + NOISE[8:]


def expected(offset: int, size: int) -> bytes:
    """What a file of such pieces has at `offset`."""
    first, inner = divmod(offset, MIB)
    return b"".join(piece(first + more) for more in range(-(-(inner + size) // MIB)))[inner : inner + size]


def check(found: bytes, wanted: bytes) -> None:
    """Raise RuntimeError unless they are equal."""
    if found != wanted:
        raise RuntimeError(f"{len(found)} bytes were read that are not the {len(wanted)} that were written")


def _put(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.write(fd, content)
    os.close(fd)


def _write_pieces(path: Path, numbers: list[int] | range) -> None:
    with path.open("wb", buffering=0) as file:
        for number in numbers:
            os.pwrite(file.fileno(), piece(number), number * MIB)


def _overwrite(path: Path, offset: int, content: bytes) -> None:
    with path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), content, offset)


def _read_both(root: Path, count: int, changed: int | None = None) -> None:
    for number in range(2):
        with (root / f"a/c/{number}").open("rb", buffering=0) as file:
            for place in range(count):
                wanted = piece(place)
                if number == 0 and changed is not None and changed // MIB == place:
                    inner = changed % MIB
                    wanted = wanted[:inner] + b"changed!" + wanted[inner + 8 :]
                check(file.read(MIB), wanted)


def _read_at_random(path: Path, count: int) -> None:
    places = random.Random(3)
    with path.open("rb", buffering=0) as file:
        for _ in range(READS):
            offset = places.randrange(count * MIB - READ)
            check(os.pread(file.fileno(), READ, offset), expected(offset, READ))
