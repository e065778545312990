"""`arrayfs ls`: the arrays of a container."""

from __future__ import annotations

from dataclasses import asdict

import click

from arrayfs.cli import text
from arrayfs.cli.arrays import ArrayFacts, array_facts, attributes_json, dtype_text
from arrayfs.container.container import Container
from arrayfs.errors import ArrayNotFoundError

HEAD = ("name", "dtype", "shape", "chunk shape", "chunks", "stored")

EXAMPLE = """\b
Example:
  arrayfs ls weather.af
  arrayfs ls weather.af temperature --json
  arrayfs ls weather.af --version 2026-03-01
"""


@click.command(short_help="List arrays: type, shape, chunks, bytes.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("name", required=False)
@click.option("--all", "all_names", is_flag=True, help="Every array by its name in the container, our own included.")
@text.version_option
@text.json_option
def ls(container: str, name: str | None, all_names: bool, version: str | None, as_json: bool) -> None:
    """List the arrays of CONTAINER, or those called NAME or lying in the group NAME. Needs no mount.

    "chunks" says how many are stored, of how many the grid has; "stored", how many bytes these take, compressed. A
    dtype in brackets belongs to an array whose chunks are kept as its client encoded them. Of one array given by NAME,
    JSON has the attributes too.
    """
    with Container.open(container, version=version) as opened:
        found = [
            facts for facts in array_facts(opened, all_names=all_names) if name is None or _is_below(facts.name, name)
        ]
        if name is not None and not found:
            raise ArrayNotFoundError(f"{container}: no array {name!r}, and no group of this name")
        if not as_json:
            _echo(found)
            return
        listed = [asdict(facts) for facts in found]
        if len(found) == 1 and found[0].name == name and found[0].kind != "opaque":
            listed[0]["attributes"] = attributes_json(opened, name)
        text.echo_json(listed)


def _is_below(name: str, wanted: str) -> bool:
    wanted = wanted.rstrip("/")
    return name == wanted or name.startswith(f"{wanted}/")


def _echo(found: list[ArrayFacts]) -> None:
    if found:
        text.echo_table([HEAD, *map(_row, found)], "llllrr")


def _row(facts: ArrayFacts) -> tuple[str, ...]:
    dtype = dtype_text(facts.dtype)
    return (
        facts.name or '""',
        f"[{dtype}]" if facts.kind == "opaque" else dtype,
        text.shape(facts.shape),
        text.shape(facts.chunk_shape),
        "damaged" if facts.chunks is None else f"{facts.chunks} of {facts.grid}",
        "?" if facts.stored_bytes is None else text.size(facts.stored_bytes),
    )
