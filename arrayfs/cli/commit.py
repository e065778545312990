"""`arrayfs commit`: what was changed in a mount becomes a version now."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.container.commit import CommitReport

EXAMPLE = """\b
Example:
  arrayfs commit mnt -m "March added"
Programs can do the same by writing a message into the file MOUNTPOINT/.arrayfs/commit.
"""


@click.command(short_help="Make the changes in a mount a new version.", epilog=EXAMPLE)
@click.argument("mountpoint")
@click.option("-m", "--message", default="", help="Why; `arrayfs info` shows it.")
@text.json_option
def commit(mountpoint: str, message: str, as_json: bool) -> None:
    """Make all changes in the mount MOUNTPOINT a new version, durably.

    Takes every file that is closed; of one that is still open for writing, what its last fsync or close left. Returns
    when the new sidecar is safe on disk. The mount goes on.
    """
    echo_commit(control.commit(control.mount_above(mountpoint), message), as_json=as_json)


def reported(report: CommitReport | None) -> dict[str, Any] | None:
    """What a commit of this process made, as a mount says it of its own."""
    if report is None:
        return None
    said = asdict(report)
    said["bytes"] = said.pop("size")
    return said


def echo_commit(committed: dict[str, Any] | None, *, as_json: bool) -> None:
    """Print what was committed, or that nothing was."""
    if as_json:
        text.echo_json(committed)
    elif committed is None:
        click.echo("nothing had changed since the last commit")
    else:
        what = f"{text.count(committed['chunks'], 'chunk')} of {text.count(committed['arrays'], 'array')}"
        click.echo(
            f"committed version {committed['version']}: {committed['sidecar']}, {text.size(committed['bytes'])}, {what}"
        )
