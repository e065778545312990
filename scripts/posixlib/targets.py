"""The files that fsx works on: one of each way in which a tree keeps content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where a plain file is cut into pieces of 1 MiB, there are several; and one operation can touch two.
LARGEST = 3 << 20


@dataclass(frozen=True, slots=True)
class Target:
    """A file of the mount. document: what says that it is a chunk, None for a plain file.

    whole: its size never changes (a native chunk of another length would be a plain file).
    """

    path: str
    document: dict[str, Any] | None
    size: int
    whole: bool = False

    def make(self, mountpoint: Path) -> Path:
        """Write what has to be there before it; returns where it is."""
        path = mountpoint / self.path
        if self.document is not None:
            path.parents[1].mkdir(exist_ok=True)
            (path.parents[1] / "zarr.json").write_text(json.dumps(self.document))
            path.parent.mkdir(exist_ok=True)
        return path


def _array(length: int, codecs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [length],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
    }


_BYTES: dict[str, Any] = {"name": "bytes"}
_ZSTD = {"name": "zstd", "configuration": {"level": 1, "checksum": False}}
TARGETS = {
    "plain": Target("plain", None, LARGEST),
    "opaque": Target("opaque/c/0", _array(1 << 30, [_BYTES, _ZSTD]), LARGEST),
    "native": Target("native/c/0", _array(LARGEST, [_BYTES]), LARGEST, whole=True),
}
