"""`arrayfs repair`: what is intact in a damaged container, as a new one."""

from __future__ import annotations

import json
from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.cli.exit_codes import ExitCode
from arrayfs.container.repair import Loss, RepairOptions, Salvage, salvage
from arrayfs.container.repair_layers import DOUBTFUL, LOST, WHOLE, FoundLayer
from arrayfs.errors import ArrayFSError
from arrayfs.view import plain
from arrayfs.view.checks import is_file
from arrayfs.view.draft import PIECE_SIZE


@click.command(short_help="Save what is intact of a damaged container into a new one.")
@click.argument("container")
@click.argument("new_container")
@click.option(
    "--older", is_flag=True, help="Where a chunk's newest copy is lost, take the newest intact one of an older version."
)
@click.option(
    "--doubtful", is_flag=True, help="Believe a layer's index too that can be read but does not have its checksum."
)
@text.json_option
@click.pass_context
def repair(ctx: click.Context, container: str, new_container: str, older: bool, doubtful: bool, as_json: bool) -> None:
    """Save what is intact of CONTAINER into NEW_CONTAINER, and name what is not.

    Nothing is ever written to the damaged files, and nothing that exists is replaced. A chunk whose newest copy is
    damaged is left out and named, with the version that has an intact older copy; --older takes that instead. A layer
    that cannot be read is named, and what lies above and below it is kept.

    CONTAINER is the name of the base, also where that file itself is missing, or a directory where it is mounted. Exit
    code 0: all was intact; 1: the new container is there, but something is missing in it; 2: no container was made.

    Example: arrayfs repair weather.af saved.af
    """
    options = RepairOptions(older, doubtful, is_file)
    try:
        with salvage(control.container_at(container), options) as found:
            _Report(found, new_container, as_json=as_json).run()
            whole = found.whole
    except (ArrayFSError, OSError) as error:
        click.echo(f"arrayfs: {new_container} was not made: {error}", err=True)
        ctx.exit(ExitCode.FAILED)
    ctx.exit(ExitCode.DONE if whole else ExitCode.DAMAGED)


class _Report:
    """Says each loss as it is found: there may be more of them than memory should hold."""

    def __init__(self, found: Salvage, target: str, *, as_json: bool) -> None:
        self._found, self._target, self._as_json = found, target, as_json

    def run(self) -> None:
        if self._as_json:
            self._run_json()
            return
        for one in self._found.layers:
            if one.text:
                click.echo(f"{one.state} layer: {one.file}: {one.text}")
        for loss in self._found.into(self._target):
            click.echo(_line(loss))
        self._summary()

    def _run_json(self) -> None:
        click.echo('{\n  "lost": [', nl=False)
        separator = "\n    "
        for loss in self._found.into(self._target):
            click.echo(separator + json.dumps(_as_json(loss), ensure_ascii=False), nl=False)
            separator = ",\n    "
        counts = self._found.counts
        rest = {
            "layers": [_layer_as_json(one) for one in self._found.layers],
            "target": self._target,
            "version": self._found.version,
            "arrays": counts.arrays,
            "chunks": counts.chunks,
            "losses": counts.lost,
            "older": counts.taken,
            "whole": self._found.whole,
        }
        click.echo("\n  ],\n" + json.dumps(rest, indent=2, ensure_ascii=False)[2:])

    def _summary(self) -> None:
        counts, layers = self._found.counts, self._found.layers
        held = f"{text.count(counts.arrays, 'array')}, {text.count(counts.chunks, 'chunk')}"
        if self._found.whole:
            click.echo(f"{self._target}: {held}; nothing was lost")
            return
        parts = [held, "1 loss named" if counts.lost == 1 else f"{counts.lost} losses named"]
        if counts.taken:
            parts.append(f"{counts.taken} replaced by older copies")
        for state in (LOST, DOUBTFUL):
            number = sum(one.state == state for one in layers)
            if number:
                parts.append(f"{text.count(number, f'{state} layer')}")
        click.echo(f"{self._target}: {'; '.join(parts)}")


def _line(loss: Loss) -> str:
    older = ""
    if loss.older is not None:
        verb = "taken from" if loss.taken else "an older copy is intact in"
        older = f"; {verb} version {loss.older} ({loss.older_file})"
    return f"lost: {loss.file}: {_subject(loss)}: {loss.why}{older}"


def _subject(loss: Loss) -> str:
    """The array and chunk, or the file and the bytes of it, that were lost."""
    if not is_file(loss.array):
        return f"array {loss.array!r}" + ("" if loss.coord is None else f": chunk {loss.coord}")
    file = f"file {loss.array.removeprefix(plain.FILES)!r}"
    if loss.coord is None or len(loss.coord) != 1:
        return file
    start = loss.coord[0] * PIECE_SIZE
    return f"{file}: bytes {start} to {start + PIECE_SIZE}, or its end"


def _as_json(loss: Loss) -> dict[str, Any]:
    return {
        "array": loss.array,
        "chunk": None if loss.coord is None else list(loss.coord),
        "layer": loss.file,
        "why": loss.why,
        "older_version": loss.older,
        "older_layer": loss.older_file or None,
        "taken": loss.taken,
    }


def _layer_as_json(one: FoundLayer) -> dict[str, Any]:
    ext = one.layer.extension if one.layer is not None else None
    return {
        "layer": one.file,
        "state": one.state,
        "text": one.text,
        "size": one.size,
        "version": ext.version if ext is not None else None,
        "intact": one.state == WHOLE and not one.text,
    }
