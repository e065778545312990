"""A million chunks: what opening, walking and finding need does not grow with anything but the chunks themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import arrayfs
from arrayfs.container.container import Container
from arrayfs.format.footer import encode_footer, encode_trailer
from arrayfs.format.model import ArrayMeta, BlockTable, ChunkTable, DType, Footer

COUNT = 1_000_000
# The promise for the mount's process after `find` over everything; the walk here keeps 100,000 numbers beside it.
MEMORY = 300 << 20


def grid(rows: int, columns: int) -> NDArray[np.uint32]:
    """All coordinates of a grid, in order."""
    axes = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.stack(axes, -1).reshape(-1, 2).astype(np.uint32)


def meta(name: str, coords: NDArray[np.uint32]) -> ArrayMeta:
    """An array of 1x1 chunks of four bytes that all lie in block 0."""
    count = len(coords)
    offsets = (np.arange(count) % 1024 * 4).astype(np.uint32)
    chunks = ChunkTable(coords, np.zeros(count, np.uint32), offsets, np.full(count, 4, np.uint32))
    shape = tuple((coords.max(axis=0) + 1).tolist())
    return ArrayMeta(name, DType("Float32"), shape, (1, 1), ("y", "x"), chunks)


def write_base(path: Path, metas: list[ArrayMeta]) -> str:
    """A container of one layer, as the crate's compaction would leave it."""
    size, zero = np.array([4096], np.uint64), np.zeros(1, np.uint32)
    blocks = BlockTable(zero, np.zeros(1, np.uint64), size, size, zero, (None,))
    footer = encode_footer(Footer(5, blocks, tuple(metas)))
    path.write_bytes(bytes(4096) + footer + encode_trailer(len(footer)))
    return str(path)


def walked(url: str) -> dict[str, int]:
    """What scale_walk.py says, run in a process of its own so that its peak memory is the walk's."""
    program = Path(__file__).with_name("scale_walk.py")
    root = Path(arrayfs.__file__).parent.parent
    done = subprocess.run(
        [sys.executable, str(program), url], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    )
    return json.loads(done.stdout)  # type: ignore[no-any-return]


LAYOUTS = {
    "dense": lambda: grid(1000, 1000),
    "as_the_crate_writes": lambda: np.random.default_rng(0).permutation(grid(1000, 1000)),
    "sparse": lambda: grid(1000, 1000) * np.array([1, 1000], np.uint32),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_million_chunks_of_one_array_are_walked_in_little_memory(layout: str, tmp_path: Path) -> None:
    url = write_base(tmp_path / "big.af", [meta("big", LAYOUTS[layout]())])
    said = walked(url)
    directories = 1000 + len(["big", "c"])
    documents = len(["zarr.json", "big/zarr.json"])
    assert said["entries"] == COUNT + directories + documents
    assert said["repeated"] == 0
    assert said["peak"] < MEMORY


def test_ten_thousand_arrays_are_opened_without_looking_at_their_chunks(tmp_path: Path) -> None:
    coords = grid(10, 10)
    url = write_base(tmp_path / "many.af", [meta(f"g{i // 100}/a{i}", coords) for i in range(10_000)])
    with Container.open(url) as container:
        assert sum(1 for _ in container.names_of_arrays()) == 10_000
        array = container.get("g42/a4242")
        assert container.read(array, (9, 9)) == bytes(4)
        assert len(container._arrays) == 1


def test_finding_a_chunk_takes_as_many_steps_as_a_bisection(tmp_path: Path) -> None:
    """Ten more comparisons among a million than among a thousand: the columns are bisected, never scanned."""
    steps = {}
    for count in (1_000, COUNT):
        url = write_base(tmp_path / f"c{count}.af", [meta("a", grid(count // 100, 100))])
        with Container.open(url) as container:
            index = container.get("a").index
            counted = CountingView(index.keys)
            index._key_view = counted  # type: ignore[assignment]
            assert index.find((count // 100 - 1, 42)) is not None
            steps[count] = counted.steps
    assert steps[COUNT] <= steps[1_000] + 12


class CountingView:
    """A column that counts how often it is asked."""

    def __init__(self, column: NDArray[np.uint64]) -> None:
        self._column = column
        self.steps = 0

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, place: int) -> int:
        self.steps += 1
        return int(self._column[place])
