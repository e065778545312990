"""A place for containers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import arrayfs


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where a container can be."""
    return str(tmp_path / "c.af")


@pytest.fixture
def container(path: str) -> Iterator[arrayfs.Container]:
    """An empty one, open for writing."""
    with arrayfs.open(path, "x") as made:
        yield made
