"""`arrayfs info`: a container's layers, codecs and peculiarities."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.cli.arrays import array_facts
from arrayfs.cli.differences import differences
from arrayfs.cli.journal_dir import journal_dir_option, open_journal_dir
from arrayfs.container.container import Container
from arrayfs.container.figures import are_kept, own_rows
from arrayfs.container.layer import Layer
from arrayfs.container.opening import version_of
from arrayfs.view import plain
from arrayfs.view.takeup import not_shown


@click.command(short_help="Layers, versions, codecs, known differences.")
@click.argument("container")
@text.version_option
@journal_dir_option
@text.json_option
def info(container: str, version: str | None, journal_dir: str | None, as_json: bool) -> None:
    """Say what CONTAINER is made of.

    Its layers, oldest first, with version, time, author and message; its codecs; and where releases of the Rust crate
    array-format are known to read it otherwise than it is meant.

    Needs no mount; CONTAINER may also be a directory where one is mounted. `arrayfs ls` lists the arrays, `arrayfs
    dump` prints one layer's index.

    Example: arrayfs info weather.af
    """
    with Container.open(control.container_at(container), version=version) as opened:
        facts = _facts(opened)
        facts["warnings"] = not_shown(opened, open_journal_dir(journal_dir, opened.store))
    if as_json:
        text.echo_json(facts)
    else:
        _echo(facts)


def _facts(container: Container) -> dict[str, Any]:
    layers = [_layer(container, place) for place in range(len(container.stack.layers))]
    kinds = Counter(facts.kind for facts in array_facts(container, all_names=False))
    files = sum(name.startswith(plain.FILES) and not name.endswith("/") for name in container.names_of_arrays())
    return {
        "container": container.names.base,
        "store": container.store.url,
        "footer_version": container.stack.newest.footer.version,
        "version": container.version,
        "size": sum(layer["size"] for layer in layers),
        "arrays": {"native": kinds["native"], "opaque": kinds["opaque"]},
        "files": files,
        "codecs": _codecs(container.stack.layers),
        "chunk_stats": are_kept(container.stack.layers),
        "layers": layers,
        "unfinished": [name for name in container.store.list() if container.names.parse_part(name) is not None],
        "differences": [asdict(difference) for difference in differences(container)],
    }


def _layer(container: Container, place: int) -> dict[str, Any]:
    layer = container.stack.layers[place]
    footer, ext = layer.footer, layer.extension
    return {
        "file": layer.name,
        "version": version_of(container.stack, place),
        "id": layer.id.hex(),
        "time": text.time(layer.time_ns),
        "time_ns": layer.time_ns,
        "message": ext.message if ext else "",
        "author": ext.author if ext else "",
        "by_arrayfs": ext is not None,
        "size": layer.blob.size,
        "blocks": len(footer.blocks) - len(own_rows(layer)),
        "arrays": sum(not meta.deleted for meta in footer.arrays),
        "removed_arrays": sum(meta.deleted for meta in footer.arrays),
        "chunks": sum(len(meta.chunks) for meta in footer.arrays),
    }


def _codecs(layers: tuple[Layer, ...]) -> dict[str, dict[str, int]]:
    """Blocks and bytes, stored and unpacked, by the codec's name."""
    totals: dict[str, dict[str, int]] = {}
    for layer in layers:
        ours = own_rows(layer)
        for row in range(len(layer.footer.blocks)):
            if row not in ours:
                total = totals.setdefault(layer.codec(row) or "none", {"blocks": 0, "stored": 0, "unpacked": 0})
                total["blocks"] += 1
                total["stored"] += layer.stored_size(row)
                total["unpacked"] += layer.block_size(row)
    return totals


def _echo(facts: dict[str, Any]) -> None:
    arrays = facts["arrays"]
    kept = f", {arrays['opaque']} of them kept as their clients encoded them" if arrays["opaque"] else ""
    click.echo(f"container  {facts['container']} in {facts['store']}, {text.size(facts['size'])}")
    click.echo(f"version    {facts['version']}; footer version {facts['footer_version']}")
    click.echo(f"holds      {text.count(sum(arrays.values()), 'array')}{kept}; {text.count(facts['files'], 'file')}")
    for codec, total in facts["codecs"].items():
        sizes = f"{text.size(total['unpacked'])} stored as {text.size(total['stored'])}"
        click.echo(f"codec      {codec}: {text.count(total['blocks'], 'block')}, {sizes}")
    if facts["chunk_stats"]:
        click.echo("statistics of the chunks of numbers are kept as they are packed")
    click.echo()
    rows = [("version", "file", "time", "size", "arrays", "chunks", "author", "message")]
    text.echo_table([*rows, *map(_row, facts["layers"])], "rllrrrll")
    for name in facts["unfinished"]:
        click.echo(f"\nunfinished {name}: a writer is at work, or ended without a commit")
    for warning in facts["warnings"]:
        click.echo(f"\nwarning: {warning}")
    if facts["differences"]:
        click.echo("\nThe Rust crate array-format sees some things otherwise:")
    for difference in facts["differences"]:
        click.echo(f"  {difference['subject']}: {difference['text']}")


def _row(layer: dict[str, Any]) -> tuple[str, ...]:
    arrays = f"{layer['arrays']} -{layer['removed_arrays']}" if layer["removed_arrays"] else str(layer["arrays"])
    return (
        str(layer["version"]),
        layer["file"],
        text.short_time(layer["time_ns"]),
        text.size(layer["size"]),
        arrays,
        str(layer["chunks"]),
        layer["author"] if layer["by_arrayfs"] else "(the crate)",
        layer["message"],
    )
