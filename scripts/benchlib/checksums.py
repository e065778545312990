"""The price of checksums on reads: every chunk through `Container.read`, with and without them, side by side.

One process, no mount; the files are in the kernel's cache and the block cache is cold, so that nothing else takes the
time: on a real read the disk and FUSE do, and the price is a smaller part of it. Seconds are the processor's, not the
clock's: other programs on the machine are not measured.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median

from arrayfs.container.container import Container
from benchlib.dataset import ARRAY, CODECS, Stored


def checksums(sets: list[Stored], rounds: int) -> str:
    """A table: MB/s with and without checksums, and how many times as long reading takes with them."""
    lines = [f"{'reading all chunks in order':32}{'without':>12}{'with':>12}{'times as long':>24}"]
    for stored in sets:
        for codec in CODECS:
            pairs = [_pair(stored.containers[codec], number) for number in range(rounds + 1)][1:]  # the first one warms
            size = stored.chunks.count * stored.chunks.size / 1e6
            rates = [size / median(times) for times in zip(*pairs, strict=True)]
            ratios = [checked / bare for bare, checked in pairs]
            spread = f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            label = f"{stored.chunks.label} {codec}"
            lines.append(f"{label:32}{rates[0]:>7,.0f} MB/s{rates[1]:>7,.0f} MB/s{spread:>24}")
    return "\n".join(lines)


def _pair(container: Path, number: int) -> tuple[float, float]:
    """Seconds without and with checksums; who comes first takes turns."""
    order = (False, True) if number % 2 else (True, False)
    seconds = {checked: _read_all(container, checked=checked) for checked in order}
    return seconds[False], seconds[True]


def _read_all(path: Path, *, checked: bool) -> float:
    with Container.open(str(path)) as container:
        if not checked:
            for layer in container.stack.layers:
                layer._crcs = None
        array = container.get(ARRAY)
        coords = [tuple(coord) for coord in array.coords().tolist()]
        start = time.process_time()
        for coord in coords:
            container.read(array, coord)
        return time.process_time() - start
