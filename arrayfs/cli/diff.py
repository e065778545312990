"""`arrayfs diff` and `arrayfs show`: what is different in another version."""

from __future__ import annotations

from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.cli.change_text import ChangeText
from arrayfs.cli.log import version_json, who, why
from arrayfs.container.changes import ArrayChange, changes
from arrayfs.container.container import Container
from arrayfs.container.versions import Version
from arrayfs.view.meaning import belongs

DIFF_EXAMPLE = """\b
Example:
  arrayfs diff weather.af 3
  arrayfs diff weather.af paper 2026-03-01 --values
"""

values_option = click.option("--values", is_flag=True, help="Count the elements that changed, and say by how much.")
chunks_option = click.option("--chunks", "coords", is_flag=True, help="Name each chunk by its coordinates.")
quick_option = click.option(
    "--quick",
    is_flag=True,
    help="Read no chunks: by addresses and checksums alone. What was written and written back counts as changed.",
)
array_option = click.option("--array", "name", metavar="NAME", help="Only this array, group or file.")


@click.command(short_help="Say what is different between two versions.", epilog=DIFF_EXAMPLE)
@click.argument("container")
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@array_option
@values_option
@chunks_option
@quick_option
@text.json_option
def diff(
    container: str, a: str, b: str | None, name: str | None, values: bool, coords: bool, quick: bool, as_json: bool
) -> None:
    """Say what is different in version B of CONTAINER from version A; B is the newest unless given.

    Versions are numbers, tags or times (`arrayfs log`). A line begins with + for what B has and A has not, - for what A
    has and B has not, ~ for what changed, > for what has another name, ! for an array that was defined anew with
    another type, rank or chunk shape. Arrays are compared by shape, fill value, dimension names, attributes and chunks;
    files by their bytes, mode and time.

    Of a mounted container, what is committed is compared. It costs what changed, not what is there: chunks at the same
    place in the files are equal, copies tell themselves by their checksums, and only the others are read.
    """
    with Container.open(control.container_at(container)) as opened:
        table = opened.versions()
        older, newer = table.resolve(a), table.newest if b is None else table.resolve(b)
        shown = ChangeText(opened, values=values, coords=coords)
        found = _changes(opened, older, newer, name, quick=quick)
        if as_json:
            versions = {"a": version_json(older), "b": version_json(newer)}
            text.echo_json(versions | {"changes": [shown.json(change) for change in found]})
        else:
            shown.echo(found)


@click.command(short_help="Say what one version changed.")
@click.argument("container")
@click.argument("version", metavar="N|TAG|TIME")
@array_option
@values_option
@chunks_option
@quick_option
@text.json_option
def show(
    container: str, version: str, name: str | None, values: bool, coords: bool, quick: bool, as_json: bool
) -> None:
    """Say what one version of CONTAINER is, and what it changed in the version below it.

    The lines are those of `arrayfs diff`.

    Example: arrayfs show weather.af 3
    """
    with Container.open(control.container_at(container)) as opened:
        chosen = opened.versions().resolve(version)
        shown = ChangeText(opened, values=values, coords=coords)
        below = next((one for one in opened.versions() if one.place == chosen.place - 1 and chosen.place), None)
        found = _changes(opened, below, chosen, name, quick=quick)
        facts = version_json(chosen)
        if as_json:
            text.echo_json(facts | {"changes": [shown.json(change) for change in found]})
            return
        _echo_head(facts)
        shown.echo(found)


def _changes(
    container: Container, older: Version | None, newer: Version, name: str | None, *, quick: bool
) -> list[ArrayChange]:
    """older: None for the base, below which there is nothing."""
    before = container.empty() if older is None else container.at(older)
    found = changes(before, container.at(newer), quick=quick)
    return [
        change
        for change in found
        if name is None or belongs(change.name, name) or (change.before and belongs(change.before.name, name))
    ]


def _echo_head(facts: dict[str, Any]) -> None:
    click.echo(f"version  {facts['version']} ({facts['id']})")
    click.echo(f"time     {text.short_time(facts['time_ns'])} ({facts['time']})")
    click.echo(f"author   {who(facts)}")
    click.echo(f"file     {facts['file']}, {text.size(facts['bytes'])}")
    if why(facts):
        click.echo(f"message  {why(facts)}")
    click.echo()
