"""`arrayfs journal`: what writers that ended left beside a container, and what to do with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from arrayfs.cli import control, text
from arrayfs.cli.journal_dir import journal_dir_option, open_journal_dir
from arrayfs.container.container import Container, ContainerOptions
from arrayfs.container.journal import FoundJournal, LogReader, adopt_journal, find_journals
from arrayfs.errors import LockedError, MissingObjectError
from arrayfs.format.naming import ContainerNames
from arrayfs.store import open_store
from arrayfs.store.protocol import Part, Store
from arrayfs.view import takeup
from arrayfs.view.journal_export import export as export_files


@click.group(short_help="List, apply, export or drop what a dead writer left.")
def journal() -> None:
    """Look after the journals of a container.

    A journal holds what was changed in a mount since its last commit. When the mount's process is killed, the next
    mount (or any open for writing) takes it up by itself and commits it. These commands are for what is left alone: a
    journal that goes on from a version on top of which others were committed since, or one whose container is gone.
    CONTAINER may also be a directory where one is mounted.

    Example: arrayfs journal list weather.af
    """


@journal.command("list", short_help="What journals there are, and what each is good for.")
@click.argument("container")
@journal_dir_option
@text.json_option
def list_(container: str, journal_dir: str | None, as_json: bool) -> None:
    """List the journals of CONTAINER, the oldest first; change nothing.

    Example: arrayfs journal list weather.af
    """
    container = control.container_at(container)
    store, names = _folder(container, journal_dir)
    found = find_journals(store, names)
    with Container.open(container) as opened:
        cases = [takeup.case_of(opened, one, store) for one in found]
    rows = [
        {
            "name": one.name,
            "bytes": one.size,
            "begun": text.time(one.header.time_ns) if one.header else None,
            "operations": None if one.header is None or one.locked else _count(store, one),
            "state": case.name.lower().replace("_", " "),
            "meaning": case.value,
        }
        for one, case in zip(found, cases, strict=True)
    ]
    if as_json:
        text.echo_json(rows)
    elif not rows:
        click.echo(f"{names.base}: no journals")
    else:
        head = ("name", "bytes", "operations", "begun", "state")
        text.echo_table([head, *([_cell(row[key]) for key in head] for row in rows)], "lrrll")
        for row in rows:
            click.echo(f"{row['state']}: {row['meaning']}")


@journal.command(short_help="Do again, on the newest version, what a journal holds, and commit it.")
@click.argument("container")
@click.argument("name")
@journal_dir_option
def apply(container: str, name: str, journal_dir: str | None) -> None:
    """Commit what the journal NAME holds on top of the newest version of CONTAINER; then it is removed.

    Where it and what was committed since changed the same file, chunk or attribute, the journal wins; every older
    version stays readable. One that does not fit (a folder that it writes to is gone) is left as it is.

    Example: arrayfs journal apply weather.af weather.log-0123…
    """
    container, options = control.container_at(container), ContainerOptions(on_conflict="ours")
    store, names = _folder(container, journal_dir)
    with Container.open(container, "a", options) as opened, _adopted(store, names, name) as part:
        click.echo(takeup.apply(opened, part))


@journal.command(short_help="Write what a journal holds as ordinary files.")
@click.argument("container")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@journal_dir_option
def export(container: str, name: str, folder: Path, journal_dir: str | None) -> None:
    """Write the files that the journal NAME holds below FOLDER, which is made; the journal stays.

    Neither CONTAINER nor its versions need to be there or sound. Of a file that was only changed in places the rest is
    a hole.

    Example: arrayfs journal export weather.af weather.log-0123… rescued
    """
    store, names = _folder(control.container_at(container), journal_dir)
    blob = store.open(_checked(names, name))
    try:
        reader = LogReader(blob.read, blob.size)
        click.echo(f"{text.count(export_files(reader, folder), 'operation')} of {name} done below {folder}")
        if reader.end < blob.size:
            click.echo(f"{name}: {blob.size - reader.end} bytes behind the last whole record were left out", err=True)
    finally:
        blob.close()


@journal.command(short_help="Remove a journal, and what it holds with it.")
@click.argument("container")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@journal_dir_option
def drop(container: str, name: str, yes: bool, journal_dir: str | None) -> None:
    """Remove the journal NAME of CONTAINER. What it holds is gone for good.

    Example: arrayfs journal drop weather.af weather.log-0123… --yes
    """
    store, names = _folder(control.container_at(container), journal_dir)
    with _adopted(store, names, name) as part:
        if not yes:
            click.confirm(f"Remove {name} ({text.size(part.size)}) with all that it holds?", abort=True)
        part.discard()


def _folder(container: str, journal_dir: str | None) -> tuple[Store, ContainerNames]:
    store, base = open_store(container)
    return open_journal_dir(journal_dir, store) or store, ContainerNames.from_base(base)


def _checked(names: ContainerNames, name: str) -> str:
    name = Path(name).name
    if names.parse_log(name) is None:
        raise MissingObjectError(f"{name}: no name of a journal of {names.base}")
    return name


@contextmanager
def _adopted(store: Store, names: ContainerNames, name: str) -> Iterator[Part]:
    part = adopt_journal(store, _checked(names, name))
    if part is None:
        raise LockedError(f"{name}: there is no such journal, or its writer is at work")
    try:
        yield part
    finally:
        part.close()


def _count(store: Store, found: FoundJournal) -> int:
    blob = store.open(found.name)
    try:
        return sum(1 for _ in LogReader(blob.read, blob.size).operations())
    finally:
        blob.close()


def _cell(value: object) -> str:
    return "-" if value is None else str(value)
