"""Mounts of containers that other programs wrote, and of copies that tests change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mounts import Mounted, MountServer, prepared


@pytest.fixture(scope="session")
def mount_server() -> Iterator[MountServer]:
    server = MountServer()
    yield server
    server.close()


@pytest.fixture
def place(mount_server: MountServer, tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """Give a container a mount point: `place()` for a new empty one, `place(path)` for one that is there."""
    made: list[Mounted] = []

    def placing(container: Path | None = None) -> Mounted:
        folder = tmp_path / f"place{len(made)}"
        folder.mkdir()
        made.append(prepared(mount_server, folder, container))
        return made[-1]

    yield placing
    for mounted in made:
        mounted.end()
