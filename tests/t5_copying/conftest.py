"""A store to import, in both Zarr formats, and a place for the container."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.t5_copying.stores import write_store


@pytest.fixture(params=[2, 3])
def look(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def folder(tmp_path: Path, look: int) -> Path:
    return write_store(tmp_path / "s.zarr", look)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "t.af"
