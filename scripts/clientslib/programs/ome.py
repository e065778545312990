"""ome-zarr: a multiscale image with labels, written by its Scaler in OME-Zarr 0.4 (Zarr v2) and 0.5 (v3), and read by
its Reader.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ome_zarr import writer
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.io import parse_url
from ome_zarr.reader import Reader

from clientslib.programs.cases import cases, expect, main
from clientslib.programs.values import equal

FORMATS: dict[str, Any] = {"v04.zarr": FormatV04, "v05.zarr": FormatV05}


def _image() -> np.ndarray[Any, Any]:
    return (np.arange(2 * 3 * 128 * 128) % 4001).astype("u2").reshape(2, 3, 128, 128)


def write_multiscale_images(folder: Path) -> None:
    for name, kind in FORMATS.items():
        version = kind()
        location = parse_url(folder / name, mode="w", fmt=version)
        root = zarr.group(store=location.store, zarr_format=version.zarr_format)
        writer.write_image(_image(), root, axes="czyx", fmt=version, storage_options={"chunks": (1, 1, 64, 64)})
        writer.write_labels((_image()[0] > 100).astype("u1"), root, name="cells", axes="zyx", fmt=version)


def check_multiscale_images(folder: Path) -> None:
    for name in FORMATS:
        nodes = list(Reader(parse_url(folder / name))())
        levels = nodes[0].data
        if len(levels) < 2:
            raise AssertionError(f"{name}: {len(levels)} levels")
        expect(nodes[0].metadata["axes"][0]["name"], "c", name)
        equal(levels[0].compute(), _image(), name)
        labels = [node for node in nodes if "cells" in str(node.zarr)]
        equal(labels[0].data[0].compute(), (_image()[0] > 100).astype("u1"), name)


CASES = cases(globals())

if __name__ == "__main__":
    main(CASES)
