"""Mounts for the cases of scripts/clientslib."""

from tests.mounts import mount_server, mounted, place

__all__ = ["mount_server", "mounted", "place"]
