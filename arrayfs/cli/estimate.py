"""`arrayfs estimate`: what a directory takes, and what it would take as a container."""

from __future__ import annotations

from dataclasses import asdict

import click

from arrayfs.cli import text
from arrayfs.cli.options import codec_option
from arrayfs.copying.estimate import estimate as estimated

EXAMPLE = """\b
Example:
  arrayfs estimate weather.zarr
"""


@click.command(short_help="Say what a directory would save as a container.", epilog=EXAMPLE)
@click.argument("directory", type=click.Path(exists=True, file_okay=False))
@codec_option
@text.json_option
def estimate(directory: str, codec: str | None, as_json: bool) -> None:
    """Count files and bytes in DIRECTORY, and guess what `arrayfs import` would make of them.

    Every file is looked at once, and a few hundred are packed as a sample: a million take little longer than `du`.
    Nothing is written.
    """
    found = estimated(directory, codec)
    saved = {"saved_files": found.saved_files, "saved_bytes": found.saved_bytes}
    if as_json:
        text.echo_json(asdict(found) | saved)
        return
    rows = [
        ("", "files", "directories", "bytes", "on disk"),
        (
            "now",
            f"{found.files:,}",
            f"{found.directories:,}",
            text.size(found.bytes),
            text.size(found.bytes_on_disk),
        ),
        ("container", str(found.container_files), "0", "", f"about {text.size(found.container_bytes)}"),
    ]
    text.echo_table(rows, "lrrrr")
    less = text.size(found.saved_bytes) if found.saved_bytes >= 0 else f"{text.size(-found.saved_bytes)} more"
    click.echo(f"saved: {found.saved_files:,} files and directories, {less}")
    if found.others:
        click.echo(f"not counted: {found.others:,} links and others")
