"""`arrayfs create`: an empty container."""

from __future__ import annotations

import click

from arrayfs.container.container import Container


@click.command(short_help="Make an empty container.")
@click.argument("container")
@click.option(
    "--chunk-stats", is_flag=True, help="Keep smallest, largest and null count of each chunk, as it is packed."
)
def create(container: str, chunk_stats: bool) -> None:
    """Make an empty CONTAINER: a file whose name ends in .af.

    Nothing is replaced: a file that is there already is an error. Names such as weather.2024.af are refused, since by
    the format's rule that is sidecar 2024 of weather.af.

    With --chunk-stats, the statistics of an array of numbers need not read it: each chunk is measured when it is
    packed, which takes 8 to 25 us for 16 KiB, and 20 bytes. All later writers go on with it, until one says
    --no-chunk-stats.

    Example: arrayfs create weather.af
    """
    Container.create(container, chunk_stats=chunk_stats)
