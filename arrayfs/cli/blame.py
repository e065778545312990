"""`arrayfs blame`: which version wrote each chunk of an array."""

from __future__ import annotations

import itertools
import shutil
import string
from collections.abc import Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from arrayfs.cli import control, text
from arrayfs.cli.log import version_json, who, why
from arrayfs.container.array import Array
from arrayfs.container.blame import writer_grid, writers
from arrayfs.container.container import Container
from arrayfs.container.versions import VersionTable
from arrayfs.errors import ArrayNotFoundError
from arrayfs.view import plain

# The newest versions get a sign each, the others share one.
SIGNS = string.digits + string.ascii_letters
OLDER, NONE = "*", "."
# A picture that does not fit on a page shows less than the table below it.
MOST_ROWS, MOST_PLANES = 48, 8

EXAMPLE = """\b
Example:
  arrayfs blame weather.af temperature
  arrayfs blame weather.af temperature --table
"""


@click.command(short_help="Say which version wrote each chunk of an array.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("array")
@click.option("--table", "as_table", is_flag=True, help="A line for each chunk, instead of a picture.")
@text.version_option
@text.json_option
def blame(container: str, array: str, as_table: bool, version: str | None, as_json: bool) -> None:
    """Say which version wrote each chunk of ARRAY, when, by whom and why.

    Draws the chunk grid: a sign for each chunk, "." where there is none; the last two axes, one picture for each place
    on the others. Below stand the versions, newest first, with the sign and the number of chunks of each. A grid that
    does not fit the terminal is not drawn. A chunk that a rename copied, or that was cut because the shape changed, was
    written by that version.
    """
    with Container.open(control.container_at(container), version=version) as opened:
        found, table = _find(opened, array), opened.versions()
        places = writers(found, table)
        if as_json:
            text.echo_json(_json(found, table, places))
        elif as_table:
            _echo_table(found, table, places)
        else:
            _echo_picture(found, table, places)


def _find(container: Container, name: str) -> Array:
    for known in (name, plain.CHUNKS + name.strip("/")):
        if known in container:
            return container.get(known)
    raise ArrayNotFoundError(f"{container.names.base}: no array {name!r} in version {container.version}")


def _json(array: Array, table: VersionTable, places: NDArray[np.int64]) -> dict[str, Any]:
    coords = array.index.grid.coords(array.index.keys).tolist()
    numbers = [table.versions[place].number for place in places.tolist()]
    return {
        "array": array.name,
        "grid": list(array.grid.counts),
        "versions": [version_json(table.versions[place]) for place in np.unique(places).tolist()],
        "chunks": [{"chunk": coord, "version": number} for coord, number in zip(coords, numbers, strict=True)],
    }


def _echo_table(array: Array, table: VersionTable, places: NDArray[np.int64]) -> None:
    rows = [("chunk", "version", "time", "author", "message")]
    coords = array.index.grid.coords(array.index.keys).tolist()
    for coord, place in zip(coords, places.tolist(), strict=True):
        facts = version_json(table.versions[place])
        when = text.short_time(facts["time_ns"])
        rows.append((" ".join(map(str, coord)) or "-", str(facts["version"]), when, who(facts), why(facts)))
    text.echo_table(rows, "rrlll")


def _echo_picture(array: Array, table: VersionTable, places: NDArray[np.int64]) -> None:
    used, counts = np.unique(places, return_counts=True)
    newest_first = used[::-1].tolist()
    signs = dict(zip(newest_first, itertools.chain(SIGNS, itertools.repeat(OLDER)), strict=False))
    drawn = list(_drawing(array, table, signs))
    for line in drawn:
        click.echo(line)
    rows = [("sign" if drawn else "", "version", "chunks", "time", "author", "message")]
    for place, count in zip(newest_first, counts[::-1].tolist(), strict=True):
        facts = version_json(table.versions[place])
        when = text.short_time(facts["time_ns"])
        sign = signs[place] if drawn else ""
        rows.append((sign, str(facts["version"]), str(count), when, who(facts), why(facts)))
    text.echo_table(rows, "lrrlll")


def _drawing(array: Array, table: VersionTable, signs: dict[int, str]) -> Iterator[str]:
    """The lines of the picture; none if it does not fit."""
    counts = array.grid.counts
    rows, columns = (1, *counts)[-2:] if len(counts) > 1 else (1, (*counts, 1)[0])
    planes = int(np.prod(counts[:-2], dtype=np.float64)) if len(counts) > 2 else 1
    fits = columns <= shutil.get_terminal_size().columns - 4 and planes <= MOST_PLANES
    if not fits or rows * planes > MOST_ROWS:
        return
    for leading in itertools.product(*map(range, counts[:-2])):
        if leading:
            yield f"chunks {' '.join(map(str, leading))} …"
        for line in writer_grid(array, table, leading).tolist():
            yield "  " + "".join(signs.get(place, NONE) for place in line)
        yield ""
