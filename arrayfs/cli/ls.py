"""`arrayfs ls`: the arrays of a container."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from itertools import chain
from typing import Any

import click

from arrayfs.api import container as api
from arrayfs.api.stats import Statistics, shown
from arrayfs.cli import control, text
from arrayfs.cli.arrays import ArrayFacts, array_facts, attributes_json, dtype_text
from arrayfs.cli.layer_json import float_json
from arrayfs.container.container import Container
from arrayfs.container.statistics import known_of
from arrayfs.errors import ArrayNotFoundError

HEAD = ("name", "dtype", "shape", "chunk shape", "chunks", "stored")
STATS_HEAD = ("smallest", "largest", "null")

EXAMPLE = """\b
Example:
  arrayfs ls weather.af
  arrayfs ls weather.af temperature --json
  arrayfs ls weather.af --version 2026-03-01
  arrayfs ls weather.af --where units=K --where "level<500"
"""


@click.command(short_help="List arrays: type, shape, chunks, bytes.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("name", required=False)
@click.option("--all", "all_names", is_flag=True, help="Every array by its name in the container, our own included.")
@click.option(
    "--where", multiple=True, metavar="KEY[=VALUE]", help="Only arrays with this attribute; may be given again."
)
@click.option("--stats", is_flag=True, help="Also smallest and largest element and null count, where they are known.")
@text.version_option
@text.json_option
def ls(
    container: str,
    name: str | None,
    all_names: bool,
    where: tuple[str, ...],
    stats: bool,
    version: str | None,
    as_json: bool,
) -> None:
    """List the arrays of CONTAINER, or those called NAME or lying in the group NAME. Needs no mount.

    "chunks" says how many are stored, of how many the grid has; "stored", how many bytes these take, compressed. A
    dtype in brackets belongs to an array whose chunks are kept as its client encoded them. Of one array given by NAME,
    JSON has the attributes too. --stats reads no values: it says what is known because all chunks of
    an array were written with --chunk-stats. VALUE of --where is JSON, or text; KEY<VALUE, KEY>VALUE and KEY!=VALUE
    compare, too. CONTAINER may also be a directory where one is mounted: what is committed is listed.
    """
    container = control.container_at(container)
    wanted = _names_where(container, where, version) if where else None
    with Container.open(container, version=version) as opened:
        found = [
            facts
            for facts in array_facts(opened, all_names=all_names)
            if (name is None or _is_below(facts.name, name)) and (wanted is None or facts.name in wanted)
        ]
        if name is not None and not found and wanted is None:
            raise ArrayNotFoundError(f"{container}: no array {name!r}, and no group of this name")
        known = [_stats(opened, facts) for facts in found] if stats else None
        if not as_json:
            _echo(found, known)
            return
        listed = [asdict(facts) for facts in found]
        for facts, one in zip(listed, known or (), strict=False):
            facts["stats"] = (
                None if one is None else asdict(one) | {end: _value_json(getattr(one, end)) for end in _ENDS}
            )
        if len(found) == 1 and found[0].name == name and found[0].kind != "opaque":
            listed[0]["attributes"] = attributes_json(opened, name)
        text.echo_json(listed)


def _names_where(container: str, where: tuple[str, ...], version: str | None) -> set[str]:
    """The names in the container of the arrays that fulfil all conditions."""
    conditions = [_condition(text) for text in where]
    with api.open(container, version=version) as opened:
        found = opened.arrays()
        if "" in opened:
            found = chain(found, [opened.array("")])
        return {array.stored_name for array in found if all(holds(array.attrs) for holds in conditions)}


def _condition(written: str) -> Callable[[Mapping[str, Any]], bool]:
    match = _CONDITION.fullmatch(written)
    if match is None:
        raise click.BadParameter(f"{written!r}: KEY, or KEY=VALUE with =, !=, < or > is wanted", param_hint="--where")
    key, sign, said = match.groups()
    if sign is None:
        return lambda attributes: key in attributes
    try:
        value = json.loads(said)
    except ValueError:
        value = said
    return lambda attributes: key in attributes and _SIGNS[sign](attributes[key], value)


def _less(one: Any, other: Any) -> bool:
    """Of numbers, and of texts; of nothing else is one before the other."""
    kinds = {str if isinstance(value, str) else float for value in (one, other)}
    comparable = all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in (one, other))
    return comparable and len(kinds) == 1 and bool(one < other)


_ENDS = ("minimum", "maximum")
_CONDITION = re.compile(r"([^=!<>]+)(?:(=|!=|<|>)(.*))?", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": _less, ">": lambda one, other: _less(other, one),
}  # fmt: skip


def _is_below(name: str, wanted: str) -> bool:
    wanted = wanted.rstrip("/")
    return name == wanted or name.startswith(f"{wanted}/")


def _stats(container: Container, facts: ArrayFacts) -> Statistics | None:
    if facts.kind != "native" or facts.chunks is None:
        return None
    array = container.get(facts.name)
    known = known_of(array)
    return None if known is None else shown(array.spec.dtype, known)


def _value_json(value: Any) -> Any:
    if isinstance(value, float):
        return float_json(value)
    return value if value is None or isinstance(value, bool | int) else str(value)


def _echo(found: list[ArrayFacts], known: list[Statistics | None] | None) -> None:
    if not found:
        return
    if known is None:
        text.echo_table([HEAD, *map(_row, found)], "llllrr")
    else:
        rows = [(*_row(facts), *_stats_row(one)) for facts, one in zip(found, known, strict=True)]
        text.echo_table([(*HEAD, *STATS_HEAD), *rows], "llllrrrrr")


def _stats_row(stats: Statistics | None) -> tuple[str, ...]:
    if stats is None:
        return ("?", "?", "?")
    ends = ("-" if end is None else str(end) for end in (stats.minimum, stats.maximum))
    return (*ends, f"{stats.null_count} of {stats.row_count}")


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
