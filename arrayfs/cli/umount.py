"""`arrayfs umount`: end a mount, and say what was committed."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from arrayfs.cli import text
from arrayfs.errors import MountError


@click.command(short_help="End a mount; wait until the commit is durable.")
@click.argument("mountpoint")
@click.option(
    "--lazy", is_flag=True, help="Also while files are open: take the name away now, wait for their last close."
)
@text.json_option
def umount(mountpoint: str, lazy: bool, as_json: bool) -> None:
    """Unmount MOUNTPOINT and wait until the commit is durable.

    Prints the new sidecar and its size, or that nothing had changed. If the commit failed, says why and exits with 1;
    if files are open, names who has them open and unmounts nothing. It also takes away a mount whose daemon died.
    `fusermount3 -u` commits too, but returns before that has happened.

    Example: arrayfs umount mnt
    """
    from arrayfs.fuse.unmount import umount as end_mount

    result = asdict(end_mount(mountpoint, lazy=lazy))
    if as_json:
        text.echo_json(result)
    else:
        echo_result(result)


def echo_result(result: dict[str, Any]) -> None:
    """Say how a mount ended (`fuse.state.MountResult` as a dict). Raises MountError if its commit failed."""
    if result["error"]:
        raise MountError(result["error"])
    if result["sidecar"]:
        click.echo(f"committed version {result['version']}: {result['sidecar']}, {text.size(result['size'])}")
    else:
        click.echo("nothing had changed since the last commit")
