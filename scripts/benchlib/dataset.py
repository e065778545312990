"""What is read: a smooth float32 field with noise, as chunk files, as containers and as squashfs images.

Values keep 15 bits of their mantissa, as measured data do: lz4 packs them to between 1/2 and 1/1.3 (checked). All
chunks are different. The plain files lie as a mount of the container shows them, in one directory `A/c`.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from arrayfs.container.array import ArraySpec
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.pool import PoolOptions
from arrayfs.format.model import DType

ARRAY = "A"
CODECS: dict[str, str | None] = {"none": None, "lz4": "lz4"}
KEPT_BITS = np.uint32(0xFFFFFFFF << (23 - 15) & 0xFFFFFFFF)
WRITTEN_AT_NS = 1_700_000_000_000_000_000
HONEST_RATIO = (1.3, 2.0)


@dataclass(frozen=True, slots=True)
class ChunkSet:
    """So many chunks of so many bytes. label: how the report calls it."""

    label: str
    count: int
    size: int

    def content(self, number: int) -> bytes:
        """The bytes of one chunk."""
        length = self.size // 4
        x = np.arange(number * length, (number + 1) * length, dtype=np.float64)
        wave = 280 + 8 * np.sin(x / 3000) + 3 * np.sin(x / 411) + 1.1 * np.sin(x / 37)
        noise = np.random.default_rng((self.count, number)).standard_normal(length)
        values = (wave + 0.2 * noise).astype("<f4")
        return bytes(values.view("<u4") & KEPT_BITS)


LARGE = ChunkSet("1 MiB", 256, 1 << 20)
SMALL = ChunkSet("16 KiB", 20_000, 16 << 10)


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a chunk set lies in each form. ratio: raw bytes to bytes of the lz4 container."""

    chunks: ChunkSet
    plain: Path
    containers: dict[str, Path]
    image: Path
    ratio: float


def store(chunks: ChunkSet, folder: Path, *, with_image: bool) -> Stored:
    """Write one chunk set in all forms below `folder`. Raises ValueError if it packs unlike real data."""
    plain = folder / "plain"
    directory = plain / ARRAY / "c"
    directory.mkdir(parents=True)
    for number in range(chunks.count):
        (directory / str(number)).write_bytes(chunks.content(number))
    containers = {}
    for name, codec in CODECS.items():
        containers[name] = _write_container(chunks, directory, folder / f"{name}.d", codec)
    taken = sum(part.stat().st_size for part in containers["lz4"].parent.iterdir())
    ratio = chunks.count * chunks.size / taken
    if not HONEST_RATIO[0] <= ratio <= HONEST_RATIO[1]:
        raise ValueError(f"{chunks.label}: lz4 packs the field {ratio:.2f} times, not {HONEST_RATIO}")
    image = folder / "image.squashfs"
    if with_image:
        command = ["mksquashfs", str(plain), str(image), "-comp", "lz4", "-b", "1M", "-no-progress", "-quiet"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return Stored(chunks, plain, containers, image, ratio)


def _write_container(chunks: ChunkSet, plain: Path, folder: Path, codec: str | None) -> Path:
    folder.mkdir()
    path = folder / "field.af"
    Container.create(str(path))
    length = chunks.size // 4
    spec = ArraySpec(DType("Float32"), (chunks.count * length,), (length,), ("x",))
    with Container.open(str(path), "a", ContainerOptions(PoolOptions(codec=codec))) as container:
        array = container.define(ARRAY, spec)
        for number in range(chunks.count):
            container.put(array, (number,), (plain / str(number)).read_bytes(), WRITTEN_AT_NS)
    return path
