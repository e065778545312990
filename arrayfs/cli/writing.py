"""A container opened by a command that commits: what writers that ended left is taken up first, as a mount does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from arrayfs.cli import control
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.view.takeup import take_up


@contextmanager
def opened_for_writing(path: str, options: ContainerOptions | None = None) -> Iterator[Container]:
    """The container at `path`, or the one that is mounted there; left by an exception, nothing changed stays."""
    container = Container.open(control.container_at(path), "a", options)
    try:
        take_up(container)
        for warning in container.warnings:
            click.echo(f"arrayfs: warning: {warning}", err=True)
        yield container
    except BaseException:
        container.discard()
        raise
    finally:
        container.close()
