"""`arrayfs dump`: the index of one layer file, as it stands."""

from __future__ import annotations

import click

from arrayfs.cli import text
from arrayfs.cli.layer_json import layer_json
from arrayfs.container.container import Container
from arrayfs.container.layer import open_layer
from arrayfs.store import open_store


@click.command(short_help="Print one layer's index as JSON.")
@click.argument("layerfile")
@text.version_option
@click.option(
    "--limit", type=click.IntRange(min=0), metavar="N", help="Give null for lists longer than N; n_… has the length."
)
def dump(layerfile: str, version: str | None, limit: int | None) -> None:
    """Print the footer and the extension block of one layer, LAYERFILE, as JSON.

    Everything is shown as it stands: blocks with their places in the file, arrays with their chunks as [coordinate,
    block id, offset in the unpacked block, size], attributes as pairs of indices into attr_keys and attr_values.
    docs/FORMAT.md says what each means. No block is read.

    With --version, LAYERFILE is a container, and the layer is the one that made that version.

    Example: arrayfs dump weather.1.af
    """
    if version is not None:
        with Container.open(layerfile, version=version) as opened:
            text.echo_json(layer_json(opened.stack.newest, limit))
        return
    store, name = open_store(layerfile)
    layer = open_layer(0, store.open(name))
    try:
        text.echo_json(layer_json(layer, limit))
    finally:
        layer.close()
