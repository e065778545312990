"""`arrayfs tag`: names for versions."""

from __future__ import annotations

import click

from arrayfs.cli import control, text
from arrayfs.cli.log import version_json, who, why
from arrayfs.cli.writing import opened_for_writing
from arrayfs.container.container import Container

EXAMPLE = """\b
Example:
  arrayfs tag weather.af paper-2026 3
  arrayfs mount --version paper-2026 weather.af mnt
"""


@click.command(short_help="Name a version; list or take away names.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("name", required=False)
@click.argument("version", metavar="[N|TAG|TIME]", required=False)
@click.option("--list", "listing", is_flag=True, help="List the tags; the same as without NAME.")
@click.option("--delete", is_flag=True, help="Take the tag NAME away; its version stays.")
@text.json_option
def tag(container: str, name: str | None, version: str | None, listing: bool, delete: bool, as_json: bool) -> None:
    """Give a version of CONTAINER the tag NAME: by default the newest one that changed something.

    A tag can be used wherever a version is asked for, and is a link in .arrayfs/versions of a mount. One that is there
    already moves. It must not look like a number or a time. A tag is a commit of its own, of less than 1 KiB.
    """
    if (name is None or listing) and (name is not None or version is not None or delete):
        raise click.UsageError("--list takes no NAME; without NAME there is nothing to do but list")
    if delete and version is not None:
        raise click.UsageError("--delete takes NAME alone")
    if name is None:
        _list(container, as_json=as_json)
        return
    with opened_for_writing(container) as opened:
        table = opened.versions()
        chosen = table.newest_change() if version is None else table.resolve(version)
        opened.tag(name, None if delete else chosen.number)
        opened.commit()
    if as_json:
        text.echo_json({"tag": name, "version": None if delete else chosen.number})
    else:
        click.echo(f"tag {name} was taken away" if delete else f"tag {name} names version {chosen.number}")


def _list(container: str, *, as_json: bool) -> None:
    with Container.open(control.container_at(container)) as opened:
        table = opened.versions()
        rows = [{"tag": tag} | version_json(table.versions[place]) for tag, place in sorted(table.by_tag.items())]
    if as_json:
        text.echo_json(rows)
    elif rows:
        head = ("tag", "version", "time", "author", "message")
        times = (text.short_time(row["time_ns"]) for row in rows)
        cells = [
            (row["tag"], str(row["version"]), time, who(row), why(row | {"tags": []}))
            for row, time in zip(rows, times, strict=True)
        ]
        text.echo_table([head, *cells], "lrlll")
