"""`arrayfs export`: what a container holds, as a Zarr store of another kind, or as HDF5, NetCDF4 or NumPy files."""

from __future__ import annotations

from dataclasses import asdict

import click

from arrayfs.cli import control, text
from arrayfs.cli.options import zarr_format_option
from arrayfs.cli.progress import bar
from arrayfs.copying.export_to import FILE_KINDS, KINDS, export_to

EXAMPLE = """\b
DEST:
  out.zarr            a Zarr directory, file by file what a mount shows
  out.zarr.zip        the same as a ZIP archive, for ZipStore
  s3://bucket/x.zarr  whatever zarr-python opens for writing (needs it)
  out.h5              HDF5 (pip install 'h5py>=3.11')
  out.nc              NetCDF4 (pip install 'h5netcdf>=1.3')
  x.npy, x.npz        one array, or several, as numpy saves them
  x.bin, x.raw        the bytes of one array, little-endian in C order; x.raw.gz compressed

\b
Example:
  arrayfs export weather.af out.zarr
  arrayfs export weather.af out.zarr.zip --version paper --verify
  arrayfs export weather.af out.nc ocean temperature
  arrayfs export weather.af temperature.npy temperature
"""


@click.command(short_help="Copy arrays out of a container.", epilog=EXAMPLE)
@click.argument("container")
@click.argument("dest")
@click.argument("names", metavar="[ARRAY|GROUP]...", nargs=-1)
@click.option("--to", "kind", type=click.Choice(KINDS), help="What DEST is to be, where its name does not say.")
@text.version_option
@zarr_format_option("Of metadata that no client wrote, in Zarr stores.")
@click.option(
    "--codec",
    type=click.Choice(["none", "zstd", "gzip", "lzf"]),
    default="none",
    show_default=True,
    help="Compression of native arrays' chunks: zstd or gzip in Zarr stores, gzip or lzf in HDF5 and NetCDF4.",
)
@click.option("--overwrite", is_flag=True, help="Replace DEST when everything else is done.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Threads; by default one for each processor, up to 8.")
@click.option("--verify", is_flag=True, help="Read everything back and compare.")
@click.option(
    "--json-attributes", is_flag=True, help="HDF5, NetCDF4: attributes that these have no form for as JSON text."
)
@text.json_option
def export(
    container: str,
    dest: str,
    names: tuple[str, ...],
    kind: str | None,
    version: str | None,
    zarr_format: int,
    codec: str,
    overwrite: bool,
    jobs: int | None,
    verify: bool,
    json_attributes: bool,
    as_json: bool,
) -> None:
    """Copy what CONTAINER holds, or some of its arrays and groups, to DEST: a new place of another kind.

    What DEST cannot hold is refused by name before anything is written. DEST appears when it is whole: until then
    there is nothing, or what was there before. What a killed export left beside it is removed by the next.

    What is committed is exported, of the newest version unless --version says another. CONTAINER may also be a
    directory where one is mounted: what was not committed there yet is not in DEST.
    """
    with bar("exporting", wanted=not as_json) as shown:
        done = export_to(
            control.container_at(container),
            dest,
            names,
            kind=kind,
            version=version,
            zarr_format=zarr_format,
            codec=codec,
            overwrite=overwrite,
            jobs=jobs,
            verify=verify,
            json_attributes=json_attributes,
            progress=None if shown is None else shown.show,
        )
    if as_json:
        said = asdict(done)
        said["bytes"] = said.pop("size")
        text.echo_json(said)
        return
    for path, note in done.notes.items():
        click.echo(f"{path}: {note}")
    what = f"{text.count(done.files, 'file')}, " if done.kind in FILE_KINDS else ""
    arrays = text.count(done.arrays, "array")
    click.echo(f"exported version {done.version} to {done.dest}: {arrays}, {what}{text.size(done.size)}")
