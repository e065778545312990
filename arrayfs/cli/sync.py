"""`arrayfs sync`: what was closed in a mount survives a loss of power afterwards."""

from __future__ import annotations

import os

import click

from arrayfs.cli import control, text
from arrayfs.errors import MountError


@click.command(short_help="Make the changes in a mount durable.")
@click.argument("mountpoint")
@text.json_option
def sync(mountpoint: str, as_json: bool) -> None:
    """Make everything that was closed so far in the mount MOUNTPOINT survive a loss of power.

    It is synced in the journal beside the container; no version is made (`arrayfs commit` does that). sync(1) cannot do
    it, since the kernel tells a FUSE daemon nothing of it. fsync of a directory in the mount is the same.

    Example: arrayfs sync mnt
    """
    folder = control.mount_above(mountpoint)
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise MountError(f"{folder}: {error.strerror}") from None
    if as_json:
        text.echo_json({"mountpoint": folder, "durable": True})
