"""`arrayfs sync`: what was closed in a mount is safe on disk afterwards."""

from __future__ import annotations

import click

from arrayfs.cli import control, text
from arrayfs.cli.commit import echo_commit


@click.command(short_help="Make the changes in a mount durable.")
@click.argument("mountpoint")
@text.json_option
def sync(mountpoint: str, as_json: bool) -> None:
    """Make everything that was closed so far in the mount MOUNTPOINT durable.

    Today that is a commit: it makes a new version, like `arrayfs commit` without a message. sync(1) cannot do it,
    since the kernel tells a FUSE daemon nothing of it.

    Example: arrayfs sync mnt
    """
    echo_commit(control.commit(control.mount_above(mountpoint), ""), as_json=as_json)
