"""What an import of a directory would save, told from its files' sizes and a look into a few of them.

The walk is the work: one look at each file, and no more. How much the codec packs is told from a sample, in which every
byte has the same chance to be.
"""

from __future__ import annotations

import heapq
import os
import random
import re
import stat
from dataclasses import dataclass

from arrayfs.container.pool import BLOCK_SIZE
from arrayfs.format.codecs import compress

# Files that are packed to see how they shrink; of each no more than this.
SAMPLES = 256
SAMPLE_SIZE = 256 << 10
STAT_BLOCK = 512
# Bytes of a chunk in a container's index: its coordinate, its place, its time, its statistics. Measured.
PER_FILE = 48
PER_BLOCK = 40
# Bytes of a document or any other file: an array of its own, with a name and three attributes. Measured.
PER_PLAIN = 300
# What the names of chunk files are in both Zarr formats, and of nothing else there is much.
CHUNK_NAME = re.compile(r"(c\.)?[0-9]+(\.[0-9]+)*").fullmatch
# Fixed seed: the same folder gives the same answer.
_SEED = 1


@dataclass(slots=True)
class Estimate:
    """Of a directory: its files and directories, bytes in them, and bytes that they take on the disk (`st_blocks`).

    plain: of the files, those that are called like no chunk. others: what is neither file nor directory. sampled: files
    that were looked into; ratio: packed bytes for each of theirs. container_files: base, sidecar and lock file; one
    more with each commit.
    """

    files: int = 0
    directories: int = 0
    bytes: int = 0
    bytes_on_disk: int = 0
    plain: int = 0
    others: int = 0
    sampled: int = 0
    ratio: float = 1.0
    container_files: int = 3
    container_bytes: int = 0

    @property
    def saved_files(self) -> int:
        """Entries (files and directories) less than there are."""
        return self.files + self.directories - self.container_files

    @property
    def saved_bytes(self) -> int:
        """Bytes on the disk less than there are; below 0 where it would be more."""
        return self.bytes_on_disk - self.container_bytes


def estimate(path: str, codec: str | None) -> Estimate:
    """Look through a directory. Raises OSError where it cannot be listed."""
    found = Estimate()
    samples = _walk(path, found)
    packed, raw = _packed(samples, codec)
    found.sampled = len(samples)
    found.ratio = packed / raw if raw else 1.0
    chunks = found.files - found.plain
    blocks = min(chunks, found.bytes // BLOCK_SIZE)
    index = PER_FILE * chunks + PER_BLOCK * blocks + PER_PLAIN * found.plain
    found.container_bytes = round(found.bytes * found.ratio) + index
    return found


def _walk(path: str, found: Estimate) -> list[str]:
    """Count everything, and choose files at random, each byte with the same chance."""
    chance = random.Random(_SEED)
    chosen: list[tuple[float, str]] = []
    waiting = [path]
    while waiting:
        found.directories += 1
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                found.bytes_on_disk += about.st_blocks * STAT_BLOCK
                if stat.S_ISDIR(about.st_mode):
                    waiting.append(entry.path)
                elif stat.S_ISREG(about.st_mode):
                    found.files += 1
                    found.bytes += about.st_size
                    found.plain += not CHUNK_NAME(entry.name)
                    _choose(chosen, chance.random() ** (1 / (about.st_size or 1)), entry.path)
                else:
                    found.others += 1
    return [chosen_path for _, chosen_path in chosen]


def _choose(chosen: list[tuple[float, str]], key: float, path: str) -> None:
    """Keep the files with the largest keys (Efraimidis and Spirakis, "Weighted random sampling with a reservoir")."""
    if len(chosen) < SAMPLES:
        heapq.heappush(chosen, (key, path))
    elif key > chosen[0][0]:
        heapq.heapreplace(chosen, (key, path))


def _packed(paths: list[str], codec: str | None) -> tuple[int, int]:
    """Bytes of the samples packed into blocks, and as they are."""
    packed = raw = 0
    block = b""
    for path in paths:
        with open(path, "rb") as file:
            content = file.read(SAMPLE_SIZE)
        raw += len(content)
        block += content
        if len(block) >= BLOCK_SIZE:
            packed += len(compress(codec, block))
            block = b""
    return packed + len(compress(codec, block)), raw
