"""`arrayfs.import_from`: an import as one call in Python."""

from __future__ import annotations

import os
from collections.abc import Sequence

from arrayfs.container.pool import BLOCK_SIZE
from arrayfs.copying.importing import Imported, ImportOptions, Progress, run_import
from arrayfs.copying.opening import SourceOptions, open_source


def import_from(
    source: object,
    container: str | os.PathLike[str],
    *,
    into: str = "",
    native: bool = False,
    update: bool = False,
    commit_every: int | None = None,
    skip_refused: bool = False,
    verify: bool = False,
    message: str | None = None,
    codec: str | None = "lz4",
    block_size: int = BLOCK_SIZE,
    chunk_stats: bool | None = None,
    zarr_format: int = 3,
    dtype: str | None = None,
    shape: Sequence[int] | None = None,
    chunks: Sequence[int] | None = None,
    order: str = "C",
    offset: int = 0,
    name: str | None = None,
    branch: str | None = None,
    tag: str | None = None,
    snapshot: str | None = None,
    progress: Progress | None = None,
) -> Imported:
    """Put everything that a source has into a container, which is made if it is not there.

    source: a path or URL of what `arrayfs import` takes, or a store, group or array of zarr-python. The options are
    those of the command: commit_every, block_size, offset are bytes, shape and chunks elements. progress: called with
    the bytes that are done, and of how many.
    Raises SourceError for what cannot be read or kept, EntryExistsError for what is there already, ConflictError, and
    OSError; the container is then as it was, but for versions that `commit_every` asked for.
    """
    options = ImportOptions(
        into=into,
        update=update,
        commit_every=commit_every,
        skip_refused=skip_refused,
        verify=verify,
        message=message,
        codec=codec,
        block_size=block_size,
        chunk_stats=chunk_stats,
    )
    opened = open_source(
        source,
        SourceOptions(
            native=native,
            zarr_format=zarr_format,
            dtype=dtype,
            shape=None if shape is None else tuple(shape),
            chunks=None if chunks is None else tuple(chunks),
            order=order,
            offset=offset,
            name=name,
            branch=branch,
            tag=tag,
            snapshot=snapshot,
        ),
    )
    try:
        return run_import(opened, os.fspath(container), options, progress)
    finally:
        opened.close()
