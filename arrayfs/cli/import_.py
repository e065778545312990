"""`arrayfs import`: a store, an archive or files of numbers become a container's content."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from arrayfs.cli import control, text
from arrayfs.cli.commit import echo_commit, reported
from arrayfs.cli.exit_codes import ExitCode
from arrayfs.cli.options import block_size_option, codec_option, packed_chunk_stats_option, zarr_format_option
from arrayfs.cli.params import read_size
from arrayfs.cli.progress import bar
from arrayfs.copying.import_from import import_from
from arrayfs.copying.importing import Imported

EXAMPLE = """\b
Example:
  arrayfs import weather.zarr weather.af
  arrayfs import --native s3://bucket/ocean.zarr weather.af --into ocean
  arrayfs import era5.nc weather.af --into era5 -m "from the archive"
  arrayfs import --dtype '<i2' --shape 2160,4320 land.bin.gz weather.af
"""


def _lengths(_ctx: click.Context, _param: click.Parameter, typed: str | None) -> tuple[int, ...] | None:
    if typed is None:
        return None
    try:
        lengths = tuple(map(int, typed.split(","))) if typed else ()
    except ValueError:
        raise click.BadParameter(f"{typed!r} is no shape; wanted something like 2160,4320") from None
    if any(length < 0 for length in lengths):
        raise click.BadParameter(f"{typed!r} has a negative length")
    return lengths


@click.command("import", short_help="Put a Zarr store, HDF5, NetCDF4 or NumPy file into a container.", epilog=EXAMPLE)
@click.argument("source", metavar="SRC")
@click.argument("container")
@click.option("--into", metavar="GROUP", default="", help="The group that it goes into; by default the root.")
@click.option("--native", is_flag=True, help="Store what a client compressed as numbers, where the type allows it.")
@click.option("--update", is_flag=True, help="Make what is there already equal to SRC; without it, that is refused.")
@click.option("--commit-every", metavar="SIZE", type=read_size, help="A version after so many bytes, e.g. 10GiB.")
@click.option("--skip-refused", is_flag=True, help="Go on without what a container cannot keep, and name it.")
@click.option("--verify", is_flag=True, help="Read all back afterwards, and compare.")
@codec_option
@block_size_option
@packed_chunk_stats_option
@zarr_format_option("Of documents made for numbers.")
@click.option("--dtype", help="Of raw numbers, as NumPy has it: '<f4', int16, …")
@click.option("--shape", metavar="N,N,…", callback=_lengths, help="Of raw numbers.")
@click.option("--order", type=click.Choice(["C", "F"]), default="C", show_default=True, help="Of raw numbers.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Bytes before the first of raw numbers.")
@click.option("--chunks", metavar="N,N,…", callback=_lengths, help="Of raw numbers and .npy; by default about 1 MiB.")
@click.option("--name", help="Of the array, for raw numbers and .npy; by default the file's.")
@click.option("--branch", help="Of an Icechunk repository; by default main.")
@click.option("--tag", help="Of an Icechunk repository.")
@click.option("--snapshot", help="Of an Icechunk repository.")
@click.option("-m", "--message", help="Why; by default `import` and SRC.")
@text.json_option
@click.pass_context
def import_(ctx: click.Context, /, source: str, container: str, as_json: bool, **given: Any) -> None:
    """Put everything that SRC has into CONTAINER, which is made if it is not there.

    SRC is a Zarr directory or zip archive (v2 or v3), any URL that zarr-python opens, an Icechunk repository, an HDF5
    or NetCDF4 file, a .npy or .npz file, or raw numbers with --dtype and --shape (also compressed by gzip). Files of a
    Zarr store are kept bit for bit; --native stores what can be numbers as numbers, with the same values.

    It is one commit: when it ends early, nothing has happened. With --commit-every it is several, and the same command
    with --update goes on where it was interrupted. What is there already is refused by name, without --update.
    CONTAINER may also be a directory where one is mounted. What becomes of each type of HDF5 and NumPy stands in
    docs/COPYING.md.
    """
    with bar("importing", wanted=not as_json) as shown:
        progress = None if shown is None else shown.show
        done = import_from(source, control.container_at(container), progress=progress, **given)
    _echo(done, as_json=as_json, verified=given["verify"])
    if done.differing:
        ctx.exit(ExitCode.DAMAGED)


def _echo(done: Imported, *, as_json: bool, verified: bool) -> None:
    if as_json:
        text.echo_json(asdict(done) | {"verified": verified and not done.differing})
        return
    for warning in done.warnings:
        click.echo(f"arrayfs: warning: {warning}", err=True)
    for path, reason in done.left_out.items():
        click.echo(f"left out: {path}: {reason}")
    for path, note in done.notes.items():
        click.echo(f"{path}: {note}")
    parts = [text.count(done.values, "value"), text.size(done.bytes)]
    if done.unchanged:
        parts.append(f"{done.unchanged} as they were")
    if done.removed:
        parts.append(f"{text.count(done.removed, 'chunk')} removed")
    click.echo(f"imported {', '.join(parts)}")
    for report in done.commits:
        echo_commit(reported(report), as_json=False)
    if not done.commits:
        echo_commit(None, as_json=False)
    for key in done.differing:
        click.echo(f"differs: {key}")
    if verified and not done.differing:
        click.echo("all was read back as it is in the source")
