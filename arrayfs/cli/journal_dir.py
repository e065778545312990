"""`--journal-dir`: journals in a folder of their own, for a container whose folder is remote or not writable."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import click

from arrayfs.errors import MissingObjectError, MountError
from arrayfs.store import LocalStore, Store

journal_dir_option = click.option(
    "--journal-dir",
    metavar="DIR",
    help="The folder for journals, which must exist; by default the container's. It may serve several containers.",
)


def open_journal_dir(folder: str | None, container: Store) -> Store | None:
    """Return the store of `--journal-dir`; None if it was not given, or is the container's own.

    Raises MissingObjectError if there is no such folder.
    """
    if folder is None:
        return None
    if not os.path.isdir(folder):
        raise MissingObjectError(f"{folder}: no such folder for journals")
    if isinstance(container, LocalStore) and os.path.samefile(folder, container.path):
        return None
    return LocalStore(folder)


def check_journal_dir(folder: str, mountpoint: str, read_only: bool | None) -> str:
    """Return the folder as an absolute path. Raises MountError if journals cannot be kept there by a mount at
    `mountpoint`, which would wait for itself if they lay in it; one for reading makes none.
    """
    if not os.path.isdir(folder):
        raise MountError(f"{folder}: no such folder for journals")
    try:
        with contextlib.nullcontext() if read_only else tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise MountError(f"{folder}: no journal can be made there: {error.strerror}") from None
    path = Path(folder).resolve()
    if path.is_relative_to(Path(mountpoint).resolve()):
        raise MountError(f"{folder} lies in the mount itself: its journal cannot be kept there")
    return str(path)
