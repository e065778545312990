"""A container opened by a command that commits: what writers that ended left is taken up first, as a mount does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from arrayfs.cli import control
from arrayfs.container.container import Container
from arrayfs.errors import LockedError
from arrayfs.view.takeup import take_up


@contextmanager
def opened_for_writing(path: str, hint: str) -> Iterator[Container]:
    """The container at `path`; left by an exception, nothing of what was changed stays.

    hint: what can be done instead while it is mounted for writing; said with the LockedError.
    """
    url = control.container_at(path)
    try:
        container = Container.open(url, "a")
    except LockedError as error:
        raise LockedError(f"{error}; {hint}") from None
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
