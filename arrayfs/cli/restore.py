"""`arrayfs restore`: an older version's content, as a new version."""

from __future__ import annotations

from collections.abc import Sequence

import click

from arrayfs.cli import text
from arrayfs.cli.commit import echo_commit, reported
from arrayfs.cli.writing import opened_for_writing
from arrayfs.container.container import Container
from arrayfs.container.restore import restore as bring_back
from arrayfs.errors import ArrayNotFoundError
from arrayfs.view.meaning import belongs

EXAMPLE = """\b
Example:
  arrayfs restore weather.af 3
  arrayfs restore weather.af 2026-03-01 temperature -m "March was overwritten"
"""


@click.command(short_help="Bring an earlier version back, as a new one.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("version", metavar="N|TAG|TIME")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-m", "--message", help="Why; by default `restore N`.")
@text.json_option
def restore(container: str, version: str, names: tuple[str, ...], message: str | None, as_json: bool) -> None:
    """Make a new version of CONTAINER that has the content of an earlier one: all of it, or of each NAME.

    A NAME is an array with its documents, a group with all that is in it, or a file; what the earlier version did not
    have is removed. Nothing is lost: the versions in between stay, and can be restored in turn. Only what differs is
    written. It is one commit: when it ends early, nothing has happened.

    CONTAINER may also be a directory where one is mounted: the mount shows the new version as it shows any other that
    somebody commits. What is not committed yet in a mount stays, and is committed on top; where it is of the same
    chunks, that commit is refused.
    """
    with opened_for_writing(container) as opened:
        chosen = opened.versions().resolve(version)
        older = opened.at(chosen)
        _check(opened, older, names)
        bring_back(opened, older, lambda name: not names or any(belongs(name, wanted) for wanted in names))
        report = opened.commit(message if message is not None else f"restore {chosen.number}")
    if report is None and not as_json:
        click.echo(f"nothing to do: the newest version has what version {chosen.number} has")
        return
    echo_commit(reported(report), as_json=as_json)


def _check(container: Container, older: Container, names: Sequence[str]) -> None:
    known = {*container.names_of_arrays(), *older.names_of_arrays()}
    for wanted in names:
        if not any(belongs(name, wanted) for name in known):
            raise ArrayNotFoundError(f"no array, group or file {wanted!r}, then or now")
