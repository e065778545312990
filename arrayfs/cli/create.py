"""`arrayfs create`: an empty container."""

from __future__ import annotations

import click

from arrayfs.container.container import Container


@click.command(short_help="Make an empty container.")
@click.argument("container")
def create(container: str) -> None:
    """Make an empty CONTAINER: a file whose name ends in .af.

    Nothing is replaced: a file that is there already is an error. Names such as weather.2024.af are refused, since by
    the format's rule that is sidecar 2024 of weather.af.

    Example: arrayfs create weather.af
    """
    Container.create(container)
