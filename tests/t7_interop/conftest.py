"""Mounts of containers that other programs wrote, and of copies that tests change."""

from __future__ import annotations

from tests.mounts import mount_server, mounted, place

__all__ = ["mount_server", "mounted", "place"]
